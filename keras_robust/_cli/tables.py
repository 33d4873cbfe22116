"""Files of predictions and labels: .npz, .csv, .tsv, .csv.gz, .tsv.gz and .parquet."""

import csv
import gzip
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_robust._cli.complaints import complaint, named
from keras_robust._inputs import checks

_TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


def ending_of(path: str) -> str:
    """Returns the ending of a file's name, in two parts where it is compressed."""
    suffixes = Path(path.lower()).suffixes
    return "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def open_table(
    path: str, sep: str | None, decimal: str, leave_out: list[str]
) -> "Arrays | Frame":
    """Opens a file by its ending."""
    ending = ending_of(path)
    if ending not in (".npz", ".parquet", *_TEXT):
        fix = "The ending says how the file is read."
        expected = "a file ending in .npz, .csv or .parquet, .tsv, .csv.gz or .tsv.gz"
        raise complaint("report", "FILE", expected, path, fix)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if ending == ".npz":
        return Arrays(path, leave_out)
    sep = sep or ("\t" if ending.startswith(".tsv") else ",")
    return Frame(path, "\t" if sep == "\\t" else sep, decimal, leave_out)


class Arrays:
    """The arrays of an .npz file, read when they are asked for."""

    kind = "array"

    def __init__(self, path: str, leave_out: list[str]) -> None:
        self.path = path
        try:
            # No pickles: a file of predictions must not be able to run code.
            with Path(path).open("rb") as file:
                arrays = np.load(file, allow_pickle=False)
                self.names = [n for n in getattr(arrays, "files", ()) if n]
                if not hasattr(arrays, "files"):
                    raise _no_npz(path)
        except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise _no_npz(path) from error
        self.all_names, self._rows = self.names, None
        self.names = [name for name in self.names if name not in leave_out]

    def take(self, rows: np.ndarray) -> None:
        """Keeps these rows only, in this order."""
        self._rows = rows if self._rows is None else self._rows[rows]

    def num_rows(self, names: list[str]) -> int | None:
        """Returns the length of arrays of this file, or None without arrays."""
        lengths = {n: np.shape(self.numbers(n, ""))[:1] for n in names}
        sizes = set(lengths.values()) - {()}
        if len(sizes) > 1:
            received = ", ".join(f"{n}: {size}" for n, size in lengths.items())
            fix = "A row of one belongs to that of the others."
            raise complaint(self.path, "arrays", "of one length", received, fix)
        return sizes.pop()[0] if sizes else None

    def numbers(self, name: str, option: str) -> np.ndarray:
        """Returns the array `name`."""
        check_named(self, name, option)
        try:
            with Path(self.path).open("rb") as file:
                array = np.load(file, allow_pickle=False)[name]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise _no_npz(self.path) from error
        return array if self._rows is None else array[self._rows]

    def values(self, name: str, option: str) -> np.ndarray:
        """Returns the array `name`."""
        return self.numbers(name, option)

    def text(self, name: str, option: str) -> np.ndarray:
        """Returns the array `name` as text."""
        return self.numbers(name, option).astype(str)

    def key(self, name: str) -> np.ndarray | None:
        """Returns an array of one value a row, or None for another."""
        with zipfile.ZipFile(self.path) as files, files.open(f"{name}.npy") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return None
            # Others may be large, and are not read.
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        single = len(shape) == 1 and dtype.kind != "O"
        return self.numbers(name, "") if single else None

    def missing(self, name: str) -> np.ndarray:
        """Returns which rows of the array `name` lack a number."""
        array = self.numbers(name, "")
        if array.dtype.kind != "f":
            return np.zeros(len(array), bool)
        return np.isnan(array).reshape(len(array), -1).any(axis=-1)


