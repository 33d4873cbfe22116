"""Grids in other processes: what they make, and what a kill costs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor

import engine
import keras
import psutil
import pytest
from engine._grid import _run_one, run_key
from engine._tables import runs_folder
from tiny import CONFIGS, QUICK, assert_same, assert_whole, quick, rows

# Small enough to be many, large enough that a kill comes in between.
SMALL = {**QUICK, "epochs": 1, "warmup_epochs": 0}
MANY = engine.grid("f1_without_warmup", seeds=1, **SMALL)
# As `python -m engine` where there is no TensorFlow: importing it raises.
COMMAND = """
import runpy, sys
names = ("tensorflow", "tensorflow_datasets", "tensorflow_text")
sys.modules.update(dict.fromkeys(names))
sys.argv[0] = "engine"
runpy.run_module("engine", run_name="__main__", alter_sys=True)
"""


def flags(options):
    for name, value in options.items():
        yield "--" + name.replace("_", "-")
        yield "all" if value is None else str(value)


def wait_for_a_run(folder, goes_on=lambda: True):
    while not (runs_folder(folder).is_dir() and rows(folder)):
        assert goes_on()
        time.sleep(0.01)


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in runs_folder(folder).iterdir()}


def assert_goes_on(folder):
    before = stamps(folder)
    assert 0 < len(before) < len(MANY)
    missing = len(MANY) - sum(path.suffix == ".json" for path in before)
    assert engine.run_grid(MANY, folder, jobs=1, progress=False) == missing
    assert_whole(folder, MANY)
    assert before.items() <= stamps(folder).items()


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


def test_a_killed_worker_costs_the_runs_in_flight_only(made, tmp_path):
    def kill():
        wait_for_a_run(tmp_path)
        children = psutil.Process().children(recursive=True)
        workers = [c for c in children if "LokyProcess" in " ".join(c.cmdline())]
        workers[0].send_signal(signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(BrokenExecutor):
        engine.run_grid(MANY, tmp_path, progress=False)
    assert_goes_on(tmp_path)


def test_a_killed_command_costs_the_run_in_flight_only(preset, tmp_path):
    # From another folder, into the results that the environment names.
    env = {
        **os.environ,
        "KERAS_ROBUST_RESULTS": str(tmp_path / "results"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = ["grid", "f1_without_warmup", "--seeds", "1", "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *command, *flags(SMALL)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=env,
    )
    wait_for_a_run(tmp_path / "results", lambda: process.poll() is None)
    process.kill()
    process.communicate()
    assert_goes_on(tmp_path / "results")


def test_a_dask_cluster_makes_the_same_rows(made, tmp_path):
    import distributed

    config = CONFIGS[1]
    with distributed.LocalCluster(
        n_workers=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:
        address = cluster.scheduler_address
        options = {"backend": "dask", "scheduler": address, "progress": False}
        assert engine.run_grid([config], tmp_path, **options) == 1
        assert engine.run_grid([config], tmp_path, **options) == 0
    assert_whole(tmp_path, [config])
    key = run_key(config)
    assert_same(rows(tmp_path)[key], rows(made)[key])
