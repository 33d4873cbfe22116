"""Reliability bins of labels that apply or not, and the error read off them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust._inputs.options import (
    checked_average,
    checked_axis,
    checked_norm,
    checked_num_bins,
)
from keras_robust._inputs.predictions import read_predictions
from keras_robust._inputs.row_weights import spread_weights
from keras_robust._numerics import probability_slack
from keras_robust.calibration._bins.binning import binned
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.classwise import check_tables


def bin_multilabel(
    y_true: Any,
    y_prob: Any,
    *,
    num_bins: int = 15,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
) -> tuple[ReliabilityBins, ...]:
    """Bins the probabilities of labels each of which applies or not, by itself.

    Args:
        y_true: 0 or 1 for each label, or the probability that it applies, of shape
            `(..., L)`.
        y_prob: Sigmoid probabilities of shape `(..., L)`, or logits with
            `from_logits=True`.
        num_bins: Number of bins of equal width of each label. Defaults to 15.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: Optional weights, one per sample, per position, or per entry.
        ignore_class: Entries of `y_true` equal to it are left out, each by itself; or
            None. Defaults to -100.
        axis: Axis of the labels in `y_true` and `y_prob`. Defaults to -1.

    Returns:
        A `ReliabilityBins` for each label.

    Raises:
        ValueError: If shapes do not fit, an entry of `y_true` or a probability is NaN
            or outside [0, 1], or a weight is negative or NaN.

    Examples:
        >>> from keras_robust.calibration import bin_multilabel, multilabel_error
        >>> bins = bin_multilabel([[1, 0], [1, -100]], [[0.75, 0.5], [0.75, 0.9]])
        >>> [round(b.ece(), 4) for b in bins], round(multilabel_error(bins), 4)
        ([0.25, 0.5], 0.375)
    """
    owner = "bin_multilabel"
    num_bins = checked_num_bins(owner, num_bins)
    y_true = numeric(owner, "y_true", y_true)
    y_prob = numeric(owner, "y_prob", y_prob)
    _check_shapes(owner, y_true, y_prob)
    axis = checked_axis(owner, axis, y_prob, "y_prob")
    y_true, y_prob = np.moveaxis(y_true, axis, -1), np.moveaxis(y_prob, axis, -1)
    weight = _weight_of_entries(owner, sample_weight, y_prob.shape)
    ignore_class = checks.ignored_class(owner, ignore_class)
    _check_labels(owner, y_true, (weight > 0) & (y_true != ignore_class))
    entries = read_predictions(
        owner,
        y_true,
        y_prob[..., None],  # each a single sigmoid output
        from_logits=from_logits,
        sample_weight=weight,
        ignore_class=ignore_class,
    )
    # A column for each label again; what does not count has weight 0.
    columns = np.zeros((3, y_prob.size))
    columns[:, entries.row] = entries.weight, entries.prob[:, 1], entries.label[:, 1]
    weight, prob, truth = columns.reshape(3, -1, y_prob.shape[-1])
    return binned(prob, weight, num_bins, entries.dtype).tables(truth)


def multilabel_error(
    bins: Sequence[ReliabilityBins], *, norm: str = "l1", average: str = "macro"
) -> float:
    """Calibration error of multi-label predictions.

    Args:
        bins: One table for each label, as from `bin_multilabel` or the
            `bin_statistics()` of a `MultilabelCalibrationError`.
        norm: Norm over the bins: `"l1"`, `"l2"` or `"max"`. Defaults to `"l1"`.
        average: `"macro"`, the mean of the labels' errors, those of which nothing was
            seen left out; or `"micro"`, the error of all decisions in one set of bins.
            Defaults to `"macro"`.

    Returns:
        The error, in [0, 1]; 0 if nothing was seen.

    Raises:
        ValueError: If `norm` or `average` is none of these, or there is no table.

    Examples:
        >>> from keras_robust.calibration import bin_multilabel, multilabel_error
        >>> bins = bin_multilabel([[0, 1], [0, 1]], [[0.5, 0.5], [0.5, 0.5]])
        >>> multilabel_error(bins), multilabel_error(bins, average="micro")
        (0.5, 0.0)
    """
    norm = checked_norm("multilabel_error", norm)
    average = checked_average("multilabel_error", average)
    check_tables("multilabel_error", bins)
    if average == "micro":
        return _pooled(bins).ece(norm)
    # Not `total > 0`: a table of NaN takes part, so that NaN comes out.
    errors = [table.ece(norm) for table in bins if table.total != 0]
    return float(np.mean(errors)) if errors else 0.0


def _pooled(bins: Sequence[ReliabilityBins]) -> ReliabilityBins:
    sums = [
        [
            np.where(table.count == 0, 0.0, table.count * mean)
            for mean in (1.0, table.confidence, table.accuracy)
        ]
        for table in bins
    ]
    return ReliabilityBins.from_sums(*np.sum(sums, axis=0), edges=bins[0].edges)


def _weight_of_entries(owner: str, sample_weight: Any, shape: tuple) -> np.ndarray:
    if np.shape(sample_weight) == (*shape[:-1], 1):
        sample_weight = np.asarray(sample_weight)[..., 0]
    return spread_weights(owner, sample_weight, shape)


def _check_shapes(owner: str, y_true: np.ndarray, y_prob: np.ndarray) -> None:
    if y_true.shape != y_prob.shape or not y_prob.shape or not y_prob.shape[-1]:
        raise checks.invalid(
            owner,
            "y_true",
            "of the shape of `y_prob`, (..., num_labels)",
            f"y_true.shape={y_true.shape}, y_prob.shape={y_prob.shape}",
            "Give one entry per label.",
        )


def _check_labels(owner: str, y_true: np.ndarray, counted: np.ndarray) -> None:
    slack = probability_slack(y_true.dtype.name)
    bad = counted & ~((y_true >= -slack) & (y_true <= 1 + slack))
    if bad.any():
        raise checks.invalid(
            owner,
            "y_true",
            "in [0, 1] for every label, with no NaN",
            f"{int(bad.sum())} bad entries, the first {y_true[bad][0].item()}",
            "Mark entries without a label with `ignore_class`.",
        )
