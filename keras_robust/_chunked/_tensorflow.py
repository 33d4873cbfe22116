"""On TensorFlow: a loop whose forward pass leaves only the gradients, to be scaled."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

try:
    from tensorflow.python.eager.record import could_possibly_record
except ImportError:  # no public name: without it, gradients are always made

    def could_possibly_record() -> bool:
        """Returns whether somebody may ask for a gradient."""
        return True


def cost_of_rows(
    cost: Callable[[Any, Any, Any], Any],
    chunk: int,
    hidden: Any,
    kernel: Any,
    labels: Any,
    weight: Any,
) -> Any:
    """Returns what `_plain.cost_of_rows` does."""
    size = tf.shape(hidden)[0]
    # As even as can be: what is filled up is work for nothing.
    count = -(-size // chunk)
    chunk = -(-size // tf.maximum(count, 1))

    def in_chunks(x: Any) -> Any:
        # Filled up with zeros: rows of weight 0.
        x = tf.pad(x, [[0, count * chunk - size]] + [[0, 0]] * (len(x.shape) - 1))
        return tf.reshape(x, [count, chunk, *x.shape[1:]])

    hidden, labels, weight = in_chunks(hidden), in_chunks(labels), in_chunks(weight)
    # Nobody asks for a gradient where nothing is recorded, as in `evaluate`.
    if could_possibly_record():
        return _with_gradient(cost, count, hidden, kernel, labels, weight)

    def step(i: Any, total: Any) -> tuple[Any, Any]:
        logits = tf.matmul(hidden[i], tf.cast(kernel, hidden.dtype))
        return i + 1, total + cost(logits, labels[i], weight[i])

    return _loop(step, count, tf.zeros((), weight.dtype))[0]


def _with_gradient(
    cost: Any, count: Any, hidden: Any, kernel: Any, labels: Any, weight: Any
) -> Any:
    wide = tf.float64 if kernel.dtype == tf.float64 else tf.float32

    @tf.custom_gradient
    def total_cost(hidden: Any, kernel: Any, weight: Any) -> Any:
        cast_kernel = tf.cast(kernel, hidden.dtype)

        def step(i: Any, total: Any, of_kernel: Any, of_rows: Any) -> tuple[Any, ...]:
            leaves = tf.matmul(hidden[i], cast_kernel), weight[i]
            with tf.GradientTape() as tape:
                tape.watch(leaves)
                value = cost(leaves[0], labels[i], leaves[1])
            by_logits, by_weight = tape.gradient(value, leaves)
            by_hidden = tf.matmul(by_logits, cast_kernel, transpose_b=True)
            by_kernel = tf.matmul(hidden[i], by_logits, transpose_a=True)
            of_rows = [a.write(i, x) for a, x in zip(of_rows, (by_hidden, by_weight))]
            return i + 1, total + value, of_kernel + tf.cast(by_kernel, wide), of_rows

        arrays = [tf.TensorArray(x.dtype, count) for x in (hidden, weight)]
        start = tf.zeros((), weight.dtype), tf.zeros(tf.shape(kernel), wide), arrays
        total, by_kernel, by_rows = _loop(step, count, *start)
        by_hidden, by_weight = (
            tf.reshape(made.stack(), tf.shape(x))
            for made, x in zip(by_rows, (hidden, weight))
        )
        made = by_hidden, tf.cast(by_kernel, kernel.dtype), by_weight

        def backward(upstream: Any) -> Any:
            return [tf.cast(upstream, g.dtype) * g for g in made]

        return total, backward

    return total_cost(hidden, kernel, weight)


def _loop(step: Any, count: Any, *start: Any) -> tuple[Any, ...]:
    # One after another: side by side, the logits of all chunks would exist.
    return tf.while_loop(
        lambda i, *_: i < count, step, (0, *start), parallel_iterations=1
    )[1:]
