"""Calibration: measured from predictions, shown, and mended."""

from keras_robust.calibration._bins.binning import bin_predictions
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.classwise import bin_classwise, classwise_error
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._bins.multilabel import bin_multilabel, multilabel_error
from keras_robust.calibration._deciding.acceptance import Acceptance
from keras_robust.calibration._deciding.acceptance_threshold import AcceptanceThreshold
from keras_robust.calibration._deciding.entity_predictions import (
    EntityPredictions,
    entity_predictions,
)
from keras_robust.calibration._deciding.prediction_set_layer import PredictionSetLayer
from keras_robust.calibration._deciding.prediction_sets import PredictionSets
from keras_robust.calibration._deciding.set_coverage import SetCoverage
from keras_robust.calibration._display.comparison import ReliabilityComparison
from keras_robust.calibration._display.display import ReliabilityDisplay
from keras_robust.calibration._recalibration.analytic import AnalyticCalibration
from keras_robust.calibration._recalibration.choose_by_likelihood import (
    LikelihoodChoice,
    choose_by_likelihood,
)
from keras_robust.calibration._recalibration.isotonic import IsotonicCalibration
from keras_robust.calibration._recalibration.platt import PlattScaling
from keras_robust.calibration._recalibration.scale_and_bias import ScaleAndBias
from keras_robust.calibration._recalibration.temperature import (
    TemperatureScaling,
    temperature_scale,
)
from keras_robust.calibration._recalibration.temperature_layer import Temperature
from keras_robust.calibration._recalibration.vector import VectorScaling
from keras_robust.calibration._report.calibration_report import calibration_report
from keras_robust.calibration._report.report import CalibrationReport
from keras_robust.calibration._scores.corp import (
    BrierDecomposition,
    brier_decomposition,
)
from keras_robust.calibration._scores.expected_calibration_error import (
    expected_calibration_error,
)
from keras_robust.calibration._scores.proper import brier_score, negative_log_likelihood
from keras_robust.calibration._scores.risk_coverage import area_under_risk_coverage
from keras_robust.calibration._scores.smooth_ece import smooth_ece

__all__ = [
    "Acceptance",
    "AcceptanceThreshold",
    "AnalyticCalibration",
    "BrierDecomposition",
    "CalibrationReport",
    "EntityPredictions",
    "IsotonicCalibration",
    "LikelihoodChoice",
    "MeasuredValue",
    "PlattScaling",
    "PredictionSetLayer",
    "PredictionSets",
    "ReliabilityBins",
    "ReliabilityComparison",
    "ReliabilityDisplay",
    "ScaleAndBias",
    "SetCoverage",
    "Temperature",
    "TemperatureScaling",
    "VectorScaling",
    "area_under_risk_coverage",
    "bin_classwise",
    "bin_multilabel",
    "bin_predictions",
    "brier_decomposition",
    "brier_score",
    "calibration_report",
    "choose_by_likelihood",
    "classwise_error",
    "entity_predictions",
    "expected_calibration_error",
    "multilabel_error",
    "negative_log_likelihood",
    "smooth_ece",
    "temperature_scale",
]
