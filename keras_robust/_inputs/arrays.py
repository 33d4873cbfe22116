"""Numbers of any library as NumPy arrays."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks


def numeric(owner: str, argument: str, values: Any) -> np.ndarray:
    """Returns numbers as an array: from lists, tensors of any library, or frames."""
    if isinstance(values, np.ma.MaskedArray):
        raise checks.ArgumentTypeError(
            owner,
            argument,
            "no masked array, whose mask would be lost",
            f"a masked array of shape {values.shape}",
            "Leave positions out by `ignore_class` or a weight of 0.",
        )
    try:
        array = as_numpy(values)
    except ValueError as error:
        shape = "lists of the same length"
        fix = "Pass one array."
        raise checks.invalid(owner, argument, shape, str(error), fix) from error
    if array.dtype.kind == "O" and hasattr(values, "to_numpy"):  # pandas, with its NA
        array = values.to_numpy(dtype="float64", na_value=np.nan)
    # ml_dtypes.bfloat16, which has no NumPy kind of its own, converts to float32.
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise checks.ArgumentTypeError(
            owner,
            argument,
            "of numbers",
            f"a {type(values).__name__} of dtype {array.dtype}",
            "Convert class names to integer ids; several models go into "
            "`ReliabilityComparison` or `calibration_report`.",
        )
    return array


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
