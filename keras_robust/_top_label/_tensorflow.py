"""On TensorFlow: what is fast in a graph is slow under XLA, and the other way round."""

from typing import Any

import tensorflow as tf

from keras_robust import _xla

# Up to so many classes, an `argmax` under XLA is fast.
_SHORT = 64


def top_label(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    """Returns what `_plain.top_label` does."""
    total = tf.reduce_sum(prob, axis=-1)
    if _xla.is_tracing():
        short = prob.shape[-1] <= _SHORT
        top, hit = (_by_argmax if short else _by_equals)(prob, labels)
        low = tf.reduce_min(prob, axis=-1)
    else:
        top, hit, low = _by_sums(prob, labels, total)
    # XLA's minimum may pass over a NaN; a sum does not.
    number = ~tf.math.is_nan(total)
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


def _by_sums(prob: Any, labels: Any, total: Any) -> tuple[Any, Any, Any]:
    top = tf.reduce_max(prob, axis=-1)
    # The least of all takes a fifth of the time of the least of each row.
    none_negative = tf.reduce_min(prob) >= 0.0
    low = tf.cond(
        none_negative,
        lambda: tf.zeros_like(top),
        lambda: tf.reduce_min(prob, axis=-1),
    )
    hit = tf.equal(_at(prob, labels), top)
    # Two equal largest add up to at least twice the largest.
    alone = none_negative & (2.0 * top > 1.001 * total)
    unsure = tf.where(hit & ~alone)
    first = tf.argmax(tf.gather_nd(prob, unsure), axis=-1, output_type=labels.dtype)
    sure = tf.equal(first, tf.gather_nd(labels, unsure))
    return top, tf.tensor_scatter_nd_update(hit, unsure, sure), low


def _at(prob: Any, classes: Any) -> Any:
    return tf.gather(prob, classes[:, None], axis=1, batch_dims=1)[:, 0]
