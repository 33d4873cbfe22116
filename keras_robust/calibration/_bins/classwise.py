"""Reliability bins of every class, and the error read off them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.options import checked_norm, checked_num_bins
from keras_robust._inputs.predictions import checked_distributions, read_predictions
from keras_robust.calibration._bins.binning import binned
from keras_robust.calibration._bins.bins import ReliabilityBins, norm_of_gaps


def bin_classwise(
    y_true: Any,
    y_prob: Any,
    *,
    num_bins: int = 15,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
) -> tuple[ReliabilityBins, ...]:
    """Bins each class's probabilities, of all predictions, against that class.

    Args:
        y_true: Labels, as in `bin_predictions`; a soft target counts for each class by
            the probability that it gives to it.
        y_prob: Predictions, as in `bin_predictions`; a single sigmoid output stands
            for 2 classes.
        num_bins: Number of bins of equal width of each class. Defaults to 15.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.

    Returns:
        A `ReliabilityBins` for each class, whose accuracy is the share of that class.

    Raises:
        ValueError: As `bin_predictions`.

    Examples:
        >>> from keras_robust.calibration import bin_classwise, classwise_error
        >>> prob = [[0.75, 0.25, 0.0], [0.25, 0.25, 0.5]]
        >>> bins = bin_classwise([0, 2], prob, num_bins=10)
        >>> [round(b.ece(), 4) for b in bins], round(classwise_error(bins), 4)
        ([0.25, 0.25, 0.25], 0.25)

    Reference:
        Kull et al., "Beyond Temperature Scaling", NeurIPS 2019, eq. 3.
    """
    owner = "bin_classwise"
    num_bins = checked_num_bins(owner, num_bins)
    rows = read_predictions(
        owner,
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
    )
    checked_distributions(owner, rows)
    classes = binned(rows.prob, rows.weight[:, None], num_bins, rows.dtype)
    return classes.tables(rows.label)


def classwise_error(bins: Sequence[ReliabilityBins], *, norm: str = "l1") -> float:
    """Class-wise calibration error: the norm over classes of the norms over bins.

    Args:
        bins: One table for each class, as from `bin_classwise` or the
            `bin_statistics()` of a `ClasswiseCalibrationError`.
        norm: `"l1"`, the mean of the classes' errors; `"l2"`, the root of the mean of
            their squares; or `"max"`, the largest. Defaults to `"l1"`.

    Returns:
        The error, in [0, 1]; 0 if nothing was seen.

    Raises:
        ValueError: If `norm` is none of these, or there is no table.

    Examples:
        >>> from keras_robust.calibration import bin_classwise, classwise_error
        >>> bins = bin_classwise([0, 1], [[1.0, 0.0], [1.0, 0.0]])
        >>> [b.ece("l2") for b in bins], classwise_error(bins, norm="l2")
        ([0.5, 0.5], 0.5)

    Reference:
        Kull et al., "Beyond Temperature Scaling", NeurIPS 2019, eq. 3; as SCE in Nixon
        et al., "Measuring Calibration in Deep Learning", CVPR Workshops 2019.
    """
    norm = checked_norm("classwise_error", norm)
    check_tables("classwise_error", bins)
    errors = np.array([table.ece(norm) for table in bins])
    return float(norm_of_gaps(1 / len(errors), errors, norm))


def check_tables(owner: str, bins: Sequence[ReliabilityBins]) -> None:
    """Raises where there is no table, or they differ in their number of bins."""
    if isinstance(bins, ReliabilityBins) or not all(
        isinstance(table, ReliabilityBins) for table in bins
    ):
        raise TypeError(
            f"{owner}: `bins` must be several ReliabilityBins. Received: an object of "
            f"type {type(bins).__name__}. Pass what `bin_classwise`, `bin_multilabel` "
            "or a metric's `bin_statistics()` returns."
        )
    if not len(bins) or len({table.num_bins for table in bins}) > 1:
        raise checks.invalid(
            owner,
            "bins",
            "at least one table, all of the same number of bins",
            f"tables of {[table.num_bins for table in bins]} bins",
            "Pass what `bin_classwise`, `bin_multilabel` or a metric returns.",
        )
