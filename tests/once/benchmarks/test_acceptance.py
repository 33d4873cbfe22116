"""The simulations of acceptance thresholds: short, and the same as the package."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_robust.calibration._deciding.operating_point import operating_point

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "acceptance.py"
SPEC = importlib.util.spec_from_file_location("acceptance", SCRIPT)
acceptance = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(acceptance)
PEOPLE = acceptance.population("calibrated", 9)


@pytest.mark.parametrize("accuracy", [0.8, 0.9])
def test_many_sets_at_once_accept_what_each_by_itself_does(accuracy):
    rng = np.random.default_rng(0)
    place = np.sort(rng.random((30, 500)), axis=1)
    right = (
        rng.random(place.shape) < PEOPLE.right[(place * acceptance.POOL).astype(int)]
    )
    expected = [
        operating_point(
            acceptance.events_of(1 - one, hit.astype(float), np.zeros(500, int)),
            accuracy,
            0.95,
        ).num_accepted
        for one, hit in zip(place, right)
    ]
    found = acceptance.exact(right, accuracy)
    assert found.tolist() == expected
    assert len(set(expected)) > 4


def test_the_promise_is_kept_in_a_short_simulation():
    missed = {}
    rng = np.random.default_rng(1)
    place = np.sort(rng.random((1000, 500)), axis=1)
    right = (
        rng.random(place.shape) < PEOPLE.right[(place * acceptance.POOL).astype(int)]
    )
    for name, chosen in [
        ("clean", acceptance.exact(right, 0.9)),
        ("naive", acceptance.naive(right, 0.9)),
    ]:
        missed[name] = acceptance.of_sets(PEOPLE, chosen, place, 0.9)["missed"], 1000
    for kind, sets in [("symmetric", 300), ("omission", 100)]:
        matrix = acceptance.matrix_of(kind, 9, 0.1)
        found = acceptance.one_noise(PEOPLE, kind, matrix, 1000, 0.9, sets)
        missed[kind] = found["missed"], sets
        assert 0.1 < found["share"] < PEOPLE.oracle(0.9)
    found = acceptance.grouped(PEOPLE, 1000, 0.9, 100)
    missed["grouped"] = found["missed"], 100
    naive, _ = missed.pop("naive")
    assert naive > 0.3
    for name, (share, sets) in missed.items():
        assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / sets), name


def test_a_short_run_writes_the_rows_of_its_part_anew(tmp_path, monkeypatch, capsys):
    out = tmp_path / "rows.csv"
    pd.DataFrame([{"part": "widths", "rows": 3}, {"part": "clean"}]).to_csv(
        out, index=False
    )
    for name, value in {
        "SIZES": (50, 200),
        "NUM_CLASSES": (2,),
        "SHORT_SETS": 9,
    }.items():
        monkeypatch.setattr(acceptance, name, value)
    monkeypatch.setattr(sys, "argv", ["x", "clean", "--short", "--out", str(out)])
    acceptance.main()
    rows = pd.read_csv(out)
    assert (rows["part"] == "widths").sum() == 1
    made = rows[rows["part"] == "clean"]
    assert len(made) == 4 * 3  # models, and two accuracies of the larger size
    assert made[["missed", "naive_missed", "oracle", "sets", "numpy"]].notna().all(None)
    assert "missed" in capsys.readouterr().out