class Frame:
    """The columns of a text or .parquet file."""

    kind = "column"

    def __init__(self, path: str, sep: str, decimal: str, leave_out: list[str]) -> None:
        self.path, self._how = path, {"sep": sep, "decimal": decimal}
        self._is_text = ending_of(path) in _TEXT
        try:
            self._frame = self._read()
        # pandas's are ValueErrors; its warning is of rows that are too long.
        except (ValueError, OSError, EOFError, Warning) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: this file cannot be read: {reason}") from error
        self.all_names = [str(name) for name in self._frame.columns]
        self._rows: np.ndarray | None = None
        self.names = [name for name in self.all_names if name not in leave_out]

    def take(self, rows: np.ndarray) -> None:
        """Keeps these rows only, in this order."""
        self._rows = rows if self._rows is None else self._rows[rows]
        self._frame = self._frame.iloc[rows]

    def num_rows(self, names: list[str]) -> int | None:
        """Returns the number of rows."""
        return len(self._frame)

    def numbers(self, name: str, option: str) -> np.ndarray:
        """Returns a column of numbers."""
        check_named(self, name, option)
        column = self._frame[name]
        if column.dtype.kind in "biuf" and len(column):
            return column.to_numpy()
        received = f"a column of {len(column)} rows of dtype {column.dtype}"
        fix = "Fill it."
        if len(column):
            first, row = _first_text(column)
            received += f"; the first that is none is {first!r} in row {row}"
            fix = "Look for text among the numbers."
            if isinstance(first, str) and _has_decimal_comma(first):
                fix = "For decimal commas pass --decimal , (and --sep if need be)."
        raise complaint(self.path, name, "a column of numbers", received, fix)

    def values(self, name: str, option: str) -> np.ndarray:
        """Returns a column: of numbers or, if it has others, of text."""
        check_named(self, name, option)
        column = self._frame[name]
        if column.isna().any():
            raise self._empty(name, int(np.flatnonzero(column.isna())[0]))
        if column.dtype.kind not in "biuf":
            column = column.astype(str)
        return column.to_numpy()

    def text(self, name: str, option: str) -> np.ndarray:
        """Returns a column as it is written in the file."""
        check_named(self, name, option)
        texts = self._as_written(name)
        empty = texts == "" if self._is_text else self._frame[name].isna().to_numpy()
        if empty.any():
            raise self._empty(name, int(np.flatnonzero(empty)[0]))
        return texts

    def key(self, name: str) -> np.ndarray:
        """Returns a column as it was read."""
        return self._frame[name].to_numpy()

    def missing(self, name: str) -> np.ndarray:
        """Returns which rows of a column are empty; a class may be called NA."""
        if self._is_text and self._frame[name].dtype.kind not in "biuf":
            return self._as_written(name) == ""
        return self._frame[name].isna().to_numpy()

    def _as_written(self, name: str) -> np.ndarray:
        if not self._is_text:
            return self._frame[name].astype(str).to_numpy()
        column = self._read(usecols=[name], dtype=str, keep_default_na=False)[name]
        texts = column.to_numpy(dtype=object)
        return texts if self._rows is None else texts[self._rows]

    def _empty(self, name: str, row: int) -> ValueError:
        fix = "Fill it, or leave such rows out with --drop-missing."
        return complaint(self.path, name, "filled", f"nothing in row {row}", fix)

    def _read(self, **options: Any) -> Any:
        pandas = checks.optional_module("keras-robust report", "pandas")
        if not self._is_text:
            checks.optional_module("keras-robust report", "pyarrow")
            return pandas.read_parquet(self.path)
        if not options:
            self._check_header()
        with warnings.catch_warnings():
            # pandas would leave the last columns out of rows that have too many.
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            return pandas.read_csv(self.path, index_col=False, **self._how, **options)

    def _check_header(self) -> None:
        if len(self._how["sep"]) != 1:
            raise ValueError("--sep must be one character")
        opened = gzip.open if self.path.lower().endswith(".gz") else io.open
        with opened(self.path, "rt", encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=self._how["sep"])
            filled = (line for line in lines if line)
            header, first = next(filled, []), next(filled, None)
        repeated = [name for name in header if header.count(name) > 1]
        if repeated:
            raise ValueError(f"there are two columns {repeated[0]}.")
        if first is None or len(first) == len(header):
            return
        fix = "Is the separator another one (--sep)?"
        if len(first) == len(header) + 1 > 2:
            fix = (
                "If the first is a row name, as R's write.table writes it, write the "
                "file with col.names=NA or row.names=FALSE; if a comma stands at the "
                "end of each row, take it away."
            )
        raise ValueError(
            f"the header names {len(header)} columns and the rows have {len(first)} "
            f"values. {fix}"
        )


def check_named(table: Arrays | Frame, name: str, option: str) -> None:
    """Raises where a file has no column or array of a name."""
    if name not in table.names:
        received = f"{name!r}; the {table.kind}s are {named(table.names)}"
        fix = f"Say which {table.kind} with {option}."
        article = "an" if table.kind == "array" else "a"
        expected = f"the name of {article} {table.kind}"
        raise complaint(table.path, option, expected, received, fix)


def _first_text(column: Any) -> tuple[Any, int]:
    for row, value in enumerate(column):
        if isinstance(value, str):
            try:
                float(value)
            except ValueError:
                return value, row
    return column.iloc[0], 0


def _has_decimal_comma(text: str) -> bool:
    whole, comma, part = text.strip().partition(",")
    return bool(comma) and whole.lstrip("-").isdigit() and part.isdigit()


def _no_npz(path: str) -> ValueError:
    received = "something else, or an array of Python objects"
    fix = "Write it with numpy.savez."
    return complaint("report", path, "an .npz file of numbers", received, fix)
