"""A loss and the layer that makes its logits, in one."""

import math
from typing import Any

from keras import ops

from keras_robust import _backend
from keras_robust._inputs import checks, sample_weights
from keras_robust._inputs.labels import class_ids, dense
from keras_robust.losses._robust_loss import RobustLoss

# Logits of a chunk of rows on a CPU, and at least elsewhere: 16 MB of float32. Half as
# many are up to a fifth slower, twice as many save less than a tenth.
_LOGITS = 1 << 22

_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum")


def fused_linear(
    loss: RobustLoss,
    y_true: Any,
    hidden: Any,
    kernel: Any,
    sample_weight: Any = None,
    *,
    bias: Any = None,
    rows_at_once: int | None = None,
) -> Any:
    """Returns `loss(y_true, hidden @ kernel + bias, sample_weight)`, in little memory.

    For large vocabularies: the logits of all positions, and their gradient, are the
    largest tensors of a language model. Here only the logits of some rows exist at a
    time. Where a gradient will be asked for, it is made in the same pass: logits are
    never computed twice. The keras mask of `hidden` is taken into account.

    Override `compute_loss` of a `keras.Model` with it (example below). Under PyTorch's
    `torch.compile` it is left out of the graph, which must not be `fullgraph`. On
    PyTorch there is no second derivative: who asks for one gets a `RuntimeError`.

    Args:
        loss: A `RobustLoss`, such as `GammaCE`, with `from_logits=True`, classes on the
            last axis and a reduction to a scalar.
        y_true: Integer classes of shape `(...)` or `(..., 1)`.
        hidden: Float tensor of shape `(..., D)`: what the last layer is given. The
            product is formed in its dtype, the loss in float32 (or float64).
        kernel: Float tensor or variable of shape `(D, K)`. For weights tied to an
            embedding, its transpose.
        sample_weight: As in the loss: a scalar, one weight per position, or one per
            sample.
        bias: Float tensor or variable of shape `(K,)`, or None.
        rows_at_once: Positions whose logits may exist at one time. By default as many
            as have 4 million logits, at least one; on a GPU or TPU, whose matrix units
            want more rows, as many as have logits as large as all of `hidden`, if
            these are more.

    Returns:
        A scalar of the loss's dtype, with gradients for `hidden`, `kernel`, `bias` and
        `sample_weight`.

    Raises:
        TypeError: If `loss` is no `RobustLoss`, or `rows_at_once` is not an
            integer.
        ValueError: If the loss does not take logits, or is not reduced to a scalar; if
            shapes do not fit, as for soft targets: these are as large as the logits.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.losses import GammaCE, fused_linear
        >>> rng = np.random.default_rng(0)
        >>> hidden = rng.normal(size=(4, 7, 8)).astype("float32")
        >>> kernel = rng.normal(size=(8, 1000)).astype("float32")
        >>> tokens = rng.integers(0, 1000, size=(4, 7))
        >>> loss = GammaCE(gamma=1e-7, from_logits=True)
        >>> fused = fused_linear(loss, tokens, hidden, kernel)
        >>> bool(abs(fused - loss(tokens, hidden @ kernel)) < 1e-4)
        True

        In a model that returns hidden states, with the losses that layers add:

        >>> import keras
        >>> class CausalLM(keras.Model):
        ...     def compute_loss(
        ...         self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs
        ...     ):
        ...         embeddings = self.get_layer("token_embedding").embeddings
        ...         kernel = keras.ops.transpose(embeddings)
        ...         value = fused_linear(loss, y, y_pred, kernel, sample_weight)
        ...         return value + sum(keras.ops.sum(added) for added in self.losses)

    Reference:
        Gradients made in the forward pass: Hsu et al., "Liger Kernel: Efficient Triton
        Kernels for LLM Training", 2024.
    """
    owner = "fused_linear"
    _check_loss(owner, loss)
    mask = _backend.keras_mask(hidden)
    hidden, kernel = dense(owner, "hidden", hidden), dense(owner, "kernel", kernel)
    _check_shapes(owner, hidden, kernel)
    if bias is not None:
        hidden, kernel = _with_bias(owner, hidden, kernel, dense(owner, "bias", bias))
    shape = (*hidden.shape[:-1], kernel.shape[-1])
    ids, counted = class_ids(owner, y_true, shape, loss.ignore_class)
    dtype = "float64" if loss.dtype == "float64" else "float32"
    shares, weight = ops.ones_like(ids, dtype=dtype), None
    if sample_weight is not None:
        weight = sample_weights.spread(
            owner, "sample_weight", sample_weight, ids, dtype
        )
        shares = shares * weight
    if mask is not None:
        seen = sample_weights.spread(owner, "mask", mask, ids, dtype) != 0
        counted = ops.logical_and(counted, seen)
        shares = ops.where(seen, shares, ops.zeros_like(shares))

    def cost(logits: Any, labels: Any, share: Any) -> Any:
        losses, _, _ = loss._position_losses(labels, logits, share, None)
        return ops.sum(losses)

    total = _backend.cost_of_rows(
        cost,
        _checked_rows(owner, rows_at_once, hidden, shape[-1]),
        ops.reshape(hidden, (-1, hidden.shape[-1])),
        kernel,
        ops.reshape(ids, (-1,)),
        ops.reshape(shares, (-1,)),
    )
    if loss.reduction != "sum":
        total = loss._mean(total, counted, weight)
    return ops.cast(total, loss.dtype)


