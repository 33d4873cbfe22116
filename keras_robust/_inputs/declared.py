"""Whether predictions are what `from_logits` says of them, as far as they show."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.labels import Aligned
from keras_robust._inputs.scores import PROBABILITIES, likeness, warn_if_no_logits

# By how much rounding may carry the sum of a row away from 1.
_SUM_SLACK = 0.02
# By how much it, in bfloat16, may carry a probability past 0 or 1.
_SLACK = 0.016


def look(
    owner: str,
    aligned: Aligned,
    *,
    from_logits: bool,
    activated: bool,
    concrete: Callable[[Any], np.ndarray | None],
    distributions: bool = False,
) -> bool:
    """Warns where they are not; returns whether they could be looked at.

    Args:
        owner: Who was told `from_logits`.
        aligned: The predictions and labels.
        from_logits: What was said.
        activated: Whether the predictions are known to come from a softmax or sigmoid.
        concrete: Gives the numbers of a tensor, or None while there are none.
        distributions: Whether probabilities that do not sum to 1 are no use.
    """
    if activated and from_logits:
        checks.warn(
            f"{owner}: `from_logits` is True, and `y_pred` comes from a softmax or "
            "sigmoid: it holds probabilities. Pass from_logits=False."
        )
        return True
    scores, counted = concrete(aligned.scores), concrete(aligned.counted)
    if scores is None or counted is None or counted.shape != scores.shape[:-1]:
        return False
    rows = scores[counted]
    if not from_logits and outside(rows):
        checks.warn(
            f"{owner}: `from_logits` is False, and `y_pred` holds numbers outside "
            "[0, 1]: the result is NaN. For logits pass from_logits=True."
        )
    elif distributions and not (from_logits or aligned.single) and _off(rows):
        checks.warn(
            f"{owner}: most rows of `y_pred` do not sum to 1 over the classes, as "
            "probabilities do. Where classes are not on the last axis, set `axis`; "
            "independent labels are classes of their own: y_pred[..., None]."
        )
    if from_logits and not aligned.single:
        warn_if_no_logits(owner, "y_pred", rows, single=False, said=set())
    return True


def outside(rows: np.ndarray) -> bool:
    """Returns whether some numbers are no probabilities; NaN says nothing."""
    return bool(((rows < -_SLACK) | (rows > 1 + _SLACK)).any())


def _off(rows: np.ndarray) -> bool:
    # Most, as rows that a mask leaves out may hold anything.
    off = np.abs(rows.sum(axis=-1, dtype="float64") - 1) > _SUM_SLACK
    return bool(2 * off.sum() > len(off))


def like_probabilities(rows: np.ndarray) -> bool:
    """Returns whether rows (N, K) look like probabilities of K >= 2 classes."""
    return likeness(rows, single=False) == PROBABILITIES
