"""Calibration metrics that stream, exact at any scale."""

from keras_robust.metrics._classwise_calibration_error import ClasswiseCalibrationError
from keras_robust.metrics._clean_accuracy import CleanAccuracy
from keras_robust.metrics._expected_calibration_error import ExpectedCalibrationError
from keras_robust.metrics._maximum_calibration_error import MaximumCalibrationError
from keras_robust.metrics._multilabel_calibration_error import (
    MultilabelCalibrationError,
)

__all__ = [
    "ClasswiseCalibrationError",
    "CleanAccuracy",
    "ExpectedCalibrationError",
    "MaximumCalibrationError",
    "MultilabelCalibrationError",
]
