"""Every measure of a report, with what a calibrated model would show."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs.predictions import Predictions
from keras_robust.calibration._bins.binning import Binned, binned, binned_events
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.events import Events
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._scores import proper
from keras_robust.calibration._scores.corp import corp_of
from keras_robust.calibration._scores.risk_coverage import aurc_of
from keras_robust.calibration._scores.smooth_ece import SmoothECE

# From each row's label and the correctness of its event to the number.
Function = Callable[[np.ndarray, np.ndarray], float]


class Measure(NamedTuple):
    """A measure of fixed predictions, as a function of the labels.

    Attributes:
        name: Its key in frames and JSON.
        title: What a reader is told.
        num_bins: Number of bins, or None if it has none.
        function: From labels and correctness to the number.
        is_error: Whether it measures miscalibration, so that only large values are
            bad news.
    """

    name: str
    title: str
    num_bins: int | None
    function: Function
    is_error: bool = False


def measures_of(
    predictions: Predictions, events: Events, num_bins: int, notion: str
) -> list[Measure]:
    """Returns the measures of a report, prepared for these predictions."""
    weight = events.weight
    share = proper.weighted_mean
    confidence = share(events.confidence, weight)
    positive = notion == "positive"
    measures = [
        Measure(
            "event_rate" if positive else "accuracy",
            "rate of class 1" if positive else "accuracy",
            None,
            lambda _, correct: share(correct, weight),
        ),
        Measure("confidence", "mean confidence", None, lambda *_: confidence),
        Measure(
            "signed_gap",
            "confidence - " + ("rate" if positive else "accuracy"),
            None,
            lambda _, correct: confidence - share(correct, weight),
        ),
        *_binned_measures(events, num_bins),
    ]
    smooth = SmoothECE(events)
    measures.append(
        Measure(
            "smooth_ece",
            "smooth ECE",
            None,
            lambda _, correct: smooth(correct),
            is_error=True,
        )
    )
    if not positive:
        measures.append(_classwise(predictions, num_bins))
    return [*measures, *_score_measures(predictions, events, positive)]


def _binned_measures(events: Events, num_bins: int) -> Iterator[Measure]:
    equal = binned_events(events, num_bins, "equal_width")
    mass = binned_events(events, num_bins, "equal_mass")
    width = f"{num_bins} bins of equal width"
    for name, title, bins, read in (
        ("ece", f"ECE, {width}", equal, ReliabilityBins.ece),
        ("ece_equal_mass", "ECE, bins of equal mass", mass, ReliabilityBins.ece),
        ("ece_l2", f"ECE, l2, {width}", equal, lambda table: table.ece("l2")),
        ("debiased_ece", "ECE, l2, debiased", equal, ReliabilityBins.debiased_ece),
        ("mce", f"largest gap (MCE), {width}", equal, ReliabilityBins.mce),
    ):
        function = _of_table(bins, read)
        yield Measure(name, title, bins.count.shape[-1], function, is_error=True)


def _of_table(bins: Binned, read: Callable[[ReliabilityBins], float]) -> Function:
    return lambda _, correct: read(bins.tables(correct[:, None])[0])


def _classwise(predictions: Predictions, num_bins: int) -> Measure:
    prob, weight = predictions.prob, predictions.weight[:, None]
    classes = binned(prob, weight, num_bins, predictions.dtype)

    def function(label: np.ndarray, _: np.ndarray) -> float:
        # The mean over classes of sum_b (n_b / n) |acc_b - conf_b|.
        gaps = np.abs(classes.confidence - classes.correct(label))
        return float(gaps.sum() / classes.count.sum())

    title = f"class-wise ECE, {num_bins} bins of equal width"
    return Measure("classwise_ece", title, num_bins, function, is_error=True)


def _score_measures(
    predictions: Predictions, events: Events, positive: bool
) -> Iterator[Measure]:
    weight, prob, log_prob = predictions.weight, predictions.prob, predictions.log_prob
    mean, corp = proper.weighted_mean, corp_of(events)

    def of_parts(name: str) -> Function:
        return lambda _, correct: getattr(corp(correct), name)

    def brier(label: np.ndarray, _: np.ndarray) -> float:
        return mean(proper.brier_of_rows(prob, label), weight)

    def nll(label: np.ndarray, _: np.ndarray) -> float:
        return mean(proper.nll_of_rows(log_prob, label), weight)

    yield Measure("nll", "negative log-likelihood, nats", None, nll)
    yield Measure("brier", "Brier score", None, brier)
    about = "class 1" if positive else "top label"
    if prob.shape[-1] > 2:  # else it is the Brier score itself
        title = f"Brier score of the {about}"
        yield Measure("brier_top_label", title, None, of_parts("brier"))
    for part in ("miscalibration", "discrimination", "uncertainty"):
        title = f"{part} of the {about} (CORP)"
        error = part == "miscalibration"
        yield Measure(part, title, None, of_parts(part), error)
    if not positive:
        area = aurc_of(events)
        title = "area under risk-coverage (AURC)"
        yield Measure("aurc", title, None, lambda _, correct: area(correct))


def measured_values(
    predictions: Predictions,
    events: Events,
    measures: list[Measure],
    num_resamples: int,
    rng: np.random.Generator,
) -> list[MeasuredValue]:
    """Returns each measure as observed, and over labels drawn from the predictions.

    Consistency resampling row by row: a row's label is drawn with the probabilities
    that the model gave, so that the same labels serve every measure.
    """
    observed = [m.function(predictions.label, events.correct) for m in measures]
    draws = np.full((num_resamples, len(measures)), np.nan)
    upper = np.cumsum(predictions.prob, axis=-1)
    for step in progress(range(num_resamples), "labels as the model would have them"):
        label = _draw_labels(upper, rng)
        correct = (label == events.event).astype("float64")
        draws[step] = [m.function(label, correct) for m in measures]
    return [
        MeasuredValue.from_draws(value, column, two_sided=not measure.is_error)
        for measure, value, column in zip(measures, observed, draws.T)
    ]


def _draw_labels(upper: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns labels, from the cumulated probabilities of the classes."""
    drawn = rng.random((len(upper), 1)) * upper[:, -1:]
    return (drawn >= upper[:, :-1]).sum(axis=-1)


def progress(steps: Iterable, what: str) -> Any:
    """Returns the steps, with a progress bar if they take long and tqdm is there."""
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, desc=what, delay=2, leave=False, disable=None)
