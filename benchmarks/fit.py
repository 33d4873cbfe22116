"""What does the calibration error cost in `fit`?

The CPU time of a step of a tiny model with the metric, beside the same without: a batch
of 128 rows, compiled as Keras does by default.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from timing import in_turns, options, rows, save

from keras_robust import ExpectedCalibrationError

BATCH, WIDTH, CLASSES = 128, 20, 10
NONE = "no metric"


def epoch(metrics: list[Any], steps: int) -> Callable[[], Any]:
    """Returns a function that fits a tiny model for one epoch of so many steps."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * steps, WIDTH)).astype("float32")
    y = rng.integers(0, CLASSES, BATCH * steps).astype("int32")
    model = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            keras.layers.Dense(32, "relu"),
            keras.layers.Dense(CLASSES, "softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=metrics)
    return lambda: model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)


if __name__ == "__main__":
    chosen = options(__doc__)
    steps = 4 if chosen.short else 500
    compared = {
        NONE: epoch([], steps),
        "SparseCategoricalAccuracy": epoch(
            [keras.metrics.SparseCategoricalAccuracy()], steps
        ),
        "ExpectedCalibrationError": epoch([ExpectedCalibrationError()], steps),
    }
    seconds = in_turns(compared, rounds=2 if chosen.short else 11)
    per_step = {name: taken / steps for name, taken in seconds.items()}
    about = {"mode": "fit", "shape": f"{BATCH} x {CLASSES}", "dtype": "float32"}
    save(rows(per_step, NONE, **about), "fit step", chosen.out)
