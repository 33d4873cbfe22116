"""Reliability bins: how predictions are binned, and the errors read off the bins."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_robust import _checks
from keras_robust.calibration._predictions import read_predictions, top_label


def bin_edges(num_bins: int) -> np.ndarray:
    """Returns the edges k / num_bins, each rounded once, shape (num_bins + 1,).

    `linspace` rounds twice, and floor(p * n) puts 0.29 * 100 into bin 28.
    """
    return np.arange(num_bins + 1) / num_bins


def checked_num_bins(owner: str, num_bins: Any) -> int:
    """Returns `num_bins` as an int of at least 1."""
    fix = "Pass a number of bins, such as 15."
    return _checks.integer(owner, "num_bins", num_bins, minimum=1, fix=fix)


def checked_min_count(owner: str, min_count: Any) -> float:
    """Returns `min_count` as a finite float of at least 0."""
    fix = "Pass the smallest count of a bin that should take part, such as 100."
    return _checks.nonnegative(owner, "min_count", min_count, fix=fix)


@dataclass(frozen=True, eq=False, repr=False)
class ReliabilityBins:
    """Predictions grouped by confidence: the table behind a reliability diagram.

    Made by `bin_predictions` or by a metric's `bin_statistics()`. Bins are left-closed
    and the last one is closed: bin k holds confidences in [k/n, (k+1)/n).

    Attributes:
        edges: Float array of shape `(num_bins + 1,)`.
        count: Float array of shape `(num_bins,)`: the sum of the sample weights, which
            without weights is the number of predictions.
        confidence: Float array of shape `(num_bins,)`: mean confidence, NaN if empty.
        accuracy: Float array of shape `(num_bins,)`: share correct, NaN if empty.

    Examples:
        >>> from keras_robust.calibration import bin_predictions
        >>> bins = bin_predictions([0, 1, 1], [[0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])
        >>> round(bins.ece(), 4), round(bins.mce(), 4)
        (0.4, 0.8)
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    def __post_init__(self) -> None:
        for name in ("edges", "count", "confidence", "accuracy"):
            array = np.array(getattr(self, name), dtype="float64")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def from_sums(
        cls, count: np.ndarray, confidence: np.ndarray, correct: np.ndarray
    ) -> "ReliabilityBins":
        """Makes bins from each bin's count and sums of confidence and correctness."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_confidence = np.where(count > 0, confidence / count, np.nan)
            accuracy = np.where(count > 0, correct / count, np.nan)
        return cls(bin_edges(len(count)), count, mean_confidence, accuracy)

    @property
    def num_bins(self) -> int:
        """Number of bins, empty ones included."""
        return len(self.count)

    @property
    def total(self) -> float:
        """Sum of all counts."""
        return float(self.count.sum())

    def ece(self) -> float:
        """Expected calibration error, Σ (n_b / n) |acc_b - conf_b|; 0 if empty."""
        used = self._used(0)
        gaps = np.abs(self.accuracy - self.confidence)[used]
        return float(gaps @ self.count[used] / self.total) if used.any() else 0.0

    def mce(self, min_count: float = 0) -> float:
        """Maximum calibration error, max |acc_b - conf_b|; 0 if there is no bin.

        Args:
            min_count: Leave out bins with a smaller count. Defaults to 0; empty bins
                never take part.

        Returns:
            The largest gap, in [0, 1].

        Raises:
            ValueError: If `min_count` is negative or not finite.
        """
        min_count = checked_min_count("ReliabilityBins", min_count)
        used = self._used(min_count)
        gaps = np.abs(self.accuracy - self.confidence)[used]
        return float(gaps.max()) if used.any() else 0.0

    def _used(self, min_count: float) -> np.ndarray:
        # A bin whose count is NaN takes part, so that NaN comes out.
        unknown = np.isnan(self.count)
        return unknown | ((self.count > 0) & (self.count >= min_count))

    def __repr__(self) -> str:
        return (
            f"ReliabilityBins(num_bins={self.num_bins}, n={self.total:g}, "
            f"ece={self.ece():.4f}, mce={self.mce():.4f})"
        )


def bin_predictions(
    y_true: Any,
    y_prob: Any,
    *,
    num_bins: int = 15,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
) -> ReliabilityBins:
    """Bins predictions by their top-label confidence.

    The confidence of a prediction is its largest probability, and it is correct where
    that class is the label (the first of equal ones counts as predicted).

    Args:
        y_true: Integer classes of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of the shape of `y_prob`; a soft target counts as correct by the
            probability that it gives to the predicted class.
        y_prob: Probabilities of shape `(..., K)`, or logits with `from_logits=True`;
            `K = 1` means a single sigmoid output. The edges of the bins are rounded to
            its dtype, so a confidence of k/num_bins is in bin k.
        num_bins: Number of bins of equal width. Defaults to 15.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        sample_weight: Optional weights, one per position or one per sample. Weight 2
            equals the row twice; rows of weight 0 are left out.
        ignore_class: Label of positions to leave out, or None. Defaults to -100.

    Returns:
        A `ReliabilityBins`.

    Raises:
        ValueError: If shapes do not fit, a label is no class, a probability is NaN or
            outside [0, 1], or a weight is negative or NaN.

    Examples:
        >>> from keras_robust.calibration import bin_predictions
        >>> bins = bin_predictions([0, 1], [[0.9, 0.1], [0.6, 0.4]], num_bins=10)
        >>> bins.count.tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3 to 5.
    """
    num_bins = checked_num_bins("bin_predictions", num_bins)
    predictions = read_predictions(
        "bin_predictions",
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
    )
    confidence, correct = top_label(predictions)
    edges = bin_edges(num_bins).astype(predictions.dtype).astype("float64")
    index = np.searchsorted(edges[1:-1], confidence, side="right")
    weight = predictions.weight
    sums = [
        np.bincount(index, weights=values, minlength=num_bins)
        for values in (weight, weight * confidence, weight * correct)
    ]
    return ReliabilityBins.from_sums(*sums)
