"""How masks and sample weights line up with positions."""

from typing import Any

from keras import ops

from keras_robust import _numerics
from keras_robust._inputs import checks
from keras_robust._inputs.labels import dense, same_size


def spread(owner: str, argument: str, weight: Any, positions: Any, dtype: str) -> Any:
    """Returns weights or a mask as a new tensor that multiplies the positions.

    `weight` may be a scalar, or have the shape of `positions`, a leading part of it
    (one weight per sample), or a trailing 1.
    """
    if isinstance(weight, (int, float)):
        weight = ops.convert_to_tensor(weight, dtype)
    weight = ops.cast(dense(owner, argument, weight), dtype)
    rank, wanted = len(weight.shape), tuple(positions.shape)
    if rank == len(wanted) + 1 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    elif 0 < rank < len(wanted):
        for _ in range(len(wanted) - rank):
            weight = ops.expand_dims(weight, axis=-1)
    if not _weight_fits(tuple(weight.shape), wanted):
        raise checks.invalid(
            owner,
            argument,
            f"a scalar, or of shape {wanted} or a leading part of it",
            f"{argument}.shape={tuple(weight.shape)}",
            "Pass one value per position or one per sample.",
        )
    if None in (*weight.shape, *wanted):
        accident = ops.logical_not(_spreads(weight, positions))
        weight = _numerics.nan_where(accident, weight)
    return weight


def _spreads(weight: Any, positions: Any) -> Any:
    # For dimensions that tracing did not know: one weight for a batch is an accident.
    known = [size == 1 and axis > 0 for axis, size in enumerate(weight.shape)]
    pairs = zip(ops.shape(weight), ops.shape(positions), known)
    agree = [ops.equal(a, b) for a, b, fine in pairs if not fine]
    return ops.all(ops.stack([*agree, ops.convert_to_tensor(True)]))


def _weight_fits(shape: tuple, wanted: tuple) -> bool:
    if not shape:
        return True
    if len(shape) != len(wanted) or not same_size(shape[0], wanted[0]):
        return False
    return all(a == 1 or same_size(a, b) for a, b in zip(shape[1:], wanted[1:]))
