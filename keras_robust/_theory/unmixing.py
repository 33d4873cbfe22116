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
    pull: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Returns distributions c (N, K) with noisy = Tᵀc, or those of the least loss.

    `noisy` is where the loss is least of all distributions, and `pull(q, rows)` by how
    much it falls there as each entry of q (n, K) grows, for these of the N rows. Such
    an entry times its pull must not fall as it grows; that of all our losses does not.
    """
    exact = noisy @ np.linalg.pinv(matrix)
    # A singular matrix has no exact solution for some; what it misses counts as well.
    missed = np.abs(exact @ matrix - noisy).max(axis=-1, initial=0)
    off = np.maximum(-exact.min(axis=-1, initial=0), missed)
    rows = np.flatnonzero(off > _ROUNDING)
    exact = np.maximum(exact, 0)
    # The search starts as far from the exact solution as that is from being one.
    start = exact[rows] + off[rows, None]
    exact[rows] = _least_loss(owner, start, matrix, lambda q, i: pull(q, rows[i]))
    return exact / exact.sum(axis=-1, keepdims=True)


def clean_posterior(owner: str, noisy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns the clean posteriors c (N, K) with noisy = Tᵀc, or the likeliest ones.

    Where the exact solution has a negative entry, c is the distribution that maximises
    sum_j noisy_j * log((Tᵀc)_j): the minimiser of forward-corrected cross entropy.
    """

    def pull(predicted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return noisy[rows] / np.where(predicted > 0, predicted, 1)

    return unmixed(owner, noisy, matrix, pull)


def _least_loss(
    owner: str,
    start: np.ndarray,
    matrix: np.ndarray,
    pull: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    # Expectation maximisation (Richardson 1972, Lucy 1974); for the logarithm, `pull`
    # is noisy / q. By Jensen, log q_j rises at least by the mean of log c_i, weighted
    # by c_i T_ij / q_j, and a loss whose pull times q_j does not fall is at least as
    # good as its slope in log q_j says: so no step makes the loss worse. It is convex
    # in c, so the largest gain less the mean one bounds what is still to be gained.
    clean = start / start.sum(axis=-1, keepdims=True)
    active, gap = np.arange(len(start)), 0.0
    for _ in range(_MOST_ITERATIONS):
        if not active.size:
            break
        gain = pull(clean[active] @ matrix, active) @ matrix.T
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
