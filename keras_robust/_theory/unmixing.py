"""Which distribution of true classes best explains one of noisy labels, in NumPy."""

import warnings
from collections.abc import Callable

import numpy as np

# By how much the expected loss of what is returned may exceed the least, in nats.
_SHORTFALL = 1e-7
# From which on it says so, after the most iterations.
_WARNED_SHORTFALL = 1e-4
_MOST_ITERATIONS = 2_000
# From 0 no class would come back, though others may make room for it later.
_FLOOR = 1e-12
# Rounding, times the largest condition number of a matrix that can be undone.
_ROUNDING = 1e-9


def unmixed(
    owner: str,
    noisy: np.ndarray,
    matrix: np.ndarray,
    negative_gradient: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Returns distributions c (N, K) with noisy = Tᵀc, or those of the least loss.

    `noisy` is where the expected loss is least of all distributions of noisy labels.
    `negative_gradient(q, rows)` is by how much that loss falls as each entry of such a
    distribution q (n, K) grows, for these of the N rows. Times its entry it must not
    fall as the entry grows, which holds for all our losses.
    """
    exact = noisy @ np.linalg.pinv(matrix)
    # A singular matrix has no exact solution for some; what it misses counts as well.
    missed = np.abs(exact @ matrix - noisy).max(axis=-1, initial=0)
    off = np.maximum(-exact.min(axis=-1, initial=0), missed)
    rows = np.flatnonzero(off > _ROUNDING)
    exact = np.maximum(exact, 0)
    # The search starts as far from the exact solution as that is from being one.
    start = exact[rows] + off[rows, None]
    exact[rows] = _least_loss(
        owner, start, matrix, lambda q, i: negative_gradient(q, rows[i])
    )
    return exact / exact.sum(axis=-1, keepdims=True)


def clean_posterior(owner: str, noisy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns the clean posteriors c (N, K) with noisy = Tᵀc, or the likeliest ones.

    Where the exact solution has a negative entry, c is the distribution that maximises
    sum_j noisy_j * log((Tᵀc)_j): the minimizer of forward-corrected cross entropy.
    """

    def of_cross_entropy(predicted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return noisy[rows] / np.where(predicted > 0, predicted, 1)

    return unmixed(owner, noisy, matrix, of_cross_entropy)


def _least_loss(
    owner: str,
    start: np.ndarray,
    matrix: np.ndarray,
    negative_gradient: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    # Expectation maximisation (Richardson 1972, Lucy 1974): each c_i is multiplied by
    # its gain g_i = sum_j T_ij n_j, n the negative gradient at q = Tᵀc, and c scaled.
    # No step makes the loss worse. If c_i grows by a factor s_i, log q_j rises by at
    # least sum_i (c_i T_ij / q_j) log s_i (Jensen). The loss falls by q_j n_j for each
    # unit of log q_j, or faster, as that does not fall when q_j grows: in all by at
    # least sum_i c_i g_i log s_i. Of the s that keep the sum of c, s_i = g_i / mean
    # makes the most of that, and s = 1 would make 0 of it.
    # As the loss is convex in c, max_i g_i - mean bounds what is still to be gained.
    clean = start / start.sum(axis=-1, keepdims=True)
    active, gap = np.arange(len(start)), 0.0
    for _ in range(_MOST_ITERATIONS):
        if not active.size:
            break
        gain = negative_gradient(clean[active] @ matrix, active) @ matrix.T
        mean = (clean[active] * gain).sum(axis=-1, keepdims=True)
        clean[active] = np.maximum(clean[active] * gain / mean, _FLOOR)
        excess = gain.max(axis=-1) - mean[:, 0]
        gap = float(excess.max())
        active = active[excess > _SHORTFALL]
    if gap > _WARNED_SHORTFALL:
        warnings.warn(
            f"{owner}: {active.size} clean posteriors are short of their likeliest by "
            f"up to {gap:.1g} nats. The noise matrix is near to singular: classes that "
            "it mixes are hardly to be told apart.",
            UserWarning,
            stacklevel=2,
        )
    return clean
