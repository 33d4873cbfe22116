"""The scores up to which classes are in a prediction set."""

import math
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import Correction
from keras_robust._inputs.predictions import Predictions

_OWNER = "PredictionSets"
# Of sums that rounding may have put below a whole number.
_ROUNDING = 1e-9


class Thresholds(NamedTuple):
    """What `PredictionSets` finds: of all classes in one, or of each.

    Attributes:
        threshold: Float64 array of shape `(K,)`, infinite for a class always in.
        slack: How far the coverage may be below what was asked, by class or in one.
    """

    threshold: np.ndarray
    slack: Any


def class_mass(
    rows: Predictions, undone: Correction | None, group: np.ndarray | None
) -> np.ndarray:
    """Returns how much each class counts as the true one, float64 of shape (N, K).

    A row adds up to its weight, or the rows of a group to 1.
    """
    if undone is not None:
        undone.check_classes(_OWNER, rows.prob.shape[-1])
        mass = undone.of_labels(rows.label)
    elif rows.label.ndim == 1:
        mass = np.zeros_like(rows.prob)
        mass[np.arange(len(mass)), rows.label] = 1
    else:
        mass = rows.label
    weight = rows.weight
    if group is not None:
        weight = weight / np.bincount(group, weight)[group]
    return mass * weight[:, None]


def threshold_of_all(
    scores: np.ndarray,
    mass: np.ndarray,
    coverage: float,
    undone: Correction | None,
    conservative: bool,
    what: str,
) -> Thresholds:
    """Returns the one threshold of all classes; raises where there are too few rows."""
    count = float(mass.sum())
    # The sums over classes whose scores are up to any threshold lie between these.
    parts = undone.inverse if undone is not None else np.zeros((1, 1))
    low, high = (part.sum(axis=1) for part in (parts.clip(max=0), parts.clip(min=0)))
    width = float(high.max() - low.min())
    slack = slack_mass(width, count)
    added = slack if conservative else 0.0
    found = threshold(scores, mass, coverage * (count + 1) + added)
    if not math.isfinite(found):
        needed = rows_needed(coverage, width if conservative else 0.0)
        raise checks.invalid(
            _OWNER,
            "y_true",
            f"of at least {needed} {what} that count, for coverage={coverage:g}",
            f"{count:g}",
            "With fewer, only sets of all classes hold the true one so often.",
        )
    return Thresholds(
        np.full(scores.shape[-1], found), (slack - added) / max(count, 1.0)
    )


def threshold_of_each(
    scores: np.ndarray,
    mass: np.ndarray,
    coverage: float,
    undone: Correction | None,
    conservative: bool,
    what: str,
) -> Thresholds:
    """Returns the threshold of each class; warns of those with too few rows."""
    counts = mass.sum(axis=0)
    found, slack = np.full(len(counts), math.inf), np.zeros(len(counts))
    needed = np.zeros(len(counts))
    for k, count in enumerate(counts):
        extra = 0.0
        if undone is not None:
            # What a row adds to the mass up to a score less `coverage` of all mass.
            column = undone.inverse[:, k]
            ends = np.concatenate([column * (1 - coverage), -column * coverage])
            extra = slack_mass(float(np.ptp(ends)), float(mass.sum()))
            slack[k] = extra / count if count > 0 else math.inf
        added = extra if conservative else 0.0
        target = coverage * (count + 1) + added
        needed[k] = (coverage + added) / (1 - coverage)  # where it is the target
        if count > 0:
            found[k] = threshold(scores[:, k], mass[:, k], target)
    short = np.flatnonzero(np.isinf(found))
    enough = math.ceil(needed.max() * (1 - _ROUNDING))
    if len(short) == len(found):
        raise checks.invalid(
            _OWNER,
            "y_true",
            f"of at least {enough} {what} of some class, for coverage={coverage:g}",
            f"at most {counts.max(initial=0):g} of one",
            "With fewer, only sets of all classes hold the true one so often.",
        )
    if len(short):
        checks.warn(_text_of_short(short, counts, enough, coverage, what))
    slack[short] = 0.0  # they are always in
    none = undone is None or conservative
    return Thresholds(found, np.zeros(len(found)) if none else slack)


def threshold(scores: np.ndarray, mass: np.ndarray, target: float) -> float:
    """Returns the score from which on the mass of scores up to it is the target.

    With masses below 0, as they are where noise is undone, the sum may fall again: it
    is the last time that counts. So whether a score is below the threshold hangs on
    the sum up to that score alone, and not on whether the sum has been too high by
    chance somewhere before: that is what bounds the error (see `slack_mass`).

    Args:
        scores: Float64 array of any shape.
        mass: What each counts, of the same shape.
        target: The mass to reach.

    Returns:
        One of the scores; infinity if all of them do not reach the target. Equal scores
        need no care: one of them after which the sum is short is followed by another.
    """
    counted = mass != 0
    scores, mass = scores[counted], mass[counted]
    order = np.argsort(scores)
    scores, total = scores[order], np.cumsum(mass[order])
    short = np.flatnonzero(total < target - _ROUNDING * max(1.0, target))
    first = short[-1] + 1 if len(short) else 0
    return float(scores[first]) if first < len(scores) else math.inf


def slack_mass(width: float, count: float) -> float:
    """Returns how much mass a threshold may lack for what it should cover, on average.

    Let F(t) be the share of true classes with scores up to t, and m(t) its unbiased
    estimate from `count` rows, each of which adds what lies in an interval of `width`.
    A threshold below the quantile t_c of F says that m(t_c) has reached the target,
    which by Hoeffding's inequality has a probability of exp(-2 count (target - c)² /
    width²) at most. Over all c below the target that adds up to width sqrt(π / (8
    count)): so much may the expectation of F at the threshold be below the target.
    """
    return width * math.sqrt(math.pi * count / 8)


def rows_needed(coverage: float, width: float = 0.0) -> int:
    """Returns the least number of rows that can reach a coverage.

    They are n with coverage (n + 1) + slack_mass(width, n) <= n, a quadratic inequality
    in the root of n.
    """
    slack = slack_mass(width, 1.0)
    root = slack + math.sqrt(slack**2 + 4 * (1 - coverage) * coverage)
    needed = (root / (2 * (1 - coverage))) ** 2
    return math.ceil(needed * (1 - _ROUNDING))


def _text_of_short(
    short: np.ndarray, counts: np.ndarray, needed: int, coverage: float, what: str
) -> str:
    named = ", ".join(f"{k} ({max(counts[k], 0.0):.4g})" for k in short[:5])
    more = f" and {len(short) - 5} more" if len(short) > 5 else ""
    return (
        f"{_OWNER}: with per_class=True and coverage={coverage:g} a class takes at "
        f"least {needed} {what}. Of fewer are classes {named}{more}: they are in every "
        "set."
    )
