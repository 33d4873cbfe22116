"""Reliability bins: the table behind a diagram, and the errors read off it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.options import (
    checked_level,
    checked_min_count,
    checked_norm,
    checked_num_resamples,
)
from keras_robust._inputs.row_weights import check_repetitions
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

    Bins made with a `noise_matrix` are about the true labels, as estimated from noisy
    ones: each row's correctness is replaced by a term of the same expectation, which
    may be negative or above 1. So may be an accuracy, and an error above 1. All that
    concerns chance then goes by how these terms scatter, and by normal approximation.

    Attributes:
        edges: Float array of shape `(num_bins + 1,)`.
        count: Float array of shape `(num_bins,)`: the sum of the sample weights, which
            without weights is the number of predictions.
        confidence: Float array of shape `(num_bins,)`: mean confidence, NaN if empty.
        accuracy: Float array of shape `(num_bins,)`: share correct, NaN if empty.
        variance: Float array of shape `(num_bins,)`: the variance of the terms of which
            the accuracy is the mean, with a `noise_matrix`; else None.
        ends: The smallest and the largest value that such a term can have. Defaults to
            (0, 1).
        num_rows: How many rows the counts are sums of, where that is known; else None.
            Weights that sum to less than half of it are no repetitions: all that
            concerns chance then raises a `ValueError`.

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
    variance: np.ndarray | None = field(default=None, kw_only=True)
    ends: tuple[float, float] = field(default=(0.0, 1.0), kw_only=True)
    num_rows: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        names = ["edges", "count", "confidence", "accuracy"]
        for name in names if self.variance is None else [*names, "variance"]:
            array = np.array(getattr(self, name), dtype="float64")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        size = len(self.edges) - 1 if self.edges.ndim == 1 else None
        columns = (self.count, self.confidence, self.accuracy)
        columns += () if self.variance is None else (self.variance,)
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
        squares: np.ndarray | None = None,
        ends: tuple[float, float] = (0.0, 1.0),
        num_rows: int | None = None,
    ) -> "ReliabilityBins":
        """Makes the table from sums over the rows of each bin.

        Args:
            count: Sums of the weights, of shape `(num_bins,)`.
            confidence: Sums of weight times confidence.
            correct: Sums of weight times correctness.
            edges: Edges of shape `(num_bins + 1,)`, or None for bins of equal width.
            squares: Sums of weight times squared correctness, where that is made of
                noisy labels with a noise matrix; else None.
            ends: With `squares`, the smallest and largest value of correctness.
            num_rows: As in `ReliabilityBins`. Defaults to None.

        Returns:
            A `ReliabilityBins`.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_confidence = np.where(count > 0, confidence / count, np.nan)
            accuracy = np.where(count > 0, correct / count, np.nan)
            variance = None
            if squares is not None:
                variance = np.where(count > 0, squares / count, np.nan) - accuracy**2
                variance = np.maximum(variance, 0.0)  # NaN stays
        edges = bin_edges(len(count)) if edges is None else edges
        terms = {"variance": variance, "ends": ends}
        terms["num_rows"] = num_rows
        return cls(edges, count, mean_confidence, accuracy, **terms)

    @property
    def num_bins(self) -> int:
        """Number of bins, empty ones included."""
        return len(self.count)

    @property
    def corrected(self) -> bool:
        """Whether the accuracies are for true labels, estimated from noisy ones."""
        return self.variance is not None

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
        large by acc_b (1 - acc_b) / (n_b - 1) on average; that is taken off. With a
        noise matrix the variance of its terms stands for acc_b (1 - acc_b). The root
        of what is left is returned, or 0 if that is negative. A bin of one row tells
        nothing and adds nothing. For hard labels: soft ones scatter less.

        Returns:
            The error, in [0, 1].

        Raises:
            ValueError: If the weights are no repetitions of rows.

        Reference:
            Kumar, Liang, Ma, "Verified Uncertainty Calibration", NeurIPS 2019, eq. 6.
        """
        count, confidence, accuracy = self._used()
        if not len(count):
            return 0.0
        self._check_repetitions()
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = self._scatter() / (count - 1)
        squares = np.where(count <= 1, 0.0, (accuracy - confidence) ** 2 - chance)
        mean = float(count @ squares / count.sum())
        return mean if np.isnan(mean) else float(np.sqrt(max(mean, 0.0)))

    def null_ece(
        self, norm: str = "l1", *, num_resamples: int = _NUM_RESAMPLES, seed: Any = 0
    ) -> MeasuredValue:
        """The ECE beside what it would be if the model were calibrated.

        By consistency resampling: confidences and counts stay; how many of a bin's
        predictions are right is drawn anew, with the bin's mean confidence as the
        chance of each. With a noise matrix the bin's accuracy is drawn from a normal
        distribution round its mean confidence, as wide as its terms scatter.

        Args:
            norm: As in `ece`. Defaults to `"l1"`.
            num_resamples: How often to draw. Defaults to 1000.
            seed: Integer, or a `numpy.random.Generator`. Defaults to 0.

        Returns:
            A `MeasuredValue`: the ECE with its mean and 95 % quantile under
            calibration.

        Raises:
            ValueError: If an argument is outside its range, or the weights are no
                repetitions of rows.

        Reference:
            Bröcker, Smith, "Increasing the Reliability of Reliability Diagrams",
            Weather and Forecasting 22, 2007.
        """
        owner = "ReliabilityBins"
        value = self.ece(norm)
        num_resamples = checked_num_resamples(owner, num_resamples)
        rng = checks.generator(owner, seed)
        self._check_repetitions()
        count, confidence, _ = self._used()
        if not len(count) or not np.isfinite(value):
            return MeasuredValue.from_draws(value, np.full(num_resamples, value))
        if self.corrected:
            width = self._null_width()[self._taking_part()]
            shares = rng.normal(confidence, width, (num_resamples, len(count)))
        else:
            shares = chance.draw_shares(count, confidence, num_resamples, rng)
        draws = norm_of_gaps(count / count.sum(), np.abs(shares - confidence), norm)
        return MeasuredValue.from_draws(value, draws)

    def accuracy_interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's interval for each bin's accuracy.

        With a noise matrix, that of Agresti and Coull for the mean of the bin's terms;
        like Wilson's it has a width where all terms are equal.

        Args:
            level: Probability of the interval. Defaults to 0.95.

        Returns:
            Lower and upper ends, both of shape `(num_bins,)`, NaN for empty bins.

        Raises:
            ValueError: If `level` is not in (0, 1), or the weights are no repetitions.
        """
        level = checked_level("ReliabilityBins", level)
        self._check_repetitions()
        if self.corrected:
            terms = (self.count, self.accuracy, self.variance, self.ends)
            return chance.corrected_interval(*terms, level)
        return chance.wilson_interval(self.count, self.accuracy, level)

    def consistency_interval(
        self, level: float = 0.95
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where each bin's accuracy would lie if the model were calibrated.

        Args:
            level: Probability of the interval. Defaults to 0.95.

        Returns:
            Lower and upper ends, both of shape `(num_bins,)`, NaN for empty bins:
            quantiles of the binomial distribution with the bin's mean confidence; with
            a noise matrix, of a normal one as in `null_ece`.

        Raises:
            ValueError: If `level` is not in (0, 1), or the weights are no repetitions.
        """
        level = checked_level("ReliabilityBins", level)
        self._check_repetitions()
        if self.corrected:
            from scipy.special import ndtri

            half = ndtri((1 + level) / 2) * self._null_width()
            return self.confidence - half, self.confidence + half
        return chance.binomial_interval(self.count, self.confidence, level)

    def to_frame(self) -> Any:
        """The table as a pandas DataFrame, a row for each bin.

        Returns:
            A DataFrame with columns `lower`, `upper` (edges), `count`, `confidence`,
            `accuracy`, `gap` (confidence minus accuracy), `accuracy_low` and
            `accuracy_high` (`accuracy_interval`, 95 %).

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

    def _check_repetitions(self) -> None:
        # Where the rows are not known, there is at least one in each bin that counts.
        rows = max(self.num_rows or 0, int((self.count > 0).sum()))
        check_repetitions("ReliabilityBins", rows, self.total)

    def _used(self, min_count: float = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        used = self._taking_part(min_count)
        return self.count[used], self.confidence[used], self.accuracy[used]

    def _taking_part(self, min_count: float = 0) -> np.ndarray:
        # A bin whose count is NaN takes part, so that NaN comes out.
        unknown = np.isnan(self.count)
        return unknown | ((self.count > 0) & (self.count >= min_count))

    def _scatter(self) -> np.ndarray:
        used = self._taking_part()
        accuracy = self.accuracy[used]
        return self.variance[used] if self.corrected else accuracy * (1 - accuracy)

    def _null_width(self) -> np.ndarray:
        # As wide as the terms scatter round their own mean. With rows added at their
        # ends: of few rows all terms may be equal.
        terms = (self.count, self.accuracy, self.variance, self.ends)
        with np.errstate(divide="ignore"):
            return np.sqrt(chance.scatter_with_ends(*terms) / self.count)

    def __repr__(self) -> str:
        try:
            ece = self.null_ece()
            null = (
                f" (if calibrated: {ece.null_mean:.4f}, 95 % below "
                f"{ece.null_upper:.4f})"
            )
        except ValueError:  # weights that are no repetitions
            null = ""
        return (
            f"ReliabilityBins(num_bins={self.num_bins}, n={self.total:g}, "
            f"ece={self.ece():.4f}{null}, mce={self.mce():.4f})"
        )
