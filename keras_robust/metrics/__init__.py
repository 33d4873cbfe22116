"""Calibration metrics that stream, exact at any scale."""

from keras_robust.metrics._expected_calibration_error import ExpectedCalibrationError
from keras_robust.metrics._maximum_calibration_error import MaximumCalibrationError

__all__ = ["ExpectedCalibrationError", "MaximumCalibrationError"]
