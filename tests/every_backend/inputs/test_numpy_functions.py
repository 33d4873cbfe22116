"""What computes in NumPy takes this backend's tensors, and gives the same for them."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from backend import BACKEND

from keras_robust import GCE, calibration, noise

N, K = 60, 3
RNG = np.random.default_rng(0)
PROB = RNG.dirichlet(np.ones(K), N).astype("float32")
# Class ids, predictions, labels that apply or not, sentences.
DATA = {
    "y": (PROB.cumsum(-1) < RNG.uniform(size=(N, 1))).sum(-1),
    "prob": PROB,
    "yes": RNG.integers(0, 2, (N, K)),
    "tags": np.resize([0, 1, 2, 0, 0, 1], (4, 6)),
    "matrix": noise.symmetric_matrix(K, 0.2).astype("float32"),
}
NAMES = ["O", "B-PER", "I-PER"]


def table(bins):
    return [bins.count, bins.confidence, bins.accuracy]


def tables(bins):
    return [column for one in bins for column in table(one)]


def noisy(made):
    return [*np.asarray(made.labels), made.matrix, made.rate]


def fitted(recalibration, y, prob):
    return [recalibration.fit(y, prob).transform(prob)]


def report(y, prob):
    made = calibration.calibration_report(y, prob, num_resamples=20)
    return [made[measure].value for measure in made.measures]


def accepted(y, prob, matrix):
    made = calibration.AcceptanceThreshold(0.2, noise_matrix=matrix).fit(y, prob)
    return [made.threshold_, made.lower_, made.accept(prob)]


# Each name with a call of it that returns numbers.
CALLS = {
    "AcceptanceThreshold": lambda d: accepted(d.y, d.prob, d.matrix),
    "AnalyticCalibration": lambda d: [
        calibration.AnalyticCalibration(GCE(0.4), d.matrix).transform(d.prob)
    ],
    "IsotonicCalibration": lambda d: fitted(
        calibration.IsotonicCalibration(), d.y, d.prob
    ),
    "PlattScaling": lambda d: fitted(
        calibration.PlattScaling(), d.yes[:, 0], d.prob[:, :1]
    ),
    "PredictionSets": lambda d: [
        calibration.PredictionSets(0.5, noise_matrix=d.matrix)
        .fit(d.y, d.prob, groups=d.y)
        .transform(d.prob)
    ],
    "TemperatureScaling": lambda d: fitted(
        calibration.TemperatureScaling(), d.y, d.prob
    ),
    "VectorScaling": lambda d: fitted(calibration.VectorScaling(), d.y, d.prob),
    "ReliabilityComparison": lambda d: tables(
        calibration.ReliabilityComparison.from_predictions(
            d.y, {"one": d.prob, "other": d.prob}
        ).bins.values()
    ),
    "ReliabilityDisplay": lambda d: table(
        calibration.ReliabilityDisplay.from_predictions(d.y, d.prob).bins
    ),
    "area_under_risk_coverage": lambda d: [
        calibration.area_under_risk_coverage(d.y, d.prob)
    ],
    "bin_classwise": lambda d: tables(calibration.bin_classwise(d.y, d.prob)),
    "bin_multilabel": lambda d: tables(calibration.bin_multilabel(d.yes, d.prob)),
    "bin_predictions": lambda d: [
        *table(calibration.bin_predictions(d.y, d.prob)),
        *table(calibration.bin_predictions(d.y, d.prob, noise_matrix=d.matrix)),
    ],
    "brier_decomposition": lambda d: list(calibration.brier_decomposition(d.y, d.prob)),
    "brier_score": lambda d: [
        calibration.brier_score(d.y, d.prob, noise_matrix=matrix)
        for matrix in (None, d.matrix)
    ],
    "calibration_report": lambda d: report(d.y, d.prob),
    "choose_by_likelihood": lambda d: list(
        calibration.choose_by_likelihood(
            d.y, {"one": d.prob}, folds=2, groups=d.y
        ).nll.values()
    ),
    "entity_predictions": lambda d: [
        calibration.entity_predictions(
            d.y, d.prob, tags=NAMES, groups=d.y, confidence="product"
        ).confidence
    ],
    "expected_calibration_error": lambda d: [
        calibration.expected_calibration_error(d.y, d.prob, noise_matrix=matrix)
        for matrix in (None, d.matrix)
    ],
    "negative_log_likelihood": lambda d: [
        calibration.negative_log_likelihood(d.y, d.prob, noise_matrix=matrix)
        for matrix in (None, d.matrix)
    ],
    "smooth_ece": lambda d: [calibration.smooth_ece(d.y, d.prob)],
    "temperature_scale": lambda d: [calibration.temperature_scale(d.prob, 2.0)],
    "LabelPosterior": lambda d: [
        noise.LabelPosterior(d.matrix).fit(d.y, d.y, d.prob).transform(d.y, d.prob)
    ],
    "SpanSmoothing": lambda d: [noise.SpanSmoothing(K)(d.tags)],
    "corrupt_spans": lambda d: noisy(
        noise.corrupt_spans(d.tags, NAMES, drop=0.5, seed=1)
    ),
    "estimate_matrix": lambda d: [noise.estimate_matrix(d.y, d.prob)],
    "estimate_rate": lambda d: [noise.estimate_rate(d.y, d.prob)],
    "flip_labels": lambda d: noisy(noise.flip_labels(d.y, d.matrix, seed=1)),
    "matrix_from_annotators": lambda d: [
        noise.matrix_from_annotators(d.yes, 2).soft_labels
    ],
    "matrix_from_pairs": lambda d: [
        noise.matrix_from_pairs(d.yes[:, 0], d.yes[:, 1], 2).matrix
    ],
    "rows_to_check": lambda d: list(
        noise.rows_to_check(d.y, 20, seed=0, y_prob=d.prob)
    ),
}
# They are given numbers, or what one of those above returned.
TAKE_NO_TENSOR = {
    "AnnotatorMatrices",
    "BrierDecomposition",
    "CalibrationReport",
    "EntityPredictions",
    "LikelihoodChoice",
    "MatrixEstimate",
    "MeasuredValue",
    "NoisyLabels",
    "RateEstimate",
    "ReliabilityBins",
    "RowsToCheck",
    "SetCoverage",
    "classwise_error",
    "gamma_from_noise_rate",
    "multilabel_error",
    "omission_matrix",
    "pair_matrix",
    "symmetric_matrix",
}
LAYERS = {"Acceptance", "PredictionSetLayer", "ScaleAndBias", "Temperature"}


def tensor(values):
    """The values as a tensor of this backend; on PyTorch one that wants a gradient."""
    made = keras.ops.convert_to_tensor(values)
    if BACKEND == "torch" and made.is_floating_point():
        made.requires_grad_()
    return made


@pytest.mark.parametrize("name", CALLS)
def test_tensors_give_what_arrays_give(name):
    if name == "matrix_from_annotators" and BACKEND != "torch":
        pytest.skip("crowd-kit takes twenty seconds to import: on one backend")
    found = CALLS[name](SimpleNamespace(**{k: tensor(v) for k, v in DATA.items()}))
    expected = CALLS[name](SimpleNamespace(**DATA))
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    assert any(np.any(np.asarray(x) != 0) for x in expected)


def test_every_public_name_of_calibration_and_noise_is_called_or_takes_no_tensor():
    public = {*calibration.__all__, *noise.__all__}
    assert public == {*CALLS} | TAKE_NO_TENSOR | LAYERS
