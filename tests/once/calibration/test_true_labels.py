"""Measures on true labels, estimated from noisy ones and their noise matrix."""

import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_robust import calibration
from keras_robust.calibration import (
    ReliabilityBins,
    ReliabilityComparison,
    ReliabilityDisplay,
    bin_predictions,
    brier_score,
    calibration_report,
    expected_calibration_error,
    negative_log_likelihood,
)
from keras_robust.noise import (
    flip_labels,
    matrix_from_pairs,
    omission_matrix,
    symmetric_matrix,
)

TWO = np.array([[0.9, 0.1], [0.35, 0.65]])
THREE = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.1, 0.6]])
# The true labels of two or three rows, and predictions that are right and wrong.
CASES = [
    (TWO, [0, 1], [[0.7, 0.3], [0.6, 0.4]]),
    (TWO, [1, 1, 0], [[0.2, 0.8], [0.75, 0.25], [0.3, 0.7]]),
    (THREE, [2, 0], [[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]]),
    (THREE, [0, 1, 2], [[0.5, 0.3, 0.2], [0.45, 0.5, 0.05], [0.6, 0.3, 0.1]]),
]
every_case = pytest.mark.parametrize(("matrix", "true", "prob"), CASES)

RNG = np.random.default_rng(6)
LOGITS = RNG.normal(size=(2000, 4)) * 2
PROB = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
# Drawn from the model's own probabilities: it is calibrated.
LABELS = (RNG.random((2000, 1)) > np.cumsum(PROB, -1)).sum(-1)
SHARP = PROB**2 / (PROB**2).sum(-1, keepdims=True)
MATRIX = 0.7 * np.eye(4) + 0.3 * RNG.dirichlet(np.ones(4), 4)
INVERSE = np.linalg.inv(MATRIX)
NOISY = flip_labels(LABELS, MATRIX, seed=1).labels


def expectation(measure, matrix, true):
    """The mean of a measure over all labels that can be given, by their chance."""
    outcomes = itertools.product(range(len(matrix)), repeat=len(true))
    return sum(
        np.prod(matrix[true, list(given)]) * np.asarray(measure(list(given)))
        for given in outcomes
    )


@every_case
def test_means_over_rows_have_the_clean_value_as_their_expectation(matrix, true, prob):
    for measure in (brier_score, negative_log_likelihood):
        for how in ({}, {"sample_weight": np.arange(len(true)) + 0.5}):
            found = expectation(
                lambda y, how=how, of=measure: of(y, prob, noise_matrix=matrix, **how),
                matrix,
                true,
            )
            assert found == pytest.approx(measure(true, prob, **how), rel=1e-12)
    logits = np.log(prob)
    found = expectation(
        lambda y: negative_log_likelihood(
            y, logits, from_logits=True, noise_matrix=matrix
        ),
        matrix,
        true,
    )
    assert found == pytest.approx(negative_log_likelihood(true, prob), rel=1e-12)


@every_case
@pytest.mark.parametrize("num_bins", [1, 15])
def test_sums_in_bins_have_the_clean_ones_as_their_expectation(
    matrix, true, prob, num_bins
):
    for notion in ("top_label", "positive")[: 4 - len(matrix)]:
        how = {"num_bins": num_bins, "notion": notion}

        def sums(y, how=how, **more):
            bins = bin_predictions(y, prob, **how, **more)
            mean = np.nan_to_num(bins.accuracy)
            return [bins.count * mean, np.full(num_bins, bins.signed_gap())]

        found = expectation(lambda y: sums(y, noise_matrix=matrix), matrix, true)
        np.testing.assert_allclose(found, sums(true), atol=1e-12)
        assert np.abs(found).max() > 0.1


@every_case
def test_what_the_debiased_error_takes_off_is_what_chance_adds(matrix, true, prob):
    def squares(y, **how):
        bins = bin_predictions(y, prob, num_bins=1, **how)
        gap = (bins.accuracy - bins.confidence).item()
        if not how:
            return gap**2
        return gap**2 - bins.variance.item() / (len(y) - 1)

    # Rows of equal expectation, or their differences count as chance.
    same, prob = [true[0]] * 3, [prob[0]] * 3
    found = expectation(lambda y: squares(y, noise_matrix=matrix), matrix, same)
    assert found == pytest.approx(squares(same), rel=1e-12)


