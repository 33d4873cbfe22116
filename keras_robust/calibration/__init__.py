"""Calibration: measured from predictions, shown, and mended."""

from keras_robust.calibration._analytic import analytic_calibrator
from keras_robust.calibration._binning import bin_predictions
from keras_robust.calibration._bins import ReliabilityBins
from keras_robust.calibration._calibration_report import calibration_report
from keras_robust.calibration._callback import ReliabilityHistory
from keras_robust.calibration._classwise import bin_classwise, classwise_error
from keras_robust.calibration._comparison import ReliabilityComparison
from keras_robust.calibration._corp import BrierDecomposition, brier_decomposition
from keras_robust.calibration._display import ReliabilityDisplay
from keras_robust.calibration._isotonic import IsotonicCalibration
from keras_robust.calibration._multilabel import bin_multilabel, multilabel_error
from keras_robust.calibration._platt import PlattScaling
from keras_robust.calibration._report import CalibrationReport
from keras_robust.calibration._risk_coverage import area_under_risk_coverage
from keras_robust.calibration._scores import brier_score, negative_log_likelihood
from keras_robust.calibration._smooth_ece import smooth_ece
from keras_robust.calibration._temperature import TemperatureScaling, temperature_scale
from keras_robust.calibration._temperature_layer import Temperature
from keras_robust.calibration._template_plane import TemplatePlane
from keras_robust.calibration._uncertainty import NullValue
from keras_robust.calibration._vector import VectorScaling

__all__ = [
    "BrierDecomposition",
    "CalibrationReport",
    "IsotonicCalibration",
    "NullValue",
    "PlattScaling",
    "ReliabilityBins",
    "ReliabilityComparison",
    "ReliabilityDisplay",
    "ReliabilityHistory",
    "Temperature",
    "TemperatureScaling",
    "TemplatePlane",
    "VectorScaling",
    "analytic_calibrator",
    "area_under_risk_coverage",
    "bin_classwise",
    "bin_multilabel",
    "bin_predictions",
    "brier_decomposition",
    "brier_score",
    "calibration_report",
    "classwise_error",
    "multilabel_error",
    "negative_log_likelihood",
    "smooth_ece",
    "temperature_scale",
]
