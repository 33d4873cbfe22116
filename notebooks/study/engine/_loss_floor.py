"""A floor under a loss, that labels are not learnt by heart: flooding."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust.losses import RobustLoss


class LossFloor(keras.losses.Loss):
    """|L - B| + B of the batch mean L: below B, steps go up again.

    B is the mean of `loss` that even noise of `rate` leaves to a model that knows the
    true class of every row, and no more.

    Reference:
        Ishida et al., "Do We Need Zero Training Loss After Achieving Zero Training
        Error?", ICML 2020; Toner and Storkey, "Label Noise: Correcting the
        Forward-Correction", 2023.
    """

    def __init__(self, loss: RobustLoss, rate: float, num_classes: int) -> None:
        super().__init__(name="loss_floor")
        self.loss = loss
        self.floor = least_mean(loss, rate, num_classes)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        mean = self.loss(y_true, y_pred, sample_weight)
        return ops.abs(mean - self.floor) + self.floor


def least_mean(loss: RobustLoss, rate: float, num_classes: int) -> float:
    """Returns the least expected loss, on logits, of a class under even noise."""
    posterior = np.full(num_classes, rate / (num_classes - 1))
    posterior[0] = 1 - rate
    best = np.maximum(loss.minimizer(posterior), np.finfo("float32").tiny)
    targets = posterior[None].astype("float32")
    return float(loss(targets, np.log(best[None]).astype("float32")))
