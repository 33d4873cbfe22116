"""On JAX: a custom gradient that XLA fuses into two passes over the logits."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from keras_robust._row_terms._powers import NEGLIGIBLE_Q, SAFE_Q


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns the terms of `_row_terms.row_terms`."""
    return _forward(logits, labels, live, q)[0]


def _forward(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, Any]:
    # The maximum and log Z stay apart: their sum would lose the digits of log Z.
    top = jnp.max(logits, axis=-1)
    below = logits - top[..., None]
    log_z = jnp.log(jnp.sum(jnp.exp(below), axis=-1))
    label = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    log_p = jnp.where(live, (label - top) - log_z, 0)
    of_all = None
    if q is not None:
        of_all = jnp.where(live, _cost_of_all(below, log_z, q), 0)
    return (log_p, of_all), (logits, labels, live, top, log_z, of_all)


def _cost_of_all(below: Any, log_z: Any, q: float) -> Any:
    num_classes = below.shape[-1]
    if q < NEGLIGIBLE_Q:
        return num_classes * log_z - jnp.sum(below, axis=-1)
    if q < SAFE_Q:
        return -jnp.sum(jnp.expm1(q * (below - log_z[..., None])), axis=-1) / q
    powers = jnp.exp(-q * log_z) * jnp.sum(jnp.exp(q * below), axis=-1)
    return (num_classes - powers) / q


def _backward(q: float | None, saved: Any, upstream: Any) -> tuple[Any, None, None]:
    logits, labels, live, top, log_z, of_all = saved
    of_label, of_others = upstream
    log_p = (logits - top[..., None]) - log_z[..., None]
    p = jnp.exp(log_p)
    chosen = jnp.arange(logits.shape[-1], dtype=labels.dtype) == labels[..., None]
    gradient = of_label[..., None] * (chosen - p)
    if q is not None:
        total = logits.shape[-1] - q * of_all
        pull = jnp.exp(q * log_p) - total[..., None] * p
        gradient = gradient - of_others[..., None] * pull
    return jnp.where(live[..., None], gradient, 0), None, None


row_terms.defvjp(_forward, _backward)
