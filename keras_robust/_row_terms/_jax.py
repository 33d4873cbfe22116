"""On JAX: a custom gradient that XLA fuses into two passes over the logits."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from keras_robust._row_terms import _powers


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `_plain.row_terms` does."""
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
        total = jnp.sum(_powers.summand(below, q), axis=-1)
        costs = _powers.cost_of_all(total, log_z, q, logits.shape[-1])
        of_all = jnp.where(live, costs, 0)
    return (log_p, of_all), (logits, labels, live, top, log_z, of_all)


def _backward(q: float | None, saved: Any, upstream: Any) -> tuple[Any, None, None]:
    logits, labels, live, top, log_z, of_all = saved
    of_label, of_others = upstream
    below = logits - top[..., None]
    # What multiplies exponentials is worked out for each row, not each class.
    pull = of_label
    if q is not None:
        pull = of_label - of_others * (logits.shape[-1] - q * of_all)
    classes = jnp.arange(logits.shape[-1], dtype=labels.dtype)
    gradient = jnp.where(classes == labels[..., None], of_label[..., None], 0)
    gradient -= (pull * jnp.exp(-log_z))[..., None] * jnp.exp(below)
    if q is not None:
        on_powers = of_others * jnp.exp(-q * log_z)
        gradient -= on_powers[..., None] * jnp.exp(q * below)
    return jnp.where(live[..., None], gradient, 0), None, None


row_terms.defvjp(_forward, _backward)
