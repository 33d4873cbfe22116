"""What JAX does to a function, done to the fast terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keras_robust import GCE, SGCE, _backend
from keras_robust._backend import plain as plain_version

RNG = np.random.default_rng(14)
LOGITS = RNG.normal(size=(6, 4, 5)).astype("float32")
LABELS = RNG.integers(0, 5, (6, 4)).astype("int32")
LIVE = RNG.random((6, 4)) > 0.2


def total(terms, q):
    def function(logits, labels, live):
        log_p, of_all = terms(logits, labels, live, q)
        return jnp.sum(jnp.sin(log_p)) + (0 if q is None else jnp.sum(of_all**2))

    return function


@pytest.mark.parametrize("q", [None, 0.6])
def test_vmap_gives_each_its_own(q):
    every = jax.vmap(jax.grad(total(_backend.row_terms, q)))(LOGITS, LABELS, LIVE)
    one = jax.grad(total(plain_version.row_terms, q))(LOGITS, LABELS, LIVE)
    np.testing.assert_allclose(every, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("q", [None, 0.6])
def test_second_derivatives_are_right(q):
    def hessian(terms):
        function = total(terms, q)
        flat = LOGITS[0]
        return jax.jacrev(jax.grad(lambda z: function(z, LABELS[0], LIVE[0])))(flat)

    fast, plain = hessian(_backend.row_terms), hessian(plain_version.row_terms)
    np.testing.assert_allclose(fast, plain, rtol=1e-3, atol=1e-4)
    assert np.abs(plain).max() > 0.1


@pytest.mark.parametrize("loss", [GCE(from_logits=True), SGCE(from_logits=True)])
def test_a_loss_is_vectorised_over_models(loss):
    def cost(logits):
        return loss(LABELS[0], logits)

    gradients = jax.jit(jax.vmap(jax.grad(cost)))(LOGITS)
    for gradient, logits in zip(gradients, LOGITS):
        np.testing.assert_allclose(gradient, jax.grad(cost)(logits), rtol=1e-5)


def test_one_hot_labels_have_a_forward_mode():
    loss, direction = GCE(q=0.6, from_logits=True), np.ones_like(LOGITS) * np.arange(5)
    one_hot = np.eye(5, dtype="float32")[LABELS]
    of_ids = jax.grad(lambda z: loss(LABELS, z))(LOGITS)
    _, slope = jax.jvp(
        lambda z: loss(one_hot, z), (LOGITS,), (direction.astype("float32"),)
    )
    np.testing.assert_allclose(slope, (of_ids * direction).sum(), rtol=1e-4)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda z: loss(LABELS, z), (LOGITS,), (LOGITS,))
