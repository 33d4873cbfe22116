"""What symmetric cross entropy makes a model believe, in NumPy.

With r the weight of 1 - p over that of cross entropy, the minimizer for a posterior π
is where π_k (1 / p_k + r) is the same number for every class with π_k > 0. Written as
ν + r max(π),

    p_k = π_k / (ν + r (max(π) - π_k)),

with the ν for which this sums to 1.
"""

import numpy as np

_MOST_ITERATIONS = 100


def symmetric_minimizer(posterior: np.ndarray, ratio: float) -> np.ndarray:
    """Returns p_k = π_k / (ν + ratio (max(π) - π_k)), summing to 1."""
    most = posterior.max(axis=-1, keepdims=True)
    behind = ratio * (most - posterior)
    # The sum h falls as ν grows, and 1 / h, a harmonic mean of lines, is concave: from
    # the left end, where the likeliest class alone has 1, Newton's steps on 1 / h = 1
    # approach the root and never pass it.
    nu = most
    for _ in range(_MOST_ITERATIONS):
        prob = posterior / (nu + behind)
        total = prob.sum(axis=-1, keepdims=True)
        slope = (prob / (nu + behind)).sum(axis=-1, keepdims=True)
        step = (total - 1) * total / slope
        nu = nu + step
        if (np.abs(step) <= 1e-15 * nu).all():
            break
    prob = posterior / (nu + behind)
    return prob / prob.sum(axis=-1, keepdims=True)


def symmetric_posterior(prob: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Returns π_k ∝ p_k / (alpha + beta p_k), the inverse for ratio = beta / alpha."""
    odds = prob / (alpha + beta * prob)
    return odds / odds.sum(axis=-1, keepdims=True)
