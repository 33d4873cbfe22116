"""On JAX: custom gradients, and loops that XLA turns into vector instructions."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from keras_robust._backend import plain, powers
from keras_robust._numerics import NEGLIGIBLE_Q

# Up to so many classes, XLA unrolls a row.
_SHORT = 64
# Up to so many pairs of a row and a place, all are looked at.
_FEW = 1 << 14
# Numbers in a block of rows that fits the cache: 1 MB of float32.
_BLOCK = 1 << 18


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `plain.row_terms` does."""
    return _forward_terms(logits, labels, live, q)[0]


def _forward_terms(
    logits: Any, labels: Any, live: Any, q: float | None
) -> tuple[Any, Any]:
    # The maximum and log Z stay apart: their sum would lose the digits of log Z.
    top = jnp.max(logits, axis=-1)
    below = logits - top[..., None]
    log_z = jnp.log(jnp.sum(jnp.exp(below), axis=-1))
    label = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    log_p = jnp.where(live, (label - top) - log_z, 0)
    cost_of_all = None
    if q is not None:
        total = jnp.sum(powers.summand(below, q), axis=-1)
        costs = powers.cost_of_all(total, log_z, q, logits.shape[-1])
        cost_of_all = jnp.where(live, costs, 0)
    return (log_p, cost_of_all), (logits, labels, live, top, log_z, cost_of_all)


def _backward_terms(
    q: float | None, saved: Any, upstream: Any
) -> tuple[Any, None, None]:
    logits, labels, live, top, log_z, cost_of_all = saved
    by_log_p, by_cost = upstream
    below = logits - top[..., None]
    # See `powers`. What multiplies exponentials is worked out for each row, not each
    # class.
    on_p = -by_log_p
    if q is not None:
        on_p = powers.on_p(on_p, by_cost, cost_of_all, q, logits.shape[-1])
    classes = jnp.arange(logits.shape[-1], dtype=labels.dtype)
    gradient = jnp.where(classes == labels[..., None], by_log_p[..., None], 0)
    gradient += (on_p * jnp.exp(-log_z))[..., None] * jnp.exp(below)
    if q is not None and q < NEGLIGIBLE_Q:
        gradient -= by_cost[..., None]
    elif q is not None:
        on_powers = by_cost * jnp.exp(-q * log_z)
        gradient -= on_powers[..., None] * jnp.exp(q * below)
    return jnp.where(live[..., None], gradient, 0), None, None


row_terms.defvjp(_forward_terms, _backward_terms)


def sums_at(rows: Sequence[Any], place: Any, num_places: int, dtype: str) -> Any:
    """Returns what `plain.sums_at` does."""
    known = isinstance(place.shape[0], int)
    if not known or place.shape[0] * num_places > _FEW:
        return plain.sums_at(rows, place, num_places, dtype)
    # Compiled in half the time. NaN stay in their places.
    here = place[:, None] == jnp.arange(num_places, dtype=place.dtype)
    table = jnp.stack([row.astype(dtype) for row in rows])
    return jnp.sum(jnp.where(here, table[..., None], 0), axis=1)


def concrete(x: Any) -> np.ndarray | None:
    """Returns what `plain.concrete` does."""
    known = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    return np.asarray(x) if known and x.is_fully_addressable else None


@functools.partial(jax.jit, static_argnums=3)  # or eager calls compile each time
def top_label(prob: Any, labels: Any, broken: Any, slack: float) -> tuple[Any, Any]:
    """Returns what `plain.top_label` does."""
    if not isinstance(prob.shape[0], int):  # a symbol, as where a model is built
        return plain.top_label(prob, labels, broken, slack)
    top, hit, bad = _of_rows(prob, labels, slack)
    return plain.checked_confidence(top, bad | broken), hit


def _of_rows(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    rows, step = prob.shape[0], max(1, _BLOCK // prob.shape[-1])
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
    # 0 for the largest, -1 for what is smaller. Summed from K, not from 0: a constant 0
    # XLA shares with the other sums, and then takes ten times as long.
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
    start = jnp.array(jnp.finfo(x.dtype).min, x.dtype)
    return jax.lax.reduce(x, start, lambda a, b: jnp.where(b > a, b, a), (1,))


def in_one(*static: str) -> Callable[[Any], Any]:
    """Returns what `plain.in_one` does."""
    return functools.partial(jax.jit, static_argnames=static)


def is_on_cpu(x: Any) -> bool:
    """Returns what `plain.is_on_cpu` does."""
    return jax.default_backend() == "cpu"  # while it is traced, x lies nowhere


def cost_of_rows(
    cost: Callable[[Any, Any, Any], Any],
    chunk: int,
    hidden: Any,
    kernel: Any,
    labels: Any,
    weight: Any,
) -> Any:
    """Returns what `plain.cost_of_rows` does."""
    # With sizes that are symbols, as where a model is built, no loop can be laid out.
    known = all(isinstance(size, int) for size in hidden.shape)
    version = _cost_in_chunks if known else plain.cost_of_rows
    return version(cost, chunk, hidden, kernel, labels, weight)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _cost_in_chunks(
    cost: Any, chunk: int, hidden: Any, kernel: Any, labels: Any, weight: Any
) -> Any:

    def step(total: Any, rows: Any) -> tuple[Any, None]:
        own, *rest = rows
        return total + cost(own @ kernel.astype(own.dtype), *rest), None

    chunks = _in_chunks(chunk, hidden, labels, weight)
    return jax.lax.scan(step, jnp.zeros((), weight.dtype), chunks)[0]


def _forward_cost(cost: Any, chunk: int, *inputs: Any) -> tuple[Any, Any]:
    hidden, kernel, labels, weight = inputs
    wide = jnp.promote_types(kernel.dtype, jnp.float32)

    def step(sums: Any, rows: Any) -> tuple[Any, Any]:
        total, by_kernel = sums
        own, label, share = rows
        cast_kernel = kernel.astype(own.dtype)
        value, backward = jax.vjp(
            lambda z, w: cost(z, label, w), own @ cast_kernel, share
        )
        by_logits, by_share = backward(jnp.ones_like(value))
        added = jnp.matmul(own.T, by_logits, preferred_element_type=wide)
        return (total + value, by_kernel + added), (by_logits @ cast_kernel.T, by_share)

    start = jnp.zeros((), weight.dtype), jnp.zeros(kernel.shape, wide)
    chunks = _in_chunks(chunk, hidden, labels, weight)
    (total, by_kernel), by_rows = jax.lax.scan(step, start, chunks)
    by_hidden, by_weight = (x.reshape(-1, *x.shape[2:])[: len(hidden)] for x in by_rows)
    return total, (by_hidden, by_kernel.astype(kernel.dtype), by_weight)


def _backward_cost(cost: Any, chunk: int, made: Any, upstream: Any) -> tuple[Any, ...]:
    by_hidden, by_kernel, by_weight = (upstream.astype(g.dtype) * g for g in made)
    return by_hidden, by_kernel, None, by_weight


_cost_in_chunks.defvjp(_forward_cost, _backward_cost)


def _in_chunks(chunk: int, *columns: Any) -> list[Any]:
    # As even as can be, and filled up with zeros: rows of weight 0.
    size = len(columns[0])
    count = -(-size // chunk)
    chunk = -(-size // max(count, 1))

    def split(x: Any) -> Any:
        x = jnp.pad(x, [(0, count * chunk - size)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(count, chunk, *x.shape[1:])

    return [split(x) for x in columns]
