"""What chance alone does to bins: intervals, and what a calibrated model would show."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Enough for a mean right to 2 % of the spread, and for a 95 % quantile.
NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class NullValue:
    """What a perfectly calibrated model with the same confidences would show.

    A measure of calibration is rarely 0 on finite data, even for a calibrated model:
    compare it with this. Made by `ReliabilityBins.null_ece` and `calibration_report`.

    Attributes:
        value: The measure as observed.
        mean: Its mean over resampled labels, drawn as the confidences say.
        lower: Its 5 % quantile; 2.5 % for measures that may be off in either
            direction, such as the accuracy.
        upper: Its 95 % quantile, or 97.5 %: a calibrated model is above it, or outside
            both, one time in 20.
        p_value: Share of resamples at least as large as `value`, counting `value` as
            one of them; for measures that may be off in either direction, twice the
            smaller share. Small values speak against calibration.
        num_resamples: Number of resamples.
        outside: Whether `value` is above `upper`, or for measures that may be off in
            either direction, below `lower`.

    Examples:
        >>> from keras_robust.calibration import bin_predictions
        >>> bins = bin_predictions([0, 1, 0, 1], [[0.7, 0.3]] * 4)
        >>> null = bins.null_ece()
        >>> null.value < null.upper
        True
    """

    value: float
    mean: float
    lower: float
    upper: float
    p_value: float
    num_resamples: int
    outside: bool = False

    @classmethod
    def from_draws(
        cls, value: float, draws: np.ndarray, two_sided: bool = False
    ) -> "NullValue":
        """Sums up the resampled values of a measure."""
        if np.isnan(value) or np.isnan(draws).any() or not len(draws):
            return cls(value, np.nan, np.nan, np.nan, np.nan, len(draws))
        # A little slack: equal values that were added up in another order are equal.
        slack = 1e-12 * max(1.0, abs(value)) if np.isfinite(value) else 0.0
        above = (1 + (draws >= value - slack).sum()) / (1 + len(draws))
        below = (1 + (draws <= value + slack).sum()) / (1 + len(draws))
        p_value = min(1.0, 2 * min(above, below)) if two_sided else above
        levels = [0.025, 0.975] if two_sided else [0.05, 0.95]
        low, high = np.quantile(draws, levels, method="inverted_cdf").tolist()
        outside = value > high + slack or (two_sided and value < low - slack)
        mean = float(draws.mean())
        return cls(value, mean, low, high, float(p_value), len(draws), bool(outside))


def wilson_interval(
    count: np.ndarray, accuracy: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns Wilson's (1927) score interval for a share; NaN where nothing counts.

    Unlike accuracy ± 1.96 sqrt(accuracy (1 - accuracy) / n), it has a width at 0 and at
    1, and stays in [0, 1].
    """
    from scipy.special import ndtri

    z2 = ndtri((1 + level) / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (accuracy * count + z2 / 2) / (count + z2)
        spread = count * accuracy * (1 - accuracy) + z2 / 4
        half = np.sqrt(z2 * spread) / (count + z2)
    # The end is 0 or 1 itself there, which the subtraction would miss by a rounding.
    low = np.where(accuracy == 0, 0.0, np.maximum(centre - half, 0))
    high = np.where(accuracy == 1, 1.0, np.minimum(centre + half, 1))
    unknown = np.isnan(accuracy)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def binomial_interval(
    count: np.ndarray, rate: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the share of hits among `count` lies with probability `level`."""
    from scipy.stats import binom

    whole = np.maximum(np.rint(np.nan_to_num(count)), 1)
    rate = np.clip(rate, 0, 1)  # a mean of ones may exceed 1 by rounding
    tail = (1 - level) / 2
    low = binom.ppf(tail, whole, rate) / whole
    high = binom.ppf(1 - tail, whole, rate) / whole
    return low, high


def draw_shares(
    count: np.ndarray, rate: np.ndarray, num_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns shares of hits among `count` at `rate`, shape (num_draws, num_bins).

    A count that is no whole number has one last draw that counts for its fraction.
    """
    whole = np.floor(count)
    hits = rng.binomial(whole.astype("int64"), rate, (num_draws, len(count)))
    last = rng.random((num_draws, len(count))) < rate
    return (hits + last * (count - whole)) / count


def null_of_bins(
    count: np.ndarray,
    confidence: np.ndarray,
    value: float,
    measure: Callable[[np.ndarray], np.ndarray],
    num_resamples: int,
    rng: np.random.Generator,
) -> NullValue:
    """Returns a measure's null value; `measure` maps accuracies (draws, bins) to it."""
    if not np.isfinite(value) or len(count) == 0:
        return NullValue.from_draws(value, np.full(num_resamples, value))
    rate = np.clip(confidence, 0, 1)
    draws = measure(draw_shares(count, rate, num_resamples, rng))
    return NullValue.from_draws(value, draws)
