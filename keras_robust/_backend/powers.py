"""The Box-Cox cost of all classes, from one sum over them, without cancellation.

Let d_k be by how much the logit of class k is below the largest, and Z the sum of
exp(d_k), so that p_k = exp(d_k) / Z. With M the sum of exp(q d_k) - 1,

    sum_k (1 - p_k^q) = -(M + (Z^-q - 1) (K + M)),

where both terms have one sign. For all but small q, M is exact enough as a sum of
exponentials less K.

With C = sum_k (1 - p_k^q) / q, that cost, the gradients by the logits are

    d log p_y / dz_k = [k = y] - p_k,        dC / dz_k = p_k (K - q C) - p_k^q,

so backward passes multiply p_k by one number for each row, `on_p`, and p_k^q by
another, `on_powers`. At q = 0, p_k^q is 1, and C infinite where a class is ruled out.
"""

from typing import Any

from keras import ops

from keras_robust._numerics import NEGLIGIBLE_Q

SAFE_Q = 0.1


def summand(below: Any, q: float) -> Any:
    """Returns what is summed over the classes for `cost_of_all`."""
    if q < NEGLIGIBLE_Q:
        return below
    return ops.exp(q * below) if q >= SAFE_Q else ops.expm1(q * below)


def cost_of_all(total: Any, log_z: Any, q: float, num_classes: int) -> Any:
    """Returns the sum over all classes of (1 - p^q) / q, or of -log p at q = 0.

    Args:
        total: Sum of the `summand` over the classes, of any shape.
        log_z: Log of the sum of exp(below), of that shape.
        q: The exponent.
        num_classes: Number of classes.
    """
    if q < NEGLIGIBLE_Q:
        return num_classes * log_z - total
    if q >= SAFE_Q:
        total = total - num_classes
    return -(total + ops.expm1(-q * log_z) * (num_classes + total)) / q


def on_p(
    on_label: Any, by_cost: Any, cost_of_all: Any, q: float, num_classes: int
) -> Any:
    """Returns by what a backward pass multiplies p_k, from less the slope by log p."""
    if q < NEGLIGIBLE_Q:
        return on_label + by_cost * num_classes
    return on_label + by_cost * (num_classes - q * cost_of_all)
