"""Temperature scaling."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust._inputs.options import checked_axis
from keras_robust._theory import simplex
from keras_robust.calibration._recalibration.base import FittedRecalibration, map_rows
from keras_robust.calibration._recalibration.rows import Rows
from keras_robust.calibration._recalibration.temperature_layer import Temperature

# How far T is searched, in units of the spread of the logits. Divided by the largest or
# more, logits differ by a tenth and confidences are about 1/K; the smallest leaves room
# for a few rows whose logits dwarf those of all others.
_LARGEST, _SMALLEST = 10.0, 1e-6
# With N labels drawn at random, 1/T scatters round 0 by 1/sqrt(N), in the same units:
# where that is small, T is searched up to this many times less, in which one sample of
# random labels in 700 ends before the bound.
_STANDARD_ERRORS = 3.0

_AT_UPPER_BOUND = (
    "TemperatureScaling: the NLL still falls at the upper bound, T={:.6g}, where all "
    "confidences are about 1/K. The logits tell next to nothing of these labels: are "
    "they shuffled, or those of another set?"
)
_AT_LOWER_BOUND = (
    "TemperatureScaling: the NLL still falls at the lower bound, T={:.6g}, where all "
    "confidences are about 1. The top class is right in every row, so no temperature "
    "is low enough: fit on more labels, ones that the model was not trained on."
)


class Solution(NamedTuple):
    """A temperature, which bound it is at (-1, 0 or 1), and the iterations made."""

    temperature: float
    bound: int
    num_iterations: int


class TemperatureScaling(FittedRecalibration):
    """Temperature scaling: divides all logits by one number, fitted to held-out labels.

    The first recalibration to try: one parameter, hardly to be overfitted, and no
    prediction changes. It cannot mend a model that is over-confident in one class and
    under-confident in another: see `VectorScaling`. Without held-out labels, see
    `AnalyticCalibration`.

    The calibrated probabilities are softmax(logits / T), with the T > 0 that minimizes
    the negative log-likelihood (NLL). That is convex in 1/T, and its derivative is
    solved for 0 over log T.

    What it promises: on the labels that it is fitted to, the NLL does not rise, and the
    top class stays the top class (to rounding, which may tie it with another). It does
    not promise a lower calibration error: that usually falls, but may rise.

    Its limits: if the top class is right in every row, the NLL falls as long as T does;
    if the logits tell nothing of the labels, as long as T grows. Then T is that of the
    bound, `at_bound_` is True, `converged_` False, and a warning says which. The bounds
    are relative to the spread of the logits, so that logits times a constant give a T
    times that constant: the upper one is 10 times that spread, or sqrt(N)/3 times if
    there are N > 900 labels. So many labels, drawn at random, end at the bound in all
    but one of 700 samples; fewer do so less surely.

    Args:
        from_logits: Whether `y_prob` holds logits; otherwise it holds probabilities,
            whose logarithms are taken, and a probability of 0 stays 0. Defaults to
            False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Attributes:
        temperature_: The temperature T, after `fit`.
        nll_before_: Mean NLL of the fitted labels before.
        nll_after_: The same after, never larger.
        converged_: Whether the minimum was found inside the bounds.
        at_bound_: Whether T is that of a bound.
        num_iterations_: Number of iterations of the solve.

    Examples:
        >>> from keras_robust.calibration import TemperatureScaling
        >>> scaling = TemperatureScaling(from_logits=True)
        >>> scaling = scaling.fit([0, 1, 0, 0], [[4, 0], [0, 4], [4, 0], [0, 4]])
        >>> round(scaling.temperature_, 4)  # right in 3 of 4, so 4 / T = log(3)
        3.641
        >>> scaling.transform([4.0, 0.0]).round(4).tolist()
        [0.75, 0.25]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """

    temperature_: float
    converged_: bool
    at_bound_: bool
    num_iterations_: int

    def _fit(self, rows: Rows) -> None:
        temperature, bound, self.num_iterations_ = solve_temperature(rows)
        self.at_bound_ = bound != 0
        self.converged_ = not self.at_bound_
        self.temperature_ = temperature
        if bound:
            text = _AT_UPPER_BOUND if bound > 0 else _AT_LOWER_BOUND
            warnings.warn(text.format(temperature), UserWarning, stacklevel=3)

    def _recalibrate(self, log_prob: np.ndarray) -> np.ndarray:
        return scaled(log_prob, self.temperature_)

    def scale(self, y_prob: Any) -> np.ndarray:
        """Returns calibrated logits.

        Args:
            y_prob: As in `transform`; probabilities count as their logarithms.

        Returns:
            Float64 array of the shape of `y_prob`: logits divided by T, or the
            logarithms of the calibrated probabilities, up to infinity.

        Raises:
            ValueError: As `transform`.
        """
        prob = self.transform(y_prob)  # which checks them
        if self.from_logits:
            logits = numeric("TemperatureScaling", "y_prob", y_prob).astype("float64")
            return logits / self.temperature_
        if prob.shape[self.axis] > 1:
            return simplex.log_of(prob)
        return simplex.log_of(prob) - simplex.log_of(1 - prob)

    def _layer(self, **kwargs: Any) -> Temperature:
        return Temperature(self.temperature_, **kwargs)

    def _report(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature_,
            "converged": self.converged_,
            "at_bound": self.at_bound_,
            "num_iterations": self.num_iterations_,
        }


def temperature_scale(
    y_prob: Any, temperature: float, *, from_logits: bool = False, axis: int = -1
) -> np.ndarray:
    """Returns predictions at a temperature, softmax(logits / temperature).

    Args:
        y_prob: Predictions, as in `bin_predictions`; of probabilities the logarithms
            are taken.
        temperature: Float above 0; above 1 confidence falls.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Returns:
        Float64 probabilities of the shape of `y_prob`.

    Raises:
        ValueError: If a prediction is NaN or no probability, or `temperature` not
            above 0.

    Examples:
        >>> from keras_robust.calibration import temperature_scale
        >>> temperature_scale([4.0, 0.0], 2.0, from_logits=True).round(4).tolist()
        [0.8808, 0.1192]
    """
    owner = "temperature_scale"
    fix = "1 changes nothing, 2 halves the logits."
    temperature = checks.positive(owner, "temperature", temperature, fix=fix)
    from_logits = checks.flag(owner, "from_logits", from_logits)
    axis = checked_axis(owner, axis)

    def calibrated(log_prob: np.ndarray) -> np.ndarray:
        return np.exp(scaled(log_prob, temperature))

    return map_rows(owner, y_prob, from_logits, calibrated, axis)


def scaled(log_prob: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the log-probabilities at a temperature."""
    return simplex.log_softmax(log_prob / temperature)


