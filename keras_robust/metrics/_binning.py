"""In which bin of equal width each confidence lies, in tensors."""

import functools
from typing import Any

import keras
import ml_dtypes  # noqa: F401  (so that NumPy knows bfloat16 by name)
import numpy as np
from keras import ops

from keras_robust import _numerics
from keras_robust.calibration._bins.bins import bin_edges

# So many comparisons of a number with an edge are faster than finding its bin.
_FEW_BINS = 32
# For so few rows, one operation is faster than many.
_FEW_ROWS = 4096


def bin_index(confidence: Any, num_bins: int, dtype: str) -> Any:
    """Returns the bins of confidences (N,) in [0, 1], int32 of the same shape.

    `dtype` is that in which they were given, to which the edges are rounded; the
    confidences themselves are float32 or float64. NaN is in any bin.
    """
    wide = _numerics.standard_dtype(confidence)
    inner = _inner_edges(num_bins, dtype, wide)
    if keras.backend.backend() == "jax" and num_bins <= _FEW_BINS:
        # XLA makes one loop of it; a search is one for each row.
        index = ops.zeros_like(confidence, dtype="int32")
        for edge in inner:
            index = index + ops.cast(confidence >= edge, "int32")
        return index
    inner = ops.convert_to_tensor(inner)
    few = confidence.shape[0] is not None and confidence.shape[0] <= _FEW_ROWS
    if few or dtype != wide:
        return ops.searchsorted(inner, confidence, side="right")
    # The product is wrong by rounding at most: by one bin, at an edge. Of NaN, an
    # integer is whatever the machine likes.
    guess = ops.cast(confidence * num_bins, "int32")
    guess = ops.clip(guess, 0, num_bins - 1)
    end = ops.convert_to_tensor([2.0], dtype=wide)  # above all that there is
    above = confidence >= ops.take(ops.concatenate([inner, end]), guess)
    below = confidence < ops.take(ops.concatenate([-end, inner]), guess)
    return guess + ops.cast(above, "int32") - ops.cast(below, "int32")


@functools.cache
def _inner_edges(num_bins: int, dtype: str, wide: str) -> np.ndarray:
    return bin_edges(num_bins, dtype)[1:-1].astype(wide)
