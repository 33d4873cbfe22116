"""On PyTorch: blocks of rows that fit the cache, and no memory but the gradient's."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from keras_robust._backend import plain, powers
from keras_robust._backend.keras_private import in_symbolic_scope

# Numbers in a block of rows: 1 MB of float32.
_BLOCK = 1 << 18
_LOG2_E = math.log2(math.e)


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `plain.row_terms` does."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return plain.row_terms(logits, labels, live, q)
    flat = logits.reshape(-1, logits.shape[-1])
    columns = labels.reshape(-1, 1).long(), live.reshape(-1, 1)
    log_p, cost_of_all = _RowTerms.apply(flat, *columns, q)
    cost_of_all = None if q is None else cost_of_all.reshape(live.shape)
    return log_p.reshape(live.shape), cost_of_all


class _RowTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Any, labels: Any, live: Any, q: Any) -> Any:
        top, total, summed = logits.new_empty((3, len(logits), 1))
        # The exponentials are kept to become the gradient, in place.
        kept = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        buffer = None if q is None else _block_of(logits)
        for z, m, t, s, e in _blocks(logits, top, total, summed, kept):
            torch.amax(z, -1, keepdim=True, out=m)
            below = torch.sub(z, m, out=e)
            if q is not None:
                terms = _summand(below, q, buffer[: len(z)])
                torch.sum(terms, -1, keepdim=True, out=s)
            torch.sum(_exp(below, out=below), -1, keepdim=True, out=t)
        # The maximum and log Z stay apart: their sum would lose the digits of log Z.
        # log1p, as it is ten times as fast as log where PyTorch takes that from MKL.
        log_z = torch.log1p(total - 1.0)
        zeros = torch.zeros_like(top)
        log_p = torch.where(live, (logits.gather(-1, labels) - top) - log_z, zeros)
        cost_of_all = None
        if q is not None:
            costs = powers.cost_of_all(summed, log_z, q, logits.shape[-1])
            cost_of_all = torch.where(live, costs, zeros)
        ctx.q, ctx.kept = q, kept
        ctx.save_for_backward(logits, labels, live, top, log_z, cost_of_all)
        return log_p, cost_of_all

    @staticmethod
    def backward(ctx: Any, by_log_p: Any, by_cost: Any) -> Any:
        logits, labels, live, top, log_z, cost_of_all = ctx.saved_tensors
        q, (gradient, ctx.kept) = ctx.q, (ctx.kept, None)
        if torch.is_grad_enabled():  # by `create_graph=True`
            rows = logits, labels[:, 0], live[:, 0]
            return _plain_gradient(rows, q, (by_log_p, by_cost)), None, None, None
        if gradient is None:  # the graph was retained: a second time
            gradient = torch.empty_like(logits)
            for z, m, g in _blocks(logits, top, gradient):
                _exp(torch.sub(z, m, out=g), out=g)
        # See `powers`. What multiplies exponentials is worked out for each row, not for
        # each class.
        on_p, on_powers, buffer = by_log_p, None, None
        if q is not None:
            on_p = by_log_p - by_cost * (logits.shape[-1] - q * cost_of_all)
            on_powers = by_cost * torch.exp(-q * log_z)
            buffer = _block_of(logits)
        on_exp = -on_p * torch.exp(-log_z)
        for z, m, g, a, b in _blocks(logits, top, gradient, on_exp, on_powers):
            g.mul_(a)
            if q is not None:
                below = torch.sub(z, m, out=buffer[: len(z)])
                g.addcmul_(_exp(below, q, out=below), b, value=-1.0)
        gradient.scatter_add_(-1, labels, by_log_p)
        if not live.all():
            gradient.masked_fill_(~live, 0.0)
        return gradient, None, None, None


def _plain_gradient(rows: tuple[Any, ...], q: float | None, upstream: Any) -> Any:
    # Of the plain version, which autograd differentiates as often as it is asked to.
    terms = plain.row_terms(*rows, q)[: 1 if q is None else 2]
    slopes = [slope[:, 0] for slope in upstream[: len(terms)]]
    return torch.autograd.grad(terms, rows[0], slopes, create_graph=True)[0]


def _blocks(*tensors: Any) -> Iterator[tuple[Any, ...]]:
    step = _rows_of_a_block(tensors[0])
    for i in range(0, len(tensors[0]), step):
        yield tuple(None if t is None else t[i : i + step] for t in tensors)


def _rows_of_a_block(logits: Any) -> int:
    return max(1, _BLOCK // logits.shape[-1])


def _block_of(logits: Any) -> Any:
    rows = min(len(logits), _rows_of_a_block(logits))
    return logits.new_empty((rows, logits.shape[-1]))


def _summand(below: Any, q: float, out: Any) -> Any:
    if q < powers.SAFE_Q:
        return powers.summand(below, q)
    return _exp(below, q, out=out)


def _exp(x: Any, factor: float = 1.0, *, out: Any) -> Any:
    # exp2 is five times as fast as exp where PyTorch takes that from MKL.
    return torch.mul(x, factor * _LOG2_E, out=out).exp2_()


def top_label(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    """Returns what `plain.top_label` does."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or prob.device.type != "cpu" or prob.layout != torch.strided:
        return plain.top_label(prob, labels, slack)
    top, low, total = prob.new_empty((3, len(prob)))
    step = max(1, _BLOCK // prob.shape[-1])
    for i in range(0, len(prob), step):
        rows = slice(i, i + step)
        block = prob[rows]
        torch.amax(block, -1, out=top[rows])  # NaN if there is one
        if block.numel() and block.amin() >= 0.0:  # five times as fast as row by row
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
    return top, hit, ~((low >= -slack) & (top <= 1.0 + slack))


def concrete(x: Any) -> np.ndarray | None:
    """Returns what `plain.concrete` does."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or torch._C._are_functorch_transforms_active():
        return None
    if type(x) is not torch.Tensor or x.device.type == "meta" or in_symbolic_scope():
        return None
    return x.detach().cpu().numpy()


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