def solve_temperature(rows: Rows) -> Solution:
    """Returns the temperature of the least NLL, never of a larger one than at T = 1."""
    unit = rows.spread
    if unit == 0.0:  # classes are ruled out or equal, at every temperature
        return Solution(1.0, 0, 0)
    largest = max(_LARGEST, math.sqrt(rows.total) / _STANDARD_ERRORS)
    # The bounds, in units of the spread, take in T = 1 and what is near it.
    low = math.log(min(_SMALLEST, 0.5 / unit))
    high = math.log(max(largest, 2 / unit))
    log_t, bound, num_iterations = _root(rows, unit, low, high)
    temperature = unit * math.exp(log_t)
    if rows.nll(scaled(rows.log_prob, temperature)) > rows.nll(rows.log_prob):
        temperature = 1.0  # lower by less than rounding
    return Solution(temperature, bound, num_iterations)


def _root(rows: Rows, unit: float, low: float, high: float) -> tuple[float, int, int]:
    from scipy import optimize, special

    # The NLL of logits z is the mean of log(sum_k exp(z_k / T)) - z_label / T. Its
    # derivative by 1/T is the mean of sum_k p_k z_k - z_label, with p = softmax(z / T);
    # the second is the mean variance of z under p, so the first rises with 1/T and has
    # one root at most. That is sought over log T, as the scale of T is not known.
    below = (rows.log_prob - rows.log_prob.max(axis=-1, keepdims=True)) / unit
    finite = np.where(np.isneginf(below), 0.0, below)
    label = rows.of_target(below)

    def slope(log_t: float) -> float:
        prob = special.softmax(below / math.exp(log_t), axis=-1)
        return float(rows.weight @ ((prob * finite).sum(axis=-1) - label))

    if slope(high) >= 0:
        return high, 1, 0
    if slope(low) <= 0:
        return low, -1, 0
    log_t, result = optimize.brentq(slope, low, high, xtol=1e-13, full_output=True)
    return log_t, 0, result.iterations
