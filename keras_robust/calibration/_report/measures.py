"""Every measure of a report, with what a calibrated model would show."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from keras_robust._inputs.matrices import Correction
from keras_robust._inputs.predictions import Predictions
from keras_robust.calibration._bins.binning import Binned
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.events import Events
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._report.cells import Cells, cells_of, tables_of
from keras_robust.calibration._report.resampling import (
    Outcome,
    costs_of,
    drawn,
    observed,
    parts_of,
)
from keras_robust.calibration._scores import proper
from keras_robust.calibration._scores.corp import Corp
from keras_robust.calibration._scores.risk_coverage import aurc_of
from keras_robust.calibration._scores.smooth_ece import SmoothECE

# The 97.5 % quantile of the normal distribution.
_NORMAL_95 = 1.959964
Function = Callable[[Outcome], float]


class Measure(NamedTuple):
    """What a measure is called.

    Attributes:
        name: Its key in frames and JSON.
        title: What a reader is told.
        num_bins: Number of bins, or None if it has none.
        is_error: Whether it measures miscalibration, so that only large values are
            bad news.
    """

    name: str
    title: str
    num_bins: int | None = None
    is_error: bool = False


def measured(
    predictions: Predictions,
    events: Events,
    *,
    num_bins: int,
    notion: str,
    num_resamples: int,
    rng: np.random.Generator,
    undone: Correction | None,
) -> tuple[dict[str, tuple[Measure, MeasuredValue]], ReliabilityBins]:
    """Returns every measure by its name, and the table of bins of equal width.

    Values are those of the rows. Null values are of labels drawn row by row, of which
    sums over cells are kept: a cell holds confidences that hardly differ.
    """
    positive = notion == "positive"
    tables = tables_of(events, num_bins)
    classes = None if positive else num_bins
    outcome, in_bins = observed(predictions, events.correct, classes, undone)
    of_rows = _measures(events, tables, predictions, positive, None)
    measures = list(of_rows)
    values = [function(outcome) for function in of_rows.values()]
    del of_rows, outcome  # with what they keep of each row
    draws = np.full((num_resamples, len(values)), np.nan)
    if num_resamples:
        cells = cells_of(events, tables)
        like = cells.events(events)
        of_cells = _measures(like, cells.tables, predictions, positive, cells)
        how = (predictions, cells, in_bins, num_resamples, rng, undone)
        for draw, came in zip(draws, drawn(*how)):
            draw[:] = [function(came) for function in of_cells.values()]
        # Fixed by the predictions alone; over cells it is another sum.
        fixed = [measure.name for measure in measures].index("confidence")
        draws[:, fixed] = values[fixed]
    found = {
        measure.name: (
            measure,
            MeasuredValue.from_draws(value, column, two_sided=not measure.is_error),
        )
        for measure, value, column in zip(measures, values, draws.T)
    }
    if undone is not None:
        _add_intervals(found, predictions, events, undone)
    return found, tables["equal_width"].tables(events.correct[:, None], events.ends)[0]


def _measures(
    events: Events,
    tables: dict[str, Binned],
    predictions: Predictions,
    positive: bool,
    cells: Cells | None,
) -> dict[Measure, Function]:
    """Returns the measures of a report, as functions of what came true.

    Of rows; or of cells, whose correctness is a mean of right and wrong. Where the
    noise of labels is undone, without the parts of the Brier score (CORP): isotonic
    regression would follow terms far outside [0, 1].
    """
    weight, rate = events.weight, "rate" if positive else "accuracy"
    confidence = proper.weighted_mean(events.confidence, weight)

    def share(came: Outcome) -> float:
        return proper.weighted_mean(came.correct, weight)

    first = ("event_rate", "rate of class 1") if positive else ("accuracy", "accuracy")
    smooth = SmoothECE(events)
    title = "smooth ECE"
    made: dict[Measure, Function] = {
        Measure(*first): share,
        Measure("confidence", "mean confidence"): lambda came: confidence,
        Measure("signed_gap", f"confidence - {rate}"): lambda came: (
            confidence - share(came)
        ),
        **dict(_binned_measures(tables, events.ends)),
        Measure("smooth_ece", title, None, True): lambda came: smooth(came.correct),
    }
    if not positive:
        num_bins = len(tables["equal_width"].edges) - 1
        title = f"class-wise ECE, {num_bins} bins of equal width"
        made[Measure("classwise_ece", title, num_bins, True)] = lambda came: (
            came.classwise
        )
    made[Measure("nll", "negative log-likelihood, nats")] = lambda came: came.nll
    made[Measure("brier", "Brier score")] = lambda came: came.brier
    if events.ends is None:
        two = predictions.prob.shape[-1] == 2
        made |= dict(_parts_of_brier(events, positive, two, cells))
    if not positive:
        area = aurc_of(events)
        title = "area under risk-coverage (AURC)"
        made[Measure("aurc", title)] = lambda came: area(came.correct)
    return made


def _binned_measures(
    tables: dict[str, Binned], ends: tuple[float, float] | None
) -> Iterator[tuple[Measure, Function]]:
    def of_table(kind: str, read: Callable[[ReliabilityBins], float]) -> Function:
        def function(came: Outcome) -> float:
            squares = None if came.squares is None else came.squares[:, None]
            return read(tables[kind].tables(came.correct[:, None], ends, squares)[0])

        return function

    width = f"{len(tables['equal_width'].edges) - 1} bins of equal width"
    for name, title, kind, read in (
        ("ece", f"ECE, {width}", "equal_width", ReliabilityBins.ece),
        ("ece_equal_mass", "ECE, bins of equal mass", "equal_mass", None),
        ("ece_l2", f"ECE, l2, {width}", "equal_width", lambda table: table.ece("l2")),
        ("debiased_ece", "ECE, l2, debiased", "equal_width", _debiased),
        ("mce", f"largest gap (MCE), {width}", "equal_width", ReliabilityBins.mce),
    ):
        num_bins = len(tables[kind].edges) - 1
        measure = Measure(name, title, num_bins, is_error=True)
        yield measure, of_table(kind, read or ReliabilityBins.ece)


def _debiased(table: ReliabilityBins) -> float:
    return table.debiased_ece()


def _parts_of_brier(
    events: Events, positive: bool, two_classes: bool, cells: Cells | None
) -> Iterator[tuple[Measure, Function]]:
    corp = Corp(events)
    squares = None if cells is None else cells.squares

    def of_parts(name: str) -> Function:
        def function(came: Outcome) -> float:
            return getattr(corp(came.correct, squares, came.discrimination), name)

        return function

    about = "class 1" if positive else "the top label"
    if not two_classes:  # else it is the Brier score itself
        title = f"Brier score of {about}"
        yield Measure("brier_top_label", title), of_parts("brier")
    for part in ("miscalibration", "discrimination", "uncertainty"):
        title = f"{part} of {about} (CORP)"
        error = part == "miscalibration"
        yield Measure(part, title, None, error), of_parts(part)


def _add_intervals(
    found: dict[str, tuple[Measure, MeasuredValue]],
    predictions: Predictions,
    events: Events,
    undone: Correction,
) -> None:
    """Gives means over rows their normal interval, and what they cost in rows."""
    names = [next(iter(found)), "signed_gap", "nll", "brier"]
    terms = {
        name: (np.zeros(len(events.weight)), np.zeros(len(events.weight)))
        for name in names
    }
    for rows, part in parts_of(predictions):
        counts, costs = undone.of_labels(part.label), costs_of(part)
        happens = np.eye(counts.shape[-1])[events.event[rows]]
        gap = events.confidence[rows][:, None] - happens
        for name, cost in zip(names, (happens, gap, costs.nll, costs.brier)):
            with np.errstate(invalid="ignore"):
                terms[name][0][rows] = (counts * cost).sum(axis=-1)
                terms[name][1][rows] = (counts * cost**2).sum(axis=-1)
    for name in names:
        measure, value = found[name]
        found[name] = measure, _with_interval(value, *terms[name], events.weight)


def _with_interval(
    value: MeasuredValue, term: np.ndarray, square: np.ndarray, weight: np.ndarray
) -> MeasuredValue:
    """Returns a mean of terms, of the true squares `square`, with its interval."""
    if np.isnan(value.value):
        return value
    total, mean = weight.sum(), proper.weighted_mean
    variance = mean((term - value.value) ** 2, weight)
    # Of true labels: squares of costs have an expectation without bias as well.
    of_true = mean(square, weight) - value.value**2
    with np.errstate(divide="ignore", invalid="ignore"):
        half = _NORMAL_95 * np.sqrt(variance / (total - 1))
        rows = total * of_true / variance if of_true > 0 else np.nan
    lower, upper = value.value - half, value.value + half
    ends = {"lower": lower, "upper": upper, "effective_rows": rows}
    return replace(value, **{name: float(number) for name, number in ends.items()})
