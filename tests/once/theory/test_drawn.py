"""Noise that draws wrong labels alike, told from its matrix."""

import numpy as np
import pytest
from scipy import optimize

from keras_robust._theory.drawn import drawn_labels
from keras_robust.noise import omission_matrix, pair_matrix, symmetric_matrix

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("size", [2, 3, 9, 1000])
def test_what_is_drawn_is_found_in_the_matrix(size):
    even, missed = np.full(size, 1 / size), np.eye(size)[1]
    uneven = RNG.dirichlet(np.full(size, 0.1)) * (np.arange(size) != 1)
    uneven /= uneven.sum()
    for share, kept in [
        (even, 0.8),
        (missed, 0.7),
        (uneven, 0.1),
        (even, 1.0),
        (missed, 1e-9),  # of 1 - B, the columns of other classes have all digits
        (uneven, 1e-9),
    ]:
        matrix = kept * np.eye(size) + (1 - kept) * share
        # Scaled as the argument is: the sum of a row rounds.
        beta, found = drawn_labels(matrix / matrix.sum(axis=1, keepdims=True))
        np.testing.assert_allclose(beta, (1 - kept) * share, rtol=1e-12)
        assert found == pytest.approx(kept, rel=1e-12)
        p = RNG.dirichlet(np.full(size, 0.3))
        np.testing.assert_allclose(beta + found * p, p @ matrix, rtol=1e-12)


def test_matrices_of_the_package_are_of_this_kind():
    for matrix, beta in [
        (symmetric_matrix(5, 0.2), np.full(5, 0.05)),
        (symmetric_matrix(5, 0.2, self_flip=True), np.full(5, 0.04)),
        (omission_matrix(5, 0.3, background=1), 0.3 * np.eye(5)[1]),
    ]:
        found, kept = drawn_labels(matrix)
        np.testing.assert_allclose(found, beta, rtol=1e-12)
        assert kept == pytest.approx(1 - beta.sum(), rel=1e-12)


def test_any_noise_of_two_classes_is_drawn():
    beta, kept = drawn_labels(np.array([[0.9, 0.1], [0.4, 0.6]]))
    np.testing.assert_allclose([*beta, kept], [0.4, 0.1, 0.5])


def numerical_minimizer(posterior, gamma, factor):
    """The p of the least expectation of -factor * log(γ_y + (1 - γ_y) p_y)."""
    weight = posterior * factor

    def expected(p):
        return -weight @ np.log(gamma + (1 - gamma) * p)

    def slope(p):
        return -weight * (1 - gamma) / (gamma + (1 - gamma) * p)

    return optimize.minimize(
        expected,
        np.full(len(posterior), 1 / len(posterior)),
        jac=slope,
        method="SLSQP",
        bounds=[(1e-9, 1)] * len(posterior),
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-16, "maxiter": 1000},
    ).x


@pytest.mark.parametrize(
    "beta",
    [[0.1] * 4, [0.3, 0, 0, 0], [0.3, 0.05, 0, 0.2]],  # symmetric, omission, any
)
def test_with_a_gamma_for_each_label_the_minimum_is_the_clean_posterior(beta):
    beta = np.array(beta)
    rest = 1 - beta.sum()
    gamma = beta / (beta + rest)
    off = []
    for clean in RNG.dirichlet(np.ones(4), 5):
        noisy = ((1 - beta.sum()) * np.eye(4) + beta).T @ clean
        found = numerical_minimizer(noisy, gamma, 1.0)
        np.testing.assert_allclose(found, clean, atol=1e-5)
        divided = numerical_minimizer(noisy, gamma, 1 / (1 - gamma))
        off.append(np.abs(divided - clean).max())
    # Divided by 1 - γ_y it is, where that is the same for all labels, and not else.
    assert max(off) < 1e-5 if np.ptp(beta) == 0 else min(off) > 0.01


@pytest.mark.parametrize(
    "matrix",
    [
        pair_matrix(4, 0.2),
        omission_matrix(3, [0.0, 0.2, 0.3]),
        symmetric_matrix(4, 0.75),  # by chance: nothing of the label is left
        symmetric_matrix(4, 0.9),  # a label says rather what is not true
        [[0.2, 0.8], [0.9, 0.1]],
        symmetric_matrix(3, 0.3) + 1e-9 * np.array([[1, -1, 0], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_other_noise_is_not(matrix):
    assert drawn_labels(np.asarray(matrix)) is None
