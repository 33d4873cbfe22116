"""Sums in bins that stay exact at any number of rows, on every backend.

Where the backend has float64, the state is plain float64 sums. JAX has none by default,
and float32 sums go wrong early: a count stops at 2^24. There each sum is three float32
numbers, `carry + sums + compensation`. `two_sum` gives a sum as rounded and its
rounding error, exactly; the errors are kept in `compensation`. Whole multiples of 4096
move to `carry`. What is left in `sums` is below 4096, so that those of 4096 replicas,
added elementwise, stay below 2^24 and whole numbers among them exact; a carry is 4096
times a whole number, exact as long as that is below 2^24, so that counts are exact up
to 2^36.

Sums of corrected correctness may be negative: they move towards 0 in the same way, and
keep their sign.
"""

from typing import Any

import keras
from keras import ops

from keras_robust import _backend
from keras_robust._numerics import two_sum

_CARRY_UNIT = 4096.0
# Rows added up one after another in float32, before two-sum takes over.
_ROWS_PER_LANE = 64
# Rows that there may be where sizes are symbols, as in an exported function.
_UNKNOWN_ROWS = 1 << 18
# Corrected correctness is at most 100 in size, and 64 such numbers below 2^13: whole
# multiples of 2^-11 add up exactly in float32.
_COARSE_UNIT = 2.0**-11

QUANTITIES = ("count", "confidence", "correct")
# Where correctness is corrected, and may be any number, its squares as well.
CORRECTED_QUANTITIES = (*QUANTITIES, "squares")


def accumulation_dtype() -> str:
    """Returns float64 where this backend can hold it, else float32."""
    if keras.backend.backend() == "jax":
        import jax

        return "float64" if jax.config.jax_enable_x64 else "float32"
    try:
        ops.zeros((), dtype="float64")
    except TypeError:  # PyTorch on Apple's MPS
        return "float32"
    return "float64"


def add_sum_variables(
    metric: keras.metrics.Metric, num_places: int, corrected: bool = False
) -> list[Any]:
    """Adds the state to a metric: a row for each quantity, a place for each bin.

    The quantities are QUANTITIES, or CORRECTED_QUANTITIES if correctness is corrected.
    The bins of several columns (classes, labels) lie one column after another.
    """
    dtype = accumulation_dtype()
    quantities = CORRECTED_QUANTITIES if corrected else QUANTITIES
    names = ["sums"] if dtype == "float64" else ["sums", "compensation", "carry"]
    return [
        metric.add_variable(
            shape=(len(quantities), num_places),
            initializer="zeros",
            dtype=dtype,
            aggregation="sum",
            name=name,
        )
        for name in names
    ]


def add_to_sums(
    state: list[Any],
    columns: int,
    weight: Any,
    confidence: Any,
    correct: Any,
    place: Any,
) -> None:
    """Adds one batch of rows to the state.

    The tensors are of shape `(N * columns,)`: the columns of a row side by side.
    """
    num_quantities, num_places = state[0].shape
    if columns > 1:
        first = ops.arange(columns, dtype="int32") * (num_places // columns)
        place = ops.reshape(ops.reshape(place, (-1, columns)) + first, (-1,))
    if len(state) == 1:
        if num_quantities == len(QUANTITIES):
            rows = [weight, weight * confidence, weight * correct]
        else:  # corrected correctness is in float64, lest its rounding add up
            hits = ops.cast(weight, correct.dtype) * correct
            rows = [weight, weight * confidence, hits, hits * correct]
        sums = _backend.sums_at(rows, place, num_places, state[0].dtype)
        state[0].assign(state[0] + sums)
        return
    middle = _middle_of_places(num_places, columns)
    rows = (weight, confidence, correct)
    corrected = num_quantities == len(CORRECTED_QUANTITIES)
    high, low = _sum_in_lanes(*rows, place, middle, columns, corrected)
    total, error = two_sum(ops.convert_to_tensor(state[0]), high)
    # The errors go back into the sum at once: left to add up on their own, small ones
    # of one sign would in turn be lost.
    total, error = two_sum(total, state[1] + (error + low))
    # Towards 0, so that total - moved is exact: smaller, and of the same last digit.
    moved = ops.sign(total) * ops.floor(ops.abs(total) / _CARRY_UNIT) * _CARRY_UNIT
    carry, left_over = two_sum(ops.convert_to_tensor(state[2]), moved)
    state[0].assign((total - moved) + left_over)
    state[1].assign(error)
    state[2].assign(carry)


def current_sums(limbs: list[Any]) -> Any:
    """Returns the sums of a state as one tensor, `(quantities, num_places)`."""
    return limbs[0] if len(limbs) == 1 else limbs[2] + (limbs[0] + limbs[1])


def exact_sums(state: list[Any]) -> Any:
    """Returns the sums as a float64 NumPy array, with every limb kept."""
    return sum(ops.convert_to_numpy(limb).astype("float64") for limb in state)


def _middle_of_places(num_places: int, columns: int) -> Any:
    num_bins = num_places // columns
    inside = ops.cast(ops.arange(num_places) % num_bins, "float32")
    return (inside + 0.5) / num_bins


def _sum_in_lanes(
    weight: Any,
    confidence: Any,
    correct: Any,
    place: Any,
    middle: Any,
    columns: int,
    corrected: bool,
) -> tuple[Any, Any]:
    # A float32 sum of n numbers is wrong by n * 2^-24 of itself at worst: so few rows
    # to each, row i to lane i mod `lanes`; then sums of lanes in pairs, by `two_sum`.
    # Of confidences, the distance to the middle m of the bin is summed, at most half a
    # bin, so that the error is as much smaller: sum w c = sum w (c - m) + m sum w.
    offset = confidence - ops.take(middle, place)
    rows = (weight, weight * offset, weight * correct)
    if corrected:
        # Two parts, of which the coarse one adds up exactly, where weights are whole.
        coarse = ops.round(correct / _COARSE_UNIT) * _COARSE_UNIT
        parts = (weight * coarse, weight * (correct - coarse))
        rows = (*rows[:2], parts[0], weight * correct * correct, parts[1])
    num_rows, num_places, lanes = place.shape[0], middle.shape[0], 1
    num_rows = num_rows // columns if isinstance(num_rows, int) else _UNKNOWN_ROWS
    # Lanes for the rows of one column: its places are its own.
    while lanes * _ROWS_PER_LANE < num_rows:
        lanes *= 2
    lane = ops.arange(place.shape[0], dtype="int32") // columns % lanes
    places = lane * num_places + place
    sums = _backend.sums_at(rows, places, lanes * num_places, "float32")
    # Of shape (lanes, quantities, places).
    high = ops.transpose(ops.reshape(sums, (len(rows), lanes, num_places)), (1, 0, 2))
    low = ops.zeros_like(high)
    while lanes > 1:
        lanes //= 2
        high, error = two_sum(high[:lanes], high[lanes:])
        low = low[:lanes] + low[lanes:] + error
    high, low = high[0], low[0]
    zeros = ops.zeros_like(middle)
    if corrected:
        # The two parts in one again.
        fine = ops.stack([zeros, zeros, high[-1], zeros])
        high, error = two_sum(high[:-1], fine)
        low = low[:-1] + error + ops.stack([zeros, zeros, low[-1], zeros])
    # Back from distances to confidences.
    shift = ops.stack([zeros, middle, *[zeros] * (len(high) - 2)])
    high, error = two_sum(high, shift * high[:1])
    return high, low + error + shift * low[:1]
