"""Is the calibration error as fast to update as torchmetrics' own?

One update with probabilities and labels, jitted as Keras does it. torchmetrics keeps
every confidence and bins them all in `compute`; here they are binned at once, so the
time of an update with its result is compared too. Without torchmetrics' validation.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
import torchmetrics
from steps import BACKEND, MODES
from timing import in_turns, options, rounds_of, rows, save
from tqdm import tqdm

from keras_robust import ExpectedCalibrationError

SHAPES = ((1_000_000, 10), (100_000, 1000))
PEER = "torchmetrics MulticlassCalibrationError"
OURS = "ExpectedCalibrationError"


def data(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities and labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=shape).astype("float32")
    prob = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    return prob, rng.integers(0, shape[1], shape[0]).astype("int32")


def theirs(prob: np.ndarray, labels: np.ndarray, with_result: bool) -> Any:
    """Returns a function that updates torchmetrics' metric with the data."""
    prob, labels = torch.from_numpy(prob), torch.from_numpy(labels).long()
    metric = torchmetrics.classification.MulticlassCalibrationError(
        num_classes=prob.shape[1], n_bins=15, validate_args=False
    )

    def update() -> Any:
        metric.reset()
        metric.update(prob, labels)
        return metric.compute() if with_result else None

    return update


def ours(
    prob: np.ndarray, labels: np.ndarray, mode: str, with_result: bool
) -> Callable[[], Any]:
    """Returns a function that updates our metric with the data."""
    metric = ExpectedCalibrationError(num_bins=15)
    prob, labels = (keras.ops.convert_to_tensor(x) for x in (prob, labels))
    return _MAKERS[BACKEND](metric, prob, labels, mode, with_result)


def _jax_update(metric: Any, prob: Any, labels: Any, mode: str, result: bool) -> Any:
    import jax

    state = [v.value for v in metric.variables]

    @jax.jit
    def update(state: Any, prob: Any, labels: Any) -> Any:
        state = metric.stateless_update_state(state, labels, prob)
        return state, metric.stateless_result(state) if result else 0.0

    return lambda: jax.block_until_ready(update(state, prob, labels))


def _tensorflow_update(
    metric: Any, prob: Any, labels: Any, mode: str, result: bool
) -> Any:
    import tensorflow as tf

    @tf.function(jit_compile=mode == "xla")
    def update(prob: Any, labels: Any) -> Any:
        metric.update_state(labels, prob)
        return metric.result() if result else metric.variables[0]

    return lambda: update(prob, labels).numpy()


def _torch_update(metric: Any, prob: Any, labels: Any, mode: str, result: bool) -> Any:
    def update() -> Any:
        with torch.no_grad():
            metric.update_state(labels, prob)
            return metric.result() if result else None

    return update


_MAKERS = {"jax": _jax_update, "tensorflow": _tensorflow_update, "torch": _torch_update}


if __name__ == "__main__":
    chosen = options(__doc__)
    torch.set_num_threads(1)
    made = []
    shapes = ((1000, 10), (100, 1000)) if chosen.short else SHAPES
    results = (0,) if chosen.quick else (0, 1)
    cells = [(mode, shape, r) for mode in MODES for shape in shapes for r in results]
    for mode, shape, with_result in tqdm(cells, desc=f"metrics, {BACKEND}"):
        arrays = data(shape)
        updates = {
            PEER: theirs(*arrays, with_result),
            OURS: ours(*arrays, mode, with_result),
        }
        seconds = in_turns(updates, rounds=rounds_of(chosen, 11))
        what = "update and result" if with_result else "update"
        about = {"mode": mode, "shape": " x ".join(map(str, shape)), "labels": what}
        made += rows(seconds, PEER, **about, dtype="float32")
    save(made, "metrics", chosen.out)
