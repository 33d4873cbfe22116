"""Predictions and labels in .npz, .csv and .parquet files."""

import collections
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_robust._inputs import checks


def open_table(path: str) -> "Arrays | Frame":
    """Opens a file by its ending."""
    ending = Path(path).suffix.lower()
    if ending not in (".npz", ".csv", ".parquet"):
        fix = "The ending says how the file is read."
        expected = "a file ending in .npz, .csv or .parquet"
        raise checks.invalid("report", "FILE", expected, str(path), fix)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    return Arrays(path) if ending == ".npz" else Frame(path)


class Arrays:
    """The arrays of an .npz file, read when they are asked for."""

    classes = None

    def __init__(self, path: str) -> None:
        self.path = path

    def scores(self, key: str, prefix: str, others: set[str]) -> np.ndarray:
        """Returns the array `key`."""
        return self.column(key, "--prob-key")

    def column(self, name: str, option: str) -> np.ndarray:
        """Returns the array `name`."""
        try:
            # No pickles: a file of predictions must not be able to run code.
            with Path(self.path).open("rb") as file:
                arrays = np.load(file, allow_pickle=False)
                names = list(arrays) if hasattr(arrays, "files") else None
                if names is not None and name in names:
                    return arrays[name]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise _no_npz(self.path) from error
        if names is None:
            raise _no_npz(self.path)
        received = f"{name!r}; the arrays are {_listed(names)}"
        fix = f"Say which array with {option}."
        raise checks.invalid(self.path, option, "the name of an array", received, fix)

    labels = column

    def text(self, name: str, option: str) -> np.ndarray:
        """Returns the array `name` as text."""
        return self.column(name, option).astype(str)


class Frame:
    """The columns of a .csv or .parquet file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.classes: list[str] | None = None
        try:
            self._frame = self._read()
        except (ValueError, OSError) as error:  # pandas's and pyarrow's are ValueErrors
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: this file cannot be read: {reason}") from error
        self._names = [str(name) for name in self._frame.columns]

    def scores(self, key: str, prefix: str, others: set[str]) -> np.ndarray:
        """Returns the columns `prefix` + class, but for `others`; sets `classes`."""
        columns = [c for c in self._names if c.startswith(prefix) and c not in others]
        if not columns:
            received = f"{prefix!r}; the columns are {_listed(self._names)}"
            fix = "Name one column for each class, such as prob_0, prob_1."
            expected = "the beginning of the classes' columns"
            raise checks.invalid(self.path, "--prob-prefix", expected, received, fix)
        classes = [column.removeprefix(prefix) for column in columns]
        if sorted(classes) == sorted(map(str, range(len(classes)))):
            classes.sort(key=int)  # as text, 10 would come before 2
        if len(classes) == 1 and classes != ["1"]:
            fix = "Give a column for each class, separated by commas."
            expected = f"{prefix}1, the probability of class 1, if it is the only one"
            raise checks.invalid(self.path, columns[0], expected, columns[0], fix)
        self.classes = classes
        parts = [self._numbers(prefix + name) for name in classes]
        return np.stack(parts, axis=-1)

    def column(self, name: str, option: str) -> np.ndarray:
        """Returns a column of numbers."""
        self._check(name, option)
        return self._numbers(name)

    def labels(self, name: str, option: str) -> np.ndarray:
        """Returns a column of labels: of numbers or, if it has others, of text."""
        self._check(name, option)
        column = self._frame[name]
        if column.dtype.kind not in "biuf":
            column = column.astype(str)
        self._check_filled(column, name)
        return column.to_numpy()

    def text(self, name: str, option: str) -> np.ndarray:
        """Returns a column of labels as they are written in the file."""
        self._check(name, option)
        if Path(self.path).suffix.lower() != ".csv":
            return self._frame[name].astype(str).to_numpy()
        column = self._read(usecols=[name], dtype=str, keep_default_na=False)[name]
        return column.to_numpy()

    def _read(self, **options: Any) -> Any:
        pandas = checks.optional_module("keras-robust report", "pandas")
        if Path(self.path).suffix.lower() == ".csv":
            header = pandas.read_csv(self.path, header=None, nrows=1, dtype=str)
            repeated = collections.Counter(header.iloc[0].tolist()).most_common(1)
            if repeated[0][1] > 1:
                raise ValueError(f"there are two columns {repeated[0][0]}.")
            return pandas.read_csv(self.path, index_col=False, **options)
        checks.optional_module("keras-robust report", "pyarrow")
        return pandas.read_parquet(self.path)

    def _check(self, name: str, option: str) -> None:
        if name not in self._names:
            received = f"{name!r}; the columns are {_listed(self._names)}"
            fix = f"Say which column with {option}."
            expected = "the name of a column"
            raise checks.invalid(self.path, option, expected, received, fix)

    def _numbers(self, name: str) -> np.ndarray:
        column = self._frame[name]
        if column.dtype.kind not in "biuf" or not len(column):
            fix = "Look for text among the numbers." if len(column) else "Fill it."
            received = f"a column of {len(column)} rows of dtype {column.dtype}"
            expected = "a column of numbers"
            raise checks.invalid(self.path, name, expected, received, fix)
        return column.to_numpy()

    def _check_filled(self, column: Any, name: str) -> None:
        if column.isna().any():
            row = int(np.flatnonzero(column.isna())[0])
            fix = "Fill it, or leave the row out."
            raise checks.invalid(
                self.path, name, "filled", f"nothing in row {row}", fix
            )


def class_ids(
    table: Arrays | Frame, name: str, classes: list[str] | None, ignore_class: int
) -> np.ndarray:
    """Returns labels as places among `classes`, the names of the columns.

    Numbered columns 0 to K - 1, one column, and arrays hold class ids; labels of any
    other columns are compared with their names as they are written: 1 of columns -1 and
    1 is the second, and True of columns True and False the first.
    """
    option = "--label-column"
    numbered = classes is None or classes in (["1"], [*map(str, range(len(classes)))])
    if numbered:
        labels = table.labels(name, option)
        if labels.dtype.kind in "biuf":
            return labels
    if classes is None:
        fix = "Columns named for their classes can have labels of text."
        received = f"labels of dtype {labels.dtype}"
        raise checks.invalid(table.path, name, "class ids", received, fix)
    texts = table.text(name, option)
    ids = {str(ignore_class): ignore_class}
    ids |= {label: place for place, label in enumerate(classes)}
    unknown = sorted(set(texts) - set(ids))
    if unknown:
        expected = f"names of the classes' columns, {_listed(classes)}"
        fix = "Labels are compared with the names as they are written."
        raise checks.invalid(table.path, name, expected, _listed(unknown), fix)
    return np.array([ids[text] for text in texts])


def _no_npz(path: str) -> ValueError:
    received = "something else, or an array of Python objects"
    fix = "Write it with numpy.savez."
    return checks.invalid("report", path, "an .npz file of numbers", received, fix)


def _listed(names: Any) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
