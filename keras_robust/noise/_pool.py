"""A pool of what two sources say of a class, each to a power, and what is likeliest."""

from typing import NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._theory import simplex
from keras_robust.noise._matrix_from_pairs import matrix_from_pairs

# Bounds of the two exponents; what is fitted to a hundred rows ends far inside.
_EXPONENTS = (0.0, 10.0)
# Standard deviations of the priors of exponents and of biases. On six annotators' words
# biases of 0.3 to 1 did as well, on development sentences that were not fitted to.
_SPREADS = (1.0, 0.5)


class Pool(NamedTuple):
    """log p(class) = a * log(model) + b * log(matrix of the given label) + c.

    Attributes:
        matrix: Transition matrix, `(K, K)`.
        theta: a, b, and the K numbers c.
    """

    matrix: np.ndarray
    theta: np.ndarray

    def scores(self, log_prob: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Returns unnormalised log-posteriors of rows, `(N, K)`."""
        return _score(_evidence(self.matrix, log_prob, given), self.theta)

    def __str__(self) -> str:
        a, b, *c = self.theta
        return f"matrix of {len(c)} classes, model_weight={a:.6g}, label_weight={b:.6g}"


def fitted_pool(
    owner: str,
    matrix: np.ndarray | None,
    log_prob: np.ndarray,
    given: np.ndarray,
    true: np.ndarray,
    weight: np.ndarray,
) -> Pool:
    """Returns the likeliest pool of rows whose truth is known, or raises."""
    if matrix is None:
        pairs = given, true, log_prob.shape[1]
        matrix = matrix_from_pairs(*pairs, sample_weight=weight).matrix
    evidence = _evidence(matrix, log_prob, given)
    lost = np.isneginf(evidence[np.arange(len(given)), true]).any(axis=-1)
    if lost.any():
        raise checks.invalid(
            owner,
            "true_labels",
            "possible by `y_prob` and `matrix`",
            f"{int(lost.sum())} rows whose true label has probability 0",
            "Pass logits, and a matrix without zeros, as of `matrix_from_pairs`.",
        )
    theta = _likeliest(evidence, true, weight / weight.mean())
    theta.setflags(write=False)
    return Pool(matrix, theta)


def _evidence(
    matrix: np.ndarray, log_prob: np.ndarray, given: np.ndarray
) -> np.ndarray:
    """Returns what the exponents multiply, of shape (N, K, 2)."""
    return np.stack([log_prob, simplex.log_of(matrix.T)[given]], axis=-1)


def _score(evidence: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Returns unnormalised log-posteriors (N, K); 0 times -inf counts as 0."""
    score = np.zeros(evidence.shape[:2]) + theta[2:]
    for i in (0, 1):
        if theta[i]:
            score = score + theta[i] * evidence[..., i]
    return score


def _likeliest(
    evidence: np.ndarray, true: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Returns the likeliest exponents and biases, normal priors taken in."""
    from scipy import optimize

    classes = evidence.shape[1]
    centre = np.repeat([1.0, 0.0], [2, classes])
    spread = np.repeat(_SPREADS, [2, classes])
    hit = np.eye(classes)[true]
    # A class that is ruled out stays so, whatever the exponents: it has no slope.
    finite = np.where(np.isneginf(evidence), 0.0, evidence)

    def lack(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_q = simplex.log_softmax(_score(evidence, theta))
        over = weight[:, None] * (np.exp(log_q) - hit)
        slope = np.append(np.einsum("nk,nki->i", over, finite), over.sum(axis=0))
        off = (theta - centre) / spread
        nll = -weight @ log_q[np.arange(len(true)), true]
        return float(nll + off @ off / 2), slope + off / spread

    bounds = [_EXPONENTS] * 2 + [(None, None)] * classes
    return optimize.minimize(lack, centre, jac=True, method="L-BFGS-B", bounds=bounds).x
