"""What a report says of a model, in words."""

import math
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs.predictions import Predictions
from keras_robust._theory import simplex
from keras_robust.calibration._bins.binning import bin_events
from keras_robust.calibration._bins.events import Events
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._recalibration.rows import Rows
from keras_robust.calibration._recalibration.temperature import (
    scaled,
    solve_temperature,
)
from keras_robust.calibration._report.resampling import parts_of, rows_of

# A temperature is known well enough from so many rows, drawn from all, or numbers.
_ROWS, _NUMBERS = 4000, 2**17


class Mended(NamedTuple):
    """What a temperature that suits the labels would make of a model.

    Attributes:
        temperature: The temperature.
        before: The ECE without it.
        ece: The ECE with it, beside its null value.
    """

    temperature: float
    before: float
    ece: MeasuredValue


def mended(predictions: Predictions, events: Events, num_bins: int) -> Mended | None:
    """Returns what a temperature would do, or None where the labels do not tell."""
    size, num_classes = predictions.prob.shape
    rows, count = np.arange(size), max(_ROWS, _NUMBERS // num_classes)
    if size > count:
        rows = np.sort(np.random.default_rng(0).choice(size, count, replace=False))
    part = rows_of(predictions, rows)
    log_prob, weight = simplex.log_softmax(part.log_prob), part.weight
    target = np.eye(num_classes)[part.class_id]
    given = Rows(log_prob, target, weight / weight.sum(), float(weight.sum()))
    if not np.isfinite(given.nll(log_prob)):
        return None  # a label of probability 0 stays so at every temperature
    temperature, bound, _ = solve_temperature(given)
    if bound:
        return None
    confidence = np.empty_like(events.confidence)
    for these, part in parts_of(predictions):
        log_prob = scaled(part.log_prob, temperature)
        event = events.event[these]
        confidence[these] = np.exp(log_prob[np.arange(len(event)), event])
    before = bin_events(events, num_bins, "equal_width")
    after = bin_events(events._replace(confidence=confidence), num_bins, "equal_width")
    return Mended(temperature, before.ece(), after.null_ece())


def in_words(
    values: dict[str, MeasuredValue], notion: str, would_mend: Mended | None
) -> str:
    """Returns the verdict on a model whose measures are `values`."""
    gap, ece = values["signed_gap"], values["ece"]
    if math.isnan(gap.value) or math.isnan(ece.value):
        return "The predictions are not numbers throughout: no verdict."
    off = f"{abs(gap.value):.3f}"
    direction = "Over-confident" if gap.value > 0 else "Under-confident"
    average = f"{direction} by {off} on average"
    if notion == "positive":
        direction = "high" if gap.value > 0 else "low"
        average = f"Probabilities of class 1 are too {direction} by {off} on average"
    if math.isnan(ece.null_upper):
        return f"{average}; how much of it is chance, soft targets do not tell."
    limit = f"ECE {ece.value:.3f}; 95 % of calibrated models are below"
    limit += f" {ece.null_upper:.3f}"
    if gap.outside and (abs(gap.value) >= ece.value / 2 or not ece.outside):
        verdict = f"{average}, more than chance explains ({limit})."
    elif ece.outside:
        verdict = (
            f"Off by {ece.value:.3f}, too high in some bins and too low in others, "
            f"more than chance explains ({limit})."
        )
    else:
        return f"No evidence of miscalibration: chance explains what is seen ({limit})."
    return verdict + _of_temperature(would_mend)


def _of_temperature(would_mend: Mended | None) -> str:
    if would_mend is None:
        return ""
    temperature, before, ece = would_mend
    number = f"{temperature:.3g}"
    if not ece.outside:
        return (
            f" A temperature of {number} would mend it: the ECE falls to "
            f"{ece.value:.3f}, which chance explains."
        )
    if ece.value < 0.9 * before:
        return (
            f" A temperature of {number} would mend a part of it: the ECE falls to "
            f"{ece.value:.3f}, still more than chance explains."
        )
    return " No temperature would mend it: it needs more than one parameter."


def of_models(results: dict[str, Any], would: dict[str, Any], notion: str) -> dict:
    """Returns the verdict on each model of a report."""
    return {
        model: in_words(
            {name: value for name, (_, value) in found.items()}, notion, would[model]
        )
        for model, found in results.items()
    }
