"""Noise that draws wrong labels alike, told from its matrix."""

import numpy as np
import pytest

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
