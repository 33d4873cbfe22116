"""A grid made by processes on this machine."""

import json

import engine
import keras
import pytest
from engine._grid import _run_one, run_key
from tiny import CONFIGS, assert_same, assert_whole, quick, rows


@pytest.fixture(scope="module")
def made(preset, tmp_path_factory):
    """The results of a grid made by two processes."""
    folder = tmp_path_factory.mktemp("loky") / "results"
    assert engine.run_grid(CONFIGS, folder, progress=False) == len(CONFIGS)
    return folder


def test_a_grid_is_made_whole_and_once(made):
    assert_whole(made, CONFIGS)
    before = rows(made)
    assert engine.run_grid(CONFIGS, made) == 0
    more = [*CONFIGS[:2], quick(epochs=1)]
    assert engine.run_grid([*more, *more], made, progress=False) == 1
    after = rows(made)
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_a_worker_computes_what_this_process_does(made, preset):
    row = json.loads(engine.run(CONFIGS[1]).to_json())["row"]
    row.pop("seconds")
    assert_same(row, rows(made)[run_key(CONFIGS[1])])


def test_a_worker_on_another_backend_is_refused(preset):
    other = "jax" if keras.backend.backend() != "jax" else "torch"
    with pytest.raises(ValueError, match=f"not on {other}. Start the workers with"):
        _run_one(CONFIGS[0], preset, other)
