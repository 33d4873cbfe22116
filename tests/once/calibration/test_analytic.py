"""Calibration without data: on the losses' own minimisers, and on a trained model."""

import time

import keras
import numpy as np
import pytest
from scipy import optimize, special

from keras_robust import GCE, SGCE, GammaCE
from keras_robust.calibration import (
    TemperatureScaling,
    analytic_calibrator,
    bin_predictions,
)
from keras_robust.noise import (
    flip_labels,
    gamma_from_noise_rate,
    pair_matrix,
    symmetric_matrix,
)

K = 6
RNG = np.random.default_rng(2)
CLEAN = np.concatenate([RNG.dirichlet(np.full(K, 0.5), 40), np.eye(K)])
UNEVEN = 0.6 * np.eye(K) + 0.4 * RNG.dirichlet(np.ones(K), K)
MATRICES = [symmetric_matrix(K, 0.4), pair_matrix(K, 0.3), UNEVEN]
KERAS = keras.losses


def smoothed(s):
    """The minimiser of Keras's label smoothing, which mixes labels with 1/K."""
    return lambda posterior: (1 - s) * posterior + s / K


LOSSES = [
    (KERAS.SparseCategoricalCrossentropy(), smoothed(0)),
    (KERAS.CategoricalCrossentropy(from_logits=True), smoothed(0)),
    (KERAS.CategoricalCrossentropy(label_smoothing=0.2), smoothed(0.2)),
    *((loss, loss.minimizer) for loss in (GCE(q=0.0), GCE(q=0.6), GCE(q=0.9))),
    *((loss, loss.minimizer) for loss in (SGCE(q=0.6, smoothing=0.1), SGCE(q=0))),
    *((loss, loss.minimizer) for loss in (GammaCE(0.0), GammaCE(0.1, b=0.05))),
    (GammaCE(gamma=0.01), GammaCE(gamma=0.01).minimizer),
]


@pytest.mark.parametrize(("loss", "minimiser"), LOSSES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_the_minimiser_becomes_the_noisy_posterior_and_the_clean_one(
    loss, minimiser, matrix
):
    # Noise in every class, so that no posterior is too small for GammaCE without gate.
    matrix = 0.5 * matrix + 0.5 * symmetric_matrix(K, 0.4)
    noisy = CLEAN @ matrix
    with np.errstate(divide="ignore"):
        logits = np.log(minimiser(noisy)) + RNG.normal(size=(len(CLEAN), 1))
    found = analytic_calibrator(loss).transform(logits)
    np.testing.assert_allclose(found, noisy, atol=1e-9)
    found = analytic_calibrator(loss, matrix).transform(logits)
    np.testing.assert_allclose(found, CLEAN, atol=1e-6)
    prob = analytic_calibrator(loss, matrix, from_logits=False)
    np.testing.assert_allclose(prob.transform(minimiser(noisy)), CLEAN, atol=1e-6)
    assert np.abs(noisy - CLEAN).max() > 0.1


def test_gce_is_a_temperature_known_beforehand():
    logits = RNG.normal(scale=5, size=(3, 7, K))
    found = analytic_calibrator(GCE(q=0.7)).transform(logits)
    np.testing.assert_allclose(found, special.softmax(0.3 * logits, -1), rtol=1e-12)
    # In log space: the probability underflows, its power does not.
    found = analytic_calibrator(GCE(q=0.999)).transform([0.0, -1000.0])
    np.testing.assert_allclose(found, special.softmax([0.0, -1.0]), rtol=1e-9)


def test_a_single_output_is_the_second_of_two_classes():
    z = RNG.normal(scale=3, size=(20, 1))
    both = np.concatenate([np.zeros_like(z), z], -1)
    matrix = np.array([[0.8, 0.2], [0.1, 0.9]])
    for loss in (GCE(q=0.5), GammaCE(gamma=0.2), SGCE()):
        calibrator = analytic_calibrator(loss, matrix)
        found = calibrator.transform(z)
        assert found.shape == z.shape
        np.testing.assert_allclose(found, calibrator.transform(both)[:, 1:])
    loss = KERAS.BinaryCrossentropy(label_smoothing=0.1)
    # Keras takes labels to .9 y + .05.
    z = special.logit(0.9 * np.array([[0.0], [0.3], [1.0]]) + 0.05)
    found = analytic_calibrator(loss).transform(z)
    np.testing.assert_allclose(found, [[0.0], [0.3], [1.0]], atol=1e-12)
    # .3 is the noisy posterior of c with .8 * 0 + ... : c * .9 + (1 - c) * .2 = .3.
    found = analytic_calibrator(loss, matrix).transform(z[1:2])
    np.testing.assert_allclose(found, [[1 / 7]], rtol=1e-9)


def log_likelihood(clean, noisy, matrix):
    return (noisy * np.log(np.maximum(clean @ matrix, 1e-300))).sum(-1)


@pytest.mark.parametrize("matrix", MATRICES)
def test_where_the_model_contradicts_the_matrix_the_likeliest_posterior_is_taken(
    matrix,
):
    noisy = RNG.dirichlet(np.full(K, 0.3), 60)
    assert (noisy @ np.linalg.inv(matrix) < -1e-3).any(-1).mean() > 0.8
    found = analytic_calibrator(KERAS.CategoricalCrossentropy(), matrix).transform(
        np.log(noisy)
    )
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-9)
    assert found.min() >= 0
    best = log_likelihood(found, noisy, matrix)
    for row, least in zip(noisy[:15], best):
        other = optimize.minimize(
            lambda c, row=row: -log_likelihood(c, row, matrix),
            np.full(K, 1 / K),
            method="SLSQP",
            bounds=[(0, 1)] * K,
            constraints={"type": "eq", "fun": lambda c: c.sum() - 1},
            options={"ftol": 1e-13, "maxiter": 500},
        )
        assert least >= -other.fun - 1e-6
    cut = np.clip(noisy @ np.linalg.inv(matrix), 1e-12, None)
    cut /= cut.sum(-1, keepdims=True)
    assert (best >= log_likelihood(cut, noisy, matrix) - 1e-6).all()


