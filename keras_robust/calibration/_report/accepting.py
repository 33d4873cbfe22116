"""What a report says of accepting predictions from a confidence on."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs.matrices import Correction
from keras_robust._inputs.options import checked_probability
from keras_robust.calibration._bins.events import Events
from keras_robust.calibration._deciding.operating_point import (
    OperatingPoint,
    operating_point,
    percent,
    terms_of,
)

# How surely a threshold keeps what it promises.
CONFIDENCE = 0.95
_NORMAL_95 = 1.959964
_NUM_POINTS = 100
TITLE = "Accept from a confidence on, so that so many are right"


class Accepting(NamedTuple):
    """What is accepted of a model's predictions, and how often that is wrong.

    Attributes:
        points: For each accuracy asked for its operating point.
        coverage: Shares of the rows, the surest first, float64 (M,).
        risk: The share of them that is wrong, float64 (M,).
        low: Where that of 97.5 % of calibrated models lies above, float64 (M,).
        high: Where that of 97.5 % of calibrated models lies below, float64 (M,).
    """

    points: dict[float, OperatingPoint]
    coverage: np.ndarray
    risk: np.ndarray
    low: np.ndarray
    high: np.ndarray


def checked_accuracies(owner: str, accept_at: Any) -> tuple[float, ...]:
    """Returns the accuracies to accept at, ascending; none for None."""
    if accept_at is None:
        return ()
    fix = "Pass shares that must be right, such as (0.9, 0.95), or None."
    if isinstance(accept_at, str) or not isinstance(accept_at, Iterable):
        accept_at = (accept_at,)
    return tuple(
        sorted({checked_probability(owner, "accept_at", x, fix=fix) for x in accept_at})
    )


def accepting(
    events: Events, accuracies: tuple[float, ...], undone: Correction | None
) -> Accepting | None:
    """Returns what to accept, or None where weights are no repetitions of rows."""
    if not accuracies or (events.weight != np.floor(events.weight)).any():
        return None
    points = {
        accuracy: operating_point(events, accuracy, CONFIDENCE, undone)
        for accuracy in accuracies
    }
    order = np.argsort(-events.confidence, kind="stable")
    confidence, weight = events.confidence[order], events.weight[order]
    terms = terms_of(events, order, np.arange(len(order)), undone)
    variance = confidence * terms.of_right + (1 - confidence) * terms.of_wrong
    columns = (1 - terms.value, 1 - confidence, variance - confidence**2)
    count, *sums = (np.cumsum(weight * x) for x in (np.ones(len(order)), *columns))
    ends = np.append(confidence[1:] != confidence[:-1], True)
    shown = np.flatnonzero(ends)
    wanted = np.linspace(0, count[-1], _NUM_POINTS + 1)[1:]
    shown = np.unique(shown[np.searchsorted(count[shown], wanted - 1e-9)])
    count, (wrong, expected, scatter) = count[shown], (x[shown] for x in sums)
    half = _NORMAL_95 * np.sqrt(np.maximum(scatter, 0))
    low, high = (expected - half) / count, (expected + half) / count
    if undone is None:
        low, high = np.maximum(low, 0), np.minimum(high, 1)
    return Accepting(points, count / count[-1], wrong / count, low, high)


def rows_of(found: dict[str, Accepting | None]) -> list[dict[str, Any]]:
    """Returns operating points as plain rows."""
    return [
        {"model": model, "accept_at": accuracy, **point._asdict()}
        for model, one in found.items()
        for accuracy, point in ({} if one is None else one.points).items()
    ]


def measures_of(rows: list[dict[str, Any]], like: dict[str, Any]) -> list[dict]:
    """Returns operating points as rows of measures, with the other fields of `like`."""
    named = {"threshold": "threshold", "share": "share", "accuracy": "accuracy"}
    named["lower"] = "accuracy_bound"
    return [
        {
            **dict.fromkeys(like, float("nan")),
            "model": row["model"],
            "measure": f"{name}_at_{row['accept_at']:g}",
            "value": row[field],
            "n": like["n"],
            "num_bins": None,
        }
        for row in rows
        for field, name in named.items()
    ]


def cells(accuracy: float, point: OperatingPoint) -> list[str]:
    """Returns what a table says of an operating point, a text for each column."""
    if point.needed is not None:
        return [goal(accuracy), "none", f"needs {point.needed:,} rows", "", ""]
    if not point.num_accepted:
        return [goal(accuracy), "none", percent(0), "", ""]
    shares = (point.share, point.accuracy, point.lower)
    return [goal(accuracy), f"{point.threshold:.4f}", *map(percent, shares)]


def heads(notion: str) -> list[str]:
    """Returns the heads of those columns."""
    right = "right" if notion == "top_label" else "of class 1"
    return ["to be right", "accept from", "share of rows", right, "at least"]


def goal(share: float) -> str:
    """Returns a share with the digits it was given in."""
    return f"{100 * share:.6g} %"


def lines(report: Any) -> list[str]:
    """Returns the operating points as lines of text, or none."""
    found = {model: one for model, one in report.accepting.items() if one is not None}
    if not found:
        return []
    several = len(report.models) > 1
    head = ["model"] * several + heads(report.settings["notion"])
    table = [head] + [
        [model] * several + cells(*point)
        for model, one in found.items()
        for point in one.points.items()
    ]
    widths = [max(map(len, column)) for column in zip(*table)]
    title = f"{TITLE} (with a probability of {goal(CONFIDENCE)}):"
    return [title] + [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in table
    ]
