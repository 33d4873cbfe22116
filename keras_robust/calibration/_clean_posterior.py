"""The clean label posterior behind a noisy one."""

import warnings
from typing import Any

import numpy as np

from keras_robust import _checks

# A matrix that is closer to singular makes the errors of a model a million times
# larger: what came out would be noise.
_LARGEST_CONDITION = 1e6
# By how much the expected log-likelihood of what is returned may fall short, in nats.
_SHORTFALL = 1e-7
# From which on it says so, after the most iterations.
_WARNED_SHORTFALL = 1e-4
_MOST_ITERATIONS = 2_000
# From 0 no class would come back, though others may make room for it later.
_FLOOR = 1e-12
# Rounding, times the largest condition number.
_ROUNDING = 1e-9


def invertible_matrix(owner: str, matrix: Any) -> np.ndarray:
    """Returns a transition matrix of which the noise can be undone, or raises."""
    matrix = _checks.transition_matrix(owner, "noise_matrix", matrix)
    condition = np.linalg.cond(matrix)
    if not condition < _LARGEST_CONDITION:
        raise _checks.invalid(
            owner,
            "noise_matrix",
            f"invertible, of a condition number below {_LARGEST_CONDITION:.0e}",
            f"a condition number of {condition:.3g}",
            "Noise so strong cannot be undone: some classes cannot be told apart.",
        )
    return matrix


def clean_posterior(noisy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns the clean posteriors c (N, K) with noisy = Tᵀc, or the likeliest ones.

    Where the exact solution has a negative entry, c is the distribution that maximises
    sum_j noisy_j * log((Tᵀc)_j): the minimiser of forward-corrected cross entropy.
    """
    exact = np.linalg.solve(matrix.T, noisy.T).T
    outside = (exact < -_ROUNDING).any(axis=-1)
    # The search starts as far from the exact solution as that is from being one.
    off = -exact[outside].min(axis=-1, keepdims=True)
    exact = np.maximum(exact, 0)
    exact[outside] = _likeliest(noisy[outside], matrix, exact[outside] + off)
    return exact / exact.sum(axis=-1, keepdims=True)


def _likeliest(noisy: np.ndarray, matrix: np.ndarray, start: np.ndarray) -> np.ndarray:
    # Expectation maximisation (Richardson 1972, Lucy 1974). The log-likelihood is
    # concave, so the largest ratio less 1 bounds what is still to be gained.
    clean = start / start.sum(axis=-1, keepdims=True)
    active, gap = np.arange(len(noisy)), 0.0
    for _ in range(_MOST_ITERATIONS):
        if not active.size:
            break
        predicted = clean[active] @ matrix
        needed = noisy[active] / np.where(predicted > 0, predicted, 1)
        ratio = needed @ matrix.T
        clean[active] = np.maximum(clean[active] * ratio, _FLOOR)
        excess = ratio.max(axis=-1) - 1
        gap = float(excess.max())
        active = active[excess > _SHORTFALL]
    if gap > _WARNED_SHORTFALL:
        warnings.warn(
            f"analytic_calibrator: {active.size} clean posteriors are short of their "
            f"likeliest by up to {gap:.1g} nats. The noise matrix is near to singular: "
            "classes that it mixes are hardly to be told apart.",
            UserWarning,
            stacklevel=2,
        )
    return clean
