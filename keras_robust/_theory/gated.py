"""What the gamma cross entropy makes a model believe, in NumPy.

The cost of a class falls with its probability at the rate
max(b / p, 1 / (gamma + (1 - gamma) p)). At the minimizer for a posterior π, π_k times
that rate is the same number 1 / v for every class with p_k > 0, and less for p_k = 0
(the multiplier of the constraint that p sums to 1). Either side of the maximum,

    π_k b / p_k = 1 / v  gives  p_k = b v π_k,
    π_k / (gamma + (1 - gamma) p_k) = 1 / v  gives  p_k = (v π_k - gamma) / (1 - gamma),

and as both sides fall with p_k, the larger solution is the one. See "What a loss makes
the model believe" in docs/theory.md.
"""

import numpy as np


def gamma_star(num_classes: int, rate: float) -> float:
    """Returns the gamma at which the minimizer for noisy labels is the clean posterior.

    Symmetric noise at rate r gives π_k = (1 - r) (gamma + (1 - gamma) c_k) for the
    clean posterior c and this gamma, by comparing the terms with and without c_k.
    """
    return rate / ((num_classes - 1) * (1 - rate))


def gated_minimizer(posterior: np.ndarray, gamma: float, b: float) -> np.ndarray:
    """Returns p_k = max(b v π_k, (v π_k - gamma) / (1 - gamma), 0), summing to 1."""
    if gamma == 0.0 or b == 1.0:
        return posterior
    if gamma == 1.0:
        return _unhinged_minimizer(posterior, b)
    # Let the m likeliest classes, of mass S, take the second form, the others the
    # first. Then the sum is (v S - m gamma) / (1 - gamma) + b v (1 - S), and it is 1 at
    # v = (1 - gamma + m gamma) / (S + b (1 - gamma) (1 - S)): here for every m.
    descending = -np.sort(-posterior, axis=-1)
    top = descending.cumsum(axis=-1)
    size = np.arange(1, posterior.shape[-1] + 1)
    v = (1 - gamma + gamma * size) / (top + b * (1 - gamma) * np.maximum(1 - top, 0))
    # The second form is the larger one where v π_k is above this threshold. For the
    # least likely of the m classes it is, up to the right m and for none beyond.
    threshold = gamma / (1 - b * (1 - gamma))
    count = (v * descending > threshold).sum(axis=-1, keepdims=True)
    v = np.take_along_axis(v, np.maximum(count - 1, 0), axis=-1)
    # With a count of 0 all take the first form, so prob ∝ π: below the gate the loss is
    # b times cross entropy.
    prob = np.maximum(b * v * posterior, (v * posterior - gamma) / (1 - gamma))
    prob = np.maximum(prob, 0)
    return prob / prob.sum(axis=-1, keepdims=True)


def _unhinged_minimizer(posterior: np.ndarray, b: float) -> np.ndarray:
    # gamma = 1: below b as above; what is left goes to the likeliest class.
    most = posterior.max(axis=-1, keepdims=True)
    low = b / np.maximum(most, b) * posterior if b > 0 else np.zeros_like(posterior)
    top = posterior == most
    left = 1 - low.sum(axis=-1, keepdims=True)
    return low + left * top / top.sum(axis=-1, keepdims=True)


def gated_posterior(prob: np.ndarray, gamma: float, b: float) -> np.ndarray:
    """Returns π_k ∝ min(p_k / b, gamma + (1 - gamma) p_k), the inverse of the above."""
    odds = gamma + (1 - gamma) * prob
    if b > 0:
        odds = np.minimum(prob / b, odds)
    return odds / odds.sum(axis=-1, keepdims=True)
