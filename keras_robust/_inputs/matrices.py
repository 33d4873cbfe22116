"""Label noise, checked: transition matrices, and symmetric noise by its rate."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import arrays, checks

_ROW_SUM_SLACK = 1e-6
# A matrix that is closer to singular makes the errors of a model a million times
# larger: what came out would be noise.
_LARGEST_CONDITION = 1e6
# What undoes the noise of one label scatters by the largest entry of the inverse. At
# 100 a mean of a million rows is still off by 0.1, which no rows at hand make good.
_LARGEST_CORRECTION = 100.0


class Correction(NamedTuple):
    """A transition matrix, and what undoes its noise in sums over rows.

    With y the given label of a row, entry [y, k] of the inverse has the expectation 1
    if k is its true class, and 0 if not: the sum over y of T[i, y] inverse[y, k] is the
    entry [i, k] of the identity. So sum_k inverse[y, k] f(k) has that of f(true class).

    Attributes:
        matrix: Float64 array T of shape `(K, K)`, T[i, j] = P(given j | true i).
        inverse: Float64 array of the same shape.
    """

    matrix: np.ndarray
    inverse: np.ndarray

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest entry of the inverse."""
        return float(self.inverse.min()), float(self.inverse.max())

    def of_labels(self, label: np.ndarray) -> np.ndarray:
        """Returns how much each class counts in each row, float64 of shape `(N, K)`.

        `label` are class ids of shape `(N,)`, or soft targets of shape `(N, K)`: the
        mean over the labels that they stand for.
        """
        return self.inverse[label] if label.ndim == 1 else label @ self.inverse

    def check_classes(self, owner: str, num_classes: int) -> None:
        """Raises where the matrix is not of so many classes."""
        check_classes(owner, self.matrix, num_classes)


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


def correction(owner: str, noise_matrix: Any) -> Correction | None:
    """Returns what undoes a noise matrix in sums over rows; None for None."""
    if noise_matrix is None:
        return None
    matrix = transition_matrix(owner, "noise_matrix", noise_matrix)
    try:
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        inverse = np.full(matrix.shape, np.inf)
    largest = float(np.abs(inverse).max())
    if not largest <= _LARGEST_CORRECTION:
        raise checks.invalid(
            owner,
            "noise_matrix",
            f"invertible, with no entry of its inverse beyond {_LARGEST_CORRECTION:g}",
            f"one with entries up to {largest:.3g}",
            "Such labels hardly tell some classes apart: a row is worth about "
            f"{1 / _LARGEST_CORRECTION**2:g} of one with its true label. Make one "
            "class of those that are mixed up, or have some hundred rows looked at "
            "again (`noise.rows_to_check`) and measure on their labels alone.",
        )
    return Correction(matrix, inverse)


def check_classes(owner: str, matrix: np.ndarray, num_classes: int) -> None:
    """Raises where a noise matrix is not of so many classes."""
    if len(matrix) != num_classes:
        raise checks.invalid(
            owner,
            "noise_matrix",
            f"of the {num_classes} classes of the predictions",
            f"a matrix of shape {matrix.shape}",
            "Entry [i, j] is P(given j | true i).",
        )


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
