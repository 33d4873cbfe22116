"""Noise whose wrong labels are drawn alike, whatever the true class, in NumPy.

With probability B a label is replaced by one drawn from β / B, for every true class the
same β: T = (1 - B) I + 1 βᵀ. Then (Tᵀp)_y = β_y + (1 - B) p_y, as p sums to 1: of all
that is predicted, the label's own probability will do. Symmetric noise and omission at
one rate are of this kind, and so is whatever two classes suffer.
"""

import numpy as np

# Rounding, of sums of as many entries as a row has.
_ROUNDING = 1e-12


def drawn_labels(matrix: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Returns β (K,) and 1 - B of a transition matrix, None if it has no such form.

    Nor if 1 - B is not above 0, where labels tell nothing, or the opposite.
    """
    size = len(matrix)
    others = matrix.T[~np.eye(size, dtype=bool)].reshape(size, size - 1)
    beta, highest = others.min(axis=1), others.max(axis=1)
    # As rows sum to 1, T_jj - β_j is 1 - B for every j, and has the most digits here.
    j = beta.argmin()
    kept = float(matrix[j, j] - beta[j])
    alike = (highest - beta <= _ROUNDING * highest).all()
    return (beta, kept) if kept > 0 and alike else None
