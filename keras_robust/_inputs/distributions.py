"""Distributions over classes as NumPy arrays, checked, with no labels beside them."""

import math
from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks
from keras_robust._inputs.labels import TARGET_SUM_SLACK
from keras_robust._inputs.scores import (
    check_sums,
    checked_scores,
    warn_if_no_logits,
)
from keras_robust._numerics import probability_slack
from keras_robust._theory.simplex import log_of, log_softmax


def label_distribution(owner: str, argument: str, values: Any) -> np.ndarray:
    """Returns label posteriors (..., K) in float64, made to sum to 1 exactly.

    As lax as soft targets, which they are.
    """
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


def log_probabilities(
    owner: str, argument: str, values: Any, *, from_logits: bool
) -> np.ndarray:
    """Returns the log-probabilities (..., K) of probabilities or of logits."""
    from_logits = checks.flag(owner, "from_logits", from_logits)
    array = arrays.numeric(owner, argument, values)
    _check_classes(owner, argument, array)
    row = np.arange(math.prod(array.shape[:-1]))
    flat = array.reshape(len(row), array.shape[-1])
    scores = checked_scores(owner, argument, flat, from_logits, row)
    if from_logits:
        warn_if_no_logits(owner, argument, scores, single=False, said=set())
    else:
        scores = np.clip(scores, 0, 1)
        check_sums(owner, argument, scores, row)
        scores = log_of(scores)
    return log_softmax(scores).reshape(array.shape)


def _check_classes(owner: str, argument: str, array: np.ndarray) -> None:
    if array.ndim == 0 or array.shape[-1] < 2:
        raise checks.invalid(
            owner,
            argument,
            "of shape (..., num_classes), at least two classes",
            f"{argument}.shape={array.shape}",
            "Give a single sigmoid output p as the two classes (1 - p, p).",
        )
