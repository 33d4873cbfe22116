"""On PyTorch: blocks of rows that fit the cache, and no memory but the gradient's."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from keras_robust._row_terms import _plain, _powers

# Numbers in a block of rows: 1 MB of float32.
_BLOCK = 1 << 18
_LOG2_E = math.log2(math.e)


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `_plain.row_terms` does."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return _plain.row_terms(logits, labels, live, q)
    flat = logits.reshape(-1, logits.shape[-1])
    columns = labels.reshape(-1, 1).long(), live.reshape(-1, 1)
    log_p, of_all = _RowTerms.apply(flat, *columns, q)
    of_all = None if q is None else of_all.reshape(live.shape)
    return log_p.reshape(live.shape), of_all


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
        of_all = None
        if q is not None:
            costs = _powers.cost_of_all(summed, log_z, q, logits.shape[-1])
            of_all = torch.where(live, costs, zeros)
        ctx.q, ctx.kept = q, kept
        ctx.save_for_backward(logits, labels, live, top, log_z, of_all)
        return log_p, of_all

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_label: Any, of_others: Any) -> Any:
        logits, labels, live, top, log_z, of_all = ctx.saved_tensors
        q, (gradient, ctx.kept) = ctx.q, (ctx.kept, None)
        if gradient is None:  # the graph was retained: a second time
            gradient = torch.empty_like(logits)
            for z, m, g in _blocks(logits, top, gradient):
                _exp(torch.sub(z, m, out=g), out=g)
        # What multiplies exponentials is worked out for each row, not for each class.
        pull, on_powers, buffer = of_label, None, None
        if q is not None:
            pull = of_label - of_others * (logits.shape[-1] - q * of_all)
            on_powers = of_others * torch.exp(-q * log_z)
            buffer = _block_of(logits)
        on_p = -pull * torch.exp(-log_z)
        for z, m, g, a, b in _blocks(logits, top, gradient, on_p, on_powers):
            g.mul_(a)
            if q is not None:
                powers = torch.sub(z, m, out=buffer[: len(z)])
                g.addcmul_(_exp(powers, q, out=powers), b, value=-1.0)
        gradient.scatter_add_(-1, labels, of_label)
        if not live.all():
            gradient.masked_fill_(~live, 0.0)
        return gradient, None, None, None


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
    if q < _powers.SAFE_Q:
        return _powers.summand(below, q)
    return _exp(below, q, out=out)


def _exp(x: Any, factor: float = 1.0, *, out: Any) -> Any:
    # exp2 is five times as fast as exp where PyTorch takes that from MKL.
    return torch.mul(x, factor * _LOG2_E, out=out).exp2_()