def _check_loss(owner: str, loss: Any) -> None:
    if not isinstance(loss, RobustLoss):
        raise TypeError(
            f"{owner}: `loss` must be a RobustLoss, such as GCE or GammaCE. "
            f"Received: an object of type {type(loss).__name__}. For cross entropy, "
            "pass GCE(q=0.0, from_logits=True)."
        )
    wanted = {"from_logits": (True,), "axis": (-1,)}
    wanted["reduction"] = _REDUCTIONS
    for name, values in wanted.items():
        if getattr(loss, name) not in values:
            raise checks.invalid(
                owner,
                "loss",
                f"a loss with {name}={' or '.join(map(repr, values))}",
                f"{name}={getattr(loss, name)!r}",
                "For the losses of single positions, call the loss on the logits."
                if name == "reduction"
                else "The product with `kernel` gives logits, classes last.",
            )


def _check_shapes(owner: str, hidden: Any, kernel: Any) -> None:
    if len(hidden.shape) < 2 or hidden.shape[-1] is None:
        raise checks.invalid(
            owner,
            "hidden",
            "of shape (..., D), D known",
            f"hidden.shape={tuple(hidden.shape)}",
            "Pass what the last layer is given.",
        )
    if len(kernel.shape) != 2 or kernel.shape[0] != hidden.shape[-1]:
        raise checks.invalid(
            owner,
            "kernel",
            f"of shape ({hidden.shape[-1]}, num_classes)",
            f"kernel.shape={tuple(kernel.shape)}",
            "For weights tied to an embedding, pass their transpose.",
        )


def _with_bias(owner: str, hidden: Any, kernel: Any, bias: Any) -> tuple[Any, Any]:
    if tuple(bias.shape) != (kernel.shape[-1],):
        raise checks.invalid(
            owner,
            "bias",
            f"of shape ({kernel.shape[-1]},)",
            f"bias.shape={tuple(bias.shape)}",
            "It has one number for each column of `kernel`.",
        )
    # One more hidden state, which is always 1.
    hidden = ops.concatenate([hidden, ops.ones_like(hidden[..., :1])], axis=-1)
    bias = ops.cast(ops.expand_dims(bias, 0), kernel.dtype)
    return hidden, ops.concatenate([kernel, bias], axis=0)


def _checked_rows(owner: str, rows: Any, hidden: Any, num_classes: int) -> int:
    if rows is None:
        logits = _LOGITS
        known = all(isinstance(size, int) for size in hidden.shape)
        if known and not _backend.is_on_cpu(hidden):
            # Liger's rule: as many chunks as classes are to the width of `hidden`.
            logits = max(logits, math.prod(hidden.shape))
        return max(1, logits // num_classes)
    fix = "Leave it out for chunks of 4 million logits."
    return checks.integer(owner, "rows_at_once", rows, minimum=1, fix=fix)
