"""Losses, metrics and calibration for Keras 3 models trained on noisy labels."""

from keras_robust import calibration, callbacks, losses, metrics, noise
from keras_robust.callbacks import check_batch
from keras_robust.losses import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE
from keras_robust.metrics import ExpectedCalibrationError, MaximumCalibrationError

__version__ = "0.1.0"

__all__ = [
    "GCE",
    "NCERCE",
    "SCE",
    "SGCE",
    "ExpectedCalibrationError",
    "ForwardCorrection",
    "GammaCE",
    "MaximumCalibrationError",
    "calibration",
    "callbacks",
    "check_batch",
    "losses",
    "metrics",
    "noise",
]
