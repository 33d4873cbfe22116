"""From events to the threshold above which enough of them are right."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import Correction
from keras_robust.calibration._bins.events import Events
from keras_robust.calibration._deciding.bounds import Terms, suitable_test


class OperatingPoint(NamedTuple):
    """A threshold of confidence, and what it accepts of the rows it was chosen on.

    Attributes:
        threshold: The least confidence that is accepted; infinity if none is.
        share: The share of rows that is accepted.
        accuracy: The share of them that is right, NaN if none is accepted.
        lower: Its lower bound, NaN if none is accepted.
        num_accepted: How many rows are accepted.
        needed: If the rows are too few for any test, how many are not; else None.
    """

    threshold: float
    share: float = 0.0
    accuracy: float = float("nan")
    lower: float = float("nan")
    num_accepted: int = 0
    needed: int | None = None

    def __str__(self) -> str:
        if self.needed is not None:
            return f"accepts nothing: at least {self.needed:,} are needed"
        if not self.num_accepted:
            return "accepts nothing: no threshold is shown to reach the accuracy"
        return (
            f"accepts from {self.threshold:.4f} on: {percent(self.share)} of the rows, "
            f"{percent(self.accuracy)} of them right (at least {percent(self.lower)})"
        )


def percent(share: float) -> str:
    """Returns a share as a text."""
    return f"{100 * share:.1f} %"


def operating_point(
    events: Events,
    accuracy: float,
    confidence: float,
    undone: Correction | None = None,
    group: np.ndarray | None = None,
) -> OperatingPoint:
    """Returns the least threshold of which rows show that enough is right above it.

    By fixed-sequence testing: ranks are tested from the strictest on, each at the level
    1 - `confidence`, until one fails. Equal confidences stay together. `group` says
    what each row belongs to.
    """
    row = np.repeat(np.arange(len(events.weight)), events.weight.astype("int64"))
    row = row[np.argsort(-events.confidence[row], kind="stable")]
    unit = np.arange(len(row)) if group is None else group[row]
    _, unit = np.unique(unit, return_inverse=True)
    terms = terms_of(events, row, unit, undone)
    test = suitable_test(terms, accuracy, 1 - confidence, grouped=group is not None)
    if not len(test.ranks):
        return OperatingPoint(np.inf, needed=test.needed)
    score = events.confidence[row]
    accepted = 0
    for rank in _ends_of_ties(score, test.ranks):
        if not test.passes(rank):
            break
        accepted = int(rank)
    if not accepted:
        return OperatingPoint(np.inf)
    mean = float(terms.value[:accepted].mean())
    share = accepted / len(row)
    threshold = _between(score, accepted, events.dtype)
    return OperatingPoint(threshold, share, mean, test.lower(accepted), accepted)


def points_by(
    events: Events,
    part: np.ndarray | None,
    accuracy: float,
    confidence: float,
    undone: Correction | None = None,
    group: np.ndarray | None = None,
) -> dict[Any, OperatingPoint]:
    """Returns the operating point of the rows of each value of `part`, or of all."""
    if part is None:
        return {None: operating_point(events, accuracy, confidence, undone, group)}
    points = {}
    for value in np.unique(part).tolist():
        keep = part == value
        columns = ("confidence", "correct", "weight", "event")
        some = {name: getattr(events, name)[keep] for name in columns}
        inside = None if group is None else group[keep]
        how = (accuracy, confidence, undone, inside)
        points[value] = operating_point(events._replace(**some), *how)
    return points


def check_enough(
    owner: str,
    point: OperatingPoint,
    events: Events,
    accuracy: float,
    confidence: float,
    undone: Correction | None,
    group: np.ndarray | None,
) -> None:
    """Raises where the rows were too few for any test."""
    if point.needed is None:
        return
    if group is None:
        what, received = "rows", f"{events.weight.sum():.0f} rows"
    else:
        what, received = "groups like these", f"{len(np.unique(group))} groups"
    why = "passes" if undone is None and group is None else "is likely to pass"
    raise checks.invalid(
        owner,
        "y_true",
        f"of at least {point.needed:,} {what} for an accuracy of {accuracy:g} at a "
        f"confidence of {confidence:g}: of fewer no threshold {why}, even if every "
        "prediction is right",
        received,
        "Label more, or ask for less.",
    )


def terms_of(
    events: Events, row: np.ndarray, unit: np.ndarray, undone: Correction | None
) -> Terms:
    """Returns what events count, at `row`, each of them in a unit."""
    value = events.correct[row]
    if undone is None:
        return Terms(value, np.zeros_like(value), unit)
    matrix, inverse = undone
    num_classes = len(matrix)
    of_class = matrix @ inverse**2  # [true, predicted]
    right = np.diag(of_class)
    wrong = (of_class.sum(axis=0) - right) / (num_classes - 1)
    # What labels do not tell: how often each class is predicted.
    share = np.bincount(events.event[row], minlength=num_classes) / len(row)
    low, high = inverse.min(), inverse.max()
    two = np.where(np.eye(num_classes, dtype=bool), high, low)
    symmetric = np.allclose(inverse, two, rtol=0, atol=1e-9)
    return Terms(
        value,
        inverse.min(axis=0)[events.event[row]],
        unit,
        of_right=float(share @ right),
        of_wrong=float(share @ wrong),
        ends=(float(low), float(high)) if symmetric else None,
        agree=float(matrix[0, 0]),
    )


def _ends_of_ties(score: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Returns ranks, each moved on to the last row of its confidence."""
    ends = np.append(np.flatnonzero(score[1:] != score[:-1]) + 1, len(score))
    return np.unique(ends[np.searchsorted(ends, ranks)])


def _between(score: np.ndarray, accepted: int, dtype: np.dtype) -> float:
    """Returns a threshold midway to the next confidence that is not accepted."""
    if accepted == len(score):
        return 0.0
    last, next_ = score[accepted - 1], score[accepted]
    # In the dtype of the predictions, in which a model will compare it.
    middle = float(np.asarray((last + next_) / 2, dtype).astype("float64"))
    return middle if middle > next_ else float(last)
