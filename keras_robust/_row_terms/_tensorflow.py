"""On TensorFlow: a custom gradient, fast with XLA and without."""

from typing import Any

import tensorflow as tf

from keras_robust._row_terms._powers import NEGLIGIBLE_Q, SAFE_Q


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns the terms of `_row_terms.row_terms`."""
    shape, num_classes = tf.shape(logits), logits.shape[-1]
    flat = tf.reshape(logits, [-1, num_classes])
    labels, live = tf.reshape(labels, [-1]), tf.reshape(live, [-1])

    @tf.custom_gradient
    def terms(flat: Any) -> Any:
        top = tf.reduce_max(flat, axis=-1, keepdims=True)
        below = flat - top
        log_z = tf.math.log(tf.reduce_sum(tf.exp(below), axis=-1, keepdims=True))
        label = tf.gather(below, labels, axis=1, batch_dims=1)
        log_p = label - log_z[:, 0]
        results = [tf.where(live, log_p, 0.0)]
        if q is not None:
            of_all = _cost_of_all(below, log_z, q)
            results.append(tf.where(live, of_all, 0.0))

        def backward(*upstream: Any) -> Any:
            log_p = (flat - top) - log_z
            p = tf.exp(log_p)
            u = upstream[0][:, None]
            if q is None:
                gradient = -u * p
            else:
                v = upstream[1][:, None]
                total = num_classes - q * results[1][:, None]
                gradient = (v * total - u) * p - v * tf.exp(q * log_p)
            gradient += u * tf.one_hot(labels, num_classes, dtype=flat.dtype)
            return tf.where(live[:, None], gradient, 0.0)

        return results, backward

    results = [tf.reshape(result, shape[:-1]) for result in terms(flat)]
    return results[0], None if q is None else results[1]


def _cost_of_all(below: Any, log_z: Any, q: float) -> Any:
    num_classes = below.shape[-1]
    if q < NEGLIGIBLE_Q:
        return num_classes * log_z[:, 0] - tf.reduce_sum(below, axis=-1)
    if q < SAFE_Q:
        return -tf.reduce_sum(tf.math.expm1(q * (below - log_z)), axis=-1) / q
    powers = tf.exp(-q * log_z[:, 0]) * tf.reduce_sum(tf.exp(q * below), axis=-1)
    return (num_classes - powers) / q
