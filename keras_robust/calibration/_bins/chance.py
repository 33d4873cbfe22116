"""What chance alone does to bins: intervals, and draws of a calibrated model."""

import numpy as np


def wilson_interval(
    count: np.ndarray, accuracy: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns Wilson's (1927) score interval for a share; NaN where nothing counts.

    Unlike accuracy ± 1.96 sqrt(accuracy (1 - accuracy) / n), it has a width at 0 and at
    1, and stays in [0, 1].
    """
    from scipy.special import ndtri

    # It holds the rates p from which the share a is at most z standard errors away,
    # (a - p)² <= z² p (1 - p) / n, or (n + z²) p² - (2 n a + z²) p + n a² <= 0: between
    # the roots (n a + z²/2 ± z sqrt(n a (1 - a) + z²/4)) / (n + z²).
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


def corrected_interval(
    count: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    ends: tuple[float, float],
    level: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an interval for a mean of corrected terms; NaN where nothing counts.

    Agresti and Coull's (1998), of which Wilson's is the like for shares: the normal one
    of `count + z²` rows, of which z²/2 are added at each of the ends that a term can
    have. Without them it has no width where all terms are equal.
    """
    from scipy.special import ndtri

    added = ndtri((1 + level) / 2) ** 2
    rows = count + added
    centre = (count * mean + added * sum(ends) / 2) / rows
    half = np.sqrt(added * scatter_with_ends(count, mean, variance, ends, added) / rows)
    return centre - half, centre + half


def scatter_with_ends(
    count: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    ends: tuple[float, float],
    added: float = 4.0,
) -> np.ndarray:
    """Returns the variance of terms with so many added, half of them at each end."""
    low, high = ends
    apart = (high - low) ** 2 / 4 + (mean - (low + high) / 2) ** 2 * count / (
        count + added
    )
    return (count * variance + added * apart) / (count + added)


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
    rate = np.clip(rate, 0, 1)
    whole = np.floor(count)
    hits = rng.binomial(whole.astype("int64"), rate, (num_draws, len(count)))
    last = rng.random((num_draws, len(count))) < rate
    return (hits + last * (count - whole)) / count
