"""A measure as observed, beside what a calibrated model would show."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MeasuredValue:
    """A measure, and what a perfectly calibrated model with the same confidences shows.

    A measure of calibration is rarely 0 on finite data, even for a calibrated model:
    compare `value` with its null, the distribution of the measure if the model were
    calibrated. Made by `ReliabilityBins.null_ece` and `calibration_report`.

    Attributes:
        value: The measure as observed.
        null_mean: Its mean over resampled labels, drawn as the confidences say. NaN,
            like all that follows from the null, where it is not known: for soft
            targets, which are not drawn by chance, and where `value` is NaN.
        null_lower: Its 5 % quantile; 2.5 % for measures that may be off in either
            direction, such as the accuracy.
        null_upper: Its 95 % quantile, or 97.5 %: a calibrated model is above it, or
            outside both, one time in 20.
        p_value: Share of resamples at least as large as `value`, counting `value` as
            one of them; for measures that may be off in either direction, twice the
            smaller share. Small values speak against calibration.
        num_resamples: Number of resamples.
        outside: Whether `value` is above `null_upper`, or for measures that may be off
            in either direction, below `null_lower`.
        lower: Lower end of the 95 % interval of `value`, in a report with a noise
            matrix and for measures that are means over rows: the normal interval of
            what is averaged. Else NaN.
        upper: Its upper end.
        effective_rows: How many rows with true labels would tell `value` as well as
            these with noisy ones, where there is an interval. Else NaN.

    Examples:
        >>> from keras_robust.calibration import bin_predictions
        >>> bins = bin_predictions([0, 1, 0, 1], [[0.7, 0.3]] * 4)
        >>> ece = bins.null_ece()
        >>> round(ece.value, 4), ece.value < ece.null_upper
        (0.2, True)
    """

    value: float
    null_mean: float
    null_lower: float
    null_upper: float
    p_value: float
    num_resamples: int
    outside: bool = False
    lower: float = np.nan
    upper: float = np.nan
    effective_rows: float = np.nan

    @classmethod
    def from_draws(
        cls, value: float, draws: np.ndarray, *, two_sided: bool = False
    ) -> "MeasuredValue":
        """Sums up the resampled values of a measure.

        Args:
            value: The measure as observed.
            draws: Its resampled values, of shape `(num_resamples,)`.
            two_sided: Whether the measure may be off in either direction. Defaults to
                False.

        Returns:
            A `MeasuredValue`.
        """
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