@pytest.mark.parametrize(("p", "same"), [(0.9, True), (0.35, False)])
def test_the_ece_has_the_clean_one_where_no_gap_changes_its_sign(p, same):
    # Class 1 is given as 0 one time in five. Of three rows with the same probability
    # of class 1 one is right: its term is 0 or 1.25, and the accuracy of the bin below
    # 0.9 for both.
    matrix, true, prob = omission_matrix(2, 0.2), [0, 0, 1], [[1 - p, p]] * 3

    def ece(y, **how):
        return expected_calibration_error(y, prob, num_bins=10, **how)

    found = expectation(lambda y: ece(y, noise_matrix=matrix), matrix, true)
    if same:
        assert found == pytest.approx(ece(true), rel=1e-12)
    else:  # elsewhere it is too large, as every ECE
        assert found > 1.1 * ece(true)


def test_a_matrix_without_noise_changes_no_value():
    for labels in (NOISY, np.eye(4)[NOISY]):
        for measure in (
            brier_score,
            negative_log_likelihood,
            expected_calibration_error,
        ):
            found = measure(labels, PROB, noise_matrix=np.eye(4))
            assert found == pytest.approx(measure(labels, PROB), rel=1e-12)
    with_it = bin_predictions(NOISY, PROB, noise_matrix=np.eye(4))
    without = bin_predictions(NOISY, PROB)
    np.testing.assert_allclose(with_it.accuracy, without.accuracy, rtol=1e-12)
    share = without.accuracy
    np.testing.assert_allclose(with_it.variance, share * (1 - share), atol=1e-12)
    assert with_it.ends == (0, 1)
    assert with_it.debiased_ece() == pytest.approx(without.debiased_ece(), rel=1e-9)
    report = calibration_report(NOISY, PROB, noise_matrix=np.eye(4), num_resamples=2)
    plain = calibration_report(NOISY, PROB, num_resamples=2)
    for name in report.measures:
        assert report[name].value == pytest.approx(plain[name].value, rel=1e-9), name
        rows = report[name].effective_rows
        assert np.isnan(rows) or rows == pytest.approx(2000, rel=1e-9)


def test_a_soft_target_is_the_mean_over_the_labels_that_it_stands_for():
    soft = np.array([[0.2, 0.5, 0.3]])
    prob = [[0.6, 0.3, 0.1]]
    for of in (
        lambda y: bin_predictions(y, prob, noise_matrix=THREE).accuracy[9],
        lambda y: negative_log_likelihood(y, prob, noise_matrix=THREE),
    ):
        expected = soft[0] @ [of([k]) for k in range(3)]
        assert of(soft) == pytest.approx(expected, rel=1e-12)
    for of in (brier_score, calibration_report):
        with pytest.raises(
            ValueError, match="class ids or one-hot with a noise_matrix"
        ):
            of(soft, prob, noise_matrix=THREE)


TAKE_A_MATRIX = [
    bin_predictions,
    brier_score,
    calibration_report,
    expected_calibration_error,
    negative_log_likelihood,
    ReliabilityDisplay.from_predictions,
    lambda y, p, **how: ReliabilityComparison.from_predictions(y, {"a": p}, **how),
]


@pytest.mark.parametrize("function", TAKE_A_MATRIX)
def test_a_matrix_that_does_not_serve_is_an_error(function):
    for bad, match in [
        (np.eye(3), r"`noise_matrix` must be of the 4 classes of the predictions"),
        (MATRIX[0], "`noise_matrix` must be square"),
        (MATRIX.T, "rows summing to 1"),
        (np.full((4, 4), 0.25), "invertible, with no entry of its inverse beyond 100"),
        (symmetric_matrix(4, 0.7499), "rows_to_check"),
    ]:
        with pytest.raises(ValueError, match=match):
            function(NOISY[:50], PROB[:50], noise_matrix=bad)
    estimate = matrix_from_pairs(NOISY[:300], LABELS[:300], 4)
    function(NOISY[:50], PROB[:50], noise_matrix=estimate)
    plt.close("all")


