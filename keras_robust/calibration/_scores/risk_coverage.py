"""Area under the risk-coverage curve: is the model surer where it is right?"""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_robust.calibration._bins.events import Events, read_events


def area_under_risk_coverage(
    y_true: Any,
    y_prob: Any,
    *,
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
) -> float:
    """Area under the risk-coverage curve (AURC): how well confidence ranks errors.

    Keep the most confident predictions only: their share is the coverage, their error
    rate the risk. The AURC is the mean risk over all coverages 1/n, 2/n, ..., 1. A
    useful confidence has the errors last, so lower is better. It looks at the order of
    the confidences only: no recalibration that keeps the order changes it, and a
    calibrated model can have a bad one.

    Equal confidences have no order; the mean over all their orders is taken.

    Args:
        y_true: Labels, as in `bin_predictions`.
        y_prob: Predictions, as in `bin_predictions`.
        notion: As in `bin_predictions`; with `"positive"`, those with the highest
            probability of class 1 are kept, as of `entity_predictions`. Defaults to
            `"top_label"`.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.

    Returns:
        The area, in [0, 1]; 0 if there are no predictions.

    Raises:
        ValueError: As `bin_predictions`, or if weights sum to less than half the number
            of rows: they count as repetitions.

    Examples:
        >>> from keras_robust.calibration import area_under_risk_coverage
        >>> prob = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
        >>> round(area_under_risk_coverage([0, 1, 1], prob), 4)
        0.1111

    Reference:
        Geifman, El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS
        2017; Geifman, Uziel, El-Yaniv, ICLR 2019, for the name.
    """
    events = read_events(
        "area_under_risk_coverage",
        y_true,
        y_prob,
        notion=notion,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
        repetitions=True,
    )
    return aurc_of(events)(events.correct)


def aurc_of(events: Events) -> Callable[[np.ndarray], float]:
    """Returns the AURC of fixed confidences as a function of correctness."""
    if not len(events.confidence):
        return lambda correct: 0.0
    from scipy.special import digamma

    _, group = np.unique(-events.confidence, return_inverse=True)
    mass = np.bincount(group, weights=events.weight)
    before = np.cumsum(mass) - mass
    # Within a group of equal confidence and mean error e, the risk after j more rows is
    # (errors before + j e) / (before + j). Its sum over j = 1 .. mass, in closed form:
    inverses = digamma(before + mass + 1) - digamma(before + 1)

    def area(correct: np.ndarray) -> float:
        wrong = np.bincount(group, weights=events.weight * (1 - correct))
        errors_before = np.cumsum(wrong) - wrong
        excess = errors_before - before * wrong / mass
        return float((wrong + excess * inverses).sum() / mass.sum())

    return area
