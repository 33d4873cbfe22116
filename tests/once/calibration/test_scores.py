"""Smooth ECE, proper scores, their decomposition, and the risk-coverage curve."""

import itertools

import numpy as np
import pytest
import relplot
from sklearn import metrics

from keras_robust.calibration import (
    area_under_risk_coverage,
    bin_predictions,
    brier_decomposition,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    smooth_ece,
)

RNG = np.random.default_rng(8)
LOGITS = RNG.normal(size=(400, 5)) * 2
PROB = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
LABELS = RNG.integers(0, 5, 400)
TOP, RIGHT = PROB.max(-1), (PROB.argmax(-1) == LABELS).astype(float)
ALL = [
    expected_calibration_error,
    smooth_ece,
    brier_score,
    negative_log_likelihood,
    area_under_risk_coverage,
    brier_decomposition,
]


def binary(rows, kind, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(8, 1, rows) if kind == "sure" else rng.random(rows)
    if kind == "ends":
        p[::3], p[1::5] = 1.0, 0.0
    chance = p if kind == "calibrated" else np.clip(p + 0.2 * np.sin(6 * p), 0, 1)
    return (rng.random(rows) < chance).astype(int), p


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_the_expected_calibration_error_is_read_off_its_bins(norm, binning):
    how = {"num_bins": 9, "binning": binning, "from_logits": True}
    bins = bin_predictions(LABELS, LOGITS, **how)
    error = expected_calibration_error(LABELS, LOGITS, norm=norm, **how)
    assert error == bins.ece(norm) > 0.1
    y, p = binary(300, "off")
    bins = bin_predictions(y, p[:, None], notion="positive")
    error = expected_calibration_error(y, p[:, None], notion="positive", norm=norm)
    assert error == bins.ece(norm) > 0.02


def test_bad_arguments_of_the_expected_calibration_error_are_named():
    for name, bad in (("norm", "l3"), ("binning", "quantile"), ("num_bins", 0)):
        match = f"expected_calibration_error: `{name}` must be"
        with pytest.raises(ValueError, match=match):
            expected_calibration_error(LABELS, PROB, **{name: bad})


@pytest.mark.parametrize("kind", ["calibrated", "off", "sure", "ends"])
@pytest.mark.parametrize("rows", [1, 8, 300, 100_000])
def test_smooth_ece_is_relplots(rows, kind):
    y, p = binary(rows, kind)
    expected = relplot.smECE(p, y)
    assert smooth_ece(y, p[:, None], notion="positive") == pytest.approx(
        expected, abs=1e-6, rel=1e-6
    )


def test_smooth_ece_of_the_top_label_is_relplots():
    assert smooth_ece(LABELS, LOGITS, from_logits=True) == pytest.approx(
        relplot.smECE(TOP, RIGHT), rel=1e-6
    )


def test_smooth_ece_of_a_narrow_kernel_is_relplots():
    # 10^6 calibrated rows have a bandwidth below .01, where the grids get finer.
    y, p = binary(1_000_000, "calibrated")
    expected, width = relplot.smECE(p, y, return_width=True)
    assert width < 0.01
    assert smooth_ece(y, p[:, None], notion="positive") == pytest.approx(
        expected, rel=1e-6
    )


def test_a_single_sure_mistake_costs_1():
    # relplot: 1 minus what the kernel smears beyond its search grid.
    assert smooth_ece([0], [[1.0]], notion="positive") == pytest.approx(1, abs=0.01)


def test_brier_and_likelihood_are_scikit_learns():
    eye = np.eye(5)[LABELS]
    assert brier_score(LABELS, PROB) == pytest.approx(
        metrics.brier_score_loss(LABELS, PROB, labels=range(5)), rel=1e-12
    )
    assert brier_score(eye, PROB) == pytest.approx(brier_score(LABELS, PROB))
    assert negative_log_likelihood(LABELS, PROB) == pytest.approx(
        metrics.log_loss(LABELS, PROB), rel=1e-12
    )
    y, p = binary(300, "off")
    expected = metrics.brier_score_loss(y, p)
    assert brier_score(y, p[:, None]) == pytest.approx(expected, rel=1e-12)
    assert brier_score(y, np.stack([1 - p, p], -1)) == pytest.approx(expected)


def test_soft_labels_are_means_over_hard_ones():
    soft = RNG.dirichlet(np.ones(5), 400)
    each = [np.full(400, k) for k in range(5)]
    expected = sum(
        negative_log_likelihood(y, PROB, sample_weight=soft[:, k]) * soft[:, k].sum()
        for k, y in enumerate(each)
    )
    assert negative_log_likelihood(soft, PROB) == pytest.approx(expected / 400)
    distance = ((PROB - soft) ** 2).sum(-1).mean()
    assert brier_score(soft, PROB) == pytest.approx(distance)


def test_a_label_ruled_out_costs_infinity_and_is_not_clipped():
    # scikit-learn 1.9 clips: 36.04 for that row, a number of its own making.
    clipped = metrics.log_loss([0, 1], [[0.0, 1.0], [0.0, 1.0]])
    assert 2 * clipped == pytest.approx(36.04, abs=0.01)
    assert negative_log_likelihood([0], [[0.0, 1.0]]) == np.inf
    # As logits the same statement has a number.
    logits = [[0.0, 5000.0]]
    assert negative_log_likelihood([0], logits, from_logits=True) == 5000
    ruled_out = [[0.5, 0.5, 0.0]]
    assert negative_log_likelihood([[0.5, 0.5, 0]], ruled_out) == pytest.approx(
        np.log(2)
    )


def isotonic_by_min_max(y):
    # fitted_i = max over a <= i of min over b >= i of the mean of y[a..b].
    n = len(y)
    mean = [[y[a : b + 1].mean() if b >= a else 0 for b in range(n)] for a in range(n)]
    return np.array(
        [
            max(min(mean[a][b] for b in range(i, n)) for a in range(i + 1))
            for i in range(n)
        ]
    )


def test_corp_is_isotonic_regression_by_the_min_max_formula():
    y, p = binary(40, "off", seed=3)
    order = np.argsort(p)
    y, p = y[order], p[order]
    fitted = isotonic_by_min_max(y.astype(float))
    brier, uncertainty = ((p - y) ** 2).mean(), y.mean() * (1 - y.mean())
    recalibrated = ((fitted - y) ** 2).mean()
    parts = brier_decomposition(y, p[:, None], notion="positive")
    assert parts.brier == pytest.approx(brier)
    assert parts.miscalibration == pytest.approx(brier - recalibrated)
    assert parts.discrimination == pytest.approx(uncertainty - recalibrated)
    assert parts.uncertainty == pytest.approx(uncertainty)
    assert parts.miscalibration > 0.01


def test_corp_with_ties_and_weights_adds_up():
    p = np.round(PROB, 1)
    p /= p.sum(-1, keepdims=True)
    weight = RNG.integers(1, 4, 400)
    parts = brier_decomposition(LABELS, p, sample_weight=weight)
    twice = brier_decomposition(LABELS.repeat(weight), p.repeat(weight, 0))
    np.testing.assert_allclose(parts, twice, rtol=1e-12)
    total = parts.miscalibration - parts.discrimination + parts.uncertainty
    assert parts.brier == pytest.approx(total)


def test_a_useless_model_with_perfect_ece_has_no_discrimination():
    labels = np.array([0] * 6 + [1] * 4)
    parts = brier_decomposition(labels, np.full((10, 1), 0.4), notion="positive")
    np.testing.assert_allclose(parts, [0.24, 0, 0, 0.24], atol=1e-15)


def risk_coverage(confidence, wrong):
    # The definition, averaged over every order of equal confidences.
    areas = []
    for order in itertools.permutations(range(len(confidence))):
        if (np.diff(confidence[list(order)]) <= 0).all():
            risks = np.cumsum(wrong[list(order)]) / np.arange(1, len(wrong) + 1)
            areas.append(risks.mean())
    return np.mean(areas)


@pytest.mark.parametrize(
    "confidence",
    [
        [0.9, 0.8, 0.7, 0.6, 0.55, 0.5],
        [0.9, 0.9, 0.7, 0.7, 0.7, 0.5],
        [0.6] * 6,
    ],
)
def test_risk_coverage_is_the_mean_risk_over_all_orders_of_ties(confidence):
    wrong = np.array([0, 1, 0, 1, 1, 0])
    area = area_under_risk_coverage(
        wrong, np.stack([confidence, 1 - np.array(confidence)], -1)
    )
    assert area == pytest.approx(risk_coverage(np.array(confidence), wrong), rel=1e-12)
    assert area > 0.1


def test_risk_coverage_sees_the_order_only():
    area = area_under_risk_coverage(LABELS, PROB)
    halves = area_under_risk_coverage(LABELS, LOGITS[:, :] * 1.0, from_logits=True)
    assert area == pytest.approx(halves)
    assert area_under_risk_coverage([0, 1], [[0.9, 0.1], [0.6, 0.4]]) == 0.25
    assert area_under_risk_coverage([1, 0], [[0.9, 0.1], [0.6, 0.4]]) == 0.75
    # Of class 1 alone, an unlikely one comes last: risks 0 and 1/2.
    entities = [1, 0], [[0.9], [0.2]]
    assert area_under_risk_coverage(*entities, notion="positive") == 0.25
    assert area_under_risk_coverage(*entities) == 0


@pytest.mark.parametrize("function", ALL)
def test_weights_are_repetitions_and_ignored_rows_are_gone(function):
    times = np.arange(400) % 3
    expected = function(LABELS.repeat(times), PROB.repeat(times, 0))
    np.testing.assert_allclose(
        function(LABELS, PROB, sample_weight=times), expected, rtol=1e-9
    )
    assert np.max(expected) > 0.01
    ignored = np.where(times == 0, -100, LABELS)
    spoilt = np.where(times[:, None] == 0, np.nan, PROB)
    weight = np.maximum(times, 1)
    np.testing.assert_allclose(
        function(ignored, spoilt, sample_weight=weight), expected, rtol=1e-9
    )


@pytest.mark.parametrize("function", ALL)
def test_nothing_gives_0_and_layouts_agree(function):
    nothing = function(np.zeros(0, int), np.zeros((0, 5)))
    np.testing.assert_array_equal(nothing, np.zeros_like(nothing))
    expected = function(LABELS, PROB)
    shaped = function(LABELS.reshape(4, 100), PROB.reshape(4, 100, 5))
    np.testing.assert_allclose(shaped, expected, rtol=1e-12)
    logits = function(LABELS, LOGITS + 1000, from_logits=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-9)


@pytest.mark.parametrize("function", ALL)
def test_bad_input_raises_in_the_functions_name(function):
    with pytest.raises(ValueError, match=f"{function.__name__}: `y_prob` must be in"):
        function([0], [[np.nan, 1.0]])
    with pytest.raises(ValueError, match=f"{function.__name__}: `y_true` must be"):
        function([7], [[0.5, 0.5]])


@pytest.mark.parametrize("function", [brier_score, negative_log_likelihood])
def test_rows_that_do_not_sum_to_1_raise(function):
    with pytest.raises(
        ValueError, match=r"1 other rows, the first row 1 with a sum of 1\.3"
    ):
        function([0, 0, 0], [[0.5, 0.5], [0.7, 0.6], [1.0, 0.0]])
