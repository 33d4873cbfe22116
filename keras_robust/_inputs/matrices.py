"""Label noise, checked: transition matrices, and symmetric noise by its rate."""

from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks

_ROW_SUM_SLACK = 1e-6
# A matrix that is closer to singular makes the errors of a model a million times
# larger: what came out would be noise.
_LARGEST_CONDITION = 1e6


def transition_matrix(owner: str, argument: str, matrix: Any) -> np.ndarray:
    """Returns a transition matrix, T[i, j] = P(given j | true i), as float64."""
    array = arrays.numeric(owner, argument, matrix).astype("float64")
    square = array.ndim == 2 and array.shape[0] == array.shape[1]
    if not square or array.shape[0] < 2:
        raise checks.invalid(
            owner,
            argument,
            "square, of shape (num_classes, num_classes)",
            f"{argument}.shape={array.shape}",
            "Entry [i, j] is P(given j | true i).",
        )
    off = np.abs(array.sum(axis=1) - 1)
    if not ((array >= 0).all() and (off <= _ROW_SUM_SLACK).all()):
        raise checks.invalid(
            owner,
            argument,
            "of probabilities with rows summing to 1",
            f"a smallest entry of {array.min():.6g} and row sums "
            f"{array.sum(axis=1).tolist()}",
            "Entry [i, j] is P(given j | true i); if columns sum to 1, transpose it.",
        )
    return array / array.sum(axis=1, keepdims=True)


def invertible_matrix(owner: str, matrix: Any) -> np.ndarray:
    """Returns a transition matrix of which the noise can be undone, or raises."""
    matrix = transition_matrix(owner, "noise_matrix", matrix)
    condition = np.linalg.cond(matrix)
    if not condition < _LARGEST_CONDITION:
        raise checks.invalid(
            owner,
            "noise_matrix",
            f"invertible, of a condition number below {_LARGEST_CONDITION:.0e}",
            f"a condition number of {condition:.3g}",
            "Noise so strong cannot be undone: some classes cannot be told apart.",
        )
    return matrix


def checked_num_classes(owner: str, num_classes: Any) -> int:
    """Returns `num_classes` as an int of at least 2."""
    fix = "Pass the number of classes, such as 10, before the rate."
    return checks.integer(owner, "num_classes", num_classes, minimum=2, fix=fix)


def reversible_noise(owner: str, num_classes: Any, rate: Any) -> tuple[int, float]:
    """Returns the number of classes and a rate of symmetric noise below chance."""
    num_classes = checked_num_classes(owner, num_classes)
    rate = checks.real_number(owner, "rate", rate)
    chance = (num_classes - 1) / num_classes
    if not 0 <= rate < chance:
        raise checks.invalid(
            owner,
            "rate",
            f"in [0, {chance:.6g}) for {num_classes} classes",
            f"rate={rate!r}",
            "At (K - 1)/K labels are drawn by chance and nothing can be recovered.",
        )
    return num_classes, rate
