"""On JAX: blocks of rows, and reductions that XLA turns into vector instructions.

On a CPU these are few: not `argmax`, and not what compares before it reduces, unless
the reduction is a comparison too and the rows are short.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

# Up to so many classes, XLA unrolls a row.
_SHORT = 64
# Numbers in a block of rows: 1 MB of float32.
_BLOCK = 1 << 18


@functools.partial(jax.jit, static_argnums=2)  # or eager calls compile each time
def top_label(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    """Returns what `_plain.top_label` does."""
    rows, step = len(prob), max(1, _BLOCK // prob.shape[-1])
    # A slice of rows that lie on several devices would move them.
    if rows <= 2 * step or jax.default_backend() != "cpu" or jax.device_count() > 1:
        return _of_block(prob, labels, slack)

    def add_block(i: Any, made: Any) -> Any:
        first = jnp.minimum(i * step, rows - step)  # the last one overlaps
        block = [jax.lax.dynamic_slice_in_dim(x, first, step) for x in (prob, labels)]
        fresh = _of_block(*block, slack)
        pairs = zip(made, fresh)
        return [jax.lax.dynamic_update_slice(x, new, (first,)) for x, new in pairs]

    made = [jnp.empty(rows, dtype) for dtype in (prob.dtype, bool, bool)]
    return tuple(jax.lax.fori_loop(0, -(-rows // step), add_block, made))


def _of_block(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    if prob.shape[-1] <= _SHORT:
        return _of_short_rows(prob, labels, slack)
    # XLA's may pass over a NaN; a sum does not.
    top, low, total = (f(prob, axis=-1) for f in (jnp.max, jnp.min, jnp.sum))
    own = jnp.take_along_axis(prob, labels[:, None], axis=-1)[:, 0]
    # 0 for the largest, -1 for what is smaller. A start of its own: XLA shares zeros,
    # and then takes ten times as long.
    below = jnp.maximum((prob - top[:, None]) * 1e38, -1.0)
    start = jnp.array(prob.shape[-1], prob.dtype)
    equals = jax.lax.reduce(below, start, jax.lax.add, (1,))
    hit = own == top
    hit = jax.lax.cond(
        jnp.any(hit & (equals > 1.0)),
        lambda: jnp.argmax(prob, axis=-1).astype(labels.dtype) == labels,
        lambda: hit,
    )
    fine = (low >= -slack) & (top <= 1.0 + slack) & ~jnp.isnan(total)
    return top, hit, ~fine


def _of_short_rows(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    classes = jnp.arange(prob.shape[-1], dtype=labels.dtype)
    top = _largest(prob)
    earlier = jnp.where(classes < labels[:, None], 1.0, 0.0)
    elsewhere = jnp.where(prob >= -slack, 0.0, 2.0)  # NaN is in neither
    flag = _largest(jnp.where(prob == top[:, None], earlier, elsewhere))
    own = jnp.take_along_axis(prob, labels[:, None], axis=-1)[:, 0]
    fine = (flag < 2.0) & (top >= -slack) & (top <= 1.0 + slack)
    return top, (own == top) & (flag == 0.0), ~fine


def _largest(x: Any) -> Any:
    # NaN are passed over: a maximum that must look for them takes four times as long.
    start = jnp.array(-jnp.inf, x.dtype)
    return jax.lax.reduce(x, start, lambda a, b: jnp.where(b > a, b, a), (1,))
