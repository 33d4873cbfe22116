"""Proper scores: how good predicted probabilities are, calibration included."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import Correction, correction
from keras_robust._inputs.predictions import (
    checked_distributions,
    read_predictions,
    with_class_ids,
)


def brier_score(
    y_true: Any,
    y_prob: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
    noise_matrix: Any = None,
) -> float:
    """Brier score: mean squared distance of the probabilities from what came true.

    `mean of sum_k (p_k - t_k)**2`, with `t` one-hot or soft; for two classes half of
    that, `(p_1 - t_1)**2`, as in scikit-learn. A proper score: best, in expectation,
    for the true probabilities. It is about accuracy and calibration at once; see
    `brier_decomposition`.

    Args:
        y_true: Labels, as in `bin_predictions`.
        y_prob: Predictions, as in `bin_predictions`.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.
        noise_matrix: As in `bin_predictions`: the score on true labels, from noisy ones
            (class ids or one-hot). Defaults to None.

    Returns:
        The score, in [0, 2], for two classes in [0, 1]; 0 if there are no predictions.
        With a `noise_matrix`, on few rows it may be outside.

    Raises:
        ValueError: As `bin_predictions`, or for soft targets with a `noise_matrix`.

    Examples:
        >>> from keras_robust.calibration import brier_score
        >>> round(brier_score([0, 1], [[0.9, 0.1], [0.6, 0.4]]), 4)
        0.185

    Reference:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly
        Weather Review 78, 1950.
    """
    owner = "brier_score"
    undone = correction(owner, noise_matrix)
    predictions = read_predictions(
        owner,
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
    )
    checked_distributions(owner, predictions)
    if undone is not None:
        undone.check_classes(owner, predictions.prob.shape[-1])
        predictions = with_class_ids(owner, predictions)
    distances = brier_of_rows(predictions.prob, predictions.label, undone)
    return weighted_mean(distances, predictions.weight)


def negative_log_likelihood(
    y_true: Any,
    y_prob: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
    noise_matrix: Any = None,
) -> float:
    """Negative log-likelihood: the mean of -log of the label's probability, in nats.

    A proper score, and cross entropy under its other name. Logits are the better input:
    their log-probabilities are right however small. A label that was given probability
    0 costs infinity, and that is returned: nothing is clipped.

    Args:
        y_true: Labels, as in `bin_predictions`.
        y_prob: Predictions, as in `bin_predictions`.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.
        noise_matrix: As in `bin_predictions`: the score on true labels, from noisy
            ones. Every class may then be the true one: small probabilities scatter the
            score, and 0 is an error. Defaults to None.

    Returns:
        The score, at least 0, perhaps infinite; 0 if there are no predictions. With a
        `noise_matrix` it is finite, and on few rows it may be negative.

    Raises:
        ValueError: As `bin_predictions`, or where a probability is 0 and `noise_matrix`
            lets that class be the true one.

    Examples:
        >>> from keras_robust.calibration import negative_log_likelihood
        >>> round(negative_log_likelihood([0, 1], [[0.9, 0.1], [0.6, 0.4]]), 4)
        0.5108
    """
    owner = "negative_log_likelihood"
    undone = correction(owner, noise_matrix)
    predictions = read_predictions(
        owner,
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
    )
    checked_distributions(owner, predictions)
    if undone is not None:
        undone.check_classes(owner, predictions.prob.shape[-1])
    costs = nll_of_rows(predictions.log_prob, predictions.label, undone)
    if undone is not None and not np.isfinite(costs).all():
        rows = np.flatnonzero(~np.isfinite(costs))
        raise checks.invalid(
            owner,
            "y_prob",
            "above 0 for every class that noise_matrix lets be the true one",
            f"{len(rows)} rows with a probability of 0, the first row "
            f"{predictions.row[rows[0]]}",
            "Pass logits with from_logits=True: their log-probabilities are finite.",
        )
    return weighted_mean(costs, predictions.weight)


def weighted_mean(values: np.ndarray, weight: np.ndarray) -> float:
    """Returns the weighted mean, or 0 if there is nothing to average."""
    return float(values @ weight / weight.sum()) if len(values) else 0.0


def brier_of_rows(
    prob: np.ndarray, label: np.ndarray, undone: Correction | None = None
) -> np.ndarray:
    """Returns each row's squared distance, shape (N,), with the noise undone."""
    scale = 0.5 if prob.shape[-1] == 2 else 1.0
    if undone is not None:
        # Of class k it is sum_j p_j² + 1 - 2 p_k; rows of the inverse sum to 1.
        at_true = (undone.of_labels(label) * prob).sum(axis=-1)
        return scale * ((prob**2).sum(axis=-1) + 1 - 2 * at_true)
    if label.ndim == 2:
        return scale * ((prob - label) ** 2).sum(axis=-1)
    at_label = prob[np.arange(len(prob)), label]
    return scale * ((prob**2).sum(axis=-1) - at_label**2 + (1 - at_label) ** 2)


def nll_of_rows(
    log_prob: np.ndarray, label: np.ndarray, undone: Correction | None = None
) -> np.ndarray:
    """Returns each row's -log p of its label, shape (N,), with the noise undone."""
    if undone is not None:
        label = undone.of_labels(label)
    if label.ndim == 1:
        return -log_prob[np.arange(len(log_prob)), label]
    # A class without weight costs nothing even where it was ruled out.
    with np.errstate(
        invalid="ignore"
    ):  # infinities of both signs, where noise is undone
        return -(label * np.where(label == 0, 0.0, log_prob)).sum(axis=-1)
