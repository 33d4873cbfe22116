"""Is a robust loss as fast as Keras's own cross entropy?

Value and gradient with respect to the logits, through `Loss.__call__`, in float32.

    make bench            # or, of one backend
    KERAS_BACKEND=jax python benchmarks/losses.py
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from article import ArticleSGCE
from steps import BACKEND, MODES, step
from timing import in_turns, options, rows, save
from tqdm import tqdm

from keras_robust import GCE, SGCE, GammaCE

SHAPES = ((16384, 9), (8192, 100), (2048, 1000), (512, 32000))
CE = "SparseCategoricalCrossentropy"


def losses(ignored: bool = False) -> dict[str, Any]:
    """Returns what is compared; the first is the reference."""
    of_keras = {"from_logits": True, "ignore_class": -100 if ignored else None}
    made = {
        CE: keras.losses.SparseCategoricalCrossentropy(**of_keras),
        "GCE(.6)": GCE(q=0.6, from_logits=True),
        "GammaCE(.1)": GammaCE(gamma=0.1, from_logits=True),
        "GammaCE(.1, b=.2)": GammaCE(gamma=0.1, b=0.2, from_logits=True),
        "SGCE(.6, .1)": SGCE(q=0.6, smoothing=0.1, from_logits=True),
    }
    if BACKEND == "torch":
        made["article's SGCE"] = ArticleSGCE(q=0.6, smoothing=0.1)
    return made


def data(
    shape: tuple[int, int], ignored: bool = False, weighted: bool = False
) -> tuple[Any, ...]:
    """Returns logits, labels and weights, or None."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=shape).astype("float32")
    labels = rng.integers(0, shape[1], shape[0]).astype("int32")
    if ignored:
        labels[rng.random(shape[0]) < 0.3] = -100
    weight = rng.random(shape[0]).astype("float32") if weighted else None
    return logits, labels, weight


def loss_step(loss: Any, mode: str, arrays: tuple[Any, ...]) -> Any:
    """Returns a function that computes value and gradient by the logits."""
    logits, *rest = arrays
    labels, weight = (
        None if x is None else keras.ops.convert_to_tensor(x) for x in rest
    )
    return step(lambda z: loss(labels, z, weight), mode, [logits])


def cells(short: bool) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yields mode, shape, and what is special about the labels."""
    for mode in MODES:
        for shape in ((64, 9), (8, 300)) if short else SHAPES:
            for labels in ("all", "30 % ignored", "weighted"):
                yield mode, shape, labels


if __name__ == "__main__":
    chosen = options(__doc__)
    made = []
    for mode, shape, kind in tqdm(list(cells(chosen.short)), desc=f"losses, {BACKEND}"):
        ignored, weighted = kind == "30 % ignored", kind == "weighted"
        arrays = data(shape, ignored, weighted)
        steps = {
            name: loss_step(loss, mode, arrays)
            for name, loss in losses(ignored).items()
        }
        seconds = in_turns(steps, rounds=2 if chosen.short else 21)
        about = {"mode": mode, "shape": f"{shape[0]} x {shape[1]}", "labels": kind}
        made += rows(seconds, CE, **about, dtype="float32")
    save(made, "losses", chosen.out)
