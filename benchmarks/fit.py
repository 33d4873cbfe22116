"""What do losses and metrics cost in `fit`?

The CPU time of a step of a small model, 128 rows at a time, compiled as Keras does: a
robust loss beside cross entropy, the calibration error beside the accuracy.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from losses import CE
from steps import MODES
from timing import in_turns, options, rounds_of, rows, save
from tqdm import tqdm

from keras_robust import GCE, SGCE, ExpectedCalibrationError, GammaCE

BATCH, WIDTH, CLASSES = 128, 20, 10
ACCURACY, ECE = "SparseCategoricalAccuracy", "ExpectedCalibrationError"


def compiled() -> dict[str, tuple[Any, list[Any]]]:
    """Returns losses with metrics, as they are given to `compile`."""
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    return {
        CE: (cross_entropy, []),
        "GCE(.6)": (GCE(q=0.6, from_logits=True), []),
        "GammaCE(.1)": (GammaCE(gamma=0.1, from_logits=True), []),
        "SGCE(.6, .1)": (SGCE(q=0.6, smoothing=0.1, from_logits=True), []),
        ACCURACY: (cross_entropy, [accuracy]),
        ECE: (cross_entropy, [ExpectedCalibrationError(from_logits=True)]),
    }


def epoch(loss: Any, metrics: list[Any], mode: str, steps: int) -> Callable[[], Any]:
    """Returns a function that fits a small model for one epoch of so many steps."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * steps, WIDTH)).astype("float32")
    y = rng.integers(0, CLASSES, BATCH * steps).astype("int32")
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers])
    jit = {"xla": True, "graph": False}.get(mode, "auto")
    model.compile("adam", loss, metrics=metrics, jit_compile=jit)
    return lambda: model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)


if __name__ == "__main__":
    chosen = options(__doc__)
    steps = 4 if chosen.short else 300
    made = []
    for mode in tqdm(MODES, desc="fit"):
        epochs = {
            name: epoch(*parts, mode, steps) for name, parts in compiled().items()
        }
        seconds = in_turns(epochs, rounds=rounds_of(chosen, 15))
        per_step = {name: taken / steps for name, taken in seconds.items()}
        about = {"mode": mode, "shape": f"{BATCH} x {CLASSES}", "dtype": "float32"}
        accuracy = {ACCURACY: per_step[ACCURACY], ECE: per_step.pop(ECE)}
        made += rows(per_step, CE, **about)
        made += rows(accuracy, ACCURACY, **about)[1:]
    save(made, "fit step", chosen.out)
