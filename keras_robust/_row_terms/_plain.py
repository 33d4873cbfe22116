"""The plain version, by which the others are judged."""

from typing import Any

from keras import ops

from keras_robust import _numerics


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what a loss needs of logits, `(log_p, cost_of_all)`.

    Args:
        logits: Float32 or float64 tensor of shape `(..., K)`, K >= 2.
        labels: Int32 tensor of shape `(...)`, in [0, K) at every position.
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
    of_all = ops.sum(_numerics.box_cox_cost(log_p, q), axis=-1)
    return ops.where(live, label, zeros), ops.where(live, of_all, zeros)
