"""On PyTorch: chunks of rows that fit the cache, no softmax kept."""

from typing import Any

import torch

from keras_robust._row_terms import _plain
from keras_robust._row_terms._powers import NEGLIGIBLE_Q, SAFE_Q

# Numbers in a chunk: 512 KB of float32.
_CHUNK = 1 << 17


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns the terms of `_row_terms.row_terms`."""
    if torch.compiler.is_compiling():
        return _plain.row_terms(logits, labels, live, q)
    num_classes = logits.shape[-1]
    flat = logits.reshape(-1, num_classes)
    results = _RowTerms.apply(flat, labels.reshape(-1), live.reshape(-1), q)
    results = [result.reshape(live.shape) for result in results]
    return results[0], None if q is None else results[1]


class _RowTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, labels, live, q):
        rows, num_classes = logits.shape
        top = logits.amax(-1, keepdim=True)
        log_z = torch.empty_like(top)
        of_all = torch.empty_like(top) if q is not None else None
        step = max(1, _CHUNK // num_classes)
        buffer = torch.empty((min(step, rows), num_classes), dtype=logits.dtype, device=logits.device)
        for i in range(0, rows, step):
            z, m = logits[i : i + step], top[i : i + step]
            b = buffer[: len(z)]
            torch.sub(z, m, out=b)
            if q is None:
                torch.sum(b.exp_(), -1, keepdim=True, out=log_z[i : i + step])
            else:
                torch.sum(b.exp(), -1, keepdim=True, out=log_z[i : i + step])
                torch.sum(b.mul_(q).exp_(), -1, keepdim=True, out=of_all[i : i + step])
        log_z.log_()
        label = logits.gather(-1, labels[:, None].long())
        log_p = (label - top) - log_z
        zero = log_p.new_zeros(())
        results = [torch.where(live, log_p[:, 0], zero)]
        if q is not None:
            powers = torch.exp(-q * log_z) * of_all
            of_all = (num_classes - powers) / q
            results.append(torch.where(live, of_all[:, 0], zero))
        else:
            powers = None
        ctx.save_for_backward(logits, labels, live, top, log_z, powers)
        ctx.q = q
        return tuple(results)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, u, v=None):
        logits, labels, live, top, log_z, powers = ctx.saved_tensors
        q = ctx.q
        rows, num_classes = logits.shape
        out = torch.empty_like(logits)
        step = max(1, _CHUNK // num_classes)
        u = u[:, None]
        if q is None:
            factor = -u 
        else:
            v = v[:, None]
            factor = v * powers - u
            buffer = torch.empty((min(step, rows), num_classes), dtype=logits.dtype, device=logits.device)
        for i in range(0, rows, step):
            s = slice(i, i + step)
            g = out[s]
            torch.sub(logits[s], top[s], out=g)
            g.sub_(log_z[s])
            if q is not None:
                b = buffer[: len(g)]
                torch.mul(g, q, out=b).exp_().mul_(v[s])
            g.exp_().mul_(factor[s])
            if q is not None:
                g.sub_(b)
        out.scatter_add_(-1, labels[:, None].long(), u)
        dead = ~live
        if dead.any():
            out[dead] = 0
        return out, None, None, None
