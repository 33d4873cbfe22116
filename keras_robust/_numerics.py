"""Stable elementwise functions of a log-probability, shared by the losses."""

from typing import Any

import keras
import numpy as np
from keras import ops
from keras.backend import standardize_dtype

# Below this, (1 - p^q) / q and -log p agree to the last digit of float64 for losses up
# to 1e4 (they differ by a factor 1 + q * log(p) / 2), and q * log(p) might underflow.
NEGLIGIBLE_Q = 1e-20

# From here on, γ + (1 - γ) p is a normal number of float32 whatever p is.
SAFE_FLOOR = 1e-30

# From here on, that is exact enough as 1 - (1 - γ) (1 - p).
HIGH_FLOOR = 0.05

# A finite number in place of log(0), less than any logarithm of float32 or float64.
LOG_OF_ZERO = -1e30


def where_live(live: Any, scores: Any, harmless: float) -> Any:
    """Returns the scores `(..., K)` with harmless rows where `live` `(...)` is false.

    Before anything is computed of them: a NaN that only the result leaves out would
    still reach the gradient, as 0 * NaN.
    """
    live = ops.expand_dims(live, -1)
    return ops.where(live, scores, ops.full_like(scores, harmless))


def nan_where(bad: Any, x: Any) -> Any:
    """Returns x with NaN, in value and gradient, where `bad`, of a shape that spreads.

    As the root of -1: a NaN among a graph's constants would stop the tools that look
    for the first one (TensorFlow's `enable_check_numerics`), with nothing bad at all.
    """
    return x * ops.sqrt(1.0 - 2.0 * ops.cast(bad, x.dtype))


def clip(x: Any, low: float, high: float) -> Any:
    """Returns x within [low, high], which are numbers; NaN stays.

    Of numbers, Keras makes tensors on PyTorch: in float32, and on a GPU the copy waits
    for all that has been launched.
    """
    if keras.backend.backend() == "torch":
        return x.clamp(low, high)
    return ops.clip(x, low, high)


def one_minus_exp(u: Any) -> Any:
    """Returns 1 - exp(u) for u <= 0, right in value and in every derivative.

    -expm1(u) has the right value near 0, but autodiff forms its derivative as
    result + 1, which for a hard label (u = -40) has no correct digit; 1 - exp(u) is
    exact there.
    """
    return ops.where(u < -0.5, 1.0 - ops.exp(u), -ops.expm1(u))


def box_cox_cost(log_p: Any, q: float) -> Any:
    """Returns (1 - p^q) / q, or -log p at q = 0 (the negated Box-Cox transform)."""
    if q < NEGLIGIBLE_Q:
        return -log_p
    return one_minus_exp(q * log_p) / q


def box_cox_cost_and_weight(log_p: Any, q: float) -> tuple[Any, Any]:
    """Returns (1 - p^q) / q and p^q, by how much it falls as log p grows."""
    if q < NEGLIGIBLE_Q:
        return -log_p, ops.ones_like(log_p)
    power = q * log_p
    return ops.expm1(power) / -q, ops.exp(power)


def log_add(u: Any, v: Any) -> Any:
    """Returns log(exp(u) + exp(v)), right in value and derivative.

    The larger term is factored out with `where` on both sides of the tie, not with
    `abs`, whose derivative of 0 at the tie would give the wrong weight there. Keras's
    `logaddexp` computes in float32 on PyTorch, and so would `where` a Python number.
    """
    difference = u - v
    larger = difference >= 0
    smaller = ops.exp(ops.where(larger, -difference, difference))
    return ops.where(larger, u, v) + ops.log1p(smaller)


def log_raised(log_p: Any, log_floor: Any, rest: Any, log_rest: Any) -> Any:
    """Returns log(γ + (1 - γ) p), right in value and derivative.

    Args:
        log_p: Float tensor, at most 0; it may hold -inf.
        log_floor: log γ, a finite tensor of that shape.
        rest: 1 - γ, a number or a tensor.
        log_rest: Its logarithm, likewise.
    """
    # Near p = 1 and near γ = 1 the argument of the logarithm is close to 1: log1p of
    # its distance; elsewhere that distance would cancel.
    missing = rest * one_minus_exp(log_p)
    near = missing < 0.5
    close = ops.log1p(-ops.where(near, missing, ops.zeros_like(missing)))
    return ops.where(near, close, log_add(log_p + log_rest, log_floor))


