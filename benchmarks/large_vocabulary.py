"""What does `fused_linear` cost, beside making all logits and their cross entropy?

Value and gradients by hidden states and kernel, of a product and its loss, in float32.
"""

from typing import Any

import keras
import numpy as np
from losses import CE
from steps import BACKEND, MODES, step
from timing import in_turns, options, rows, save
from tqdm import tqdm

from keras_robust import SGCE, GammaCE
from keras_robust.losses import fused_linear

SHAPE = (2048, 384, 32000)
SHORT = (16, 8, 300)
GAMMA_CE = GammaCE(gamma=1e-7, from_logits=True)


def data(shape: tuple[int, int, int]) -> tuple[list[np.ndarray], Any]:
    """Returns hidden states with a kernel, and labels."""
    positions, width, vocabulary = shape
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(positions, width)).astype("float32")
    kernel = rng.normal(size=(width, vocabulary)).astype("float32") / width**0.5
    y = keras.ops.convert_to_tensor(rng.integers(0, vocabulary, positions, "int32"))
    return [hidden, kernel], y


def costs(shape: tuple[int, int, int]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Returns functions of hidden states and kernel, and these two."""
    leaves, y = data(shape)
    ce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgce = SGCE(q=0.6, smoothing=0.1, from_logits=True)

    def unfused(loss: Any) -> Any:
        return lambda hidden, kernel: loss(y, keras.ops.matmul(hidden, kernel))

    def fused(loss: Any) -> Any:
        return lambda hidden, kernel: fused_linear(loss, y, hidden, kernel)

    named = {
        CE: unfused(ce),
        "GammaCE(1e-7)": unfused(GAMMA_CE),
        "fused GammaCE(1e-7)": fused(GAMMA_CE),
        "fused SGCE(.6, .1)": fused(sgce),
    }
    return named, leaves


def chunks(shape: tuple[int, int, int]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Returns the same of `fused_linear` by how many rows it takes at once.

    The first is what it takes by itself on a CPU, 4 million logits.
    """
    leaves, y = data(shape)
    own = max(1, (1 << 22) // shape[-1])

    def of(rows_at_once: int) -> Any:
        return lambda hidden, kernel: fused_linear(
            GAMMA_CE, y, hidden, kernel, rows_at_once=rows_at_once
        )

    sizes = (own, max(1, own // 2), 2 * own, 4 * own)
    return {f"{size} rows": of(size) for size in sizes}, leaves


if __name__ == "__main__":
    chosen = options(__doc__)
    shape = SHORT if chosen.short else SHAPE
    for question, make in {"large vocabulary": costs, "chunks": chunks}.items():
        made = []
        for mode in tqdm(MODES, desc=f"{question}, {BACKEND}"):
            named, leaves = make(shape)
            steps = {name: step(cost, mode, leaves) for name, cost in named.items()}
            seconds = in_turns(steps, rounds=2 if chosen.short else 7)
            about = {"mode": mode, "shape": " x ".join(map(str, shape))}
            made += rows(seconds, next(iter(named)), **about, dtype="float32")
        save(made, question, chosen.out)
