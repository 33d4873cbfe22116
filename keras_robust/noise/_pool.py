"""A pool of what two sources say of a class, each to a power, and what is likeliest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._theory import simplex
from keras_robust.noise._matrix_from_pairs import pair_counts
from keras_robust.noise._prior import matrix_of_counts, shared_prior

# Bounds of the two exponents; what is fitted to a hundred rows ends far inside.
_EXPONENTS = (0.0, 10.0)
# Standard deviations of the priors of exponents and of biases. On six annotators' words
# biases of 0.3 to 1 did as well, on development sentences that were not fitted to.
_SPREADS = (1.0, 0.5)
# What these are multiplied by where a kind of rows is fitted round all of them.
_SCALES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)


class Judged(NamedTuple):
    """Rows whose truth is known."""

    log_prob: np.ndarray
    given: np.ndarray
    true: np.ndarray
    weight: np.ndarray

    def of(self, where: np.ndarray) -> "Judged":
        """Returns those of the rows that a mask selects."""
        return Judged(*(column[where] for column in self))


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
        return _score(_sources(self.matrix, log_prob, given), self.theta)

    def __str__(self) -> str:
        a, b, *c = self.theta
        return f"matrix of {len(c)} classes, model_weight={a:.6g}, label_weight={b:.6g}"


def fitted_pool(owner: str, rows: Judged, matrix: np.ndarray | None) -> Pool:
    """Returns the likeliest pool of rows whose truth is known, or raises."""
    if matrix is None:
        matrix = matrix_of_counts(owner, _counts(owner, rows), None).matrix
    sources = _sources(matrix, rows.log_prob, rows.given)
    lost = np.isneginf(sources[np.arange(len(rows.given)), rows.true]).any(axis=-1)
    if lost.any():
        raise checks.invalid(
            owner,
            "true_labels",
            "possible by `y_prob` and `matrix`",
            f"{int(lost.sum())} rows whose true label has probability 0",
            "Pass logits, and a matrix without zeros, as of `matrix_from_pairs`.",
        )
    bayes = np.repeat([1.0, 0.0], [2, len(matrix)])
    return Pool(matrix, _likeliest(sources, rows, bayes, 1.0)[0])


def pools_of_kinds(
    owner: str, kinds: Sequence[Judged], whole: Pool, *, counted: bool
) -> list[Pool]:
    """Returns a pool for each kind of rows, which borrows from that of all of them.

    Its prior is centred at `whole`. How far kinds are from it is one number for all,
    the likeliest (by the evidence, in Laplace's approximation; MacKay 1992), and so
    are the pseudo-counts of their matrices, if these are counted too.
    """
    if len(kinds) == 1:
        return [whole]
    matrices = [whole.matrix] * len(kinds)
    if counted:
        counts = np.stack([_counts(owner, rows) for rows in kinds])
        prior = shared_prior(counts, whole.matrix)
        matrices = [matrix_of_counts(owner, own, prior).matrix for own in counts]
    parts = [
        (_sources(matrix, rows.log_prob, rows.given), rows)
        for matrix, rows in zip(matrices, kinds)
    ]

    def fitted(scale: float) -> tuple[float, list[np.ndarray]]:
        log_evidence, thetas = 0.0, []
        for sources, rows in parts:
            theta, highest = _likeliest(sources, rows, whole.theta, scale)
            log_evidence += highest + _log_volume(sources, rows, theta, scale)
            thetas.append(theta)
        return log_evidence, thetas

    _, thetas = max(map(fitted, _SCALES), key=lambda fit: fit[0])
    return [Pool(*pool) for pool in zip(matrices, thetas)]


def _counts(owner: str, rows: Judged) -> np.ndarray:
    size = rows.log_prob.shape[1]
    return pair_counts(owner, rows.given, rows.true, size, rows.weight, None)


def _sources(matrix: np.ndarray, log_prob: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Returns what the exponents multiply, of shape (N, K, 2)."""
    return np.stack([log_prob, simplex.log_of(matrix.T)[given]], axis=-1)


def _score(sources: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Returns unnormalised log-posteriors (N, K); 0 times -inf counts as 0."""
    score = np.zeros(sources.shape[:2]) + theta[2:]
    for i in (0, 1):
        if theta[i]:
            score = score + theta[i] * sources[..., i]
    return score


def _likeliest(
    sources: np.ndarray, rows: Judged, centre: np.ndarray, scale: float
) -> tuple[np.ndarray, float]:
    """Returns the likeliest exponents and biases, and their log-posterior.

    Their priors are normal round `centre`, of the deviations `scale * _SPREADS`.
    """
    from scipy import optimize

    spread, weight = _spread(scale, len(centre)), rows.weight / rows.weight.mean()
    hit = np.eye(len(centre) - 2)[rows.true]
    finite = _finite(sources)

    def lack(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_q = simplex.log_softmax(_score(sources, theta))
        over = weight[:, None] * (np.exp(log_q) - hit)
        slope = np.append(np.einsum("nk,nki->i", over, finite), over.sum(axis=0))
        off = (theta - centre) / spread
        nll = -weight @ log_q[np.arange(len(hit)), rows.true]
        return float(nll + off @ off / 2), slope + off / spread

    bounds = [_EXPONENTS] * 2 + [(None, None)] * (len(centre) - 2)
    found = optimize.minimize(lack, centre, jac=True, method="L-BFGS-B", bounds=bounds)
    theta = found.x
    theta.setflags(write=False)
    return theta, -float(found.fun)


def _log_volume(
    sources: np.ndarray, rows: Judged, theta: np.ndarray, scale: float
) -> float:
    """Returns the log of what is left, by the rows, of the prior's volume at `theta`.

    Laplace's approximation: -1/2 log det(I + S H S), with the curvature H of the NLL
    and the prior's deviations S.
    """
    weight, finite = rows.weight / rows.weight.mean(), _finite(sources)
    q = np.exp(simplex.log_softmax(_score(sources, theta)))
    weighted = weight[:, None] * q
    mean = np.einsum("nk,nki->ni", q, finite)
    powers = np.einsum("nk,nki,nkj->ij", weighted, finite, finite)
    powers -= (weight[:, None] * mean).T @ mean
    mixed = np.einsum("nk,nki->ik", weighted, finite) - mean.T @ weighted
    biases = np.diag(weighted.sum(axis=0)) - weighted.T @ q
    curvature = np.block([[powers, mixed], [mixed.T, biases]])
    spread = _spread(scale, len(theta))
    shrunk = np.eye(len(theta)) + spread[:, None] * curvature * spread
    return -float(np.linalg.slogdet(shrunk)[1]) / 2


def _spread(scale: float, size: int) -> np.ndarray:
    return scale * np.repeat(_SPREADS, [2, size - 2])


def _finite(sources: np.ndarray) -> np.ndarray:
    # A class that is ruled out stays so, whatever the exponents: it has no slope.
    return np.where(np.isneginf(sources), 0.0, sources)
