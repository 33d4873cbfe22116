"""On JAX: a scan whose forward pass leaves only the gradients, to be scaled."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def cost_of_rows(
    cost: Callable[[Any, Any, Any], Any],
    chunk: int,
    hidden: Any,
    kernel: Any,
    labels: Any,
    weight: Any,
) -> Any:
    """Returns what `_plain.cost_of_rows` does."""

    def step(total: Any, rows: Any) -> tuple[Any, None]:
        own, *rest = rows
        return total + cost(own @ kernel.astype(own.dtype), *rest), None

    chunks = _in_chunks(chunk, hidden, labels, weight)
    return jax.lax.scan(step, jnp.zeros((), weight.dtype), chunks)[0]


def _forward(cost: Any, chunk: int, *inputs: Any) -> tuple[Any, Any]:
    hidden, kernel, labels, weight = inputs
    wide = jnp.promote_types(kernel.dtype, jnp.float32)

    def step(sums: Any, rows: Any) -> tuple[Any, Any]:
        total, by_kernel = sums
        own, label, share = rows
        cast_kernel = kernel.astype(own.dtype)
        value, pull = jax.vjp(lambda z, w: cost(z, label, w), own @ cast_kernel, share)
        by_logits, by_share = pull(jnp.ones_like(value))
        added = jnp.matmul(own.T, by_logits, preferred_element_type=wide)
        return (total + value, by_kernel + added), (by_logits @ cast_kernel.T, by_share)

    start = jnp.zeros((), weight.dtype), jnp.zeros(kernel.shape, wide)
    chunks = _in_chunks(chunk, hidden, labels, weight)
    (total, by_kernel), by_rows = jax.lax.scan(step, start, chunks)
    by_hidden, by_weight = (x.reshape(-1, *x.shape[2:])[: len(hidden)] for x in by_rows)
    return total, (by_hidden, by_kernel.astype(kernel.dtype), by_weight)


def _backward(cost: Any, chunk: int, made: Any, upstream: Any) -> tuple[Any, ...]:
    by_hidden, by_kernel, by_weight = (upstream.astype(g.dtype) * g for g in made)
    return by_hidden, by_kernel, None, by_weight


cost_of_rows.defvjp(_forward, _backward)


def _in_chunks(chunk: int, *columns: Any) -> list[Any]:
    # As even as can be, and filled up with zeros: rows of weight 0.
    size = len(columns[0])
    count = -(-size // chunk)
    chunk = -(-size // max(count, 1))

    def split(x: Any) -> Any:
        x = jnp.pad(x, [(0, count * chunk - size)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(count, chunk, *x.shape[1:])

    return [split(x) for x in columns]
