"""Is a robust loss as fast as Keras's own cross entropy?

Value and gradient with respect to the logits, through `Loss.__call__`, as Keras
runs it: jitted on JAX, with XLA and as a graph on TensorFlow, eagerly on PyTorch, in
float32.

    make bench            # or, of one backend
    KERAS_BACKEND=jax python benchmarks/losses.py
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from article import ArticleSGCE
from timing import BACKEND, OUT, in_turns, rows, save
from tqdm import tqdm

from keras_robust import GCE, SGCE, GammaCE

SHAPES = ((16384, 9), (8192, 100), (2048, 1000), (512, 32000))
MODES = {"jax": ("jit",), "tensorflow": ("xla", "graph"), "torch": ("eager",)}
CE = "SparseCategoricalCrossentropy"


def losses(ignored: bool) -> dict[str, Any]:
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


def data(shape: tuple[int, int], ignored: bool, weighted: bool) -> tuple[Any, ...]:
    """Returns logits, labels and weights, or None."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=shape).astype("float32")
    labels = rng.integers(0, shape[1], shape[0]).astype("int32")
    if ignored:
        labels[rng.random(shape[0]) < 0.3] = -100
    weight = rng.random(shape[0]).astype("float32") if weighted else None
    return logits, labels, weight


def step(loss: Any, mode: str, arrays: tuple[Any, ...]) -> Callable[[], Any]:
    """Returns a function that computes value and gradient and waits for them."""
    logits, labels, weight = (
        None if x is None else keras.ops.convert_to_tensor(x) for x in arrays
    )

    def cost(z: Any) -> Any:
        return loss(labels, z, weight)

    return partial(_STEPS[BACKEND], cost, mode)(logits)


def _jax_step(cost: Any, mode: str, logits: Any) -> Callable[[], Any]:
    import jax

    both = jax.jit(jax.value_and_grad(cost))
    return lambda: jax.block_until_ready(both(logits))


def _torch_step(cost: Any, mode: str, logits: Any) -> Callable[[], Any]:
    def both() -> Any:
        z = logits.detach().requires_grad_(True)
        cost(z).backward()
        return z.grad

    return both


def _tensorflow_step(cost: Any, mode: str, logits: Any) -> Callable[[], Any]:
    import tensorflow as tf

    @tf.function(jit_compile=mode == "xla")
    def both(z: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = cost(z)
        return value, tape.gradient(value, z)

    return lambda: both(logits)[0].numpy()


_STEPS = {"jax": _jax_step, "torch": _torch_step, "tensorflow": _tensorflow_step}


def cells(short: bool) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yields mode, shape, and what is special about the labels."""
    for mode in MODES[BACKEND]:
        for shape in ((64, 9), (8, 300)) if short else SHAPES:
            for labels in ("all", "30 % ignored", "weighted"):
                yield mode, shape, labels


def measure(short: bool, out: Path) -> None:
    """Measures and saves everything on this backend."""
    made = []
    for mode, shape, kind in tqdm(list(cells(short)), desc=BACKEND):
        ignored, weighted = kind == "30 % ignored", kind == "weighted"
        arrays = data(shape, ignored, weighted)
        steps = {n: step(loss, mode, arrays) for n, loss in losses(ignored).items()}
        seconds = in_turns(steps, rounds=2 if short else 21)
        about = {"mode": mode, "rows": shape[0], "classes": shape[1], "labels": kind}
        made += rows(seconds, CE, **about, dtype="float32")
    save(made, "losses", out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small, to see it works")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    measure(chosen.short, chosen.out)
