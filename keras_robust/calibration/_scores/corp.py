"""The CORP decomposition of the Brier score."""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from keras_robust.calibration._bins.events import Events, read_events


class BrierDecomposition(NamedTuple):
    """Brier score = miscalibration - discrimination + uncertainty.

    Attributes:
        brier: Mean of `(confidence - correct)**2`.
        miscalibration: What isotonic recalibration would gain; 0 is calibrated.
        discrimination: What the recalibrated confidences gain over one constant;
            larger is better.
        uncertainty: The score of that constant, the mean of `correct`: a property of
            the events alone.

    Examples:
        >>> from keras_robust.calibration import brier_decomposition
        >>> parts = brier_decomposition([0, 1], [[0.9, 0.1], [0.2, 0.8]])
        >>> round(parts.miscalibration, 4)
        0.025
    """

    brier: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def brier_decomposition(
    y_true: Any,
    y_prob: Any,
    *,
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
) -> BrierDecomposition:
    """CORP decomposition of the Brier score of the confidence.

    Isotonic regression of correctness on confidence gives the best recalibration that
    keeps the order, without bins or any other choice. What it would gain is the
    miscalibration, what it is worth against a constant the discrimination:

        brier = miscalibration - discrimination + uncertainty

    A useless model with a perfect ECE has no miscalibration and no discrimination. On
    few rows the isotonic fit follows chance, and the miscalibration is biased upwards:
    compare it with its null value in `calibration_report`.

    Args:
        y_true: Labels, as in `bin_predictions`.
        y_prob: Predictions, as in `bin_predictions`.
        notion: As in `bin_predictions`. Defaults to `"top_label"`.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.

    Returns:
        A `BrierDecomposition`: of the event "the predicted class is right", or for
        `notion="positive"` "the label is 1". All 0 if there are no predictions.

    Raises:
        ValueError: As `bin_predictions`.

    Examples:
        >>> from keras_robust.calibration import brier_decomposition
        >>> parts = brier_decomposition([0, 1], [[0.9, 0.1], [0.6, 0.4]])
        >>> [round(part, 4) for part in parts]
        [0.185, 0.185, 0.25, 0.25]

    Reference:
        Dimitriadis, Gneiting, Jordan, "Stable Reliability Diagrams for Probabilistic
        Classifiers", PNAS 118, 2021.
    """
    events = read_events(
        "brier_decomposition",
        y_true,
        y_prob,
        notion=notion,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
    )
    return Corp(events)(events.correct)


class Corp:
    """The decomposition for fixed confidences, as a function of correctness."""

    def __init__(self, events: Events) -> None:
        self._confidence, self._weight = events.confidence, events.weight
        self._values, self._group = np.unique(events.confidence, return_inverse=True)
        self._mass = np.bincount(self._group, weights=events.weight)

    def __call__(
        self,
        correct: np.ndarray,
        squares: float | None = None,
        discrimination: float | None = None,
    ) -> BrierDecomposition:
        """Returns the parts.

        With `squares`, rows stand for many whose correctness is 0 or 1, and on average
        `correct`; it is the sum of weight times squared confidence over all of them. A
        `discrimination` that is known already is that of a finer fit.
        """
        if not len(correct):
            return BrierDecomposition(0.0, 0.0, 0.0, 0.0)
        weight, mass, values = self._weight, self._mass, self._values
        total = mass.sum()
        mean = np.bincount(self._group, weights=weight * correct) / mass
        base = mass @ mean / total
        if squares is None:
            brier = float(weight @ (self._confidence - correct) ** 2 / total)
            uncertainty = float(weight @ (correct - base) ** 2 / total)
        else:
            # The square of 0 or 1 is itself.
            came = weight @ (correct * (1 - 2 * self._confidence))
            brier = float((squares + came) / total)
            uncertainty = float(base * (1 - base))
        if discrimination is not None:
            parts = (brier - uncertainty + discrimination, discrimination, uncertainty)
            return BrierDecomposition(brier, *parts)
        fitted = optimize.isotonic_regression(mean, weights=mass).x
        # The score S of a forecast f is the mean of (f - mean)² over groups, plus the
        # scatter within groups, which is the same for every f and cancels below.
        # Miscalibration is by how much S(values) exceeds S(fitted). Discrimination is
        # by how much S(base) does: the mean of (fitted - base)², as the mixed term
        # vanishes, `fitted` being the mean of `mean` on each of its steps.
        miscalibration = float(
            mass @ ((values - mean) ** 2 - (fitted - mean) ** 2) / total
        )
        discrimination = float(mass @ (fitted - base) ** 2 / total)
        return BrierDecomposition(brier, miscalibration, discrimination, uncertainty)
