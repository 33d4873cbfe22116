"""Timing of several things in turns, in CPU seconds of this process, and its rows.

Times are compared as ratios within one run: what is measured takes turns with what it
is compared with, so that a machine that slows down slows both. The process keeps to one
core, where the system lets it, and `make bench` tells the libraries to use one thread.
"""

import argparse
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

if hasattr(os, "sched_setaffinity"):  # before backends count the cores
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import keras
import numpy as np
import pandas as pd

OUT = Path(__file__).parents[1] / "results" / "benchmarks.csv"
BACKEND = keras.backend.backend()


def options(doc: str) -> argparse.Namespace:
    """Returns the command line's `short`, `quick` and `out`."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small, to see it works")
    parser.add_argument("--quick", action="store_true", help="some of it, few rounds")
    parser.add_argument("--out", type=Path, default=OUT, help="CSV of the rows")
    return parser.parse_args()


def rounds_of(chosen: argparse.Namespace, full: int) -> int:
    """Returns how many rounds to measure, `full` unless something else was chosen."""
    return 2 if chosen.short else 5 if chosen.quick else full


def in_turns(
    functions: Mapping[str, Callable[[], Any]], *, rounds: int
) -> dict[str, np.ndarray]:
    """Returns for each function the CPU seconds of so many calls, made in turns.

    A call waits for its result. What is fast is called several times a round.
    """
    for function in functions.values():  # compiles
        function()
    calls = {name: _calls(function) for name, function in functions.items()}
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            seconds[name].append(_seconds(function, calls[name]))
    return {name: np.array(taken) for name, taken in seconds.items()}


def rows(
    seconds: Mapping[str, np.ndarray], reference: str, **columns: Any
) -> list[dict[str, Any]]:
    """Returns a row for each function; `ratio` is the median of the rounds' ratios."""
    made = []
    for name, taken in seconds.items():
        low, median, high = np.percentile(taken, [20, 50, 80])
        ratio = float(np.median(taken / seconds[reference]))
        times = {"median_s": median, "p20_s": low, "p80_s": high, "ratio": ratio}
        row = {"name": name, "reference": reference, **columns, **times}
        made.append({**row, "rounds": len(taken), **environment()})
    return made


def environment() -> dict[str, Any]:
    """Returns the columns that say what a row was made with."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "backend": BACKEND,
        "backend_version": importlib.metadata.version(BACKEND),
        "keras_version": keras.__version__,
        "python_version": platform.python_version(),
        "hardware": models[0] if models else platform.processor(),
    }


def save(made: list[dict[str, Any]], question: str, out: Path = OUT) -> None:
    """Writes rows in place of those that answered the same question on this backend."""
    fresh = pd.DataFrame([{"question": question, **row} for row in made])
    if out.exists():
        kept = pd.read_csv(out)
        same = (kept["question"] == question) & (kept["backend"] == BACKEND)
        fresh = pd.concat([kept[~same], fresh], ignore_index=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh.to_csv(out, index=False, float_format="%.6g")


def _calls(function: Callable[[], Any], least: float = 0.01) -> int:
    taken = min(_seconds(function, 1) for _ in range(3))
    return max(1, int(least / max(taken, 1e-6)))


def _seconds(function: Callable[[], Any], calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - started) / calls
