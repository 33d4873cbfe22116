"""Losses traced by TensorFlow with dimensions that are not known."""

import every_loss
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