def test_for_symmetric_noise_that_is_the_minimiser_of_gamma_ce():
    noisy = RNG.dirichlet(np.full(K, 0.3), 200)
    gamma = gamma_from_noise_rate(K, 0.4)
    found = analytic_calibrator(KERAS.CategoricalCrossentropy(), MATRICES[0])
    expected = GammaCE(gamma=gamma).minimizer(noisy)
    np.testing.assert_allclose(found.transform(np.log(noisy)), expected, atol=1e-3)


def test_the_posterior_hardly_jumps_where_the_matrix_starts_to_be_contradicted():
    calibrator = analytic_calibrator(KERAS.CategoricalCrossentropy(), MATRICES[0])
    clean = np.array([0.7, 0.3 + 1e-7, -1e-7, 0, 0, 0])
    outside = clean @ MATRICES[0]
    found = calibrator.transform(np.log(outside))
    np.testing.assert_allclose(found, [0.7, 0.3, 0, 0, 0, 0], atol=1e-6)


def test_many_rows_take_seconds():
    logits = RNG.normal(scale=3, size=(20_000, 10))
    start = time.perf_counter()
    found = analytic_calibrator(GCE(q=0.5), pair_matrix(10, 0.3)).transform(logits)
    assert time.perf_counter() - start < 30
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-9)


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (np.full((3, 3), 1 / 3), "`noise_matrix` must be invertible.*condition number"),
        (symmetric_matrix(10, 0.9), "`noise_matrix` must be invertible"),
        (np.eye(3)[:2], "`noise_matrix` must be square"),
        ([[0.5, 0.6], [0.5, 0.4]], "`noise_matrix` must be of probabilities"),
        ([[np.nan, 1], [0, 1]], "`noise_matrix` must be of probabilities"),
    ],
)
def test_a_bad_noise_matrix_is_an_error(matrix, match):
    with pytest.raises(ValueError, match=match):
        analytic_calibrator(GCE(), matrix)


