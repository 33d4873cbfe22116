"""How many operations is PyTorch sent for a loss and its gradient?

On a GPU each is a launch, whatever its size. Counted on the device "meta", which has
shapes and no numbers, and so at any size; and on a CPU for a small batch. The other
backends compile.
"""

from collections.abc import Callable
from typing import Any

import keras
from fit import ACCURACY, ECE
from losses import CE, losses, others
from timing import BACKEND, environment, options, save

from keras_robust import ExpectedCalibrationError

SMALL = (128, 10)
LARGE = (8192, 32000)


def counted(call: Callable[[], Any]) -> int:
    """Returns how many operations the second call sends."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.count += 1
            return function(*args, **(kwargs or {}))

    call()
    with Counter() as counter:
        call()
    return counter.count


def of_losses(device: str, shape: tuple[int, int]) -> dict[str, int]:
    """Returns the operations of each loss, value and gradient."""
    import torch
    from keras.src.backend.common import global_state

    logits = torch.randn(shape, device=device, requires_grad=True)
    labels = torch.zeros(shape[0], dtype=torch.int64, device=device)

    def call(loss: Any) -> None:
        logits.grad = None
        loss(labels, logits).backward()

    # Not by `keras.device`, under which Keras hands on tensors without a gradient.
    global_state.set_global_attribute("torch_device", torch.device(device))
    try:
        named = {**losses(), **others()}
        named.pop("article's SGCE")  # it reads values
        return {
            name: counted(lambda loss=loss: call(loss)) for name, loss in named.items()
        }
    finally:
        global_state.set_global_attribute("torch_device", None)


def of_metrics() -> dict[str, int]:
    """Returns the operations of an update of each metric."""
    prob = keras.ops.softmax(keras.random.normal(SMALL))
    labels = keras.ops.zeros(SMALL[0], dtype="int64")
    named = {
        ACCURACY: keras.metrics.SparseCategoricalAccuracy(),
        ECE: ExpectedCalibrationError(),
    }
    return {
        name: counted(lambda metric=metric: metric.update_state(labels, prob))
        for name, metric in named.items()
    }


def measure() -> list[dict[str, Any]]:
    """Returns a row for each loss, device and shape, and for each metric."""
    cells = [("cpu", SMALL), ("meta", SMALL), ("meta", LARGE)]
    found = [(*cell, CE, of_losses(*cell)) for cell in cells]
    found.append(("cpu", SMALL, ACCURACY, of_metrics()))
    return [
        {
            "name": name,
            "reference": reference,
            "mode": device,
            "shape": " x ".join(map(str, shape)),
            "operations": count,
            "ratio": count / counts[reference],
            **environment(),
        }
        for device, shape, reference, counts in found
        for name, count in counts.items()
    ]


if __name__ == "__main__":
    chosen = options(__doc__)
    if BACKEND == "torch":
        save(measure(), "operations", chosen.out)
