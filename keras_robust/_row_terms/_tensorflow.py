"""On TensorFlow: a custom gradient, which XLA fuses and plain graphs run in few ops.

In a graph, an operation writes over its input if nothing else needs that. So nothing
as large as the logits is used twice: it is had again, as long as that is cheap.
"""

from typing import Any

import tensorflow as tf

from keras_robust._row_terms import _powers


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `_plain.row_terms` does."""
    shape, num_classes = tf.shape(logits), logits.shape[-1]
    if not (labels.shape.is_fully_defined() and logits.shape.is_fully_defined()):
        # The loss is NaN if there are labels for one row only: here that is no error.
        labels, live = (tf.broadcast_to(x, shape[:-1]) for x in (labels, live))
    labels, live = tf.reshape(labels, [-1]), tf.reshape(live, [-1, 1])

    @tf.custom_gradient
    def terms(logits: Any) -> Any:
        # The maximum and log Z stay apart: their sum would lose the digits of log Z.
        top = tf.reduce_max(logits, axis=-1, keepdims=True)
        total = tf.reduce_sum(tf.exp(logits - top), axis=-1, keepdims=True)
        log_z = tf.math.log(total)
        label = tf.gather(logits, labels[:, None], axis=1, batch_dims=1)
        results = [tf.where(live, (label - top) - log_z, 0.0)]
        if q is not None:
            terms = _powers.summand(logits - top, q)
            costs = tf.reduce_sum(terms, axis=-1, keepdims=True)
            costs = _powers.cost_of_all(costs, log_z, q, num_classes)
            results.append(tf.where(live, costs, 0.0))

        def backward(of_label: Any, of_others: Any = None) -> Any:
            def scaled(exponentials: Any, factor: Any) -> Any:
                # No NaN of logits that do not count.
                factor = tf.where(live, factor, 0.0)
                return tf.math.multiply_no_nan(exponentials, factor)

            # What multiplies exponentials is worked out for each row, not each class.
            pull = of_label
            if q is not None:
                pull = of_label - of_others * (num_classes - q * results[1])
            below = logits - top
            gradient = scaled(tf.exp(below), -pull * tf.exp(-log_z))
            if q is not None:
                on_powers = -of_others * tf.exp(-q * log_z)
                gradient += scaled(tf.exp(q * below), on_powers)
            # The label's own, chosen: a matrix with it alone would be as large again.
            log_p = label - top - log_z
            own = of_label - pull * tf.exp(log_p)
            if q is not None:
                own -= of_others * tf.exp(q * log_p)
            classes = tf.range(num_classes, dtype=labels.dtype)
            is_label = tf.equal(classes, labels[:, None])
            return tf.where(is_label, tf.where(live, own, 0.0), gradient)

        return results, backward

    results = terms(tf.reshape(logits, [-1, num_classes]))
    results = [tf.reshape(result, shape[:-1]) for result in results]
    return results[0], None if q is None else results[1]
