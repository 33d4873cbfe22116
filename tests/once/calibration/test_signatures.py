"""One manner of calling: names, order and defaults of arguments."""

import inspect
import re

import numpy as np
import pytest

from keras_robust import GCE, calibration, metrics
from keras_robust.noise import symmetric_matrix

RNG = np.random.default_rng(3)
PROB = RNG.dirichlet(np.ones(3), 20)
LABELS = RNG.integers(0, 3, 20)
OF_LABELS = {
    "area_under_risk_coverage": calibration.area_under_risk_coverage,
    "bin_classwise": calibration.bin_classwise,
    "bin_predictions": calibration.bin_predictions,
    "brier_decomposition": calibration.brier_decomposition,
    "brier_score": calibration.brier_score,
    "calibration_report": calibration.calibration_report,
    "expected_calibration_error": calibration.expected_calibration_error,
    "negative_log_likelihood": calibration.negative_log_likelihood,
    "smooth_ece": calibration.smooth_ece,
    "AcceptanceThreshold": calibration.AcceptanceThreshold().fit,
    "IsotonicCalibration": calibration.IsotonicCalibration().fit,
    "PredictionSets": calibration.PredictionSets().fit,
    "TemperatureScaling": calibration.TemperatureScaling().fit,
    "VectorScaling": calibration.VectorScaling().fit,
}
# What may be given by position: what a call is about.
MAIN = {
    "Acceptance": ("threshold",),
    "AcceptanceThreshold": ("accuracy",),
    "AnalyticCalibration": ("loss", "noise_matrix"),
    "ClasswiseCalibrationError": ("num_classes",),
    "CleanAccuracy": ("noise_matrix",),
    "ExpectedCalibrationError": ("num_bins",),
    "IsotonicCalibration": (),
    "MaximumCalibrationError": ("num_bins",),
    "MultilabelCalibrationError": ("num_labels",),
    "PlattScaling": (),
    "PredictionSetLayer": ("threshold",),
    "PredictionSets": ("coverage",),
    "ReliabilityBins": ("edges", "count", "confidence", "accuracy"),
    "ReliabilityComparison": ("bins",),
    "ReliabilityDisplay": ("bins",),
    "ScaleAndBias": ("scale", "bias"),
    "Temperature": ("temperature",),
    "TemperatureScaling": (),
    "VectorScaling": (),
    "choose_by_likelihood": ("y_true", "candidates"),
    "classwise_error": ("bins",),
    "multilabel_error": ("bins",),
    "temperature_scale": ("y_prob", "temperature"),
}
RESULTS = {
    "BrierDecomposition",
    "CalibrationReport",
    "EntityPredictions",
    "LikelihoodChoice",
    "MeasuredValue",
    "SetCoverage",
}


def public():
    return {
        name: getattr(module, name)
        for module in (calibration, metrics)
        for name in module.__all__
        if name not in RESULTS
    }


@pytest.mark.parametrize("name", public())
def test_all_but_the_main_arguments_are_given_by_name(name):
    parameters = inspect.signature(public()[name]).parameters.values()
    positional = (p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD)
    assert tuple(positional) == MAIN.get(name, ("y_true", "y_prob"))


@pytest.mark.parametrize("name", public())
def test_from_logits_is_false_by_default(name):
    parameters = inspect.signature(public()[name]).parameters
    assert "from_logits" not in parameters or parameters["from_logits"].default is False


@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.astype("float32")])
def test_labels_after_predictions_are_an_error_that_says_so(name, labels):
    expected = (
        f"{name}: `y_true` must be the labels. Received: y_true.shape=(20, 3), "
        f"y_prob.shape={labels.shape}. Swap them: the order is (y_true, y_prob), as in "
        "scikit-learn."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        OF_LABELS[name](PROB, labels)


def test_labels_after_the_probabilities_of_one_sigmoid_are_an_error_that_says_so():
    for y_true, y_prob in [(PROB[:, :1], LABELS % 2), (PROB[0], 1)]:
        with pytest.raises(ValueError, match="Swap them: the order is"):
            calibration.PlattScaling().fit(y_true, y_prob)
    # Here the labels come first, and the last axis is missing.
    with pytest.raises(ValueError, match="needs a last axis of 1"):
        calibration.PlattScaling().fit(LABELS[:, None] % 2, PROB[:, 0])


def test_every_recalibration_maps_probabilities_by_default():
    logits = np.log(PROB)
    for cls in (
        calibration.TemperatureScaling,
        calibration.VectorScaling,
        calibration.IsotonicCalibration,
    ):
        by_prob = cls().fit(LABELS, PROB).transform(PROB)
        by_logits = cls(from_logits=True).fit(LABELS, logits).transform(logits)
        np.testing.assert_allclose(by_prob, by_logits, rtol=1e-6, atol=1e-12)
    for matrix in (None, symmetric_matrix(3, 0.2)):
        by_prob = calibration.AnalyticCalibration(GCE(q=0.4), matrix)
        by_logits = calibration.AnalyticCalibration(
            GCE(q=0.4), matrix, from_logits=True
        )
        expected = by_logits.transform(logits)
        np.testing.assert_allclose(by_prob.transform(PROB), expected, rtol=1e-6)