def test_a_probability_of_0_has_no_likelihood():
    prob, logits = [[1.0, 0.0]], [[0.0, -1e4]]
    assert negative_log_likelihood([0], prob) == 0
    with pytest.raises(ValueError, match=r"above 0 for every class.*the first row 0"):
        negative_log_likelihood([0], prob, noise_matrix=TWO)
    report = calibration_report([0], prob, noise_matrix=TWO, num_resamples=2)
    assert np.isnan(report["nll"].value)
    assert report["brier"].value == brier_score([0], prob, noise_matrix=TWO)
    # Nothing is clipped: entry [0, 1] of the inverse times 1e4.
    expected = np.linalg.inv(TWO)[0, 1] * 1e4
    found = negative_log_likelihood([0], logits, from_logits=True, noise_matrix=TWO)
    assert found == pytest.approx(expected)
    # A class that the label does not count for costs nothing.
    one_way = [[1.0, 0.0], [0.2, 0.8]]
    assert negative_log_likelihood([0], prob, noise_matrix=one_way) == 0


def simulated(matrix, accuracy, rows, repetitions, rng):
    """Bins each of which is a data set of its own, of one predicted class each."""
    inverse, size = np.linalg.inv(matrix), (repetitions, rows)
    predicted = rng.integers(0, len(matrix), size)
    wrong = (predicted + rng.integers(1, len(matrix), size)) % len(matrix)
    true = np.where(rng.random(size) < accuracy, predicted, wrong)
    given = (rng.random((*size, 1)) > matrix.cumsum(-1)[true][..., :-1]).sum(-1)
    terms = inverse[given, predicted]
    count = np.full(repetitions, float(rows))
    return ReliabilityBins.from_sums(
        count,
        accuracy * count,
        terms.sum(-1),
        squares=(terms**2).sum(-1),
        ends=(inverse.min(), inverse.max()),
    )


@pytest.mark.parametrize("rows", [5, 20, 300])
def test_intervals_of_bins_hold_the_true_accuracy(rows):
    rng = np.random.default_rng(0)
    for matrix in (symmetric_matrix(4, 0.4), omission_matrix(3, 0.4), TWO):
        for accuracy in (0.5, 0.95, 1.0):
            bins = simulated(matrix, accuracy, rows, 2000, rng)
            low, high = bins.accuracy_interval()
            assert 0.92 < ((low <= accuracy) & (accuracy <= high)).mean() <= 1
            assert (high > low).all()
            if rows == 300:
                # What chance adds to the error is known, and taken off.
                assert bins.debiased_ece() < 0.3 * bins.ece("l2")
                low, high = bins.consistency_interval()
                inside = (low <= bins.accuracy) & (bins.accuracy <= high)
                assert 0.93 < inside.mean() < 0.97
                null = bins.null_ece(num_resamples=50)
                assert null.null_mean == pytest.approx(bins.ece(), rel=0.05)
                wide, narrow = bins.accuracy_interval(0.95), bins.accuracy_interval(0.5)
                assert (wide[0] < narrow[0]).all()
                assert (wide[1] > narrow[1]).all()


