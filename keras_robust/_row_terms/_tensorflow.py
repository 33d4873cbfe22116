"""On TensorFlow: a custom gradient, which XLA fuses and plain graphs run in few ops."""

from typing import Any

import tensorflow as tf

from keras_robust._row_terms import _powers


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `_plain.row_terms` does."""
    shape, num_classes = tf.shape(logits), logits.shape[-1]
    labels, live = tf.reshape(labels, [-1]), tf.reshape(live, [-1, 1])

    @tf.custom_gradient
    def terms(logits: Any) -> Any:
        # The maximum and log Z stay apart: their sum would lose the digits of log Z.
        top = tf.reduce_max(logits, axis=-1, keepdims=True)
        below = logits - top
        log_z = tf.math.log(tf.reduce_sum(tf.exp(below), axis=-1, keepdims=True))
        log_p = tf.gather(below, labels[:, None], axis=1, batch_dims=1) - log_z
        results = [tf.where(live, log_p, 0.0)]
        if q is not None:
            total = tf.reduce_sum(_powers.summand(below, q), axis=-1, keepdims=True)
            costs = _powers.cost_of_all(total, log_z, q, num_classes)
            results.append(tf.where(live, costs, 0.0))

        def backward(of_label: Any, of_others: Any = None) -> Any:
            # What multiplies exponentials is worked out for each row, not each class.
            pull = of_label
            if q is not None:
                pull = of_label - of_others * (num_classes - q * results[1])
            gradient = -(pull * tf.exp(-log_z)) * tf.exp(below)
            if q is not None:
                gradient -= (of_others * tf.exp(-q * log_z)) * tf.exp(q * below)
            gradient += of_label * tf.one_hot(labels, num_classes, dtype=logits.dtype)
            return tf.where(live, gradient, 0.0)

        return results, backward

    results = terms(tf.reshape(logits, [-1, num_classes]))
    results = [tf.reshape(result, shape[:-1]) for result in results]
    return results[0], None if q is None else results[1]
