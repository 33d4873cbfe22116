"""Predictions and labels in .npz, .csv and .parquet files."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_robust import _checks

_ENDINGS = (".npz", ".csv", ".parquet")


class PredictionFile(NamedTuple):
    """Scores read from a file.

    Attributes:
        scores: Array of shape `(..., K)`.
        classes: Names of the classes, from the columns; None from an array.
    """

    scores: np.ndarray
    classes: list[str] | None


def read_predictions(path: str, key: str, prefix: str) -> PredictionFile:
    """Reads the array `key` of an .npz file, or the columns `prefix` + class."""
    if _ending(path) == ".npz":
        return PredictionFile(_array(path, key, "--prob-key"), None)
    frame = _frame(path)
    columns = [c for c in map(str, frame.columns) if c.startswith(prefix)]
    if not columns:
        raise _checks.invalid(
            path,
            "--prob-prefix",
            "the beginning of the classes' columns",
            f"{prefix!r}; the columns are {_listed(frame.columns)}",
            "Name one column for each class, such as prob_0, prob_1.",
        )
    classes = [column.removeprefix(prefix) for column in columns]
    if all(name.isdecimal() for name in classes):
        classes = _in_order(path, prefix, classes)
    columns = [prefix + name for name in classes]
    for column in columns:
        _check_numeric(path, frame[column], column)
    return PredictionFile(frame[columns].to_numpy("float64"), classes)


def read_labels(path: str, column: str, classes: list[str] | None) -> np.ndarray:
    """Reads labels: class ids, or the names of the classes' columns."""
    labels = read_column(path, column, "--label-column")
    if labels.dtype.kind in "biuf":
        return labels
    ids = {name: index for index, name in enumerate(classes or [])}
    unknown = sorted({str(label) for label in labels.ravel()} - set(ids))
    if unknown:
        known = _listed(ids) if ids else "no names, only an array"
        raise _checks.invalid(
            path,
            column,
            f"class ids, or names of the classes ({known})",
            f"{_listed(unknown)}",
            "Columns of probabilities are named for their classes.",
        )
    return np.array([ids[str(label)] for label in labels])


def read_column(path: str, name: str, option: str) -> np.ndarray:
    """Reads an array of an .npz file, or a column of a table."""
    if _ending(path) == ".npz":
        return _array(path, name, option)
    frame = _frame(path)
    if name not in frame.columns:
        fix = f"Say which column with {option}."
        received = f"{name!r}; the columns are {_listed(frame.columns)}"
        raise _checks.invalid(path, option, "the name of a column", received, fix)
    column = frame[name]
    if column.isna().any():
        row = int(np.flatnonzero(column.isna())[0])
        fix = "Fill it, or leave the row out."
        raise _checks.invalid(path, name, "filled", f"nothing in row {row}", fix)
    return column.to_numpy()


def _ending(path: str) -> str:
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS:
        fix = "The ending says how the file is read."
        expected = "ending in " + ", ".join(_ENDINGS)
        raise _checks.invalid("report", "FILE", expected, str(path), fix)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    return ending


def _array(path: str, key: str, option: str) -> np.ndarray:
    try:
        # No pickles: a file of predictions must not be able to run code.
        with Path(path).open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        fix = "Write it with numpy.savez."
        raise _checks.invalid(
            "report", path, "an .npz file of numbers", str(error), fix
        ) from error
    if key not in arrays:
        fix = f"Say which array with {option}."
        received = f"{key!r}; the arrays are {_listed(arrays)}"
        raise _checks.invalid(path, option, "the name of an array", received, fix)
    return arrays[key]


def _frame(path: str) -> Any:
    pandas = _checks.optional_module("keras-robust report", "pandas")
    if _ending(path) == ".csv":
        return pandas.read_csv(path)
    _checks.optional_module("keras-robust report", "pyarrow")
    return pandas.read_parquet(path)


def _in_order(path: str, prefix: str, classes: list[str]) -> list[str]:
    """Returns numbered classes in the order of their numbers, which must be 0 to K - 1.

    Sorted as text, prob_10 would come before prob_2 and every label be wrong.
    """
    ordered = sorted(classes, key=int)
    if [int(name) for name in ordered] != list(range(len(ordered))):
        raise _checks.invalid(
            path,
            prefix,
            f"followed by the classes 0 to {len(classes) - 1}",
            _listed(prefix + name for name in ordered),
            "A column is missing, or there is one too many.",
        )
    return ordered


def _check_numeric(path: str, column: Any, name: str) -> None:
    if column.dtype.kind not in "biuf":
        fix = "Look for text among the numbers."
        received = f"a column of dtype {column.dtype}"
        raise _checks.invalid(path, name, "a column of numbers", received, fix)


def _listed(names: Any) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
