"""Transition matrices of label noise, and what they say about the losses."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import transition_matrix


def symmetric_matrix(
    num_classes: int, rate: float, self_flip: bool = False
) -> np.ndarray:
    """Returns the matrix of symmetric noise, T[i, j] = P(given j | true i).

    With probability `rate` a label is replaced by one of the `num_classes - 1` others,
    all equally likely, never by itself. With `self_flip=True`, the other convention in
    use, it is replaced by any of the `num_classes`, so that it really changes at a rate
    of `rate * (num_classes - 1) / num_classes` only.

    Args:
        num_classes: Number of classes K, at least 2.
        rate: Noise rate in [0, 1].
        self_flip: Whether a label may be replaced by itself. Defaults to False.

    Returns:
        Float64 array of shape `(K, K)`, rows summing to 1.

    Raises:
        ValueError: If `num_classes` is below 2 or `rate` outside [0, 1].

    Examples:
        >>> from keras_robust.noise import symmetric_matrix
        >>> symmetric_matrix(3, 0.5).tolist()
        [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]
    """
    owner = "symmetric_matrix"
    num_classes = _num_classes(owner, num_classes)
    rate = _rate(owner, rate)
    if checks.flag(owner, "self_flip", self_flip):
        return (1 - rate) * np.eye(num_classes) + rate / num_classes
    matrix = np.full((num_classes, num_classes), rate / (num_classes - 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def pair_matrix(num_classes: int, rate: float) -> np.ndarray:
    """Returns the matrix of pair noise: class i becomes class i + 1, the last one 0.

    Args:
        num_classes: Number of classes K, at least 2.
        rate: Probability in [0, 1] that a label turns into its neighbour.

    Returns:
        Float64 array of shape `(K, K)`, T[i, j] = P(given j | true i).

    Raises:
        ValueError: If `num_classes` is below 2 or `rate` outside [0, 1].

    Examples:
        >>> from keras_robust.noise import pair_matrix
        >>> pair_matrix(3, 0.25).tolist()
        [[0.75, 0.25, 0.0], [0.0, 0.75, 0.25], [0.25, 0.0, 0.75]]
    """
    num_classes = _num_classes("pair_matrix", num_classes)
    rate = _rate("pair_matrix", rate)
    same = np.eye(num_classes)
    return (1 - rate) * same + rate * np.roll(same, 1, axis=1)


def gamma_from_noise_rate(rate: float, num_classes: int) -> float:
    """Returns the γ at which `GammaCE` undoes symmetric noise exactly.

    γ* = r / ((K - 1)(1 - r)). The minimiser of GammaCE satisfies
    γ + (1 - γ) p_k ∝ π_k, and symmetric noise gives the noisy posterior
    π_k = r/(K - 1) + (1 - r - r/(K - 1)) c_k: with γ* the minimiser p is the clean
    posterior c.

    Args:
        rate: Rate r at which labels are replaced by one of the K - 1 others, below
            (K - 1)/K, where labels carry no information.
        num_classes: Number of classes K, at least 2.

    Returns:
        γ* in [0, 1).

    Raises:
        ValueError: If `num_classes` is below 2 or `rate` outside [0, (K - 1)/K).

    Examples:
        >>> from keras_robust.noise import gamma_from_noise_rate
        >>> round(gamma_from_noise_rate(0.6, num_classes=9), 4)
        0.1875
    """
    owner = "gamma_from_noise_rate"
    num_classes = _num_classes(owner, num_classes)
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
    return rate / ((num_classes - 1) * (1 - rate))


def checked_matrix(owner: str, matrix: Any) -> np.ndarray:
    """Returns a transition matrix as float64, or raises."""
    return transition_matrix(owner, "matrix", matrix)


def _num_classes(owner: str, num_classes: Any) -> int:
    fix = "Pass the number of classes, such as 10."
    return checks.integer(owner, "num_classes", num_classes, minimum=2, fix=fix)


def _rate(owner: str, rate: Any) -> float:
    fix = "Pass the share of labels to change, such as 0.2."
    return checks.fraction(owner, "rate", rate, fix=fix)
