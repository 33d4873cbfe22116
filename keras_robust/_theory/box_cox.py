"""What generalized cross entropy makes a model believe, in NumPy."""

import numpy as np

from keras_robust._numerics import NEGLIGIBLE_Q
from keras_robust._theory.simplex import log_of


def box_cox_minimizer(posterior: np.ndarray, q: float, cutoff: float) -> np.ndarray:
    """Returns p with p_k ∝ posterior_k^(1 / (1 - q)) over the classes that it keeps.

    Those are all without a cutoff, and the likeliest one from q = 1 on, where every
    term of the expected loss is concave: the first one of several, but all of them at
    q = 1 without a cutoff, the limit from below.
    """
    if q == 1.0 and cutoff == 0.0:
        top = posterior == posterior.max(axis=-1, keepdims=True)
        return top / top.sum(axis=-1, keepdims=True)
    if q >= 1.0:
        top = posterior.argmax(axis=-1)[..., None]
        return (np.arange(posterior.shape[-1]) == top).astype("float64")
    scores = log_of(posterior) / (1.0 - q)
    if cutoff > 0.0:
        scores = np.where(_kept(posterior, q, cutoff), scores, -np.inf)
    return _softmax(scores)


def _kept(posterior: np.ndarray, q: float, cutoff: float) -> np.ndarray:
    """Returns which classes are above the cutoff at the minimizer.

    Mass below the cutoff gains nothing, so it is above it or 0; and of two classes the
    likelier one gains more by it. So the kept classes are the m likeliest, and over
    them p_k = a_k / A, with a_k = π_k^(1 / (1 - q)) and A their sum. This gains

        sum_k π_k (p_k^q - cutoff^q) / q = (A^(1 - q) - cutoff^q Π) / q

    with Π the sum of their π_k. Where some p_k is below the cutoff that is too little,
    so the m of the largest such number is right. In it, A^(1 - q) / (Π cutoff^q) = e^u
    with u of the order of q: worked out without differences, for π over its largest.
    """
    order = np.argsort(-posterior, axis=-1, kind="stable")
    ratio = np.take_along_axis(posterior, order, axis=-1)
    ratio = ratio / ratio[..., :1]
    total, tilt = ratio.cumsum(axis=-1), max(q, NEGLIGIBLE_Q) / (1.0 - q)
    with np.errstate(under="ignore"):
        power = np.expm1(tilt * log_of(ratio)) / tilt  # log(ratio) for small q
    shift = np.where(ratio > 0, ratio * power, 0.0).cumsum(axis=-1) / total
    # (1 - q) log(1 + tilt * shift) / q, and u / q.
    mixed = np.log1p(tilt * shift) / tilt
    u = mixed - np.log(total) - np.log(cutoff)
    gain = total * (u if q < NEGLIGIBLE_Q else np.expm1(q * u) / q)
    last = gain.argmax(axis=-1)[..., None]
    kept = np.empty(posterior.shape, bool)
    np.put_along_axis(kept, order, np.arange(posterior.shape[-1]) <= last, axis=-1)
    return kept


def box_cox_posterior(log_prob: np.ndarray, q: float) -> np.ndarray:
    """Returns the posterior ∝ p_k^(1 - q) of the minimizer p."""
    return _softmax((1.0 - q) * log_prob)


def _softmax(scores: np.ndarray) -> np.ndarray:
    from scipy import special  # not at the top: that takes a quarter of a second

    return special.softmax(scores, axis=-1)
