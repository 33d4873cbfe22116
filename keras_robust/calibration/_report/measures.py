"""Every measure of a report, with what a calibrated model would show."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs.matrices import Correction
from keras_robust._inputs.predictions import Predictions
from keras_robust.calibration._bins.binning import Binned, binned, binned_events
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.events import Events
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._scores import proper
from keras_robust.calibration._scores.corp import corp_of
from keras_robust.calibration._scores.risk_coverage import aurc_of
from keras_robust.calibration._scores.smooth_ece import SmoothECE

# The 97.5 % quantile of the normal distribution.
_NORMAL_95 = 1.959964
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
        costs: If it is a mean over rows, what each row would add to it were each class
            its true one, of shape (N, K); else None.
    """

    name: str
    title: str
    num_bins: int | None
    function: Function
    is_error: bool = False
    costs: np.ndarray | None = None


def measures_of(
    predictions: Predictions,
    events: Events,
    num_bins: int,
    notion: str,
    undone: Correction | None,
) -> list[Measure]:
    """Returns the measures of a report, prepared for these predictions.

    Where the noise of labels is undone, without the parts of the Brier score (CORP):
    isotonic regression would follow terms far outside [0, 1].
    """
    weight = events.weight
    happens = np.eye(predictions.prob.shape[-1])[events.event]
    share = proper.weighted_mean
    confidence = share(events.confidence, weight)
    positive = notion == "positive"
    measures = [
        Measure(
            "event_rate" if positive else "accuracy",
            "rate of class 1" if positive else "accuracy",
            None,
            lambda _, correct: share(correct, weight),
            costs=happens,
        ),
        Measure("confidence", "mean confidence", None, lambda *_: confidence),
        Measure(
            "signed_gap",
            "confidence - " + ("rate" if positive else "accuracy"),
            None,
            lambda _, correct: confidence - share(correct, weight),
            costs=events.confidence[:, None] - happens,
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
        measures.append(_classwise(predictions, num_bins, undone))
    return [*measures, *_score_measures(predictions, events, positive, undone)]


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
        function = _of_table(bins, read, events.ends)
        yield Measure(name, title, bins.count.shape[-1], function, is_error=True)


def _of_table(
    bins: Binned,
    read: Callable[[ReliabilityBins], float],
    ends: tuple[float, float] | None,
) -> Function:
    return lambda _, correct: read(bins.tables(correct[:, None], ends)[0])


def _classwise(
    predictions: Predictions, num_bins: int, undone: Correction | None
) -> Measure:
    prob, weight = predictions.prob, predictions.weight[:, None]
    classes = binned(prob, weight, num_bins, predictions.dtype)

    def function(label: np.ndarray, _: np.ndarray) -> float:
        # The mean over classes of sum_b (n_b / n) |acc_b - conf_b|.
        truth = label if undone is None else undone.of_labels(label)
        gaps = np.abs(classes.confidence - classes.correct(truth))
        return float(gaps.sum() / classes.count.sum())

    title = f"class-wise ECE, {num_bins} bins of equal width"
    return Measure("classwise_ece", title, num_bins, function, is_error=True)


def _score_measures(
    predictions: Predictions,
    events: Events,
    positive: bool,
    undone: Correction | None,
) -> Iterator[Measure]:
    weight, prob, log_prob = predictions.weight, predictions.prob, predictions.log_prob
    mean = proper.weighted_mean

    def brier(label: np.ndarray, _: np.ndarray) -> float:
        return mean(proper.brier_of_rows(prob, label, undone), weight)

    def nll(label: np.ndarray, _: np.ndarray) -> float:
        value = mean(proper.nll_of_rows(log_prob, label, undone), weight)
        # Of a probability of 0, the inverse makes infinities of either sign.
        return value if undone is None or np.isfinite(value) else np.nan

    scale = 0.5 if prob.shape[-1] == 2 else 1.0
    distances = scale * ((prob**2).sum(axis=-1, keepdims=True) + 1 - 2 * prob)
    title = "negative log-likelihood, nats"
    yield Measure("nll", title, None, nll, costs=-log_prob)
    yield Measure("brier", "Brier score", None, brier, costs=distances)
    if undone is None:
        yield from _parts_of_brier(predictions, events, positive)
    if not positive:
        area = aurc_of(events)
        title = "area under risk-coverage (AURC)"
        yield Measure("aurc", title, None, lambda _, correct: area(correct))


def _parts_of_brier(
    predictions: Predictions, events: Events, positive: bool
) -> Iterator[Measure]:
    corp = corp_of(events)

    def of_parts(name: str) -> Function:
        return lambda _, correct: getattr(corp(correct), name)

    about = "class 1" if positive else "top label"
    if predictions.prob.shape[-1] > 2:  # else it is the Brier score itself
        title = f"Brier score of the {about}"
        yield Measure("brier_top_label", title, None, of_parts("brier"))
    for part in ("miscalibration", "discrimination", "uncertainty"):
        title = f"{part} of the {about} (CORP)"
        error = part == "miscalibration"
        yield Measure(part, title, None, of_parts(part), error)


def measured_values(
    predictions: Predictions,
    events: Events,
    measures: list[Measure],
    num_resamples: int,
    rng: np.random.Generator,
    undone: Correction | None,
) -> list[MeasuredValue]:
    """Returns each measure as observed, and over labels drawn from the predictions.

    Consistency resampling row by row: a row's label is drawn with the probabilities
    that the model gave, so that the same labels serve every measure. Where noise is
    undone, it is put onto the labels that were drawn, and undone again.
    """
    observed = [m.function(predictions.label, events.correct) for m in measures]
    draws = np.full((num_resamples, len(measures)), np.nan)
    upper = np.cumsum(predictions.prob, axis=-1)
    for step in progress(range(num_resamples), "labels as the model would have them"):
        label = _draw_labels(upper, rng)
        if undone is None:
            correct = (label == events.event).astype("float64")
        else:
            label = _draw_labels(np.cumsum(undone.matrix, axis=-1)[label], rng)
            correct = undone.inverse[label, events.event]
        draws[step] = [m.function(label, correct) for m in measures]
    values = [
        MeasuredValue.from_draws(value, column, two_sided=not measure.is_error)
        for measure, value, column in zip(measures, observed, draws.T)
    ]
    if undone is None:
        return values
    counts = undone.of_labels(predictions.label)
    return [
        value if m.costs is None else _with_interval(value, m.costs, counts, events)
        for m, value in zip(measures, values)
    ]


def _with_interval(
    value: MeasuredValue, costs: np.ndarray, counts: np.ndarray, events: Events
) -> MeasuredValue:
    """Returns a mean over rows with its normal interval, and what it costs in rows.

    `counts` is how much each class counts in each row, of shape (N, K).
    """
    if np.isnan(value.value):
        return value
    weight, mean = events.weight, proper.weighted_mean
    total = weight.sum()
    variance = mean(((counts * costs).sum(axis=-1) - value.value) ** 2, weight)
    # Of true labels: squares of costs have an expectation without bias as well.
    of_true = mean((counts * costs**2).sum(axis=-1), weight) - value.value**2
    with np.errstate(divide="ignore", invalid="ignore"):
        half = _NORMAL_95 * np.sqrt(variance / (total - 1))
        rows = total * of_true / variance if of_true > 0 else np.nan
    lower, upper = value.value - half, value.value + half
    found = {"lower": lower, "upper": upper, "effective_rows": rows}
    return replace(value, **{name: float(number) for name, number in found.items()})


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
