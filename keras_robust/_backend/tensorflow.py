"""On TensorFlow: what is fast in a graph is slow under XLA, and the other way round.

In a graph, an operation writes over its input if nothing else needs that. So nothing
as large as the logits is used twice: where it is cheap, it is computed again instead.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_robust._backend import plain
from keras_robust._backend.tensorflow_rows import SHORT, is_tracing_xla
from keras_robust._backend.tensorflow_rows import row_costs as row_costs
from keras_robust._backend.tensorflow_rows import row_terms as row_terms

try:
    from tensorflow.python.eager.record import could_possibly_record
except ImportError:  # no public name: without it, gradients are always made

    def could_possibly_record() -> bool:
        """Returns whether somebody may ask for a gradient."""
        return True


def top_label(prob: Any, labels: Any, broken: Any, slack: float) -> tuple[Any, Any]:
    """Returns what `plain.top_label` does."""
    total = tf.reduce_sum(prob, axis=-1)
    if is_tracing_xla():
        short = prob.shape[-1] <= SHORT
        top, hit = (_by_argmax if short else _by_equals)(prob, labels)
        low = tf.reduce_min(prob, axis=-1)
    else:
        top, hit, low = _by_sums(prob, labels, total)
    # XLA's minimum may pass over a NaN; a sum does not.
    number = ~tf.math.is_nan(total)
    fine = (low >= -slack) & (top <= 1.0 + slack) & number
    return plain.checked_confidence(top, broken | ~fine), hit


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


def cost_of_rows(
    cost: Callable[[Any, Any, Any], Any],
    chunk: int,
    hidden: Any,
    kernel: Any,
    labels: Any,
    weight: Any,
) -> Any:
    """Returns what `plain.cost_of_rows` does."""
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

        def step(i: Any, total: Any, kernel_grad: Any, by_rows: Any) -> tuple[Any, ...]:
            leaves = tf.matmul(hidden[i], cast_kernel), weight[i]
            with tf.GradientTape() as tape:
                tape.watch(leaves)
                value = cost(leaves[0], labels[i], leaves[1])
            by_logits, by_weight = tape.gradient(value, leaves)
            by_hidden = tf.matmul(by_logits, cast_kernel, transpose_b=True)
            by_kernel = tf.matmul(hidden[i], by_logits, transpose_a=True)
            by_rows = [a.write(i, x) for a, x in zip(by_rows, (by_hidden, by_weight))]
            return i + 1, total + value, kernel_grad + tf.cast(by_kernel, wide), by_rows

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


def concrete(x: Any) -> np.ndarray | None:
    """Returns what `plain.concrete` does."""
    return x.numpy() if hasattr(x, "numpy") else None  # only what is eager has it


def is_on_cpu(x: Any) -> bool:
    """Returns what `plain.is_on_cpu` does."""
    # In a graph, x has no place yet: where there is another device, it is used.
    return all(
        device.device_type == "CPU" for device in tf.config.get_visible_devices()
    )


def sum_over_replicas(x: Any) -> Any:
    """Returns what `plain.sum_over_replicas` does, under a `tf.distribute` strategy."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    # `all_reduce` takes an instance number for a collective operation of ours. The next
    # strategy of the process counts from the start again, and where the shapes then
    # differ its own sums fail. On one machine no collective is needed: the replicas
    # meet, and one of them adds the numbers up. XLA's replicas cannot meet.
    local = type(context.strategy) is tf.distribute.MirroredStrategy
    if local and not is_tracing_xla():
        return context.merge_call(_sum_of_local, args=(x,))
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def _sum_of_local(strategy: Any, x: Any) -> Any:
    return tf.add_n(strategy.experimental_local_results(x))
