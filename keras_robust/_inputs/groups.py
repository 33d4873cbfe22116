"""Which group each row belongs to, checked."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import integer_labels


def group_of_rows(owner: str, groups: Any, size: int, row: np.ndarray) -> np.ndarray:
    """Returns each counted row's group, numbered from 0; by itself for None.

    Args:
        owner: Name for the error.
        groups: Integers, one for each of all positions, or None.
        size: How many positions there are.
        row: Which of them count.
    """
    if groups is None:
        return np.arange(len(row))
    member = integer_labels(owner, "groups", groups).ravel()
    if member.size != size:
        raise checks.invalid(
            owner,
            "groups",
            "of the shape of `y_true`",
            f"{member.size} groups, {size} labels",
            "Pass the number of its sentence for each word, say.",
        )
    return np.unique(member[row], return_inverse=True)[1]
