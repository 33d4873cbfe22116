"""What only TensorFlow does: unknown dimensions, replicas with unequal counts."""

import every_loss
import keras
import numpy as np
import pytest
import tensorflow as tf

K = 5
RNG = np.random.default_rng(3)
LOGITS = RNG.normal(scale=2, size=(12, K)).astype("float32")
LABELS = RNG.integers(0, K, 12)
every_class = pytest.mark.parametrize("cls", every_loss.makers(K))


@every_class
def test_unknown_batch_dimensions_trace(cls):
    loss = cls(from_logits=True)
    for labels in (LABELS.astype("int32"), LABELS[:, None].astype("int32")):
        spec = [
            tf.TensorSpec([None] * labels.ndim, tf.int32),
            tf.TensorSpec([None, K], tf.float32),
        ]
        if labels.ndim == 2:
            spec[0] = tf.TensorSpec([None, 1], tf.int32)
        traced = tf.function(lambda y, z: loss(y, z), input_signature=spec)
        np.testing.assert_allclose(traced(labels, LOGITS), loss(LABELS, LOGITS), 1e-6)
        assert np.isnan(traced(labels[:1], LOGITS))  # no broadcasting by accident
        with pytest.raises(tf.errors.InvalidArgumentError):
            traced(labels[:3], LOGITS)


@every_class
def test_soft_targets_of_unknown_width_may_have_an_ignored_class(cls):
    loss = cls(from_logits=True, ignore_class=0)
    spec = [tf.TensorSpec([None, None]), tf.TensorSpec([None, K])]
    traced = tf.function(lambda y, z: loss(y, z), input_signature=spec)
    soft = np.eye(K, dtype="float32")[LABELS]
    np.testing.assert_allclose(traced(soft, LOGITS), loss(soft, LOGITS), rtol=1e-5)


@every_class
def test_one_weight_for_a_batch_of_unknown_size_gives_nan(cls):
    loss = cls(from_logits=True)
    spec = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, K], tf.float32)]
    spec.append(tf.TensorSpec([None], tf.float32))
    traced = tf.function(lambda y, z, w: loss(y, z, w), input_signature=spec)
    weight = np.arange(12, dtype="float32")
    expected = float(loss(LABELS, LOGITS, weight))
    given = (LABELS.astype("int32"), LOGITS)
    np.testing.assert_allclose(traced(*given, weight), expected, rtol=1e-5)
    assert np.isnan(traced(*given, weight[1:2]))


@every_class
def test_an_unknown_number_of_classes_raises(cls):
    loss = cls(from_logits=True)
    with pytest.raises(ValueError, match="known number of classes"):
        tf.function(loss.__call__).get_concrete_function(
            tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.float32)
        )


@every_class
def test_the_mean_over_replicas_with_unequal_counts_is_the_global_mean(
    cls, two_replicas
):
    # Keras's own loss is here the mean of the replicas' means.
    labels = LABELS.copy()
    # One of the first replica's six positions counts, all of the other's.
    labels[:5] = -100
    x = np.eye(12, dtype="float32")
    with two_replicas.scope():
        start = keras.initializers.Constant(LOGITS)
        layer = keras.layers.Dense(K, use_bias=False, kernel_initializer=start)
        model = keras.Sequential([keras.Input((12,)), layer])
        model.compile(keras.optimizers.SGD(1.0), cls(from_logits=True))
    one = cls(from_logits=True)
    with tf.GradientTape() as tape:
        z = tf.Variable(LOGITS)
        value = one(labels, z)
    gradient = tape.gradient(value, z)
    fitted = model.fit(x, labels, batch_size=12, shuffle=False, verbose=0)
    np.testing.assert_allclose(fitted.history["loss"][0], value, rtol=1e-5)
    moved = LOGITS - model.get_weights()[0]
    np.testing.assert_allclose(moved, gradient, rtol=1e-4, atol=1e-6)
