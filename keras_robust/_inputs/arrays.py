"""Numbers of any library as NumPy arrays."""

import decimal
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_robust._inputs import checks


def numeric(owner: str, argument: str, values: Any) -> np.ndarray:
    """Returns numbers as an array: from lists, tensors of any library, or frames."""
    if isinstance(values, np.ma.MaskedArray):
        raise checks.invalid_type(
            owner,
            argument,
            "no masked array, whose mask would be lost",
            f"a masked array of shape {values.shape}",
            "Leave positions out by `ignore_class` or a weight of 0.",
        )
    try:
        array = as_numpy(values)
    except ValueError as error:
        raise ragged(owner, argument, values) from error
    if array.dtype.kind == "O" and hasattr(values, "to_numpy"):  # pandas, with its NA
        array = values.to_numpy()
    if array.dtype.kind == "O":
        array = _of_objects(owner, argument, array)
    # ml_dtypes.bfloat16, which has no NumPy kind of its own, converts to float32.
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise checks.invalid_type(
            owner,
            argument,
            "of numbers",
            f"a {type(values).__name__} of dtype {array.dtype}",
            _fix_for(array),
        )
    return array


def ragged(owner: str, argument: str, values: Any) -> ValueError:
    """Returns the error about lists that are no array."""
    return checks.invalid(
        owner,
        argument,
        "lists of the same length",
        f"a {type(values).__name__} of {len(values)} that differ in shape",
        "Pad rows; labels with `ignore_class`. Of a model with several outputs, pass "
        "those of one.",
    )


def _of_objects(owner: str, argument: str, array: np.ndarray) -> np.ndarray:
    """Returns numbers that are Python objects, as `.values` of a mixed frame are."""
    wrong = [x for x in array.ravel() if not _is_number(x)]
    if not wrong:
        flat = [np.nan if _is_missing(x) else float(x) for x in array.ravel()]
        return np.array(flat, "float64").reshape(array.shape)
    rows = _of_rows(array)
    if rows is not None:
        return numeric(owner, argument, rows)
    first, fix = wrong[0], "Convert class names to integer ids."
    if isinstance(first, Mapping):
        fix = "Pass one for each row."
        if argument == "y_prob":
            fix = (
                "Several models go into `ReliabilityComparison` or "
                "`calibration_report`; of several outputs, pass one."
            )
    elif _is_row(first) or type(first).__name__ == "RaggedTensor":
        fix = "Rows must be of one length: pad them, or concatenate their positions."
    elif hasattr(first, "toarray"):
        fix = "Pass `.toarray()` of a sparse matrix."
    elif not isinstance(first, str):
        fix = "Convert it with `.astype(float)`."
    expected, received = "of numbers", f"an object such as {_short(first)}"
    raise checks.invalid_type(owner, argument, expected, received, fix)


def _of_rows(array: np.ndarray) -> np.ndarray | None:
    """Returns rows that are objects, as a column of lists has them, as one array."""
    if array.ndim != 1 or not all(map(_is_row, array)):
        return None
    try:
        return np.asarray(array.tolist())
    except ValueError:
        return None


def _is_row(x: Any) -> bool:
    return isinstance(x, (Sequence, np.ndarray)) and not isinstance(x, (str, bytes))


def _is_number(x: Any) -> bool:
    return isinstance(x, (numbers.Real, decimal.Decimal, np.bool_)) or _is_missing(x)


def _is_missing(x: Any) -> bool:
    return x is None or type(x).__name__ == "NAType"  # pandas's, which may not be there


def _short(x: Any) -> str:
    text = repr(x) if isinstance(x, str) else f"one of type {type(x).__name__}"
    return text if len(text) < 40 else f"{text[:36]} ..."


def _fix_for(array: np.ndarray) -> str:
    if array.dtype.kind == "c":
        return "Complex numbers are neither labels nor probabilities."
    if array.dtype.kind in "US" and array.size:
        try:
            array.astype("float64")
        except ValueError:
            return "Convert class names to integer ids."
        return "They are numbers as text: convert them with `.astype(float)`."
    return "Convert it with `.astype(float)`."


def as_numpy(values: Any) -> np.ndarray:
    """Returns numbers or tensors of any library as an array, whatever the backend."""
    # NumPy takes neither gradients nor bfloat16 from PyTorch.
    if not hasattr(values, "detach"):
        return np.asarray(values)
    values = values.detach().cpu()
    if str(values.dtype) == "torch.bfloat16":
        import ml_dtypes

        return values.float().numpy().astype(ml_dtypes.bfloat16)
    return values.numpy()