def log_raised_and_share(
    log_p: Any, floor: Any, rest: Any, *, high: bool
) -> tuple[Any, Any]:
    """Returns log(γ + (1 - γ) p) and p / (γ + (1 - γ) p), not to be differentiated.

    The former falls by (1 - γ) times the latter as log p does. `floor` is γ, a number
    or a tensor, at least SAFE_FLOOR, or at least HIGH_FLOOR if `high`; `rest` is 1 - γ.
    """
    p, missing = ops.exp(log_p), rest * ops.expm1(log_p)
    if high:  # nothing cancels
        return ops.log1p(missing), p / (missing + 1.0)
    raised, near = rest * p + floor, missing > -0.5
    # No logarithm of 0, even where it is not used, for tools that look for one.
    close = ops.log1p(ops.where(near, missing, ops.zeros_like(missing)))
    return ops.where(near, close, ops.log(raised)), p / raised


def log_of_two_classes(z: Any) -> Any:
    """Returns the log-probabilities (..., 2) of a single logit z of shape (...).

    From the softmax of (0, z), the loss of an easy label would have few right digits.
    """
    zeros = ops.zeros_like(z)
    return -ops.stack([log_add(z, zeros), log_add(-z, zeros)], axis=-1)


def log_mixture(
    log_p: Any, column: Any, log_column: Any, *, sums_to_1: bool, has_zeros: bool
) -> Any:
    """Returns log(sum_i p_i T_i) over the last axis, right in value and derivative.

    As a log-sum-exp, the derivative by the logit of the likeliest class i is p_i less
    its share of the sum: both close to 1 and, for a sure prediction, without a correct
    digit. If p sums to 1, sum_j p_j T_j = T_i + sum_j p_j (T_j - T_i), so the logarithm
    is log T_i + log(1 + sum_j p_j (T_j / T_i - 1)), in which p_i does not occur.

    `log_column` is LOG_OF_ZERO where `column` is 0, as it is anywhere if `has_zeros`.
    """
    far = _log_sum_exp(log_p + log_column, column if has_zeros else None)
    if not sums_to_1:
        return far
    top = ops.expand_dims(ops.argmax(log_p, axis=-1), -1)
    likeliest = ops.equal(ops.arange(log_p.shape[-1], dtype=top.dtype), top)
    here = ops.sum(ops.where(likeliest, column, ops.zeros_like(column)), axis=-1)
    useful = here > 1e-30  # or the quotient might overflow
    here = ops.where(useful, here, ops.ones_like(here))
    change = column / ops.expand_dims(here, -1) - 1.0
    others = ops.where(likeliest, ops.zeros_like(log_p), ops.exp(log_p))
    rise = ops.sum(others * change, axis=-1)
    near = ops.logical_and(useful, ops.abs(rise) < 0.5)
    close = ops.log(here) + ops.log1p(ops.where(near, rise, ops.zeros_like(rise)))
    return ops.where(near, close, far)


def _log_sum_exp(terms: Any, column: Any) -> Any:
    # Keras's own is NaN on PyTorch where all terms are -inf, a label ruled out; and its
    # `max` raises for a batch of no rows on PyTorch and TensorFlow, `argmax` does not.
    top = ops.expand_dims(ops.argmax(terms, axis=-1), -1)
    top = ops.stop_gradient(ops.take_along_axis(terms, top, axis=-1))
    top = ops.where(ops.isinf(top), ops.zeros_like(top), top)
    parts = ops.exp(terms - top)
    if column is not None:
        # Nothing of what cannot be, not even where it is the largest.
        parts = ops.where(column > 0, parts, ops.zeros_like(parts))
    total = ops.sum(parts, axis=-1)
    # Of nothing at all -inf, with a gradient of 0: log(0) has none.
    none = total == 0
    nothing = ops.log(ops.cast(ops.logical_not(none), total.dtype))
    total = ops.log(total + ops.cast(none, total.dtype))
    return ops.squeeze(top, axis=-1) + total + nothing


def log_of_probability(p: Any) -> Any:
    """Returns log(p), finite in value and gradient at p = 0 and at p = 1.

    Below the smallest normal number p counts as that number, with a gradient of 0;
    above 1, where only rounding can have brought it, as 1.
    """
    tiny = ops.full_like(p, float(np.finfo(standard_dtype(p)).tiny))
    return ops.log(ops.where(p > 1.0, ops.ones_like(p), ops.where(p < tiny, tiny, p)))


def probability_slack(dtype: str) -> float:
    """Returns by how much rounding in `dtype` may carry a probability past 0 or 1."""
    return {"float16": 2e-3, "bfloat16": 1.6e-2}.get(dtype, 1e-5)


def outside_unit_interval(p: Any, slack: float) -> Any:
    """Returns where `p` is below 0 or above 1 by more than `slack`, or NaN."""
    return ops.logical_not(ops.logical_and(p >= -slack, p <= 1.0 + slack))


def standard_dtype(x: Any) -> str:
    """Returns the name of a tensor's dtype, the same on every backend."""
    return standardize_dtype(x.dtype)


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Returns a + b as rounded, and the rounding error, exactly (Knuth 1969)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)
