"""What is known of a transition matrix before counting: pseudo-counts."""

from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks
from keras_robust.noise._matrix_estimate import MatrixEstimate

# Strengths of the prior, in pseudo-counts a row, and rates that the search may take.
_STRENGTHS = (0.5, 1e4)
_LEAST_RATE = 1e-4
# Of what is added to every row: a class without rows, or the sink.
_LEAST_STRENGTH = 1.0
# Of so many classes it is asked whether labels are lost to them.
_MOST_SINKS = 3


def fitted_prior(counts: np.ndarray) -> np.ndarray:
    """Returns pseudo-counts (K, K) for the rows of `counts`, learnt from all of them.

    Empirical Bayes. Row i is Dirichlet with the mean m_i and the strength s:

        m_i = a e_sink + (1 - a) ((1 - b) e_i + b (1 - e_i) / (K - 1))

    with a pooled rate a at which classes are given as one class, the sink (entities
    that annotators miss), and a pooled rate b of symmetric noise. The sink itself loses
    its labels evenly, at a rate of its own. The rates, the strength and the sink are
    those under which the counts are likeliest (the Dirichlet-multinomial evidence);
    none of the classes being a sink is one of the choices.

    The rates are learnt from few rows too. If they were exact, a class would have the
    pseudo-counts s; with N rows of the other classes to learn them from, the variance
    of the shares grows by m (1 - m) / N, as if the pseudo-counts were 1 / (1/s + 1/N).
    """
    off = counts - np.diag(np.diag(counts))
    received = off.sum(axis=0)
    likely = [k for k in np.argsort(-received)[:_MOST_SINKS] if received[k] > 0]
    fits = [_fitted(counts, sink) for sink in (None, *likely)]
    _, mean, sink = max(fits, key=lambda fit: fit[0])
    rows = counts.sum(axis=1)
    # The sink has a rate of its own, which nothing but its own rows tells.
    if sink is not None:
        rows[sink] = 0
    spread = 1 / _strength(counts[rows > 0], mean[rows > 0])
    others = rows.sum() - rows
    if sink is not None:
        others[sink] = 0
    with np.errstate(divide="ignore"):
        sure = np.maximum(1 / (spread + 1 / others), _LEAST_STRENGTH)
    return mean * sure[:, None]


def shared_prior(counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns the pseudo-counts (K, K) that each of several matrices borrows from all.

    Their rows, of `counts` (M, K, K), are Dirichlet with `mean` (K, K), which is that
    of all of them, and a strength that says how much they differ. As in `fitted_prior`,
    the mean of a class is known no better than its rows tell.
    """
    size = len(mean)
    rows, means = counts.reshape(-1, size), np.tile(mean, (len(counts), 1))
    seen = rows.sum(axis=1) > 0
    spread = 1 / _strength(rows[seen], means[seen])
    with np.errstate(divide="ignore"):
        sure = np.maximum(1 / (spread + 1 / counts.sum(axis=(0, 2))), _LEAST_STRENGTH)
    return mean * sure[:, None]


def _strength(counts: np.ndarray, mean: np.ndarray) -> float:
    # The likeliest strength is too large where classes have few rows: infinite as often
    # as not. So its inverse, by which classes differ, is averaged over what is known of
    # it, with a uniform shrinkage prior: n / (n + s)^2 for classes of n rows.
    grid = np.geomspace(*_STRENGTHS, 40)
    rows = counts.sum(axis=1)
    typical = np.median(rows[rows > 0]) if rows.any() else 1.0
    log_weight = np.array([_log_evidence(counts, s * mean) for s in grid])
    log_weight += np.log(grid) - 2 * np.log(typical + grid)
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.sum() / (weight / grid).sum())


def _fitted(
    counts: np.ndarray, sink: int | None
) -> tuple[float, np.ndarray, int | None]:
    from scipy import optimize

    size = len(counts)

    def prior(parameters: np.ndarray) -> np.ndarray:
        strength, omitted, even, own = np.exp(parameters)
        pseudo = strength * _mean(size, sink, omitted, even, own)
        if sink is not None:  # its own rate is fitted to it: it tells no strength
            pseudo[sink] *= _LEAST_STRENGTH / strength
        return pseudo

    def lack(parameters: np.ndarray) -> float:
        return -_log_evidence(counts, prior(parameters))

    low, high = np.log(_LEAST_RATE), np.log(0.49)
    strengths = tuple(np.log(_STRENGTHS))
    rates = (low, high)
    # Without a sink two of the four do nothing; a point keeps them in place.
    unused = (low, low)
    bounds = [strengths, rates if sink is not None else unused, rates]
    bounds.append(rates if sink is not None else unused)
    best = None
    for start_strength in (2.0, 5.0):
        start = [start_strength, *(max(low, -3.0) for _ in range(3))]
        start = np.clip(start, *np.transpose(bounds))
        found = optimize.minimize(lack, start, method="L-BFGS-B", bounds=bounds)
        if best is None or found.fun < best.fun:
            best = found
    mean = prior(best.x)
    return -float(best.fun), mean / mean.sum(axis=1, keepdims=True), sink


def _mean(
    size: int, sink: int | None, omitted: float, even: float, own: float
) -> np.ndarray:
    mean = np.full((size, size), even / (size - 1))
    np.fill_diagonal(mean, 1 - even)
    if sink is not None:
        mean *= 1 - omitted
        mean[:, sink] += omitted
        mean[sink] = own / (size - 1)
        mean[sink, sink] = 1 - own
    return mean


def _log_evidence(counts: np.ndarray, prior: np.ndarray) -> float:
    # log of the Dirichlet-multinomial, row by row, less what the prior does not change.
    from scipy.special import gammaln

    total, strength = counts.sum(axis=1), prior.sum(axis=1)
    rows = gammaln(strength) - gammaln(strength + total)
    seen = counts > 0  # few entries, of many classes
    entries = gammaln(prior[seen] + counts[seen]) - gammaln(prior[seen])
    return float(rows.sum() + entries.sum())


def matrix_of_counts(owner: str, counts: np.ndarray, prior: Any) -> MatrixEstimate:
    """Returns the posterior means of the rows, after `counts` (K, K) and a prior.

    The prior is checked pseudo-counts, or, where it is None, learnt from the counts.
    """
    pseudo = (
        fitted_prior(counts)
        if prior is None
        else _checked_prior(owner, prior, len(counts))
    )
    total = pseudo + counts
    empty = np.flatnonzero(total.sum(axis=1) == 0)
    if empty.size:
        raise checks.invalid(
            owner,
            "prior",
            "above 0 for classes without rows",
            f"neither rows nor pseudo-counts of class {empty.tolist()}",
            "Leave `prior` out, so that these classes borrow from the others.",
        )
    return MatrixEstimate(total / total.sum(axis=1, keepdims=True), counts, pseudo)


def _checked_prior(owner: str, prior: Any, num_classes: int) -> np.ndarray:
    pseudo = arrays.numeric(owner, "prior", prior).astype("float64")
    if pseudo.shape != (num_classes, num_classes):
        raise checks.invalid(
            owner,
            "prior",
            f"of shape {(num_classes, num_classes)}",
            f"prior.shape={pseudo.shape}",
            "Pass pseudo-counts for each entry of the matrix, such as "
            "10 * omission_matrix(num_classes, 0.2).",
        )
    if not (np.isfinite(pseudo) & (pseudo >= 0)).all():
        raise checks.invalid(
            owner,
            "prior",
            "finite and at least 0",
            f"a smallest entry of {pseudo.min():.6g}",
            "Pseudo-counts are added to the counts.",
        )
    return pseudo
