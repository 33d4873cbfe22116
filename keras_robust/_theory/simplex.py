"""Distributions over classes as NumPy arrays, shared by theory and calibration."""

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns probabilities (..., K), in one new array of the size of `scores`."""
    prob = scores - scores.max(axis=-1, keepdims=True, initial=-np.inf)
    np.exp(prob, out=prob)
    prob /= prob.sum(axis=-1, keepdims=True)
    return prob


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Returns log-probabilities (..., K); a score of -inf is a class ruled out."""
    from scipy import special  # not at the top: that takes a quarter of a second

    return special.log_softmax(scores, axis=-1)


def log_of(prob: np.ndarray) -> np.ndarray:
    """Returns log(prob), -inf where a probability is 0."""
    with np.errstate(divide="ignore"):
        return np.log(prob)


def project(points: np.ndarray) -> np.ndarray:
    """Returns the distributions nearest to `points` (..., K), which sum to 1.

    In Euclidean distance: one number is taken off every entry, and what falls below 0
    is cut off (Held, Wolfe and Crowder 1974).
    """
    descending = -np.sort(-points, axis=-1)
    excess = descending.cumsum(axis=-1) - 1
    size = np.arange(1, points.shape[-1] + 1)
    last = (descending * size > excess).sum(axis=-1, keepdims=True) - 1
    off = np.take_along_axis(excess, last, axis=-1) / (last + 1)
    # Where nothing is negative, nothing has to move, not even by rounding.
    inside = (points >= 0).all(axis=-1, keepdims=True)
    return np.where(inside, points, np.maximum(points - off, 0))
