"""On PyTorch: blocks of rows that fit the cache, and no memory but the gradient's."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from keras_robust._backend import plain
from keras_robust._backend.keras_private import in_symbolic_scope
from keras_robust._backend.torch_rows import at_once, rows_of_a_block
from keras_robust._backend.torch_rows import row_costs as row_costs
from keras_robust._backend.torch_rows import row_terms as row_terms


def top_label(prob: Any, labels: Any, broken: Any, slack: float) -> tuple[Any, Any]:
    """Returns what `plain.top_label` does."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or prob.layout != torch.strided:
        return plain.top_label(prob, labels, broken, slack)
    if at_once(prob):
        top, first = prob.max(-1)  # NaN if there is one, and the first of equal ones
        hit, low = first == labels, prob.amin(-1)
    else:
        top, hit, low = _top_in_blocks(prob, labels)
    fine = (low >= -slack) & (top <= 1.0 + slack)
    return top.clamp(max=1.0).masked_fill_(~fine | broken, math.nan), hit


def _top_in_blocks(prob: Any, labels: Any) -> tuple[Any, Any, Any]:
    top, low, total = prob.new_empty((3, len(prob)))
    step = rows_of_a_block(prob)
    for i in range(0, len(prob), step):
        rows = slice(i, i + step)
        block = prob[rows]
        torch.amax(block, -1, out=top[rows])  # NaN if there is one
        if block.amin() >= 0.0:  # five times as fast as row by row
            low[rows] = 0.0
        else:
            torch.amin(block, -1, out=low[rows])
        torch.sum(block, -1, out=total[rows])
    hit = torch.eq(prob.gather(-1, labels[:, None].long())[:, 0], top)
    # Two equal largest add up to at least twice the largest.
    alone = (low >= 0.0) & (2.0 * top > 1.001 * total)
    unsure = torch.nonzero(hit & ~alone)[:, 0]
    if len(unsure):
        hit[unsure] = prob[unsure].argmax(-1) == labels[unsure]
    return top, hit, low


def sums_at(rows: Sequence[Any], place: Any, num_places: int, dtype: str) -> Any:
    """Returns what `plain.sums_at` does."""
    # Keras's `segment_sum` adds up float64 in float32, and its `scatter` takes a
    # hundred times as long where many rows share a place.
    table = torch.stack(rows).to(getattr(torch, dtype))
    places = place.long().expand(len(rows), -1)
    return table.new_zeros(len(rows), num_places).scatter_add_(1, places, table)


def concrete(x: Any) -> np.ndarray | None:
    """Returns what `plain.concrete` does."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or torch._C._are_functorch_transforms_active():
        return None
    if type(x) is not torch.Tensor or x.device.type == "meta" or in_symbolic_scope():
        return None
    return x.detach().cpu().numpy()


def is_on_cpu(x: Any) -> bool:
    """Returns what `plain.is_on_cpu` does."""
    return x.device.type == "cpu"


@torch.compiler.disable  # traced, the loop would be one graph with all of its logits
def cost_of_rows(
    cost: Callable[[Any, Any, Any], Any],
    chunk: int,
    hidden: Any,
    kernel: Any,
    labels: Any,
    weight: Any,
) -> Any:
    """Returns what `plain.cost_of_rows` does."""
    inputs = hidden, kernel, labels, weight
    if torch._C._are_functorch_transforms_active():
        return plain.cost_of_rows(cost, chunk, *inputs)
    recorded = torch.is_grad_enabled()
    # Nothing of the inputs but where they come from, for `_NoSecondDerivative`.
    origins = [x.flatten()[:0].clone() for x in inputs if recorded and x.requires_grad]
    return _CostOfRows.apply(cost, chunk, recorded, *inputs, *origins)


class _CostOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cost: Any, chunk: int, recorded: bool, *inputs: Any) -> Any:
        inputs, origins = inputs[:4], inputs[4:]
        hidden, kernel, labels, weight = inputs
        wanted = [recorded and needed for needed in ctx.needs_input_grad[3:7]]
        made = [_zeros(x) if wants else None for x, wants in zip(inputs, wanted)]
        ctx.save_for_backward(*made, *origins)
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
    def backward(ctx: Any, upstream: Any) -> Any:
        made, origins = ctx.saved_tensors[:4], ctx.saved_tensors[4:]
        made = [None if g is None else upstream * g for g in made]
        if torch.is_grad_enabled():  # by `create_graph=True`
            made = _NoSecondDerivative.apply(len(made), *made, *origins)
        return None, None, None, *made, *(None for _ in origins)


class _NoSecondDerivative(torch.autograd.Function):
    """Hands gradients on, and raises where a gradient of them is asked for.

    Not `once_differentiable`, which takes them for constants, and says nothing, where
    what comes from above is one: as in a penalty on the gradient of this loss alone.
    """

    @staticmethod
    def forward(ctx: Any, number: int, *tensors: Any) -> Any:
        return tuple(None if t is None else t.view_as(t) for t in tensors[:number])

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        raise RuntimeError(
            "fused_linear: there is no second derivative, as its gradient is made in "
            "the forward pass. Call the loss itself on the logits."
        )


def _zeros(x: Any) -> Any:
    return torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))


def _add(
    made: Any, rows: slice, hidden: Any, kernel: Any, by_logits: Any, by_weight: Any
) -> None:
    hidden_grad, kernel_grad, _, weight_grad = made
    if hidden_grad is not None:
        hidden_grad[rows] = by_logits @ kernel.T
    if kernel_grad is not None and kernel_grad.dtype == hidden.dtype:
        kernel_grad.addmm_(hidden.T, by_logits)
    elif kernel_grad is not None:
        kernel_grad += hidden.T @ by_logits
    if weight_grad is not None:
        weight_grad[rows] = by_weight
