"""The clean label posterior behind a noisy one."""

from typing import Any

import numpy as np

from keras_robust import _checks, _mixtures

# A matrix that is closer to singular makes the errors of a model a million times
# larger: what came out would be noise.
_LARGEST_CONDITION = 1e6


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

    def pull(predicted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return noisy[rows] / np.where(predicted > 0, predicted, 1)

    return _mixtures.unmixed("analytic_calibrator", noisy, matrix, pull)