def test_values_of_a_report_are_those_of_their_functions():
    how = {"noise_matrix": MATRIX}
    report = calibration_report(NOISY, PROB, num_resamples=2, **how)
    bins = bin_predictions(NOISY, PROB, **how)
    mass = bin_predictions(NOISY, PROB, binning="equal_mass", **how)
    terms = INVERSE[NOISY, PROB.argmax(-1)]
    classwise = []
    for k in range(4):
        edges = np.minimum((PROB[:, k] * 15).astype(int), 14)
        gaps = np.bincount(edges, PROB[:, k] - INVERSE[NOISY, k], 15)
        classwise.append(np.abs(gaps).sum() / 2000)
    expected = {
        "accuracy": terms.mean(),
        "confidence": PROB.max(-1).mean(),
        "signed_gap": bins.signed_gap(),
        "ece": bins.ece(),
        "ece_equal_mass": mass.ece(),
        "ece_l2": bins.ece("l2"),
        "debiased_ece": bins.debiased_ece(),
        "mce": bins.mce(),
        "smooth_ece": report["smooth_ece"].value,
        "classwise_ece": np.mean(classwise),
        "nll": negative_log_likelihood(NOISY, PROB, **how),
        "brier": brier_score(NOISY, PROB, **how),
        "aurc": report["aurc"].value,
    }
    assert report.measures == tuple(expected)
    for name, value in expected.items():
        assert report[name].value == pytest.approx(value, rel=1e-9), name
    # Those without a second formula, by the labels without noise.
    clean = calibration_report(LABELS, SHARP, num_resamples=2)
    noisy = calibration_report(NOISY, SHARP, num_resamples=2, **how)
    for name in ("smooth_ece", "aurc", "ece", "accuracy"):
        assert noisy[name].value == pytest.approx(clean[name].value, abs=0.02), name
    accuracy, share = report["accuracy"], terms.mean()
    rows = 2000 * share * (1 - share) / terms.var()
    assert accuracy.effective_rows == pytest.approx(rows, rel=1e-9)
    assert 200 < rows < 1900
    distances = ((PROB[:, None] - np.eye(4)) ** 2).sum(-1)
    for name, of_rows in {
        "accuracy": terms,
        "signed_gap": PROB.max(-1) - terms,
        "nll": -(INVERSE[NOISY] * np.log(PROB)).sum(-1),
        "brier": (INVERSE[NOISY] * distances).sum(-1),
    }.items():
        half = 1.959964 * of_rows.std() / np.sqrt(1999)
        assert report[name].lower == pytest.approx(of_rows.mean() - half, rel=1e-6)
        assert report[name].upper == pytest.approx(of_rows.mean() + half, rel=1e-6)
    assert np.isnan(report["ece"].lower)


def test_weights_are_repetitions_in_intervals_as_well():
    times = np.arange(400) % 3
    y, p = NOISY[:400], PROB[:400]
    how = {"noise_matrix": MATRIX, "num_resamples": 2}
    weighted = calibration_report(y, p, sample_weight=times, **how)
    repeated = calibration_report(y.repeat(times), p.repeat(times, 0), **how)
    for name in ("accuracy", "signed_gap", "nll", "brier"):
        for field in ("value", "lower", "upper", "effective_rows"):
            found = getattr(weighted[name], field)
            assert found == pytest.approx(getattr(repeated[name], field), rel=1e-9)


def draw(step, rows=300):
    """Noisy labels of a calibrated model, and its predictions."""
    rng = np.random.default_rng(step)
    p = PROB[rng.permutation(len(PROB))[:rows]]
    true = (rng.random((rows, 1)) > np.cumsum(p, -1)).sum(-1)
    return flip_labels(true, MATRIX, seed=step).labels, p


def test_intervals_of_a_report_are_right_as_often_as_they_say():
    # The mean over all rows of what a calibrated model promises.
    promised = {
        "accuracy": PROB.max(-1).mean(),
        "signed_gap": 0.0,
        "nll": -(PROB * np.log(PROB)).sum(-1).mean(),
        "brier": 1 - (PROB**2).sum(-1).mean(),
    }
    inside = []
    for step in range(60):
        given, p = draw(step)
        report = calibration_report(given, p, noise_matrix=MATRIX, num_resamples=1)
        found = [(report[name], value) for name, value in promised.items()]
        inside.append([m.lower <= value <= m.upper for m, value in found])
    # Of 60 draws with a chance of .95: below .87 one time in 200.
    assert (np.mean(inside, axis=0) > 0.87).all()
    assert np.mean(inside) < 1


