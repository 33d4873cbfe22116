"""Many runs, in parallel, resumable."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import keras
import tqdm

from engine._cache import prepare
from engine._config import RunConfig
from engine._encoder import preset_name
from engine._run import RunResult, run, run_key
from engine._tables import known_keys, runs_folder
from keras_robust import _files
from keras_robust._inputs import checks


def run_grid(
    configs: Iterable[RunConfig],
    results: Any,
    *,
    preset: str | None = None,
    jobs: int = 2,
    backend: str = "loky",
    scheduler: str | None = None,
    progress: bool = True,
) -> int:
    """Runs what is not in `results` yet, and writes each finished run at once.

    A worker that is killed, Ctrl-C, or a machine that stops costs the runs that were in
    flight, no others: call it again with the same arguments, and it goes on.

    Args:
        configs: The runs, as from `grid`. Seeds are taken in order, so that a grid that
            is cut short has some seeds in full.
        results: Folder of the results, created if need be.
        preset: Encoder, see `run`.
        jobs: Number of processes on this machine. Defaults to 2.
        backend: `"loky"`, processes on this machine; or `"dask"`, a Dask cluster.
            Defaults to `"loky"`.
        scheduler: Address of the Dask scheduler, such as `"tcp://10.0.0.1:8786"`.
        progress: Whether to show a progress bar with the time left, on stderr.

    Returns:
        The number of runs that were made.

    Raises:
        ValueError: If `backend` and `scheduler` do not go together, or a worker's Keras
            is on another backend.
        ImportError: If a package of the extra `study` is missing.

    Examples:
        ```python
        import engine

        configs = engine.grid("f1", seeds=1, train_sentences=1000)
        made = engine.run_grid(configs, "my_results", jobs=4)
        engine.write_tables("my_results")
        ```
    """
    results, preset = Path(results), preset or preset_name()
    checks.choice("run_grid", "backend", backend, ("loky", "dask"), fix="")
    checks.integer("run_grid", "jobs", jobs, minimum=1, fix="Pass 2, say.")
    if (backend == "dask") != (scheduler is not None):
        raise checks.invalid(
            "run_grid",
            "scheduler",
            "given with backend='dask', and only then",
            f"backend={backend!r}, scheduler={scheduler!r}",
            "Pass the address that `dask scheduler` prints.",
        )
    runs_folder(results).mkdir(parents=True, exist_ok=True)
    missing = _missing(configs, results, preset)
    if not missing:
        return 0
    if backend == "loky":
        prepare(missing, preset)
    make = _run_one if backend == "loky" else _run_apart
    with _workers(backend, scheduler, jobs) as parallel:
        _run_all(make, missing, results, preset, parallel, progress)
    return len(missing)


def _run_all(
    make: Callable[[RunConfig, str, str], RunResult],
    missing: Sequence[RunConfig],
    results: Path,
    preset: str,
    parallel: Any,
    progress: bool,
) -> None:
    keras_backend = keras.backend.backend()
    tasks = (joblib.delayed(make)(c, preset, keras_backend) for c in missing)
    finished = parallel(tasks)
    bar = tqdm.tqdm(finished, total=len(missing), disable=not progress, unit="run")
    for result in bar:
        save_run(result, results)
        bar.set_postfix_str(
            f"{result.row['loss']}, noise {result.row['noise_rate']}: "
            f"F1 {result.row['test_f1']:.3f}, ECE {result.row['test_ece']:.3f}"
        )


def save_run(result: RunResult, results: Path) -> None:
    """Writes a run's result whole."""
    path = runs_folder(results) / f"{result.row['key']}.json"
    _files.write_whole(path, result.to_json())


def _missing(
    configs: Iterable[RunConfig], results: Path, preset: str
) -> list[RunConfig]:
    known = known_keys(results)
    wanted = {run_key(config, preset): config for config in configs}
    missing = [config for key, config in wanted.items() if key not in known]
    return _spread_warmups(missing)


def _spread_warmups(configs: Sequence[RunConfig]) -> list[RunConfig]:
    # Neighbours share no warm-up, or two processes would train it at the same time.
    ranks, seen = [], Counter()
    for config in configs:
        shared = config.warmup()
        ranks.append((config.seed, seen[shared]))
        seen[shared] += 1
    order = sorted(range(len(configs)), key=ranks.__getitem__)
    return [configs[i] for i in order]


def _run_one(config: RunConfig, preset: str, keras_backend: str) -> RunResult:
    if keras.backend.backend() != keras_backend:
        raise ValueError(
            f"run_grid: a worker's Keras runs on {keras.backend.backend()}, not on "
            f"{keras_backend}. Start the workers with KERAS_BACKEND={keras_backend}."
        )
    return run(config, preset=preset, share_warmup=True)


def _run_apart(config: RunConfig, preset: str, keras_backend: str) -> RunResult:
    # In a process of its own: a Dask worker's other threads draw from Python's
    # generator too, from which Keras draws its seeds: rows would differ by chance.
    code = "from engine import _grid; _grid._answer()"
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.getenv("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([config.to_dict(), preset, keras_backend]),
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "KERAS_BACKEND": keras_backend,
            "PYTHONPATH": os.pathsep.join(paths),
        },
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"run_grid: a run has failed.\n{done.stderr}")
    return RunResult.from_json(done.stdout.splitlines()[-1])


def _answer() -> None:
    options, preset, keras_backend = json.loads(sys.stdin.read())
    result = _run_one(RunConfig(**options), preset, keras_backend)
    sys.stdout.write("\n" + result.to_json() + "\n")


@contextmanager
def _workers(backend: str, scheduler: str | None, jobs: int) -> Iterator[Any]:
    options = {"return_as": "generator_unordered", "pre_dispatch": "2*n_jobs"}
    if backend == "loky":
        threads = max(1, (os.cpu_count() or 1) // jobs)
        with joblib.parallel_config("loky", inner_max_num_threads=threads):
            yield joblib.Parallel(n_jobs=jobs, batch_size=1, **options)
        return
    distributed = checks.optional_module("run_grid", "distributed", extra="study")
    with (
        distributed.Client(scheduler),
        joblib.parallel_config("dask", wait_for_workers_timeout=60),
    ):
        yield joblib.Parallel(batch_size=1, **options)
