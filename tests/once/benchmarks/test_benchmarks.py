"""That the benchmarks run, and write and show their rows: not what they measure."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from backend import BACKEND

FOLDER = Path(__file__).parents[3] / "benchmarks"
QUESTIONS = {
    "losses": {"losses"},
    "other_losses": {"other losses"},
    "forward_correction": {"forward correction"},
    "memory": {"memory", "large vocabulary memory"},
    "large_vocabulary": {"large vocabulary", "chunks"},
    "metrics": {"metrics"},
    "fit": {"fit step"},
    "first_fit": {"first fit"},
    "operations": {"operations"},
    "import_time": {"import time"},
}


def run(script, *arguments):
    command = [sys.executable, FOLDER / f"{script}.py", *arguments]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("script", QUESTIONS)
def test_a_short_run_writes_its_rows_and_only_its_own_anew(script, tmp_path):
    out = tmp_path / "rows.csv"
    kept = {"question": "another", "name": "x", "backend": BACKEND, "ratio": 2.0}
    old = {"question": min(QUESTIONS[script]), "name": "old", "backend": BACKEND}
    pd.DataFrame([kept, old]).to_csv(out, index=False)
    run(script, "--short", "--out", out)
    rows = pd.read_csv(out)
    assert set(rows["question"]) == {"another", *QUESTIONS[script]}
    assert "old" not in set(rows["name"])
    made = rows[rows["question"] != "another"]
    assert (made["backend"] == BACKEND).all()
    assert made[["name", "reference", "mode", "hardware"]].notna().all(axis=None)
    assert (made[made["name"] == made["reference"]]["ratio"].dropna() == 1.0).all()