def test_null_values_of_a_report_have_the_noise_in_them():
    values = []
    for step in range(8):
        given, p = draw(step)
        report = calibration_report(given, p, noise_matrix=MATRIX, num_resamples=20)
        errors = [report[name] for name in ("ece", "classwise_ece", "smooth_ece")]
        values.append([[m.value, m.null_mean] for m in errors])
    found, null = np.mean(values, axis=0).T
    np.testing.assert_allclose(found, null, rtol=0.15)
    # Of labels without noise they are smaller.
    plain = calibration_report(LABELS[:300], PROB[:300], num_resamples=20)
    assert plain["ece"].null_mean < 0.8 * null[0]


def test_a_report_says_what_it_is_about(tmp_path):
    report = calibration_report(
        NOISY, {"one": PROB, "two": SHARP}, noise_matrix=MATRIX, num_resamples=2
    )
    text, page = repr(report), report.to_html()
    rows = [f"{report[m, 'accuracy'].effective_rows:,.0f}" for m in ("one", "two")]
    for written in (text, page):
        assert "for true labels" in written
        assert "Estimated for true labels from noisy ones: as right as" in written
        assert (
            f"The accuracy is known as well as from {', '.join(rows)} rows" in written
        )
        measured = report["one", "brier"]
        assert f"({measured.lower:.4f} to {measured.upper:.4f})" in written
    content = json.loads(report.to_json())
    np.testing.assert_allclose(content["settings"]["noise_matrix"], MATRIX)
    frame = report.to_frame().set_index(["model", "measure"])
    for field in ("lower", "upper", "effective_rows"):
        found = frame.loc[("two", "nll"), field]
        assert found == getattr(report["two", "nll"], field)
    plain = calibration_report(NOISY, PROB, num_resamples=2)
    assert "true labels" not in repr(plain) + plain.to_html()
    assert "lower" not in plain.rows()[0]
    binary = calibration_report(
        NOISY % 2, PROB[:, :1], notion="positive", noise_matrix=TWO, num_resamples=2
    )
    assert "The rate of class 1 is known as well as from" in repr(binary)


def test_diagrams_of_true_labels_say_so_and_show_all_of_every_bar():
    few, p = {"noise_matrix": symmetric_matrix(4, 0.5)}, PROB[:60]
    y = np.where(p.max(-1) > 0.7, p.argmax(-1), p.argmin(-1))
    display = ReliabilityDisplay.from_predictions(y, p, **few)
    bins, ax = display.bins, display.ax_
    assert ax.get_ylabel() == "accuracy\nfor true labels, estimated"
    low, high = ax.get_ylim()
    assert np.nanmin(bins.accuracy) < 0
    assert np.nanmax(bins.accuracy) > 1
    assert low < np.nanmin(bins.accuracy)
    assert high > np.nanmax(bins.accuracy)
    ends = np.array(display.whiskers_.lines[1][0].get_ydata())
    seen = bins.count > 0
    expected = np.minimum(bins.accuracy_interval()[0], bins.accuracy)[seen]
    np.testing.assert_allclose(ends, expected)
    both = ReliabilityComparison.from_predictions(y, {"a": p, "b": SHARP[:60]}, **few)
    assert both.ax_.get_ylabel() == "accuracy\nfor true labels, estimated"
    plain = ReliabilityDisplay.from_predictions(y, p)
    assert plain.ax_.get_ylabel() == "accuracy"
    assert plain.ax_.get_ylim() == (0, 1)
    plt.close("all")


def test_streamed_bins_are_drawn_for_true_labels():
    from keras_robust.metrics import ExpectedCalibrationError

    metric = ExpectedCalibrationError(noise_matrix=MATRIX)
    metric.update_state(NOISY, PROB.astype("float32"))
    display = calibration.ReliabilityDisplay.from_metric(metric)
    assert "for true labels, estimated" in display.ax_.get_ylabel()
    expected = bin_predictions(NOISY, PROB.astype("float32"), noise_matrix=MATRIX)
    np.testing.assert_allclose(
        display.to_frame()["accuracy_high"], expected.accuracy_interval()[1], rtol=1e-5
    )
    plt.close("all")
