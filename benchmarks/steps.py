"""What is timed: value and gradients of a cost, as Keras would run them."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

BACKEND = keras.backend.backend()
# How Keras runs a training step: jitted, with XLA or as a graph, eagerly.
MODES = {"jax": ("jit",), "tensorflow": ("xla", "graph"), "torch": ("eager",)}[BACKEND]


def step(
    cost: Callable[..., Any], mode: str, leaves: Sequence[Any]
) -> Callable[[], Any]:
    """Returns a function that computes a scalar cost of the leaves and its gradients.

    A call of it waits for the gradients.
    """
    tensors = [keras.ops.convert_to_tensor(x) for x in leaves]
    return _MAKERS[BACKEND](cost, mode, tensors)


def _jax_step(cost: Any, mode: str, leaves: list[Any]) -> Callable[[], Any]:
    import jax

    both = jax.jit(jax.value_and_grad(cost, argnums=tuple(range(len(leaves)))))
    return lambda: jax.block_until_ready(both(*leaves))


def _torch_step(cost: Any, mode: str, leaves: list[Any]) -> Callable[[], Any]:
    import torch

    def both() -> Any:
        own = [x.detach().requires_grad_(True) for x in leaves]
        value = cost(*own)
        return value.detach(), torch.autograd.grad(value, own)

    return both


def _tensorflow_step(cost: Any, mode: str, leaves: list[Any]) -> Callable[[], Any]:
    import tensorflow as tf

    @tf.function(jit_compile=mode == "xla")
    def both(*own: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(own)
            value = cost(*own)
        return value, tape.gradient(value, own)

    # To read the value is to wait for the whole function.
    return lambda: both(*leaves)[0].numpy()


_MAKERS = {"jax": _jax_step, "torch": _torch_step, "tensorflow": _tensorflow_step}
