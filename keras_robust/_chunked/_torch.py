"""On PyTorch: a loop whose forward pass leaves only the gradients, to be scaled."""

from collections.abc import Callable
from typing import Any

import torch

from keras_robust._chunked import _plain


@torch.compiler.disable  # traced, the loop would be one graph with all of its logits
def cost_of_rows(
    cost: Callable[[Any, Any, Any], Any],
    chunk: int,
    hidden: Any,
    kernel: Any,
    labels: Any,
    weight: Any,
) -> Any:
    """Returns what `_plain.cost_of_rows` does."""
    inputs = hidden, kernel, labels, weight
    if torch._C._are_functorch_transforms_active():
        return _plain.cost_of_rows(cost, chunk, *inputs)
    return _CostOfRows.apply(cost, chunk, torch.is_grad_enabled(), *inputs)


class _CostOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cost: Any, chunk: int, recorded: bool, *inputs: Any) -> Any:
        hidden, kernel, labels, weight = inputs
        wanted = [recorded and needed for needed in ctx.needs_input_grad[3:]]
        made = [_zeros(x) if wants else None for x, wants in zip(inputs, wanted)]
        ctx.save_for_backward(*made)
        kernel, total = kernel.to(hidden.dtype), weight.new_zeros(())
        for i in range(0, len(hidden), chunk):
            rows = slice(i, i + chunk)
            logits = hidden[rows] @ kernel
            leaves = [logits, weight[rows].detach()]
            with torch.set_grad_enabled(any(wanted)):
                for leaf in leaves:
                    leaf.requires_grad_(any(wanted))
                value = cost(logits, labels[rows], leaves[1])
            total += value.detach()
            if any(wanted):
                by_logits, by_weight = torch.autograd.grad(value, leaves)
                del logits, leaves, value
                _add(made, rows, hidden[rows], kernel, by_logits, by_weight)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Any) -> Any:
        made = [None if g is None else upstream * g for g in ctx.saved_tensors]
        return None, None, None, *made


def _zeros(x: Any) -> Any:
    return torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))


def _add(
    made: Any, rows: slice, hidden: Any, kernel: Any, by_logits: Any, by_weight: Any
) -> None:
    of_hidden, of_kernel, _, of_weight = made
    if of_hidden is not None:
        of_hidden[rows] = by_logits @ kernel.T
    if of_kernel is not None and of_kernel.dtype == hidden.dtype:
        of_kernel.addmm_(hidden.T, by_logits)
    elif of_kernel is not None:
        of_kernel += hidden.T @ by_logits
    if of_weight is not None:
        of_weight[rows] = by_weight
