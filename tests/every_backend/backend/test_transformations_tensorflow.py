"""What TensorFlow does to a function, done to the fast terms."""

import numpy as np
import pytest
import tensorflow as tf

from keras_robust import _backend
from keras_robust._backend import plain as plain_version

RNG = np.random.default_rng(14)
LOGITS = RNG.normal(size=(6, 5)).astype("float32")
LABELS = RNG.integers(0, 5, 6).astype("int32")
LIVE = RNG.random(6) > 0.2


def hessian(terms, q):
    z = tf.constant(LOGITS)
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            log_p, of_all = terms(z, tf.constant(LABELS), tf.constant(LIVE), q)
            total = tf.reduce_sum(tf.sin(log_p))
            total += 0.0 if q is None else tf.reduce_sum(of_all**2)
        gradient = inner.gradient(total, z)
    return outer.jacobian(gradient, z)


@pytest.mark.parametrize("q", [None, 0.6])
@pytest.mark.parametrize("traced", [False, True])
def test_second_derivatives_are_right(q, traced):
    fast = tf.function(hessian) if traced else hessian
    plain = hessian(plain_version.row_terms, q)
    found = fast(_backend.row_terms, q)
    np.testing.assert_allclose(found, plain, rtol=1e-3, atol=1e-4)
    assert np.abs(plain).max() > 0.1


@pytest.mark.parametrize("q", [None, 0.6])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_traced_terms_keep_the_shape_that_is_known(q, jit_compile):
    spec = [
        tf.TensorSpec([None, 3, 5], tf.float32),
        tf.TensorSpec([None, 3], tf.int32),
        tf.TensorSpec([None, 3], tf.bool),
    ]
    traced = tf.function(
        lambda *rows: _backend.row_terms(*rows, q)[0],
        input_signature=spec,
        jit_compile=jit_compile,
    )
    rows = LOGITS.reshape(2, 3, 5), LABELS.reshape(2, 3), LIVE.reshape(2, 3)
    assert traced.get_concrete_function().output_shapes.as_list() == [None, 3]
    expected = plain_version.row_terms(*map(tf.constant, rows), q)[0]
    np.testing.assert_allclose(traced(*rows), expected, rtol=1e-5, atol=1e-6)
