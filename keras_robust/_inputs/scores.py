"""Rows of scores, checked: whether they are what they are said to be."""

import numpy as np

from keras_robust._inputs import checks
from keras_robust._numerics import probability_slack

# Lax enough for rows printed with a few digits; sigmoids of many classes are caught.
ROW_SUM_SLACK = 0.01
# Of so few rows, logits may look like probabilities by chance.
_FEW = 10
# Of one output: its sigmoid is 1 - 2e-9, and no row is below one half.
_HIGH_LOGIT = 20
PROBABILITIES, PERCENTAGES = "probabilities", "percentages"


def likeness(scores: np.ndarray, *, single: bool) -> str | None:
    """Returns what rows (N, K) look like: probabilities, percentages, or None.

    `single` says that they stand for one sigmoid output, be it alone or as the second
    of two columns: numbers in [0, 1] in every row, or in [0, 100] where some are too
    large for logits none of which is below 0. Else, rows must sum to 1, or to 100.
    """
    if not len(scores):
        return None
    if single:
        scores = scores[:, -1:]
    low, high = scores.min(), scores.max()
    if not (low >= 0 and high <= 100):
        return None
    few = len(scores) < _FEW
    if single:
        if few or 1 < high <= _HIGH_LOGIT:
            return None
        return PROBABILITIES if high <= 1 else PERCENTAGES
    # One row alone proves nothing; a few have to be exact.
    sums = scores.sum(axis=-1, dtype="float64")
    slack = 1e-5 if few else ROW_SUM_SLACK
    if high <= 1 and len(sums) > 1 and (np.abs(sums - 1) <= slack).all():
        return PROBABILITIES
    if high > 1 and len(sums) > 1 and (np.abs(sums - 100) <= 100 * slack).all():
        return PERCENTAGES
    return None


def warn_if_no_logits(
    owner: str, argument: str, scores: np.ndarray, *, single: bool, said: set[str]
) -> None:
    """Warns where scores that are said to be logits look like something else.

    `said` holds what this call has warned of before, and takes this down.
    """
    kind = likeness(scores, single=single)
    if kind is None or "from_logits" in said:
        return
    said.add("from_logits")
    rows = "in [0, 1]" if single else "in [0, 1] and sum to 1"
    if kind == PERCENTAGES:
        rows = "in [0, 100]" if single else "in [0, 100] and sum to 100"
    fix = "" if kind == PROBABILITIES else " and divide them by 100"
    checks.warn(
        f"{owner}: `from_logits` is True, and all rows of `{argument}` are {rows}, as "
        f"{kind} are and logits hardly ever. If they are {kind}, pass "
        f"from_logits=False{fix}."
    )


def checked_scores(
    owner: str, argument: str, scores: np.ndarray, from_logits: bool, row: np.ndarray
) -> np.ndarray:
    """Returns rows (N, K) in float64, two classes for K = 1, or raises.

    What is float64 already is not copied.
    """
    slack = probability_slack(scores.dtype.name)
    given, scores = scores, scores.astype("float64", copy=False)
    bad = _bad_rows(scores, from_logits, slack)
    if bad is not None:
        first = int(np.flatnonzero(bad)[0])
        raise checks.invalid(
            owner,
            argument,
            "free of NaN and infinity" if from_logits else "in [0, 1], with no NaN",
            f"{int(bad.sum())} bad rows, the first row {row[first]}: "
            f"{scores[first].tolist()[:5]}",
            _fix_for(scores, from_logits),
        )
    if scores.shape[-1] == 1:
        # 1 - p in the dtype of p, as two outputs of a model would be.
        whole = given.dtype.kind in "biu"
        other = (
            np.zeros_like(scores) if from_logits else 1 - (scores if whole else given)
        )
        scores = np.concatenate([other.astype("float64"), scores], axis=-1)
    return scores


def check_sums(owner: str, argument: str, prob: np.ndarray, row: np.ndarray) -> None:
    """Raises unless rows of probabilities (N, K) sum to 1; `row` are their numbers."""
    sums = prob.sum(axis=-1)
    off = np.abs(sums - 1) > ROW_SUM_SLACK
    if off.any():
        first = int(np.flatnonzero(off)[0])
        raise checks.invalid(
            owner,
            argument,
            "distributions, with rows summing to 1",
            f"{int(off.sum())} other rows, the first row {row[first]} with a sum of "
            f"{sums[first]:.6g}",
            "For logits pass from_logits=True; where classes are not on the last axis, "
            "`axis`; rounded numbers divided by their sums; independent labels one at "
            "a time, or to `bin_multilabel`.",
        )


def _bad_rows(scores: np.ndarray, from_logits: bool, slack: float) -> np.ndarray | None:
    """Returns which rows are bad, or None where none is."""
    # The extremes mostly tell it without an array of flags; NaN is neither.
    low, high = (scores.min(), scores.max()) if scores.size else (0.0, 0.0)
    if not from_logits:
        if low >= -slack and high <= 1 + slack:
            return None
        return ~((scores >= -slack) & (scores <= 1 + slack)).all(axis=-1)
    if np.isfinite(low) and np.isfinite(high):
        return None
    bad = (np.isnan(scores) | np.isposinf(scores)).any(axis=-1)
    if scores.shape[-1] > 1:
        bad |= np.isneginf(scores).all(axis=-1)
    return bad if bad.any() else None


def _fix_for(scores: np.ndarray, from_logits: bool) -> str:
    drop = "Drop rows without a prediction."
    finite = scores[np.isfinite(scores).all(axis=-1)]
    if from_logits or not finite.size or (finite.min() >= 0 and finite.max() <= 1):
        return drop
    single = scores.shape[-1] == 1
    if likeness(finite, single=single) == PERCENTAGES:
        are = "lie in [0, 100]" if single else "sum to 100"
        return f"They {are}, as percentages do: divide them by 100."
    return "For logits pass from_logits=True; drop rows without a prediction."
