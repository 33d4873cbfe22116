"""On PyTorch: three reductions of blocks of rows that fit the cache."""

from typing import Any

import torch

from keras_robust._top_label import _plain

# Numbers in a block of rows: 1 MB of float32.
_BLOCK = 1 << 18


def top_label(prob: Any, labels: Any, slack: float) -> tuple[Any, Any, Any]:
    """Returns what `_plain.top_label` does."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or prob.device.type != "cpu" or prob.layout != torch.strided:
        return _plain.top_label(prob, labels, slack)
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
