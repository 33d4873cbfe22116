"""What each loss makes an unrestricted model believe: its minimizer for a posterior.

The expected loss under a label posterior is the loss of that soft target. Its gradient
vanishes at the minimizer, and every step away costs.
"""

import keras
import numpy as np
import pytest
from backend import value_and_grad

from keras_robust import GCE, SGCE, GammaCE
from keras_robust.noise import gamma_from_noise_rate, symmetric_matrix

K = 6
# Every class likely enough that γ + (1 - γ) p ∝ π has a solution inside the simplex.
POSTERIOR = np.array([0.45, 0.2, 0.12, 0.1, 0.07, 0.06])


def normalised(x):
    return x / x.sum()


def sharpened(posterior, q):
    return normalised(posterior ** (1 / (1 - q)))


def smoothed(posterior, s):
    return (1 - s) * posterior + s * (1 - posterior) / (K - 1)


def without_floor(posterior, gamma):
    # γ + (1 - γ) p_k = c π_k; summed over k, c = K γ + 1 - γ.
    return ((K * gamma + 1 - gamma) * posterior - gamma) / (1 - gamma)


MINIMISERS = [
    (GCE(q=0.0, from_logits=True, dtype="float64"), POSTERIOR),
    (GCE(q=0.4, from_logits=True, dtype="float64"), sharpened(POSTERIOR, 0.4)),
    (GCE(q=0.8, from_logits=True, dtype="float64"), sharpened(POSTERIOR, 0.8)),
    (
        SGCE(q=0.6, smoothing=0.2, from_logits=True, dtype="float64"),
        sharpened(smoothed(POSTERIOR, 0.2), 0.6),
    ),
    (
        SGCE(q=0.0, smoothing=0.2, from_logits=True, dtype="float64"),
        smoothed(POSTERIOR, 0.2),
    ),
    (GammaCE(gamma=0.0, from_logits=True, dtype="float64"), POSTERIOR),
    (
        GammaCE(gamma=0.05, from_logits=True, dtype="float64"),
        without_floor(POSTERIOR, 0.05),
    ),
]


@pytest.mark.parametrize(("loss", "minimizer"), MINIMISERS)
def test_the_minimizer_is_the_one_of_the_theory(float64, loss, minimizer):
    np.testing.assert_allclose(minimizer.sum(), 1)
    z = np.log(minimizer)[None]

    def expected_loss(z):
        return loss(POSTERIOR[None], z)

    least, grad = value_and_grad(expected_loss, z, dtype="float64")
    np.testing.assert_allclose(grad, 0, atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        away = z + rng.normal(scale=0.3, size=z.shape)
        assert float(expected_loss(away)) > least
    # A confidence of the posterior itself is not the minimizer of a robust loss.
    _, grad = value_and_grad(expected_loss, np.log(POSTERIOR)[None], dtype="float64")
    honest = np.allclose(minimizer, POSTERIOR)
    assert (np.abs(grad).max() < 1e-12) == honest


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.7])
def test_at_gamma_star_the_minimizer_is_the_clean_posterior(float64, rate):
    gamma = gamma_from_noise_rate(K, rate)
    noisy = POSTERIOR @ symmetric_matrix(K, rate)
    for factor in (0.5, 1.0, 1.2):
        loss = GammaCE(gamma=factor * gamma, from_logits=True, dtype="float64")
        _, grad = value_and_grad(
            lambda z, loss=loss: loss(noisy[None], z),
            np.log(POSTERIOR)[None],
            dtype="float64",
        )
        assert (np.abs(grad).max() < 1e-12) == (factor == 1.0)


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.7])
def test_gamma_ce_at_gamma_star_is_forward_correction_up_to_an_affine_map(
    float64, rate
):
    gamma = gamma_from_noise_rate(K, rate)
    p = np.random.default_rng(0).dirichlet(np.ones(K), 50)
    labels = np.arange(50) % K
    loss = GammaCE(gamma=gamma, reduction="none", dtype="float64")
    ours = keras.ops.convert_to_numpy(loss(labels, p))
    corrected = -np.log((p @ symmetric_matrix(K, rate))[np.arange(50), labels])
    slope, _ = np.polyfit(corrected, ours, 1)
    np.testing.assert_allclose(slope, 1 / (1 - gamma), rtol=1e-9)
    offset = ours - slope * corrected
    np.testing.assert_allclose(offset, offset[0], rtol=1e-9)


@pytest.mark.parametrize(("q", "confidence"), [(0.0, 0.4), (0.6, 0.891), (0.8, 0.998)])
def test_a_sure_token_at_noise_60_percent_of_9_classes(float64, q, confidence):
    noisy = symmetric_matrix(9, 0.6)[0]
    minimizer = sharpened(noisy, q)
    assert minimizer[0] == pytest.approx(confidence, abs=5e-4)
    loss = GCE(q=q, from_logits=True, dtype="float64")
    _, grad = value_and_grad(
        lambda z: loss(noisy[None], z), np.log(minimizer)[None], dtype="float64"
    )
    np.testing.assert_allclose(grad, 0, atol=1e-12)
