"""Is a robust loss as fast as Keras's own cross entropy?

Value and gradient with respect to the logits, through `Loss.__call__`, in float32.

    make bench            # or, of one backend
    KERAS_BACKEND=jax python benchmarks/losses.py
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from article import ArticleSGCE
from steps import BACKEND, MODES, step
from timing import in_turns, options, rounds_of, rows, save
from tqdm import tqdm

from keras_robust import GCE, NCERCE, SCE, SGCE, GammaCE

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


def others() -> dict[str, Any]:
    """Returns losses that are here to compare with."""
    return {
        "GCE(.7, cutoff=.5)": GCE(q=0.7, cutoff=0.5, from_logits=True),
        "SCE(.1, 1)": SCE(alpha=0.1, beta=1.0, from_logits=True),
        "NCERCE(1, 1)": NCERCE(alpha=1.0, beta=1.0, from_logits=True),
    }


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


def measured(
    mode: str, shape: tuple[int, int], kinds: Sequence[str], rounds: int
) -> list[dict[str, Any]]:
    """Returns the rows of a shape.

    The losses take turns for each kind of labels, for `ratio`, and the kinds of labels
    for each loss, for `over_all`.
    """
    steps = {kind: _steps(mode, shape, kind) for kind in kinds}
    over = {}
    for name in steps["all"]:
        of_kinds = {kind: named[name] for kind, named in steps.items()}
        taken = in_turns(of_kinds, rounds=-(-rounds // 3))
        for kind in kinds:
            over[kind, name] = float(np.median(taken[kind] / taken["all"]))
    about = {"mode": mode, "shape": " x ".join(map(str, shape)), "dtype": "float32"}
    made = []
    for kind, named in steps.items():
        taken = in_turns(named, rounds=rounds)
        found = rows(taken, CE, **about, labels=kind)
        made += [{**row, "over_all": over[kind, row["name"]]} for row in found]
    return made


def _steps(mode: str, shape: tuple[int, int], kind: str) -> dict[str, Any]:
    ignored = kind == "30 % ignored"
    arrays = data(shape, ignored, kind == "weighted")
    return {
        name: loss_step(loss, mode, arrays) for name, loss in losses(ignored).items()
    }


def compare(
    question: str,
    losses_of: Callable[[int], dict[str, Any]],
    shapes: Sequence[tuple[int, int]],
    chosen: argparse.Namespace,
) -> None:
    """Measures losses that depend on the number of classes, the first the reference."""
    shapes = ((64, 9), (8, 300)) if chosen.short else shapes
    made, cells = [], [(mode, shape) for mode in MODES for shape in shapes]
    for mode, shape in tqdm(cells, desc=f"{question}, {BACKEND}"):
        named, arrays = losses_of(shape[1]), data(shape)
        steps = {name: loss_step(loss, mode, arrays) for name, loss in named.items()}
        seconds = in_turns(steps, rounds=2 if chosen.short else 21)
        about = {"mode": mode, "shape": f"{shape[0]} x {shape[1]}", "labels": "all"}
        made += rows(seconds, next(iter(named)), **about, dtype="float32")
    save(made, question, chosen.out)


if __name__ == "__main__":
    chosen = options(__doc__)
    shapes, kinds = SHAPES, ("all", "30 % ignored", "weighted")
    if chosen.quick:
        shapes, kinds = SHAPES[::2], kinds[:1]
    if chosen.short:
        shapes = ((64, 9), (8, 300))
    made, cells = [], [(mode, shape) for mode in MODES for shape in shapes]
    for mode, shape in tqdm(cells, desc=f"losses, {BACKEND}"):
        made += measured(mode, shape, kinds, rounds_of(chosen, 21))
    save(made, "losses", chosen.out)
