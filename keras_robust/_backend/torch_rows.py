"""On PyTorch: what losses need of rows of logits, with no memory but the gradient's.

On a CPU, large batches are worked off in blocks of rows that fit the cache. Elsewhere
whole tensors are: there, operations count more than passes over memory. And no value is
read, for which a GPU would have to wait.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from keras_robust._backend import plain, powers
from keras_robust._numerics import NEGLIGIBLE_Q

# Numbers in a block of rows: 1 MB of float32.
_BLOCK = 1 << 18
# For so few numbers on a CPU, too, operations count more than passes.
_FEW = 1 << 13
_LOG2_E = math.log2(math.e)


def is_traced() -> bool:
    """Returns whether PyTorch compiles or transforms what is called now."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def at_once(rows: Any) -> bool:
    """Returns whether rows (N, K) are best worked off whole, not in blocks."""
    return rows.device.type != "cpu" or rows.numel() <= _FEW


def rows_of_a_block(rows: Any) -> int:
    """Returns how many rows (., K) fit the cache, at least 1."""
    return max(1, _BLOCK // rows.shape[-1])


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what `plain.row_terms` does."""
    if is_traced():
        return plain.row_terms(logits, labels, live, q)
    log_p, cost_of_all = _RowTerms.apply(_flat(logits), labels, live, q)
    cost_of_all = None if q is None else cost_of_all.view(live.shape)
    return log_p.view(live.shape), cost_of_all


def row_costs(loss: Any, logits: Any, labels: Any, live: Any, broken: Any) -> Any:
    """Returns what `plain.row_costs` does."""
    if loss._cost_and_weight is None or is_traced():
        return plain.row_costs(loss, logits, labels, live, broken)
    costs = _RowCosts.apply(_flat(logits), labels, live, broken, loss)
    return costs.view(live.shape)


def _flat(logits: Any) -> Any:
    return logits if logits.ndim == 2 else logits.reshape(-1, logits.shape[-1])


class _RowTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Any, labels: Any, live: Any, q: Any) -> Any:
        ctx.save_for_backward(logits, labels, live)
        ctx.rows, *terms = _forward(logits, labels, live, q, ctx.needs_input_grad[0])
        for term in terms[: 1 if q is None else 2]:
            term.masked_fill_(ctx.rows.dead, 0.0)
        return tuple(terms)

    @staticmethod
    def backward(ctx: Any, by_log_p: Any, by_cost: Any) -> Any:
        logits, labels, live = ctx.saved_tensors
        if torch.is_grad_enabled():  # by `create_graph=True`
            q, rows = ctx.rows.q, (labels.reshape(-1), live.reshape(-1))
            terms = plain.row_terms(logits, *rows, q)[: 1 if q is None else 2]
            gradient = _plain_gradient(terms, logits, (by_log_p, by_cost))
        else:
            gradient = _backward(ctx.rows, logits, -by_log_p, by_cost)
        return gradient, None, None, None


class _RowCosts(torch.autograd.Function):
    # The cost from the terms has its derivative by formula: a quarter of the operations
    # of the same in keras.ops, recorded and differentiated.
    @staticmethod
    def forward(
        ctx: Any, logits: Any, labels: Any, live: Any, broken: Any, loss: Any
    ) -> Any:
        ctx.save_for_backward(logits, labels, live, broken)
        q, wanted = loss._exponent, ctx.needs_input_grad[0]
        ctx.rows, *terms = _forward(logits, labels, live, q, wanted)
        cost, weight, ctx.share = loss._cost_and_weight(
            *terms, ctx.rows.labels, logits.shape[-1]
        )
        broken = broken.reshape(-1, 1)
        ctx.loss, ctx.weight = loss, weight.masked_fill_(broken, math.nan)
        return cost.masked_fill_(broken, math.nan).masked_fill_(ctx.rows.dead, 0.0)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        logits, *rows = ctx.saved_tensors
        if torch.is_grad_enabled():  # by `create_graph=True`
            rows = [column.reshape(-1) for column in rows]
            costs = plain.row_costs(ctx.loss, logits, *rows)
            gradient = _plain_gradient([costs], logits, [upstream])
        else:
            by_cost = None if ctx.rows.q is None else ctx.share * upstream
            gradient = _backward(ctx.rows, logits, ctx.weight * upstream, by_cost)
        return gradient, None, None, None, None


def _plain_gradient(terms: Any, logits: Any, upstream: Any) -> Any:
    # Of the plain version, which autograd differentiates as often as it is asked to.
    slopes = [slope[:, 0] for slope in upstream[: len(terms)]]
    return torch.autograd.grad(terms, logits, slopes, create_graph=True)[0]


class _Rows(NamedTuple):
    """What of the forward pass the backward one needs; columns are of shape (N, 1).

    Attributes:
        labels: Class ids, int64.
        dead: Bool: the row does not count.
        q: The exponent of `cost_of_all`, or None.
        kept: What becomes the gradient, in place, popped by then; empty for none. Of
            whole tensors log-probabilities, in blocks exp(logits - top).
        scale: In blocks `(top, log_z)`, else None.
        cost_of_all: As in `plain.row_terms`.
    """

    labels: Any
    dead: Any
    q: float | None
    kept: list[Any]
    scale: tuple[Any, Any] | None
    cost_of_all: Any


def _forward(
    logits: Any, labels: Any, live: Any, q: float | None, wanted: bool
) -> tuple[_Rows, Any, Any]:
    labels, dead = labels.reshape(-1, 1).long(), live.logical_not().reshape(-1, 1)
    if not at_once(logits):
        kept, scale, log_p, cost_of_all = _terms_in_blocks(logits, labels, q, wanted)
    else:
        kept, scale = torch.log_softmax(logits, -1), None
        log_p, cost_of_all = kept.gather(-1, labels), None
        if q is not None:
            cost_of_all = _cost_of_all(kept, q)
    rows = _Rows(labels, dead, q, [kept] if wanted else [], scale, cost_of_all)
    return rows, log_p, cost_of_all


def _cost_of_all(log_p: Any, q: float) -> Any:
    if q < NEGLIGIBLE_Q:
        return log_p.sum(-1, keepdim=True).neg_()
    return (log_p * q).expm1_().sum(-1, keepdim=True).div_(-q)


def _backward(rows: _Rows, logits: Any, on_label: Any, by_cost: Any) -> Any:
    """Returns the gradient, from `on_label`, less the derivative by log p."""
    version = _gradient_at_once if rows.scale is None else _gradient_in_blocks
    gradient = version(rows, logits, on_label, by_cost)
    if rows.scale is None:
        return gradient.masked_fill_(rows.dead, 0.0)
    # In blocks, values may be read, as it is on a CPU: a third of the time or less.
    return gradient.index_fill_(0, rows.dead.view(-1).nonzero().view(-1), 0.0)


def _gradient_at_once(rows: _Rows, logits: Any, on_label: Any, by_cost: Any) -> Any:
    # Nothing is kept where the graph was retained: a second time.
    gradient = rows.kept.pop() if rows.kept else torch.log_softmax(logits, -1)
    if rows.q is None:
        gradient.exp_().scatter_(-1, rows.labels, -1.0, reduce="add")
        return gradient.mul_(on_label)
    on_p = powers.on_p(on_label, by_cost, rows.cost_of_all, rows.q, logits.shape[-1])
    if rows.q < NEGLIGIBLE_Q:
        gradient.exp_().mul_(on_p).sub_(by_cost)
    else:
        of_powers = (gradient * rows.q).exp_()
        gradient.exp_().mul_(on_p).addcmul_(of_powers, by_cost, value=-1.0)
    return gradient.scatter_add_(-1, rows.labels, -on_label)


def _terms_in_blocks(
    logits: Any, labels: Any, q: float | None, wanted: bool
) -> tuple[Any, ...]:
    top, total, summed = logits.new_empty((3, len(logits), 1))
    kept = torch.empty_like(logits) if wanted else None
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
    log_p, cost_of_all = (logits.gather(-1, labels) - top) - log_z, None
    if q is not None:
        cost_of_all = powers.cost_of_all(summed, log_z, q, logits.shape[-1])
    return kept, (top, log_z), log_p, cost_of_all


def _gradient_in_blocks(rows: _Rows, logits: Any, on_label: Any, by_cost: Any) -> Any:
    top, log_z = rows.scale
    if rows.kept:
        gradient = rows.kept.pop()
    else:  # the graph was retained: a second time
        gradient = torch.empty_like(logits)
        for z, m, g in _blocks(logits, top, gradient):
            _exp(torch.sub(z, m, out=g), out=g)
    q, on_p, on_powers, buffer = rows.q, on_label, None, None
    if q is not None:
        on_p = powers.on_p(on_label, by_cost, rows.cost_of_all, q, logits.shape[-1])
        on_powers = by_cost * torch.exp(-q * log_z)
        buffer = None if q < NEGLIGIBLE_Q else _block_of(logits)
    on_exp = on_p * torch.exp(-log_z)
    for z, m, g, a, b in _blocks(logits, top, gradient, on_exp, on_powers):
        g.mul_(a)
        if buffer is not None:
            below = torch.sub(z, m, out=buffer[: len(z)])
            g.addcmul_(_exp(below, q, out=below), b, value=-1.0)
        elif b is not None:
            g.sub_(b)
    return gradient.scatter_add_(-1, rows.labels, -on_label)


def _blocks(*tensors: Any) -> Iterator[tuple[Any, ...]]:
    step = rows_of_a_block(tensors[0])
    for i in range(0, len(tensors[0]), step):
        yield tuple(None if t is None else t[i : i + step] for t in tensors)


def _block_of(logits: Any) -> Any:
    rows = min(len(logits), rows_of_a_block(logits))
    return logits.new_empty((rows, logits.shape[-1]))


def _summand(below: Any, q: float, out: Any) -> Any:
    if q < powers.SAFE_Q:
        return powers.summand(below, q)
    return _exp(below, q, out=out)


def _exp(x: Any, factor: float = 1.0, *, out: Any) -> Any:
    # exp2 is five times as fast as exp where PyTorch takes that from MKL.
    return torch.mul(x, factor * _LOG2_E, out=out).exp2_()
