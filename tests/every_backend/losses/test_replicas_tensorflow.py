"""Losses under `tf.distribute`: replicas with unequal counts, several strategies."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import every_loss
import keras
import numpy as np
import pytest
import tensorflow as tf
from backend import two_cpus

from keras_robust import GCE

K = 5
RNG = np.random.default_rng(3)
LOGITS = RNG.normal(scale=2, size=(12, K)).astype("float32")
LABELS = RNG.integers(0, K, 12)
# One of the first replica's six positions counts, all of the other's.
LABELS[:5] = -100


def trained(loss, strategy):
    """The loss of one step of size 1 and how far it takes logits that are weights."""
    with strategy.scope():
        start = keras.initializers.Constant(LOGITS)
        layer = keras.layers.Dense(K, use_bias=False, kernel_initializer=start)
        model = keras.Sequential([keras.Input((12,)), layer])
        model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    x = np.eye(12, dtype="float32")
    fitted = model.fit(x, LABELS, batch_size=12, shuffle=False, verbose=0)
    return fitted.history["loss"][0], LOGITS - model.get_weights()[0]


def on_one_device(loss):
    with tf.GradientTape() as tape:
        z = tf.Variable(LOGITS)
        value = loss(LABELS, z)
    return value, tape.gradient(value, z)


@pytest.mark.parametrize("cls", every_loss.makers(K))
def test_the_mean_over_replicas_with_unequal_counts_is_the_global_mean(
    cls, two_replicas
):
    # Keras's own loss is here the mean of the replicas' means.
    loss = cls(from_logits=True)
    value, gradient = on_one_device(loss)
    reported, moved = trained(loss, two_replicas)
    np.testing.assert_allclose(reported, value, rtol=1e-5)
    np.testing.assert_allclose(moved, gradient, rtol=1e-4, atol=1e-6)


def trained_one_after_another(losses):
    two_cpus()
    strategies = (tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) for _ in losses)
    return [trained(loss, strategy) for loss, strategy in zip(losses, strategies)]


def test_what_comes_after_a_mean_can_be_trained_under_a_strategy_of_its_own():
    # Each strategy numbers its collective operations from the start. One of ours, of a
    # single number, would meet a gradient there. In a process of its own, as so would
    # the gradients of other tests.
    entropy = keras.losses.SparseCategoricalCrossentropy
    losses = [
        GCE(from_logits=True),
        entropy(from_logits=True, ignore_class=-100),
        GCE(from_logits=True, reduction="sum"),
    ]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(trained_one_after_another, losses).result(timeout=300)
    for loss, (reported, moved) in zip(losses, found):
        if loss.name != "sparse_categorical_crossentropy":
            value, gradient = on_one_device(loss)
            np.testing.assert_allclose(reported, value, 1e-5, err_msg=loss.reduction)
            np.testing.assert_allclose(moved, gradient, 1e-4, 1e-6)
        assert np.abs(moved).max() > 0.01
