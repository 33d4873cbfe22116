"""Calibration: measured from predictions, and shown."""

from keras_robust.calibration._binning import bin_predictions
from keras_robust.calibration._bins import ReliabilityBins
from keras_robust.calibration._display import ReliabilityDisplay

__all__ = ["ReliabilityBins", "ReliabilityDisplay", "bin_predictions"]