@pytest.mark.parametrize(
    "loss",
    ["gce", GCE, None, KERAS.MeanSquaredError(), KERAS.CategoricalFocalCrossentropy()],
)
def test_a_loss_without_a_theory_here_is_an_error(loss):
    with pytest.raises(TypeError, match="`loss` must be a GCE, SGCE, GammaCE"):
        analytic_calibrator(loss)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (GCE(q=1.0), "GCE: `q` must be below 1"),
        (GammaCE(gamma=1.0), "GammaCE: `gamma` must be below 1"),
        (KERAS.CategoricalCrossentropy(label_smoothing=1.0), "label_smoothing below 1"),
    ],
)
def test_a_loss_that_does_not_tell_the_posterior_is_an_error_at_once(loss, match):
    with pytest.raises(ValueError, match=match):
        analytic_calibrator(loss)


def test_bad_logits_are_an_error():
    with pytest.raises(ValueError, match="`noise_matrix` must be of the 3 classes"):
        analytic_calibrator(GCE(), np.eye(2)).transform([[1, 2, 3]])
    with pytest.raises(ValueError, match="`logits` must be of a last axis of 1"):
        analytic_calibrator(KERAS.BinaryCrossentropy()).transform([[1, 2]])
    with pytest.raises(ValueError, match="`logits` must be of at least two classes"):
        analytic_calibrator(KERAS.CategoricalCrossentropy()).transform([[1]])
    for bad in (1.0, [[np.nan, 1.0]]):
        with pytest.raises(ValueError, match="`logits` must be"):
            analytic_calibrator(GCE()).transform(bad)
    text = repr(analytic_calibrator(GCE(), np.eye(3)))
    assert text == "AnalyticCalibrator(loss=gce, noise_matrix=(3, 3))"


def trained_logits(loss, images, labels, held_out):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(images, labels, batch_size=32, epochs=8, verbose=0)
    return model.predict(held_out, verbose=0)


def errors(labels, prob):
    taken = np.take_along_axis(prob, labels[:, None], -1)
    nll = -np.log(np.clip(taken, 1e-7, 1)).mean()
    return bin_predictions(labels, prob).ece(), nll


def test_on_a_trained_model_theory_gets_most_of_the_way_without_a_label():
    from sklearn.datasets import load_digits

    images, clean = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    matrix = symmetric_matrix(10, 0.4)
    noisy = flip_labels(clean, matrix, seed=0).labels
    loss = GCE(q=0.6, from_logits=True)
    logits = trained_logits(loss, images[:1000], noisy[:1000], images[1000:])
    fit, rest = slice(0, 250), slice(250, None)
    seen, true = noisy[1000:][rest], clean[1000:][rest]
    raw_ece, raw_nll = errors(seen, special.softmax(logits[rest], -1))
    ece, nll = errors(seen, analytic_calibrator(loss).transform(logits[rest]))
    fitted = TemperatureScaling().fit(noisy[1000:][fit], logits[fit])
    fitted_ece, fitted_nll = errors(seen, fitted.transform(logits[rest]))
    # Good: of the way that a temperature fitted to 250 labels goes, most is gone.
    assert raw_nll - nll > 0.7 * (raw_nll - fitted_nll) > 0.3
    assert ece < 0.6 * raw_ece
    assert raw_ece > 0.15 > fitted_ece
    # Less good: on clean labels the matrix is hardly of use. A model of a loss that is
    # robust is about right there as it is, and this makes it less sure.
    clean_ece, _ = errors(true, special.softmax(logits[rest], -1))
    mended = analytic_calibrator(loss, matrix).transform(logits[rest])
    assert errors(true, mended)[0] > clean_ece
    assert errors(true, mended)[0] < 0.3
    # It is far better than the noisy posterior, if that is what one has.
    posterior = analytic_calibrator(loss).transform(logits[rest])
    assert errors(true, mended)[0] < 0.7 * errors(true, posterior)[0]


def test_a_matrix_near_to_singular_warns_where_its_noise_cannot_be_undone():
    # Each class given as the next one almost every other time: condition number 500.
    matrix = 0.501 * np.eye(4) + 0.499 * np.roll(np.eye(4), 1, axis=1)
    calibrator = analytic_calibrator(GCE(q=0.0), matrix, from_logits=False)
    prob = np.random.default_rng(0).dirichlet(np.ones(4), 200)
    with pytest.warns(UserWarning, match="short of their likeliest"):
        clean = calibrator.transform(prob)
    np.testing.assert_allclose(clean.sum(-1), 1)
