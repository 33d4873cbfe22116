"""Class-conditional noise and its matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_robust import GammaCE
from keras_robust.noise import (
    flip_labels,
    gamma_from_noise_rate,
    pair_matrix,
    symmetric_matrix,
)

LABELS = np.random.default_rng(1).integers(0, 5, 20_000)


def test_symmetric_noise_never_flips_to_itself():
    matrix = symmetric_matrix(5, 0.4)
    np.testing.assert_allclose(np.diag(matrix), 0.6)
    np.testing.assert_allclose(matrix[~np.eye(5, dtype=bool)], 0.1)


def test_with_self_flip_the_real_rate_is_lower():
    # rate .4 over 5 classes: stays with probability .6 + .4/5.
    matrix = symmetric_matrix(5, 0.4, self_flip=True)
    np.testing.assert_allclose(np.diag(matrix), 0.68)
    np.testing.assert_allclose(matrix[~np.eye(5, dtype=bool)], 0.08)
    noisy = flip_labels(LABELS, matrix, seed=0)
    assert noisy.rate == pytest.approx(0.32, abs=0.015)  # 4.5 standard deviations


def test_pair_noise_turns_a_class_into_the_next():
    matrix = pair_matrix(4, 0.3)
    for i in range(4):
        expected = np.zeros(4)
        expected[i], expected[(i + 1) % 4] = 0.7, 0.3
        np.testing.assert_allclose(matrix[i], expected)


@settings(max_examples=30, deadline=None)
@given(k=st.integers(2, 12), rate=st.floats(0, 1), self_flip=st.booleans())
def test_rows_sum_to_1(k, rate, self_flip):
    for matrix in (
        symmetric_matrix(k, rate, self_flip=self_flip),
        pair_matrix(k, rate),
    ):
        assert matrix.shape == (k, k)
        assert (matrix >= 0).all()
        np.testing.assert_allclose(matrix.sum(1), 1)


@pytest.mark.parametrize("matrix", [symmetric_matrix(5, 0.3), pair_matrix(5, 0.7)])
def test_labels_flip_as_the_matrix_says(matrix):
    noisy, realised = flip_labels(LABELS, matrix, seed=3)
    # 4,000 labels a class: standard deviation below .008.
    np.testing.assert_allclose(realised, matrix, atol=0.04)
    counted = np.zeros((5, 5))
    np.add.at(counted, (LABELS, noisy), 1)
    np.testing.assert_allclose(realised, counted / counted.sum(1, keepdims=True))
    assert flip_labels(LABELS, matrix, seed=3).rate == np.mean(noisy != LABELS)
    assert (realised[matrix == 0] == 0).all()


def test_rate_0_changes_nothing_and_rate_1_everything():
    assert (
        flip_labels(LABELS, symmetric_matrix(5, 0.0), seed=0).labels == LABELS
    ).all()
    flipped = flip_labels(LABELS, symmetric_matrix(5, 1.0), seed=0)
    assert (flipped.labels != LABELS).all()
    assert flipped.rate == 1.0


def test_the_same_seed_gives_the_same_labels_and_another_does_not():
    matrix = symmetric_matrix(5, 0.5)
    first = flip_labels(LABELS, matrix, seed=7).labels
    assert (flip_labels(LABELS, matrix, seed=7).labels == first).all()
    assert (flip_labels(LABELS, matrix, seed=8).labels != first).any()
    rng = np.random.default_rng(7)
    assert (flip_labels(LABELS, matrix, seed=rng).labels == first).all()
    assert (flip_labels(LABELS, matrix, seed=rng).labels != first).any()  # it moved on


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8"])
def test_shape_dtype_and_ignored_positions_are_kept(dtype):
    labels = LABELS.reshape(100, 200).astype(dtype)
    ignore = 200 if dtype == "uint8" else -100
    labels[:, ::3] = ignore
    before = labels.copy()
    noisy = flip_labels(labels, symmetric_matrix(5, 1.0), seed=0, ignore_class=ignore)
    assert noisy.labels.dtype == labels.dtype
    assert noisy.labels.shape == labels.shape
    assert (noisy.labels[:, ::3] == ignore).all()
    kept = labels != ignore
    assert (noisy.labels[kept] != labels[kept]).all()
    assert noisy.rate == 1.0  # ignored positions do not dilute it
    assert (labels == before).all()


def test_classes_that_are_absent_have_no_realised_row():
    noisy, realised = flip_labels([0, 0, 2], symmetric_matrix(3, 0.0), seed=0)
    assert noisy.tolist() == [0, 0, 2]
    assert np.isnan(realised[1]).all()
    assert flip_labels([], symmetric_matrix(3, 0.5), seed=0).rate == 0.0


@pytest.mark.parametrize(
    ("labels", "matrix", "error", "match"),
    [
        ([0, 5], symmetric_matrix(5, 0.1), ValueError, r"`labels` must be in \[0, 5\)"),
        ([-1], symmetric_matrix(5, 0.1), ValueError, "`labels` must be in"),
        ([0.0], symmetric_matrix(5, 0.1), TypeError, "integer class ids"),
        (np.zeros(9, "int8"), symmetric_matrix(200, 0.1), ValueError, "class 199"),
        (np.zeros(9, "uint8"), symmetric_matrix(300, 0.1), ValueError, "class 299"),
        ([0], [[0.5, 0.6], [0.5, 0.5]], ValueError, "rows summing to 1"),
        ([0], [[1.5, -0.5], [0.5, 0.5]], ValueError, "of probabilities"),
        ([0], [[np.nan, 1], [0, 1]], ValueError, "of probabilities"),
        ([0], [0.5, 0.5], ValueError, "square"),
    ],
)
def test_bad_labels_and_matrices_raise(labels, matrix, error, match):
    with pytest.raises(error, match=match):
        flip_labels(labels, matrix, seed=0)


@pytest.mark.parametrize("seed", [None, 0.5, "0", True])
def test_a_seed_is_asked_for(seed):
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        flip_labels([0], symmetric_matrix(2, 0.1), seed=seed)


@pytest.mark.parametrize("make", [symmetric_matrix, pair_matrix])
def test_bad_rates_and_numbers_of_classes_raise(make):
    for rate in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=rf"{make.__name__}: `rate` must be in"):
            make(3, rate)
    with pytest.raises(ValueError, match="`num_classes` must be at least 2"):
        make(1, 0.1)
    with pytest.raises(TypeError, match="`num_classes` must be an integer"):
        make(2.0, 0.1)


def test_gamma_star_is_the_formula_and_its_two_known_values():
    assert gamma_from_noise_rate(9, 0.2) == pytest.approx(0.2 / (8 * 0.8))
    assert gamma_from_noise_rate(9, 0.6) == pytest.approx(0.1875)
    assert gamma_from_noise_rate(9, 0.0) == 0.0
    assert gamma_from_noise_rate(9, 0.888) < 1
    for rate in (8 / 9, 1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="`rate` must be in"):
            gamma_from_noise_rate(9, rate)


def test_the_loss_of_a_noise_rate_has_that_gamma_and_what_else_is_asked():
    loss = GammaCE.from_noise_rate(9, 0.6, from_logits=True, b=0.2, name="mine")
    gamma = gamma_from_noise_rate(9, 0.6)
    said = {"gamma": gamma, "from_logits": True, "b": 0.2, "name": "mine"}
    assert loss.get_config() == {**GammaCE().get_config(), **said}


@pytest.mark.parametrize("make", [gamma_from_noise_rate, GammaCE.from_noise_rate])
def test_a_rate_in_the_place_of_the_number_of_classes_raises(make):
    name = make.__qualname__
    match = rf"{name}: `num_classes` must be an integer.*before the rate"
    with pytest.raises(TypeError, match=match):
        make(0.2, 9)
    for rate in (0, 1):  # rates that are integers
        with pytest.raises(ValueError, match=rf"{name}: `num_classes` must be at leas"):
            make(rate, 9)
    with pytest.raises(ValueError, match=rf"{name}: `rate` must be in \[0, 0.888"):
        make(9, 0.9)
