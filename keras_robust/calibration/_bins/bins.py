"""Reliability bins: the table behind a diagram, and the errors read off it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.options import (
    checked_level,
    checked_min_count,
    checked_norm,
    checked_num_resamples,
)
from keras_robust.calibration._bins import chance
from keras_robust.calibration._bins.measured_value import MeasuredValue

# Enough for a mean right to 2 % of the spread, and for a 95 % quantile.
_NUM_RESAMPLES = 1000


def bin_edges(num_bins: int, dtype: Any = "float64") -> np.ndarray:
    """Returns the edges k / num_bins as numbers of `dtype`, float64 (num_bins + 1,).

    `dtype` is that in which confidences were given: k / num_bins, rounded to it as they
    were, is an edge itself. `linspace` would round twice, and floor(p * n) puts
    0.29 * 100 into bin 28.
    """
    return (np.arange(num_bins + 1) / num_bins).astype(dtype).astype("float64")


def norm_of_gaps(share: np.ndarray, gaps: np.ndarray, norm: str) -> np.ndarray:
    """Returns the norm of gaps, over their last axis; `share` sums to 1."""
    if norm == "max":
        return gaps.max(axis=-1)
    if norm == "l2":
        return np.sqrt((share * gaps**2).sum(axis=-1))
    return (share * gaps).sum(axis=-1)


@dataclass(frozen=True, eq=False, repr=False)
class ReliabilityBins:
    """Predictions grouped by confidence: the table behind a reliability diagram.

    Made by `bin_predictions` or by a metric's `bin_statistics()`. Bins are left-closed
    and the last one is closed: bin k holds confidences in [edges[k], edges[k + 1]).
    Counts act as numbers of rows in everything that concerns chance (`debiased_ece`,
    `null_ece`, intervals): weights should be repetitions, not arbitrary numbers, and
    labels hard: in soft ones there is no chance.

    Attributes:
        edges: Float array of shape `(num_bins + 1,)`.
        count: Float array of shape `(num_bins,)`: the sum of the sample weights, which
            without weights is the number of predictions.
        confidence: Float array of shape `(num_bins,)`: mean confidence, NaN if empty.
        accuracy: Float array of shape `(num_bins,)`: share correct, NaN if empty.

    Examples:
        >>> from keras_robust.calibration import bin_predictions
        >>> bins = bin_predictions([0, 1, 1], [[0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])
        >>> round(bins.ece(), 4), round(bins.mce(), 4), round(bins.signed_gap(), 4)
        (0.4, 0.8, 0.1333)
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
        size = len(self.edges) - 1 if self.edges.ndim == 1 else None
        columns = (self.count, self.confidence, self.accuracy)
        if any(x.shape != (size,) for x in columns) or (self.count < 0).any():
            raise checks.invalid(
                "ReliabilityBins",
                "count",
                "at least 0, of one entry less than `edges`, as the other columns",
                f"shapes {[x.shape for x in columns]}, edges.shape={self.edges.shape}",
                "Make bins with `bin_predictions`.",
            )

    @classmethod
    def from_sums(
        cls,
        count: np.ndarray,
        confidence: np.ndarray,
        correct: np.ndarray,
        *,
        edges: np.ndarray | None = None,
    ) -> "ReliabilityBins":
        """Makes the table from sums over the rows of each bin.

        Args:
            count: Sums of the weights, of shape `(num_bins,)`.
            confidence: Sums of weight times confidence.
            correct: Sums of weight times correctness.
            edges: Edges of shape `(num_bins + 1,)`, or None for bins of equal width.

        Returns:
            A `ReliabilityBins`.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_confidence = np.where(count > 0, confidence / count, np.nan)
            accuracy = np.where(count > 0, correct / count, np.nan)
        edges = bin_edges(len(count)) if edges is None else edges
        return cls(edges, count, mean_confidence, accuracy)

    @property
    def num_bins(self) -> int:
        """Number of bins, empty ones included."""
        return len(self.count)

    @property
    def total(self) -> float:
        """Sum of all counts."""
        return float(self.count.sum())

    def ece(self, norm: str = "l1") -> float:
        """Expected calibration error; 0 if there is no bin.

        Args:
            norm: `"l1"`, Σ (n_b / n) |acc_b - conf_b|; `"l2"`, the root of the mean
                squared gap; or `"max"`, the largest gap. Defaults to `"l1"`.

        Returns:
            The error, in [0, 1].

        Raises:
            ValueError: If `norm` is none of these.
        """
        norm = checked_norm("ReliabilityBins", norm)
        count, confidence, accuracy = self._used()
        if not len(count):
            return 0.0
        gaps = np.abs(accuracy - confidence)
        return float(norm_of_gaps(count / count.sum(), gaps, norm))

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
        _, confidence, accuracy = self._used(min_count)
        gaps = np.abs(accuracy - confidence)
        return float(gaps.max()) if len(gaps) else 0.0

    def signed_gap(self) -> float:
        """Mean confidence minus accuracy; 0 if empty. Positive is over-confident."""
        count, confidence, accuracy = self._used()
        if not len(count):
            return 0.0
        return float(count @ (confidence - accuracy) / count.sum())

    def debiased_ece(self) -> float:
        """The l2 error without what chance adds to it (Kumar et al., 2019).

        An observed accuracy scatters round the true one, so each squared gap is too
        large by acc_b (1 - acc_b) / (n_b - 1) on average; that is taken off. The root
        of what is left is returned, or 0 if that is negative. A bin of one row tells
        nothing and adds nothing. For hard labels: soft ones scatter less.

        Returns:
            The error, in [0, 1].

        Reference:
            Kumar, Liang, Ma, "Verified Uncertainty Calibration", NeurIPS 2019, eq. 6.
        """
        count, confidence, accuracy = self._used()
        if not len(count):
            return 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = accuracy * (1 - accuracy) / (count - 1)
        squares = np.where(count <= 1, 0.0, (accuracy - confidence) ** 2 - chance)
        mean = float(count @ squares / count.sum())
        return mean if np.isnan(mean) else float(np.sqrt(max(mean, 0.0)))

    def null_ece(
        self, norm: str = "l1", *, num_resamples: int = _NUM_RESAMPLES, seed: Any = 0
    ) -> MeasuredValue:
        """The ECE beside what it would be if the model were calibrated.

        By consistency resampling: confidences and counts stay; how many of a bin's
        predictions are right is drawn anew, with the bin's mean confidence as the
        chance of each.

        Args:
            norm: As in `ece`. Defaults to `"l1"`.
            num_resamples: How often to draw. Defaults to 1000.
            seed: Integer, or a `numpy.random.Generator`. Defaults to 0.

        Returns:
            A `MeasuredValue`: the ECE with its mean and 95 % quantile under
            calibration.

        Raises:
            ValueError: If an argument is outside its range.

        Reference:
            Bröcker, Smith, "Increasing the Reliability of Reliability Diagrams",
            Weather and Forecasting 22, 2007.
        """
        owner = "ReliabilityBins"
        value = self.ece(norm)
        num_resamples = checked_num_resamples(owner, num_resamples)
        rng = checks.generator(owner, seed)
        count, confidence, _ = self._used()
        if not len(count) or not np.isfinite(value):
            return MeasuredValue.from_draws(value, np.full(num_resamples, value))
        shares = chance.draw_shares(count, confidence, num_resamples, rng)
        draws = norm_of_gaps(count / count.sum(), np.abs(shares - confidence), norm)
        return MeasuredValue.from_draws(value, draws)

    def accuracy_interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's interval for each bin's accuracy.

        Args:
            level: Probability of the interval. Defaults to 0.95.

        Returns:
            Lower and upper ends, both of shape `(num_bins,)`, NaN for empty bins.

        Raises:
            ValueError: If `level` is not in (0, 1).
        """
        level = checked_level("ReliabilityBins", level)
        return chance.wilson_interval(self.count, self.accuracy, level)

    def consistency_interval(
        self, level: float = 0.95
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where each bin's accuracy would lie if the model were calibrated.

        Args:
            level: Probability of the interval. Defaults to 0.95.

        Returns:
            Lower and upper ends, both of shape `(num_bins,)`, NaN for empty bins:
            quantiles of the binomial distribution with the bin's mean confidence.

        Raises:
            ValueError: If `level` is not in (0, 1).
        """
        level = checked_level("ReliabilityBins", level)
        return chance.binomial_interval(self.count, self.confidence, level)

    def to_frame(self) -> Any:
        """The table as a pandas DataFrame, a row for each bin.

        Returns:
            A DataFrame with columns `lower`, `upper` (edges), `count`, `confidence`,
            `accuracy`, `gap` (confidence minus accuracy), `accuracy_low` and
            `accuracy_high` (Wilson, 95 %).

        Raises:
            ImportError: If pandas is not installed.
        """
        pandas = checks.optional_module("ReliabilityBins", "pandas")
        low, high = self.accuracy_interval()
        columns = {
            "lower": self.edges[:-1],
            "upper": self.edges[1:],
            "count": self.count,
            "confidence": self.confidence,
            "accuracy": self.accuracy,
            "gap": self.confidence - self.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
        }
        return pandas.DataFrame(columns)

    def _used(self, min_count: float = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # A bin whose count is NaN takes part, so that NaN comes out.
        unknown = np.isnan(self.count)
        used = unknown | ((self.count > 0) & (self.count >= min_count))
        return self.count[used], self.confidence[used], self.accuracy[used]

    def __repr__(self) -> str:
        ece = self.null_ece()
        return (
            f"ReliabilityBins(num_bins={self.num_bins}, n={self.total:g}, "
            f"ece={ece.value:.4f} (if calibrated: {ece.null_mean:.4f}, 95 % below "
            f"{ece.null_upper:.4f}), mce={self.mce():.4f})"
        )
