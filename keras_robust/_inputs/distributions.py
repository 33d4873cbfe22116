"""Distributions over classes as NumPy arrays, checked."""

from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks
from keras_robust._inputs.labels import TARGET_SUM_SLACK
from keras_robust._numerics import probability_slack
from keras_robust._theory.simplex import log_of, log_softmax


def distribution(owner: str, argument: str, values: Any) -> np.ndarray:
    """Returns distributions (..., K) in float64, made to sum to 1 exactly."""
    array = arrays.numeric(owner, argument, values)
    _check_classes(owner, argument, array)
    slack = probability_slack(array.dtype.name)
    array = array.astype("float64")
    inside = (array >= -slack) & (array <= 1 + slack)
    total = array.sum(axis=-1)
    if not (inside.all() and (np.abs(total - 1) <= TARGET_SUM_SLACK).all()):
        raise checks.invalid(
            owner,
            argument,
            "of distributions: in [0, 1], with no NaN, rows summing to 1",
            f"a smallest entry of {array.min():.6g}, a largest of {array.max():.6g} "
            f"and sums from {total.min():.6g} to {total.max():.6g}",
            "The last axis holds the classes.",
        )
    array = np.clip(array, 0, 1)
    return array / array.sum(axis=-1, keepdims=True)


def log_distribution(
    owner: str, argument: str, values: Any, *, from_logits: bool
) -> np.ndarray:
    """Returns the log-probabilities (..., K) of probabilities or of logits."""
    if not checks.flag(owner, "from_logits", from_logits):
        return log_of(distribution(owner, argument, values))
    array = arrays.numeric(owner, argument, values)
    _check_classes(owner, argument, array)
    array = array.astype("float64")
    bad = np.isnan(array) | np.isposinf(array)
    if (bad | np.isneginf(array).all(axis=-1, keepdims=True)).any():
        raise checks.invalid(
            owner,
            argument,
            "free of NaN and infinity",
            f"{int(bad.sum())} such logits, or a row of nothing but -inf",
            "Drop rows without a prediction.",
        )
    return log_softmax(array)


def _check_classes(owner: str, argument: str, array: np.ndarray) -> None:
    if array.ndim == 0 or array.shape[-1] < 2:
        raise checks.invalid(
            owner,
            argument,
            "of shape (..., num_classes), at least two classes",
            f"{argument}.shape={array.shape}",
            "Give a single sigmoid output p as the two classes (1 - p, p).",
        )
