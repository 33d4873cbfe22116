"""The plain version, by which the others are judged."""

from typing import Any

from keras import ops

from keras_robust import _numerics


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns the terms of `_row_terms.row_terms`, differentiated by the backend."""
    # Dead rows are harmless before anything is computed: a NaN that only the result
    # leaves out would still reach the gradient, as 0 * NaN.
    logits = ops.where(ops.expand_dims(live, -1), logits, ops.zeros_like(logits))
    log_p = ops.log_softmax(logits, axis=-1)
    label = ops.take_along_axis(log_p, ops.expand_dims(labels, -1), axis=-1)
    label = ops.squeeze(label, axis=-1)
    zeros = ops.zeros_like(label)
    if q is None:
        return ops.where(live, label, zeros), None
    of_all = ops.sum(box_cox_cost(log_p, q), axis=-1)
    return ops.where(live, label, zeros), ops.where(live, of_all, zeros)
