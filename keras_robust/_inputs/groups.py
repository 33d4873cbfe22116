"""What rows belong to, such as the sentences of words, checked."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import as_numpy, ragged
from keras_robust._inputs.class_ids import integer_labels

_FIXES = {
    "groups": "Pass the number of its sentence for each word, say; of ignored ones "
    "too.",
    "by": "Pass the value that it is treated by for each label, of ignored ones too.",
}


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
            _FIXES[argument],
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


def parts(owner: str, by: Any) -> np.ndarray:
    """Returns what each position is treated by, if none of it is missing."""
    if isinstance(by, np.ma.MaskedArray):
        raise checks.invalid_type(
            owner,
            "by",
            "no masked array, whose mask would be lost",
            f"a masked array of shape {by.shape}",
            "Give what is masked a name of its own.",
        )
    try:
        values = as_numpy(by)
    except ValueError as error:
        raise ragged(owner, "by", by) from error
    try:
        kinds = np.unique(values).tolist()
        fine = all(kind is not None and kind == kind for kind in kinds)
    except TypeError:  # of values that do not compare, as None and a name
        fine = False
    if not fine or values.dtype.kind in "mM":
        raise checks.invalid(
            owner,
            "by",
            "of names or of numbers, none missing",
            f"by={by!r:.60}",
            "Give those without one a name of their own; convert dates with "
            "`.astype(str)`.",
        )
    return values


def parts_of(owner: str, by: Any, positions: tuple) -> np.ndarray:
    """Returns what each of the positions is treated by, end to end."""
    if by is None:
        raise checks.invalid(
            owner,
            "by",
            f"one for each label, of their shape {positions}, as for `fit`",
            "None",
            "Pass for each prediction the value that it is treated by.",
        )
    return one_for_each(owner, "by", parts(owner, by), positions)


def known_parts(
    owner: str, by: Any, positions: tuple, known: Collection[Any]
) -> list[Any]:
    """Returns what positions are treated by, end to end: of `known` values all."""
    values = parts_of(owner, by, positions).tolist()
    strange = sorted({str(value) for value in set(values) - set(known)})
    if strange:
        raise checks.invalid(
            owner,
            "by",
            f"one of {list(known)}",
            ", ".join(strange[:12]),
            "Fit with rows of every value.",
        )
    return values
