"""The plain version, by which the others are judged: all logits at once."""

from collections.abc import Callable
from typing import Any

from keras import ops


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
