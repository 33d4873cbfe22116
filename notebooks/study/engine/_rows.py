"""Rows that are written as they are made."""

from pathlib import Path
from typing import Any

import pandas as pd

from keras_robust import _files


def read_rows(path: Path) -> pd.DataFrame:
    """Returns the rows that are there, or none."""
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def add_rows(
    path: Path, made: pd.DataFrame, found: list[dict[str, Any]]
) -> pd.DataFrame:
    """Returns the rows that were made with those found, and writes all of them."""
    made = pd.concat([made, pd.DataFrame(found)], ignore_index=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    _files.write_whole(path, made.to_csv(index=False, float_format="%.6g"))
    return made
