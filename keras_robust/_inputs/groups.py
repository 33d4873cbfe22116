"""What rows belong to, such as the sentences of words, checked."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import integer_labels


def group_of_positions(owner: str, groups: Any, size: int) -> np.ndarray:
    """Returns what each of so many positions belongs to, int64 of shape `(size,)`."""
    member = integer_labels(owner, "groups", groups).ravel()
    if member.size != size:
        raise checks.invalid(
            owner,
            "groups",
            "of the shape of `y_true`",
            f"{member.size} groups, {size} labels",
            "Pass the number of its sentence for each word, say.",
        )
    return member.astype("int64")


def group_of_rows(owner: str, groups: Any, size: int, row: np.ndarray) -> np.ndarray:
    """Returns the group of each row that counts, numbered from 0.

    `row` says where the rows are among so many positions. By itself for None.
    """
    if groups is None:
        return np.arange(len(row))
    member = group_of_positions(owner, groups, size)
    return np.unique(member[row], return_inverse=True)[1]
