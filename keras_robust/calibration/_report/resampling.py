"""Labels as a calibrated model would have them, and the sums that they make."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from keras_robust._inputs.matrices import Correction
from keras_robust._inputs.predictions import Predictions
from keras_robust.calibration._bins.binning import binned
from keras_robust.calibration._report.cells import Cells
from keras_robust.calibration._report.draw import Draw
from keras_robust.calibration._report.isotonic import Steps, discrimination
from keras_robust.calibration._report.progress import progress
from keras_robust.calibration._scores import proper

# Numbers that are worked on at once: as many as stay in a core's own cache.
_CHUNK = 2**15
# Numbers that sums over resamples may take up at once.
_ROOM = 2**22
# So many steps has an isotonic fit to a chunk of rows, about.
_STEPS_OF_A_PART = 40


class Outcome(NamedTuple):
    """What labels, given or drawn, make of all that a report measures.

    Attributes:
        correct: Mean correctness of each row, or of each cell.
        squares: Mean squared correctness, where noise is undone; else None.
        nll: Mean negative log-likelihood.
        brier: Brier score.
        classwise: Class-wise ECE, or NaN where it is not asked for.
        discrimination: That of the event by isotonic regression over all rows, where
            cells are too coarse to tell; else None.
    """

    correct: np.ndarray
    squares: np.ndarray | None
    nll: float
    brier: float
    classwise: float
    discrimination: float | None = None


class Costs(NamedTuple):
    """What each class would add to means over rows, of shape (n, K)."""

    nll: np.ndarray
    brier: np.ndarray


def parts_of(predictions: Predictions, order: np.ndarray | None = None) -> Iterator:
    """Yields slices and the predictions in them, some thousand numbers at a time."""
    num_rows, num_classes = predictions.prob.shape
    size = max(1, _CHUNK // num_classes)
    for start in range(0, num_rows, size):
        stop = min(start + size, num_rows)
        rows = slice(start, stop) if order is None else order[start:stop]
        yield slice(start, stop), rows_of(predictions, rows)


def rows_of(predictions: Predictions, rows: slice | np.ndarray) -> Predictions:
    """Returns some of the rows."""
    logits = predictions.logits
    return predictions._replace(
        prob=predictions.prob[rows],
        label=predictions.label[rows],
        weight=predictions.weight[rows],
        logits=None if logits is None else logits[rows],
        row=predictions.row[rows],
    )


def costs_of(part: Predictions) -> Costs:
    """Returns the costs of each class in some rows."""
    prob = part.prob
    scale = 0.5 if prob.shape[-1] == 2 else 1.0
    distances = scale * ((prob**2).sum(axis=-1, keepdims=True) + 1 - 2 * prob)
    return Costs(-part.log_prob, distances)


def observed(
    predictions: Predictions,
    correct: np.ndarray,
    num_bins: int | None,
    undone: Correction | None,
) -> tuple[Outcome, np.ndarray | None]:
    """Returns the outcome of the given labels, and the confidences in classes' bins.

    The latter are what drawn labels are held against; without `num_bins` there is no
    class-wise error.
    """
    nll, brier, gaps, sums = 0.0, 0.0, 0.0, 0.0
    with np.errstate(invalid="ignore"):  # infinities of both signs, with noise undone
        for _, part in parts_of(predictions):
            costs = proper.nll_of_rows(part.log_prob, part.label, undone)
            nll += float(costs @ part.weight)
            costs = proper.brier_of_rows(part.prob, part.label, undone)
            brier += float(costs @ part.weight)
            if num_bins is not None:
                classes = binned(part.prob, part.weight[:, None], num_bins, part.dtype)
                truth = part.label if undone is None else undone.of_labels(part.label)
                sums = sums + classes.confidence
                gaps = gaps + classes.confidence - classes.correct(truth)
    total = float(predictions.weight.sum())
    nll = nll / total
    if undone is not None and not np.isfinite(nll):
        nll = np.nan  # of a probability of 0, the inverse makes either sign
    classwise = np.nan
    if num_bins is not None:
        classwise = float(np.abs(gaps).sum() / (total * predictions.prob.shape[-1]))
    squares = None if undone is None else correct**2
    outcome = Outcome(correct, squares, nll, brier / total, classwise)
    return outcome, None if num_bins is None else sums


def drawn(
    predictions: Predictions,
    cells: Cells,
    confidence: np.ndarray | None,
    num_resamples: int,
    rng: np.random.Generator,
    undone: Correction | None,
) -> Iterator[Outcome]:
    """Yields the outcomes of labels drawn with the probabilities of the predictions.

    Consistency resampling row by row, the same labels for every measure; what is kept
    of them are sums. Where noise is undone, it is put onto the labels that were drawn,
    and undone again. `confidence` is as `observed` returns it.
    """
    bins = 0 if confidence is None else confidence.size
    rows = max(1, _CHUNK // predictions.prob.shape[-1])
    parts = -(-len(predictions.weight) // rows)
    steps = 0 if cells.exact else 2 * min(_STEPS_OF_A_PART, rows // 2 + 1) * parts
    block = max(_ROOM, predictions.prob.size // 3) // (len(cells.weight) + bins + steps)
    starts = range(0, num_resamples, max(1, block))
    shown = iter(progress(len(starts) * parts, "labels as the model would have them"))
    for start in starts:
        count = min(max(1, block), num_resamples - start)
        sums = _Sums(count, cells, confidence, undone)
        for rows, part in parts_of(predictions, cells.order):
            sums.add(rows, part, rng)
            next(shown)
        yield from sums.outcomes()
    next(shown, None)


class _Sums:
    """Sums over rows for some resamples, chunk after chunk of rows."""

    def __init__(
        self,
        count: int,
        cells: Cells,
        confidence: np.ndarray | None,
        undone: Correction | None,
    ) -> None:
        self._cells, self._confidence, self._undone = cells, confidence, undone
        self._correct = np.zeros((count, len(cells.weight)))
        self._squares = None if undone is None else np.zeros_like(self._correct)
        self._nll, self._brier = np.zeros(count), np.zeros(count)
        self._classes = np.zeros(0 if confidence is None else count * confidence.size)
        self._isotonic = undone is None and not cells.exact
        self._steps: list[Steps] = []

    def add(self, rows: slice, part: Predictions, rng: np.random.Generator) -> None:
        """Draws labels of some rows, as often as there are resamples."""
        undone, weight = self._undone, part.weight
        num_rows, num_classes = part.prob.shape
        costs, prob = costs_of(part), part.prob
        if undone is not None:
            prob = prob @ undone.matrix
            with np.errstate(invalid="ignore"):
                costs = Costs(*(table @ undone.inverse.T for table in costs))
        tables = [(table * weight[:, None]).ravel() for table in costs]
        draw = Draw(prob)
        event = self._cells.event[rows]
        first, places = self._cells.starts_in(rows), self._cells.of_row[rows]
        into = slice(places[0], places[-1] + 1)
        classes = self._places(part)
        base = num_classes * np.arange(num_rows)
        ties = self._cells.ties_in(rows)
        steps: list[Steps] = []
        step = max(1, 2 * _CHUNK // num_rows)
        for start in range(0, len(self._nll), step):
            these = slice(start, min(start + step, len(self._nll)))
            label = draw(these.stop - start, rng)
            if undone is None:
                correct = (label == event) * weight
            else:
                terms = undone.inverse[label, event]
                correct = terms * weight
                self._squares[these, into] += np.add.reduceat(
                    terms * correct, first, axis=1
                )
            if self._isotonic:
                steps.append(Steps.fitted(correct, weight, ties))
            self._correct[these, into] += np.add.reduceat(correct, first, axis=1)
            at = label + base
            for total, table in zip((self._nll, self._brier), tables):
                total[these] += table.take(at).sum(axis=1)
            if classes is not None:
                self._add_classes(these, label, at, classes, weight)
        if steps:
            self._steps.append(Steps.joined(steps))

    def _places(self, part: Predictions) -> np.ndarray | None:
        if self._confidence is None:
            return None
        num_bins = self._confidence.shape[-1]
        return binned(part.prob, part.weight[:, None], num_bins, part.dtype).place

    def _add_classes(
        self,
        these: slice,
        label: np.ndarray,
        at: np.ndarray,
        places: np.ndarray,
        weight: np.ndarray,
    ) -> None:
        size = self._confidence.size
        offset = size * np.arange(these.start, these.stop)[:, None]
        if self._undone is None:
            place = places.ravel().take(at) + offset
            weight = np.broadcast_to(weight, place.shape)
            np.add.at(self._classes, place.ravel(), weight.ravel())
            return
        for one, labels in zip(offset[:, 0], label):
            counts = self._undone.inverse[labels] * weight[:, None]
            np.add.at(self._classes, (places + one).ravel(), counts.ravel())

    def outcomes(self) -> Iterator[Outcome]:
        """Yields what the sums amount to, for each resample."""
        mass = self._cells.weight
        total = mass.sum()
        for k in range(len(self._nll)):
            squares = None if self._squares is None else self._squares[k] / mass
            nll, classwise = self._nll[k] / total, np.nan
            if self._undone is not None and not np.isfinite(nll):
                nll = np.nan
            if self._confidence is not None:
                size = self._confidence.size
                came = self._classes[k * size : (k + 1) * size]
                gaps = np.abs(self._confidence.ravel() - came).sum()
                classwise = gaps / (total * len(self._confidence))
            correct = self._correct[k] / mass
            brier = self._brier[k] / total
            apart = discrimination(self._steps, k) if self._steps else None
            yield Outcome(correct, squares, nll, brier, classwise, apart)
