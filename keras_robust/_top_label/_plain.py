"""The plain version, by which the others are judged."""

from typing import Any

from keras import ops


def top_label(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    """Returns `(confidence, hit, bad)`, tensors of shape `(N,)`.

    Args:
        prob: Float32 or float64 probabilities of shape `(N, K)`, K >= 2.
        labels: Int32 class ids of shape `(N,)`, in [0, K).
        slack: By how much rounding may carry a probability past 0 or 1.

    Returns:
        confidence: The largest probability, as it is.
        hit: Bool: the label is its class, the first of equal ones.
        bad: Bool: some probability is NaN or outside [0, 1] by more than `slack`. The
            other two mean nothing there.
    """
    top = ops.argmax(prob, axis=-1)
    confidence = ops.take_along_axis(prob, ops.expand_dims(top, -1), axis=-1)[..., 0]
    hit = ops.equal(ops.cast(top, labels.dtype), labels)
    # With `initial`, as Keras otherwise raises for a batch of no rows.
    low = ops.min(prob, axis=-1, initial=float("inf"))
    fine = ops.logical_and(low >= -slack, confidence <= 1.0 + slack)
    number = ops.logical_not(ops.isnan(ops.sum(prob, axis=-1)))
    return confidence, hit, ops.logical_not(ops.logical_and(fine, number))
