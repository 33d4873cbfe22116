"""The plain versions, by which the others are judged: in `keras.ops` alone.

Their docstrings are the contracts that every backend's version keeps.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_robust import _numerics


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what a loss needs of logits, `(log_p, cost_of_all)`.

    Args:
        logits: Float32 or float64 tensor of shape `(..., K)`, K >= 2.
        labels: Int32 or int64 tensor of shape `(...)`, in [0, K) at every position.
        live: Bool tensor of shape `(...)`. Elsewhere results and gradients are 0,
            whatever the logits.
        q: Exponent of the second result, or None not to compute it.

    Returns:
        log_p: The log-probability of the label, of shape `(...)`.
        cost_of_all: Sum over all classes k of (1 - p_k^q) / q, of -log p_k at q = 0;
            None if `q` is.
    """
    logits = _numerics.where_live(live, logits, 0.0)
    log_p = ops.log_softmax(logits, axis=-1)
    label = ops.take_along_axis(log_p, ops.expand_dims(labels, -1), axis=-1)
    label = ops.squeeze(label, axis=-1)
    zeros = ops.zeros_like(label)
    if q is None:
        return ops.where(live, label, zeros), None
    costs = ops.sum(_numerics.box_cox_cost(log_p, q), axis=-1)
    return ops.where(live, label, zeros), ops.where(live, costs, zeros)


def row_costs(loss: Any, logits: Any, labels: Any, live: Any, broken: Any) -> Any:
    """Returns what rows of logits cost, a tensor of shape `(...)`.

    Args:
        loss: A `RobustLoss`.
        logits: As in `row_terms`.
        labels: As in `row_terms`.
        live: As in `row_terms`.
        broken: Bool tensor of shape `(...)`. Where a position is live, its cost and
            gradient are then NaN.
    """
    costs = loss._cost_of_logits(logits, labels, live)
    costs = _numerics.nan_where(ops.logical_and(broken, live), costs)
    return ops.where(live, costs, ops.zeros_like(costs))


def top_label(prob: Any, labels: Any, broken: Any, slack: float) -> tuple[Any, Any]:
    """Returns `(confidence, hit)`, tensors of shape `(N,)`.

    Args:
        prob: Float32 or float64 probabilities of shape `(N, K)`, K >= 2.
        labels: Int32 class ids of shape `(N,)`, in [0, K).
        broken: Bool tensor of shape `(N,)`.
        slack: By how much rounding may carry a probability past 0 or 1.

    Returns:
        confidence: The largest probability, at most 1. NaN where `broken`, and where
            some probability is NaN or outside [0, 1] by more than `slack`.
        hit: Bool: the label is its class, the first of equal ones. Means nothing where
            the confidence is NaN.
    """
    top = ops.argmax(prob, axis=-1)
    confidence = ops.take_along_axis(prob, ops.expand_dims(top, -1), axis=-1)[..., 0]
    hit = ops.equal(ops.cast(top, labels.dtype), labels)
    # With `initial`, as Keras otherwise raises for a batch of no rows.
    low = ops.min(prob, axis=-1, initial=1.0)
    fine = ops.logical_and(low >= -slack, confidence <= 1.0 + slack)
    number = ops.logical_not(ops.isnan(ops.sum(prob, axis=-1)))
    bad = ops.logical_not(ops.logical_and(fine, number))
    return checked_confidence(confidence, ops.logical_or(bad, broken)), hit


def checked_confidence(confidence: Any, bad: Any) -> Any:
    """Returns confidences of at most 1, NaN where `bad`."""
    # Not by `minimum`, which on PyTorch rounds to float32.
    confidence = ops.where(confidence > 1.0, ops.ones_like(confidence), confidence)
    return _numerics.nan_where(bad, confidence)


def sums_at(rows: Sequence[Any], place: Any, num_places: int, dtype: str) -> Any:
    """Returns the sum of each quantity in each place, `(quantities, num_places)`.

    Args:
        rows: Float tensors of shape `(N,)`, one for each quantity.
        place: Int32 tensor of shape `(N,)`, in [0, num_places).
        num_places: Number of places.
        dtype: In which to add up.
    """
    # One quantity after another: three columns at once take many times as long.
    rows = [ops.cast(row, dtype) for row in rows]
    sums = [ops.segment_sum(row, place, num_segments=num_places) for row in rows]
    return ops.stack(sums)


def cost_of_rows(
    cost: Callable[[Any, Any, Any], Any],
    chunk: int,
    hidden: Any,
    kernel: Any,
    labels: Any,
    weight: Any,
) -> Any:
    """Returns the total cost of the logits `hidden @ kernel`, a scalar.

    Args:
        cost: Function of logits `(n, K)`, labels `(n,)` and weights `(n,)` that returns
            their total cost, a scalar of the dtype of `weight`. It closes over no
            tensor. Rows of weight 0 cost nothing.
        chunk: Number of rows, at least 1, whose logits may exist at one time.
        hidden: Float tensor of shape `(N, D)`. The product is formed in its dtype.
        kernel: Float tensor of shape `(D, K)`.
        labels: Tensor of shape `(N,)`.
        weight: Float32 or float64 tensor of shape `(N,)`.

    Returns:
        The total, with gradients for `hidden`, `kernel` and `weight`; that for `kernel`
        adds up in float32 at least.
    """
    return cost(ops.matmul(hidden, ops.cast(kernel, hidden.dtype)), labels, weight)


def concrete(x: Any) -> np.ndarray | None:
    """Returns the numbers of a tensor as an array, or None while they are not known.

    They are not where a function is traced, compiled or vectorised.
    """
    return None


def in_one(*static: str) -> Callable[[Any], Any]:
    """Returns a decorator of functions of tensors that are called outside of a step.

    Where each operation would then be compiled by itself, the function is compiled as
    one. `static` are its arguments that are no tensors.
    """
    return lambda function: function


def is_on_cpu(x: Any) -> bool:
    """Returns whether a tensor lies, or will lie, on a CPU."""
    return True


def sum_over_replicas(x: Any) -> Any:
    """Returns a number of this replica, added up over all replicas.

    Only TensorFlow has replicas that do not see one another: on JAX and PyTorch a
    distributed tensor is one tensor, or the process group averages gradients.
    """
    return x
