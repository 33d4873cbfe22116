"""Predictions as NumPy arrays, checked: the way into every NumPy measure."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust._inputs.labels import TARGET_SUM_SLACK
from keras_robust._inputs.options import checked_axis
from keras_robust._inputs.row_weights import spread_weights
from keras_robust._inputs.scores import (
    check_sums,
    checked_scores,
    warn_if_no_logits,
)
from keras_robust._numerics import probability_slack
from keras_robust._theory import simplex


class Predictions(NamedTuple):
    """Counted predictions, one row each.

    Attributes:
        prob: Float64 probabilities of shape `(N, K)`, K >= 2.
        label: Class ids of shape `(N,)`, or float64 soft targets of shape `(N, K)`.
        weight: Float64 weights of shape `(N,)`, all positive.
        dtype: The dtype in which the probabilities were given, or computed.
        logits: Float64 logits of shape `(N, K)`, or None if probabilities were given.
        row: Where the rows were among all that were given, int64 of shape `(N,)`.
    """

    prob: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    dtype: np.dtype
    logits: np.ndarray | None
    row: np.ndarray

    @property
    def class_id(self) -> np.ndarray:
        """Class ids of shape `(N,)`; of a soft target, the likeliest class."""
        return self.label if self.label.ndim == 1 else self.label.argmax(axis=-1)

    @property
    def log_prob(self) -> np.ndarray:
        """Log-probabilities of shape `(N, K)`; -inf where a probability is 0."""
        if self.logits is not None:
            return simplex.log_softmax(self.logits)
        return simplex.log_of(self.prob)


def read_predictions(
    owner: str,
    y_true: Any,
    y_prob: Any,
    *,
    from_logits: bool,
    sample_weight: Any,
    ignore_class: int | None,
    axis: int = -1,
    argument: str = "y_prob",
    label_argument: str = "y_true",
    said: set[str] | None = None,
) -> Predictions:
    """Checks predictions and flattens them to rows, ignored ones left out.

    `argument` and `label_argument` are what the caller calls `y_prob` and `y_true`, for
    the errors; `said` is a set that calls share which should warn of the same thing
    only once. Float64 probabilities of which every row counts are not copied.
    """
    from_logits = checks.flag(owner, "from_logits", from_logits)
    ignore_class = checks.ignored_class(owner, ignore_class)
    scores = numeric(owner, argument, y_prob)
    y_true = numeric(owner, label_argument, y_true)
    if scores.ndim == 1 and y_true.ndim == 1:
        raise checks.invalid(
            owner,
            argument,
            "of shape (..., K), with an axis of classes",
            f"{argument}.shape={scores.shape}, {label_argument}.shape={y_true.shape}",
            f"For a single sigmoid output pass {argument}[:, None].",
        )
    y_true, scores = _classes_last(owner, y_true, argument, scores, axis)
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise _shape_error(owner, label_argument, y_true, argument, scores)
    dtype = np.dtype("float64") if from_logits else _floating(scores.dtype)
    positions, single = scores.shape[:-1], scores.shape[-1] == 1
    if y_true.shape == (*positions, 1):
        y_true = y_true[..., 0]
    # One axis for both could be a batch of single outputs as well as a distribution.
    soft = y_true.shape == scores.shape and scores.ndim > 1 and not single
    if not soft and y_true.shape != positions:
        raise _shape_error(owner, label_argument, y_true, argument, scores)
    weight = spread_weights(owner, sample_weight, positions)
    ignored = np.zeros(y_true.shape, bool)
    if ignore_class is not None:
        # Compared as floats or wide integers: an unsigned label is never -100.
        ignored = y_true == ignore_class
    if soft:
        own = ignore_class is not None and 0 <= ignore_class < scores.shape[-1]
        ignored = y_true[..., ignore_class] == 1 if own else ignored.all(axis=-1)
    keep = ~ignored & (weight > 0)
    row = np.flatnonzero(keep)
    y_true, scores, weight = _counted(keep, (y_true, scores, weight))
    scores = checked_scores(owner, argument, scores, from_logits, row)
    if from_logits:
        said = set() if said is None else said
        warn_if_no_logits(owner, argument, scores, single=single, said=said)
        prob = simplex.softmax(scores)
    elif scores.size and not (scores.min() >= 0 and scores.max() <= 1):
        prob = np.clip(scores, 0.0, 1.0)
    else:
        prob = scores
    label = _labels(owner, label_argument, y_true, prob.shape[-1], single, row)
    logits = scores if from_logits else None
    return Predictions(prob, label, weight, dtype, logits, row)


def _classes_last(
    owner: str, y_true: np.ndarray, argument: str, scores: np.ndarray, axis: Any
) -> tuple[np.ndarray, np.ndarray]:
    axis = checked_axis(owner, axis, scores if scores.ndim else None, argument)
    if axis == -1 or not scores.ndim:
        return y_true, scores
    # Soft targets, and class ids with an axis of size 1 where the classes would be.
    same = y_true.shape == scores.shape
    if same or (y_true.ndim == scores.ndim and y_true.shape[axis] == 1):
        y_true = np.moveaxis(y_true, axis, -1)
    return y_true, np.moveaxis(scores, axis, -1)


def _counted(keep: np.ndarray, arrays: tuple) -> tuple:
    """Returns the positions of arrays that count, as rows."""
    if not keep.all():
        return tuple(array[keep] for array in arrays)
    size, axes = keep.size, keep.ndim
    return tuple(array.reshape(size, *array.shape[axes:]) for array in arrays)


def with_class_ids(
    owner: str,
    predictions: Predictions,
    why: str = "with a noise_matrix",
    fix: str = "The matrix tells which label was given, not how a soft one came about.",
) -> Predictions:
    """Returns the predictions with class ids for one-hot labels; raises for soft ones.

    For what goes by labels that were drawn: soft targets are not.
    """
    label = predictions.label
    if label.ndim == 2 and not ((label == 0) | (label == 1)).all():
        raise checks.invalid(
            owner,
            "y_true",
            f"class ids or one-hot {why}",
            f"soft targets, the first {label[0].tolist()[:5]}",
            fix,
        )
    return predictions._replace(label=predictions.class_id)


def checked_distributions(
    owner: str, predictions: Predictions, argument: str = "y_prob"
) -> Predictions:
    """Returns the predictions if their rows sum to 1, or raises."""
    check_sums(owner, argument, predictions.prob, predictions.row)
    return predictions


def _floating(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind not in "biu" else np.dtype("float64")


def _shape_error(
    owner: str,
    label_argument: str,
    y_true: np.ndarray,
    argument: str,
    scores: np.ndarray,
) -> ValueError:
    received = f"{label_argument}.shape={y_true.shape}, {argument}.shape={scores.shape}"
    if _swapped(y_true, scores):
        order = f"({label_argument}, {argument})"
        fix = f"Swap them: the order is {order}, as in scikit-learn."
        return checks.invalid(owner, label_argument, "the labels", received, fix)
    return checks.invalid(
        owner,
        label_argument,
        f"of shape {scores.shape[:-1]} (class ids) or {scores.shape} (soft targets)",
        received,
        f"The last axis of `{argument}` holds the classes; a single sigmoid output "
        "needs a last axis of 1.",
    )


def _swapped(y_true: np.ndarray, scores: np.ndarray) -> bool:
    # The predictions hold whole numbers, one for each row of the labels.
    positions = y_true.shape[:-1]
    fits = y_true.ndim > 0 and scores.shape in (positions, (*positions, 1))
    return fits and bool((scores == np.floor(scores)).all())


def _labels(
    owner: str,
    argument: str,
    y_true: np.ndarray,
    num_classes: int,
    single: bool,
    row: np.ndarray,
) -> np.ndarray:
    slack = probability_slack(y_true.dtype.name)
    fix = "Mark positions without a label with `ignore_class`."
    if single:
        bad = ~((y_true >= -slack) & (y_true <= 1 + slack))
        expected = "0 or 1, or the probability of class 1, for a single output"
        fix = f"Class 1 is what `y_prob` is the probability of. {fix}"
    elif y_true.ndim == 1:
        bad = ~((y_true >= 0) & (y_true < num_classes) & (y_true == np.floor(y_true)))
        expected = f"whole class ids in [0, {num_classes})"
    else:
        bad = ~((y_true >= -slack) & (y_true <= 1 + slack)).all(axis=-1)
        bad |= np.abs(y_true.sum(axis=-1, dtype="float64") - 1) > TARGET_SUM_SLACK
        expected = "distributions: in [0, 1], rows summing to 1"
    if bad.any():
        if y_true.ndim == 1 and y_true.min() == 1 and y_true.max() == num_classes:
            fix = f"Subtract 1: labels from 1 to {num_classes} are one too large."
        raise checks.invalid(
            owner,
            argument,
            expected,
            f"{int(bad.sum())} bad labels, the first {y_true[bad][0].tolist()} in row "
            f"{row[bad][0]}",
            fix,
        )
    if single:
        return np.stack([1.0 - y_true, y_true], axis=-1).astype("float64")
    return y_true.astype("int64" if y_true.ndim == 1 else "float64")
