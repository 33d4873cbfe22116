"""What a kill costs, and a Dask cluster: alike on all backends, tested on one."""

import json
import signal
import subprocess
import sys
import time

import engine
from engine._tables import runs_folder
from tiny import CONFIGS, assert_same, assert_whole, quick, rows

# Small enough to be many, large enough that a kill comes in between.
MANY = [quick(noise_rate=0.3, seed=seed, epochs=1) for seed in range(10)]
GRID = """
import json, sys
import engine
configs = [engine.RunConfig(**options) for options in json.loads(sys.argv[2])]
if __name__ == "__main__":
    engine.run_grid(configs, sys.argv[1], progress=False)
"""


def start(folder, configs):
    options = json.dumps([config.to_dict() for config in configs])
    return subprocess.Popen(
        [sys.executable, "-c", GRID, str(folder), options],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_a_run(process, folder):
    while not (runs_folder(folder).is_dir() and rows(folder)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def children(pid):
    import psutil

    found = psutil.Process(pid).children(recursive=True)
    return [child for child in found if "LokyProcess" in " ".join(child.cmdline())]


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in runs_folder(folder).iterdir()}


def assert_goes_on(folder):
    before = stamps(folder)
    assert 0 < len(before) < len(MANY)
    missing = len(MANY) - sum(path.suffix == ".json" for path in before)
    assert engine.run_grid(MANY, folder, progress=False) == missing
    assert_whole(folder, MANY)
    assert before.items() <= stamps(folder).items()


def test_a_killed_worker_costs_the_runs_in_flight_only(preset, tmp_path):
    process = start(tmp_path, MANY)
    wait_for_a_run(process, tmp_path)
    children(process.pid)[0].send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "TerminatedWorkerError" in errors
    assert_goes_on(tmp_path)


def test_a_killed_main_process_costs_the_runs_in_flight_only(preset, tmp_path):
    process = start(tmp_path, MANY)
    wait_for_a_run(process, tmp_path)
    workers = children(process.pid)
    assert len(workers) == 2
    process.kill()
    process.wait()
    process.stderr.close()
    # Workers may finish what they have before they see that nobody takes it.
    assert_goes_on(tmp_path)
    for worker in workers:
        if worker.is_running():
            worker.kill()


def test_a_dask_cluster_makes_the_same_rows(preset, tmp_path):
    import distributed

    with distributed.LocalCluster(
        n_workers=2,
        processes=True,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:
        address = cluster.scheduler_address
        options = {"backend": "dask", "scheduler": address, "progress": False}
        assert engine.run_grid(CONFIGS, tmp_path, **options) == len(CONFIGS)
        assert engine.run_grid(CONFIGS, tmp_path, **options) == 0
    assert_whole(tmp_path, CONFIGS)
    again = tmp_path / "again"
    engine.run_grid(CONFIGS, again, progress=False)
    expected = rows(again)
    for key, row in rows(tmp_path).items():
        assert_same(row, expected[key])
