"""On TensorFlow: what losses need of rows of logits, with little memory in a graph."""

from typing import Any, NamedTuple

import tensorflow as tf

from keras_robust._backend import plain, powers
from keras_robust._numerics import NEGLIGIBLE_Q

# Up to so many classes, an `argmax` under XLA is fast, and a mask of a row in a graph.
SHORT = 64


def is_tracing_xla() -> bool:
    """Returns whether what TensorFlow traces now is to be compiled by XLA.

    TensorFlow has no public way to know. Should its own become unknown, the answer is
    yes: what XLA compiles runs in a graph too, if less fast.
    """
    try:
        from tensorflow.python.ops import control_flow_util
    except ImportError:
        return True
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `plain.row_terms` does."""
    logits, shape, labels, live = _flat(logits, labels, live)

    @tf.custom_gradient
    def terms(logits: Any) -> Any:
        rows = _Rows.of(logits, labels, q)
        results = [tf.where(live, rows.log_p, 0.0)]
        if q is not None:
            results.append(tf.where(live, rows.cost_of_all, 0.0))

        def backward(by_log_p: Any, by_cost: Any = None) -> Any:
            return rows.gradient(live, by_log_p, by_cost)

        return results, backward

    results = [tf.reshape(result, shape) for result in terms(logits)]
    return results[0], None if q is None else results[1]


def row_costs(loss: Any, logits: Any, labels: Any, live: Any, broken: Any) -> Any:
    """Returns what `plain.row_costs` does."""
    if loss._cost_and_weight is None:
        return plain.row_costs(loss, logits, labels, live, broken)
    logits, shape, labels, live, broken = _flat(logits, labels, live, broken)

    @tf.custom_gradient
    def costs(logits: Any) -> Any:
        rows = _Rows.of(logits, labels, loss._exponent)
        cost, weight, share = loss._cost_and_weight(
            rows.log_p, rows.cost_of_all, labels[:, None], logits.shape[-1]
        )
        # The root of 1, or of -1: NaN where the label is broken, in the gradient too.
        sign = tf.sqrt(1.0 - 2.0 * tf.cast(broken & live, cost.dtype))

        def backward(upstream: Any) -> Any:
            upstream *= sign
            by_cost = None if rows.q is None else share * upstream
            return rows.gradient(live, -weight * upstream, by_cost)

        return tf.where(live, cost * sign, 0.0), backward

    return tf.reshape(costs(logits), shape)


def _flat(logits: Any, labels: Any, *flags: Any) -> tuple[Any, ...]:
    # Rows, the shape of positions, labels `(N,)`, flags `(N, 1)`.
    shape = tf.shape(logits)[:-1]
    if not (labels.shape.is_fully_defined() and logits.shape.is_fully_defined()):
        # With labels for one row only the loss is NaN: shapes must fit all the same.
        labels, *flags = (tf.broadcast_to(x, shape) for x in (labels, *flags))
    flags = [tf.reshape(flag, [-1, 1]) for flag in flags]
    logits = tf.reshape(logits, [-1, logits.shape[-1]])
    return logits, shape, tf.reshape(labels, [-1]), *flags


class _Rows(NamedTuple):
    """Rows of logits; columns are of shape (N, 1), but for the labels, (N,)."""

    logits: Any
    labels: Any
    q: float | None
    top: Any
    log_z: Any
    log_p: Any
    cost_of_all: Any

    @classmethod
    def of(cls, logits: Any, labels: Any, q: float | None) -> "_Rows":
        # The maximum and log Z stay apart: their sum would lose the digits of log Z.
        top = tf.reduce_max(logits, axis=-1, keepdims=True)
        total = tf.reduce_sum(tf.exp(logits - top), axis=-1, keepdims=True)
        log_z = tf.math.log(total)
        label = tf.gather(logits, labels[:, None], axis=1, batch_dims=1)
        log_p, cost_of_all = (label - top) - log_z, None
        if q is not None:
            terms = powers.summand(logits - top, q)
            costs = tf.reduce_sum(terms, axis=-1, keepdims=True)
            cost_of_all = powers.cost_of_all(costs, log_z, q, logits.shape[-1])
        return cls(logits, labels, q, top, log_z, log_p, cost_of_all)

    def gradient(self, live: Any, by_log_p: Any, by_cost: Any) -> Any:
        def scaled(exponentials: Any, factor: Any) -> Any:
            # No NaN of logits that do not count.
            factor = tf.where(live, factor, 0.0)
            return tf.math.multiply_no_nan(exponentials, factor)

        # See `powers`. What multiplies exponentials is worked out for each row, not
        # each class.
        q, num_classes, on_p = self.q, self.logits.shape[-1], -by_log_p
        if q is not None:
            on_p = powers.on_p(on_p, by_cost, self.cost_of_all, q, num_classes)
        below = self.logits - self.top
        gradient = scaled(tf.exp(below), on_p * tf.exp(-self.log_z))
        own = by_log_p + on_p * tf.exp(self.log_p)
        if q is not None and q < NEGLIGIBLE_Q:
            by_cost = tf.where(live, by_cost, 0.0)
            gradient, own = gradient - by_cost, own - by_cost
        elif q is not None:
            on_powers = -by_cost * tf.exp(-q * self.log_z)
            gradient += scaled(tf.exp(q * below), on_powers)
            own -= by_cost * tf.exp(q * self.log_p)
        return self._with_own(gradient, tf.where(live, own, 0.0))

    def _with_own(self, gradient: Any, own: Any) -> Any:
        # The label's entry, put in: a matrix of zeros with nothing else would take as
        # much memory as the logits. A scatter copies the gradient, which takes no more
        # where powers have taken as much before.
        short = gradient.shape[-1] <= SHORT
        if self.q is None or short or is_tracing_xla():
            classes = tf.range(gradient.shape[-1], dtype=self.labels.dtype)
            return tf.where(classes == self.labels[:, None], own, gradient)
        rows = tf.range(tf.shape(self.labels)[0], dtype=self.labels.dtype)
        places = tf.stack([rows, self.labels], axis=-1)
        return tf.tensor_scatter_nd_update(gradient, places, own[:, 0])
