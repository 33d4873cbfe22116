"""Transition matrices of label noise, and what they say about the losses."""

from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks
from keras_robust._inputs.matrices import checked_num_classes, reversible_noise
from keras_robust._theory.gated import gamma_star


def symmetric_matrix(
    num_classes: int, rate: float, *, self_flip: bool = False
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
    num_classes = checked_num_classes(owner, num_classes)
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
    num_classes = checked_num_classes("pair_matrix", num_classes)
    rate = _rate("pair_matrix", rate)
    same = np.eye(num_classes)
    return (1 - rate) * same + rate * np.roll(same, 1, axis=1)


def omission_matrix(num_classes: int, rate: Any, *, background: int = 0) -> np.ndarray:
    """Returns the matrix of omission: labels given as the background class.

    What annotators of entities mostly do wrong: an entity is missed, its words are
    given as the tag for none. Labels of the background itself stay.

    Args:
        num_classes: Number of classes K, at least 2.
        rate: Probability in [0, 1] that a label is missed: one number, or one for each
            class, of shape `(K,)`; that of the background does not matter.
        background: The class of what is missed. Defaults to 0.

    Returns:
        Float64 array of shape `(K, K)`, T[i, j] = P(given j | true i).

    Raises:
        ValueError: If `num_classes` is below 2, a rate is outside [0, 1], or
            `background` is no class.
        TypeError: If `num_classes` or `background` is not an integer.

    Examples:
        >>> from keras_robust.noise import omission_matrix
        >>> omission_matrix(3, 0.25).tolist()
        [[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.25, 0.0, 0.75]]
    """
    owner = "omission_matrix"
    num_classes = checked_num_classes(owner, num_classes)
    fix = "Pass the id of the class that stands for none."
    sink = checks.integer(owner, "background", background, minimum=0, fix=fix)
    if sink >= num_classes:
        expected = f"in [0, {num_classes})"
        raise checks.invalid(owner, "background", expected, f"background={sink}", fix)
    rates = arrays.numeric(owner, "rate", rate).astype("float64")
    if rates.shape not in ((), (num_classes,)):
        raise checks.invalid(
            owner,
            "rate",
            f"a number, or of shape ({num_classes},)",
            f"rate.shape={rates.shape}",
            "Pass one rate, or one for each class.",
        )
    if not ((rates >= 0) & (rates <= 1)).all():
        fix = "Pass the share of labels that are missed, such as 0.2."
        raise checks.invalid(owner, "rate", "in [0, 1]", f"rate={rate!r}", fix)
    missed = np.broadcast_to(rates, num_classes)
    matrix = np.diag(1 - missed)
    matrix[:, sink] += missed  # the background's own come back to it
    return matrix


def gamma_from_noise_rate(num_classes: int, rate: float) -> float:
    """Returns the γ at which `GammaCE` undoes symmetric noise exactly.

    γ* = r / ((K - 1)(1 - r)). The minimizer of GammaCE satisfies
    γ + (1 - γ) p_k ∝ π_k, and symmetric noise gives the noisy posterior
    π_k = r/(K - 1) + (1 - r - r/(K - 1)) c_k: with γ* the minimizer p is the clean
    posterior c. `GammaCE.from_noise_rate` makes the loss at once.

    Args:
        num_classes: Number of classes K, at least 2.
        rate: Rate r at which labels are replaced by one of the K - 1 others, below
            (K - 1)/K, where labels carry no information.

    Returns:
        γ* in [0, 1).

    Raises:
        ValueError: If `num_classes` is below 2 or `rate` outside [0, (K - 1)/K).
        TypeError: If `num_classes` is not an integer, as where the two are swapped.

    Examples:
        >>> from keras_robust.noise import gamma_from_noise_rate
        >>> round(gamma_from_noise_rate(9, rate=0.6), 4)
        0.1875
    """
    return gamma_star(*reversible_noise("gamma_from_noise_rate", num_classes, rate))


def _rate(owner: str, rate: Any) -> float:
    fix = "Pass the share of labels to change, such as 0.2."
    return checks.fraction(owner, "rate", rate, fix=fix)
