"""What rows belong to, such as the sentences of words, checked."""

import math
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import integer_labels


def one_for_each(
    owner: str, argument: str, values: np.ndarray, positions: tuple
) -> np.ndarray:
    """Returns values end to end, of an array with one for each of the positions.

    In their shape or flat already: as many in another shape are in another order.
    """
    size = math.prod(positions)
    if values.shape not in (positions, (*positions, 1), (size,)):
        raise checks.invalid(
            owner,
            argument,
            f"one for each of the {size} labels, of their shape {tuple(positions)}",
            f"{argument}.shape={values.shape}",
            "Pass the number of its sentence for each word, say; of ignored ones too.",
        )
    return values.ravel()


def group_of_positions(owner: str, groups: Any, positions: tuple) -> np.ndarray:
    """Returns what each of the positions belongs to, int64 of one axis."""
    member = integer_labels(owner, "groups", groups)
    return one_for_each(owner, "groups", member, positions).astype("int64")


def group_of_rows(
    owner: str, groups: Any, positions: tuple, row: np.ndarray
) -> np.ndarray:
    """Returns the group of each row that counts, numbered from 0.

    `row` says where the rows are among the positions. By itself for None.
    """
    if groups is None:
        return np.arange(len(row))
    member = group_of_positions(owner, groups, positions)
    return np.unique(member[row], return_inverse=True)[1]
