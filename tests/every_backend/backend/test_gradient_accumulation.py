"""Gradients added up over two half batches are those of the whole batch."""

import every_loss
import keras
import numpy as np
import pytest
from backend import jit_modes

K = 5
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(8, K)).astype("float32")
LABELS = RNG.integers(0, K, 8).astype("int32")
LABELS[[1, 6]] = -100  # as many in each half


def moved(loss, jit, batch_size, **options):
    """How far one epoch of steps of size 1 takes logits that are weights."""
    start = keras.initializers.Constant(LOGITS)
    layer = keras.layers.Dense(K, use_bias=False, kernel_initializer=start)
    model = keras.Sequential([keras.Input((8,)), layer])
    model.compile(keras.optimizers.SGD(1.0, **options), loss, jit_compile=jit)
    x = np.eye(8, dtype="float32")
    model.fit(x, LABELS, batch_size=batch_size, shuffle=False, verbose=0)
    return LOGITS - model.get_weights()[0]


@pytest.mark.parametrize("loss", every_loss.makers(K))
@pytest.mark.parametrize("jit", jit_modes())
def test_two_half_batches_add_up_to_one(loss, jit):
    whole = moved(loss(from_logits=True), jit, 8)
    halves = moved(loss(from_logits=True), jit, 4, gradient_accumulation_steps=2)
    np.testing.assert_allclose(halves, whole, rtol=1e-5, atol=1e-7)
    assert np.abs(whole).max() > 0.01
    assert (whole[[1, 6]] == 0).all()
