"""Predictions as NumPy arrays, checked: the way into every NumPy measure."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust._inputs.labels import TARGET_SUM_SLACK
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
    argument: str = "y_prob",
    label_argument: str = "y_true",
) -> Predictions:
    """Checks predictions and flattens them to rows, ignored ones left out.

    `argument` and `label_argument` are what the caller calls `y_prob` and `y_true`, for
    the errors.
    """
    from_logits = checks.flag(owner, "from_logits", from_logits)
    ignore_class = checks.ignored_class(owner, ignore_class)
    scores = numeric(owner, argument, y_prob)
    y_true = numeric(owner, label_argument, y_true)
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise _shape_error(owner, label_argument, y_true, argument, scores)
    if scores.ndim == 1 and y_true.ndim == 1:
        raise checks.invalid(
            owner,
            argument,
            "of shape (..., K), with an axis of classes",
            f"{argument}.shape={scores.shape}, {label_argument}.shape={y_true.shape}",
            f"For a single sigmoid output pass {argument}[:, None].",
        )
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
    scores = checked_scores(owner, argument, scores[keep], from_logits, row)
    if from_logits:
        from scipy import special  # not at the top: that takes a quarter of a second

        prob = special.softmax(scores, axis=-1)
    else:
        prob = np.clip(scores, 0.0, 1.0)
    label = _labels(owner, label_argument, y_true[keep], prob.shape[-1], single, row)
    logits = scores if from_logits else None
    return Predictions(prob, label, weight[keep], dtype, logits, row)


def with_class_ids(owner: str, predictions: Predictions) -> Predictions:
    """Returns the predictions with class ids for one-hot labels; raises for soft ones.

    For what undoes the noise of labels that were drawn: soft targets are not.
    """
    label = predictions.label
    if label.ndim == 2 and not ((label == 0) | (label == 1)).all():
        raise checks.invalid(
            owner,
            "y_true",
            "class ids or one-hot with a noise_matrix",
            f"soft targets, the first {label[0].tolist()[:5]}",
            "The matrix tells which label was given, not how a soft one came about.",
        )
    return predictions._replace(label=predictions.class_id)


# Lax enough for rows printed with a few digits; sigmoids of many classes are caught.
_ROW_SUM_SLACK = 0.01


def checked_distributions(
    owner: str, predictions: Predictions, argument: str = "y_prob"
) -> Predictions:
    """Returns the predictions if their rows sum to 1, or raises."""
    check_sums(owner, argument, predictions.prob, predictions.row)
    return predictions


def check_sums(owner: str, argument: str, prob: np.ndarray, row: np.ndarray) -> None:
    """Raises unless rows of probabilities (N, K) sum to 1; `row` are their numbers."""
    off = np.abs(prob.sum(axis=-1) - 1) > _ROW_SUM_SLACK
    if off.any():
        first = int(np.flatnonzero(off)[0])
        raise checks.invalid(
            owner,
            argument,
            "distributions, with rows summing to 1",
            f"{int(off.sum())} other rows, the first row {row[first]} with a sum of "
            f"{prob[first].sum():.6g}",
            "For logits pass from_logits=True; for independent labels look at one at "
            "a time.",
        )


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


def spread_weights(owner: str, sample_weight: Any, positions: tuple) -> np.ndarray:
    """Returns weights, one for each position, checked."""
    if sample_weight is None:
        return np.ones(positions)
    weight = numeric(owner, "sample_weight", sample_weight).astype("float64")
    if weight.shape == (*positions, 1):
        weight = weight[..., 0]
    if weight.shape != positions[: weight.ndim]:
        raise checks.invalid(
            owner,
            "sample_weight",
            f"of shape {positions} or a leading part of it",
            f"sample_weight.shape={weight.shape}",
            "Pass one value per position or one per sample.",
        )
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise checks.invalid(
            owner,
            "sample_weight",
            "finite and at least 0",
            f"a minimum of {weight.min()}",
            "Use 0 to leave a row out.",
        )
    return np.broadcast_to(
        weight.reshape(weight.shape + (1,) * (len(positions) - weight.ndim)), positions
    )


def checked_scores(
    owner: str, argument: str, scores: np.ndarray, from_logits: bool, row: np.ndarray
) -> np.ndarray:
    """Returns rows (N, K) in float64, two classes for K = 1, or raises."""
    slack = probability_slack(scores.dtype.name)
    given, scores = scores, scores.astype("float64")
    if from_logits:
        bad = np.isnan(scores) | np.isposinf(scores)
        if scores.shape[-1] > 1:
            bad |= np.isneginf(scores).all(axis=-1, keepdims=True)
    else:
        bad = ~((scores >= -slack) & (scores <= 1 + slack))
    if bad.any():
        first = int(np.flatnonzero(bad.any(axis=-1))[0])
        raise checks.invalid(
            owner,
            argument,
            "free of NaN and infinity" if from_logits else "in [0, 1], with no NaN",
            f"{int(bad.any(axis=-1).sum())} bad rows, the first row {row[first]}: "
            f"{scores[first].tolist()[:5]}",
            "Drop rows without a prediction."
            if from_logits
            else "For logits pass from_logits=True; drop rows without a prediction.",
        )
    if scores.shape[-1] == 1:
        # 1 - p in the dtype of p, as two outputs of a model would be.
        whole = given.dtype.kind in "biu"
        other = (
            np.zeros_like(scores) if from_logits else 1 - (scores if whole else given)
        )
        scores = np.concatenate([other.astype("float64"), scores], axis=-1)
    return scores


def _labels(
    owner: str,
    argument: str,
    y_true: np.ndarray,
    num_classes: int,
    single: bool,
    row: np.ndarray,
) -> np.ndarray:
    if single:
        y_true = np.stack([1.0 - y_true, y_true], axis=-1)
    if y_true.ndim == 1:
        bad = ~((y_true >= 0) & (y_true < num_classes) & (y_true == np.floor(y_true)))
        expected = f"whole class ids in [0, {num_classes})"
        dtype = "int64"
    else:
        slack = probability_slack(y_true.dtype.name)
        bad = ~((y_true >= -slack) & (y_true <= 1 + slack)).all(axis=-1)
        bad |= np.abs(y_true.sum(axis=-1, dtype="float64") - 1) > TARGET_SUM_SLACK
        expected = "distributions: in [0, 1], rows summing to 1"
        dtype = "float64"
    if bad.any():
        raise checks.invalid(
            owner,
            argument,
            expected,
            f"{int(bad.sum())} bad labels, the first {y_true[bad][0].tolist()} in row "
            f"{row[bad][0]}",
            "Mark positions without a label with `ignore_class`.",
        )
    return y_true.astype(dtype)
