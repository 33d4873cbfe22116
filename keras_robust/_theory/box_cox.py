"""What generalized cross entropy makes a model believe, in NumPy."""

import numpy as np

from keras_robust._theory.simplex import log_of


def box_cox_minimizer(posterior: np.ndarray, q: float) -> np.ndarray:
    """Returns p with p_k ∝ posterior_k^(1 / (1 - q)), at q = 1 its limit."""
    if q == 1.0:
        top = posterior == posterior.max(axis=-1, keepdims=True)
        return top / top.sum(axis=-1, keepdims=True)
    return _softmax(log_of(posterior) / (1.0 - q))


def box_cox_posterior(log_prob: np.ndarray, q: float) -> np.ndarray:
    """Returns the posterior ∝ p_k^(1 - q) of the minimizer p."""
    return _softmax((1.0 - q) * log_prob)


def _softmax(scores: np.ndarray) -> np.ndarray:
    from scipy import special  # not at the top: that takes a quarter of a second

    return special.softmax(scores, axis=-1)
