"""On TensorFlow: what is fast in a graph is slow under XLA, and the other way round."""

from typing import Any

import tensorflow as tf

from keras_robust import _xla

# Up to so many classes, an `argmax` under XLA is fast.
_SHORT = 64


def top_label(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    """Returns what `_plain.top_label` does."""
    low = tf.reduce_min(prob, axis=-1)
    if not _xla.is_tracing():
        top, hit = _by_argmax(prob, labels)
        return top, hit, ~((low >= -slack) & (top <= 1.0 + slack))
    # XLA's minimum may pass over a NaN, which that of a graph returns; a sum does not.
    number = ~tf.math.is_nan(tf.reduce_sum(prob, axis=-1))
    short = prob.shape[-1] <= _SHORT
    top, hit = (_by_argmax if short else _by_equals)(prob, labels)
    return top, hit, ~((low >= -slack) & (top <= 1.0 + slack) & number)


def _by_argmax(prob: Any, labels: Any) -> tuple[Any, Any]:
    first = tf.argmax(prob, axis=-1, output_type=labels.dtype)
    return _at(prob, first), tf.equal(first, labels)


def _by_equals(prob: Any, labels: Any) -> tuple[Any, Any]:
    top = tf.reduce_max(prob, axis=-1)
    # 0 for the largest, -1 for what is smaller.
    below = tf.maximum((prob - top[:, None]) * 1e38, -1.0)
    equals = prob.shape[-1] + tf.reduce_sum(below, axis=-1)
    hit = tf.equal(_at(prob, labels), top)
    several = tf.reduce_any(hit & (equals > 1.0))
    hit = tf.cond(several, lambda: _by_argmax(prob, labels)[1], lambda: hit)
    return top, hit


def _at(prob: Any, classes: Any) -> Any:
    return tf.gather(prob, classes[:, None], axis=1, batch_dims=1)[:, 0]
