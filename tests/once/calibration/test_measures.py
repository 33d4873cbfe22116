"""Errors read off bins: norms, equal mass, notions, and what chance does to them."""

import numpy as np
import pytest
from scipy import stats
from torchmetrics.functional import classification

from keras_robust.calibration import MeasuredValue, ReliabilityBins, bin_predictions

RNG = np.random.default_rng(5)
PROB = RNG.dirichlet(np.full(4, 0.5), 500)
LABELS = RNG.integers(0, 4, 500)
POSITIVE = RNG.random(500)
EVENTS = (RNG.random(500) < POSITIVE**2).astype(int)


def table(count, confidence, accuracy):
    edges = np.arange(len(count) + 1) / len(count)
    return ReliabilityBins(edges, count, confidence, accuracy)


def test_the_norms_of_two_bins_worked_by_hand():
    # Gaps .3 over 1 row of 4 and -.1 over 3: l1 = .075 + .075, l2 = sqrt(.0225 +
    # .0075), max = .3; confidence - accuracy = (.3 - .3) / 4 = 0.
    bins = table([1, 3], [0.3, 0.9], [0.0, 1.0])
    assert bins.ece() == pytest.approx(0.15)
    assert bins.ece("l1") == pytest.approx(0.15)
    assert bins.ece("l2") == pytest.approx(0.03**0.5)
    assert bins.ece("max") == pytest.approx(0.3) == bins.mce()
    assert bins.signed_gap() == pytest.approx(0, abs=1e-12)
    assert table([2, 2], [0.3, 0.9], [0.0, 1.0]).signed_gap() == pytest.approx(0.1)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("num_bins", [1, 7, 15, 100])
def test_torchmetrics_agrees_where_no_confidence_is_1_or_on_an_edge(norm, num_bins):
    # Where one is 1, torchmetrics gives it a bin of its own beyond the last.
    import torch

    found = classification.multiclass_calibration_error(
        torch.tensor(PROB), torch.tensor(LABELS), 4, n_bins=num_bins, norm=norm
    )
    bins = bin_predictions(LABELS, PROB, num_bins=num_bins)
    assert bins.ece(norm) == pytest.approx(float(found), rel=1e-5)
    assert bins.ece(norm) > 0.1
    found = classification.binary_calibration_error(
        torch.tensor(POSITIVE), torch.tensor(EVENTS), n_bins=num_bins, norm=norm
    )
    bins = bin_predictions(
        EVENTS, POSITIVE[:, None], num_bins=num_bins, notion="positive"
    )
    assert bins.ece(norm) == pytest.approx(float(found), rel=1e-5)


def test_notions_differ_and_are_named():
    # p = .2 and label 1: as "positive" confidence .2 and true, as "top_label"
    # confidence .8 (of class 0) and false.
    positive = bin_predictions([1], [[0.2]], notion="positive", num_bins=10)
    assert positive.count[2] == 1
    assert positive.accuracy[2] == 1
    top = bin_predictions([1], [[0.2]], notion="top_label", num_bins=10)
    assert top.count[8] == 1
    assert top.accuracy[8] == 0
    two = bin_predictions([1], [[0.8, 0.2]], notion="positive", num_bins=10)
    assert two.count[2] == two.accuracy[2] == 1
    soft = bin_predictions([[0.7, 0.3]], [[0.8, 0.2]], notion="positive", num_bins=10)
    assert soft.accuracy[2] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="`notion` must be 'top_label' for more than"):
        bin_predictions(LABELS, PROB, notion="positive")
    with pytest.raises(ValueError, match="`notion` must be one of"):
        bin_predictions(LABELS, PROB, notion="binary")


@pytest.mark.parametrize("num_bins", [1, 3, 7, 10, 15])
def test_equal_mass_bins_are_the_sorted_rows_cut_into_equal_parts(num_bins):
    rows = num_bins * 12
    prob, labels = PROB[:rows], LABELS[:rows]
    bins = bin_predictions(labels, prob, num_bins=num_bins, binning="equal_mass")
    top = np.sort(prob.max(-1)).reshape(num_bins, 12)
    np.testing.assert_array_equal(bins.count, np.full(num_bins, 12))
    np.testing.assert_allclose(bins.confidence, top.mean(-1))
    assert bins.edges[0] == 0
    assert bins.edges[-1] == 1
    between = (top[:-1, -1] + top[1:, 0]) / 2
    np.testing.assert_array_equal(bins.edges[1:-1], between)
    order = np.argsort(prob.max(-1))
    correct = (prob.argmax(-1) == labels)[order].reshape(num_bins, 12)
    np.testing.assert_allclose(bins.accuracy, correct.mean(-1))


def test_equal_mass_keeps_ties_together():
    # Netcal and torch-based tools cut ties by the order of the rows, so that the value
    # depends on it. 6 rows of .5, 2 of .9, 4 bins of mass 3 wanted: the group of .5 has
    # its middle at 3 of 8 (bin 1), that of .9 at 7 of 8 (bin 3).
    prob = np.array([0.5] * 6 + [0.9] * 2)[:, None]
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(8)
        bins = bin_predictions(
            labels[order],
            prob[order],
            num_bins=4,
            binning="equal_mass",
            notion="positive",
        )
        assert bins.count.tolist() == [6, 2]
        assert bins.edges.tolist() == [0, 0.7, 1]
        assert bins.accuracy.tolist() == [0.5, 0.5]
    weighted = bin_predictions(
        [1, 0],
        [[0.5], [0.9]],
        sample_weight=[6, 2],
        num_bins=4,
        binning="equal_mass",
        notion="positive",
    )
    assert weighted.count.tolist() == [6, 2]
    empty = bin_predictions([-100], [[0.5]], binning="equal_mass")
    assert (empty.num_bins, empty.total, empty.ece()) == (1, 0, 0)


def test_a_bin_of_ones_has_a_width():
    bins = bin_predictions(
        [1, 1, 0, 1],
        [[1.0], [1.0], [0.5], [0.5]],
        num_bins=2,
        binning="equal_mass",
        notion="positive",
    )
    assert bins.edges.tolist() == [0, 0.75, 1]
    assert bins.count.tolist() == [2, 2]


def test_a_group_of_ties_is_where_its_middle_is():
    # Masses 1, 6, 1 in two bins of 4: the middle group lies round 4 of 8, in the upper.
    prob = np.array([0.2] + [0.5] * 6 + [0.9])[:, None]
    bins = bin_predictions(
        np.ones(8, int), prob, num_bins=2, binning="equal_mass", notion="positive"
    )
    assert bins.count.tolist() == [1, 7]


def test_equal_mass_of_rows_that_do_not_divide_differs_by_one_row():
    bins = bin_predictions(LABELS, PROB, num_bins=7, binning="equal_mass")
    assert set(bins.count) == {71, 72}
    assert bins.total == 500


@pytest.mark.parametrize("true_rate", [0.3, 0.62, 0.98])
@pytest.mark.parametrize("rows", [2, 5, 40])
def test_the_debiased_error_is_right_on_average(rows, true_rate):
    # Over all outcomes of the binomial distribution, the square (k/n - c)^2 less
    # k/n (1 - k/n)/(n - 1) has the mean (p - c)^2, exactly; the square alone is larger
    # by p (1 - p)/n.
    confidence = 0.62
    hits = np.arange(rows + 1)
    chance = stats.binom.pmf(hits, rows, true_rate)
    # Beside a bin with a gap of 1, so that no root of a negative number is taken.
    values = [
        table([rows, rows], [confidence, 1.0], [k / rows, 0.0]).debiased_ece() ** 2
        for k in hits
    ]
    expected = ((true_rate - confidence) ** 2 + 1) / 2
    assert chance @ values == pytest.approx(expected, rel=1e-9)
    biased = [
        table([rows, rows], [confidence, 1.0], [k / rows, 0.0]).ece("l2") ** 2
        for k in hits
    ]
    excess = true_rate * (1 - true_rate) / rows / 2
    assert chance @ biased == pytest.approx(expected + excess, rel=1e-9)


def test_the_debiased_error_of_too_little_is_0():
    assert table([1], [0.3], [1.0]).debiased_ece() == 0
    assert table([4], [0.5], [0.5]).debiased_ece() == 0  # negative square
    assert table([0], [np.nan], [np.nan]).debiased_ece() == 0
    assert np.isnan(table([np.nan], [np.nan], [np.nan]).debiased_ece())


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_the_null_error_is_that_of_binomial_draws(norm):
    # One bin: E|k/n - c| (and its root mean square, for l2 E|.| too) from the pmf.
    bins = table([20], [0.7], [0.1])
    hits = np.arange(21)
    gaps = np.abs(hits / 20 - 0.7)
    pmf = stats.binom.pmf(hits, 20, 0.7)
    measured = bins.null_ece(norm, num_resamples=4000)
    spread = np.sqrt(pmf @ gaps**2 - (pmf @ gaps) ** 2) / np.sqrt(4000)
    assert measured.null_mean == pytest.approx(pmf @ gaps, abs=4 * spread)
    assert measured.value == pytest.approx(0.6)
    assert measured.p_value == pytest.approx(1 / 4001)
    # 95 % of the draws are at or below it.
    order = np.argsort(gaps)
    cumulative = np.cumsum(pmf[order])
    assert measured.null_upper == pytest.approx(gaps[order][cumulative >= 0.95][0])


def test_the_null_error_of_a_calibrated_model_is_not_0_and_covers_its_own():
    # 200 calibrated data sets of 300 rows: the ECE is about .05 on each, and exceeds
    # the null's 95 % quantile on about 5 % of them.
    rng = np.random.default_rng(0)
    exceeds, values, means = [], [], []
    for _ in range(200):
        confidence = rng.uniform(0.5, 1, 300)
        labels = rng.random(300) < confidence
        bins = bin_predictions(
            labels.astype(int), confidence[:, None], notion="positive"
        )
        measured = bins.null_ece(num_resamples=200, seed=rng)
        exceeds.append(measured.value > measured.null_upper)
        values.append(measured.value)
        means.append(measured.null_mean)
    assert np.mean(values) == pytest.approx(0.05, abs=0.005)  # as the guide says
    assert np.mean(means) == pytest.approx(np.mean(values), rel=0.05)
    assert 0.01 <= np.mean(exceeds) <= 0.10


def test_null_errors_of_nothing_and_of_nan():
    empty = table([0.0], [np.nan], [np.nan]).null_ece()
    assert (empty.value, empty.null_mean, empty.null_upper) == (0, 0, 0)
    unknown = table([np.nan], [np.nan], [np.nan]).null_ece()
    assert np.isnan([unknown.value, unknown.null_mean, unknown.null_upper]).all()


def test_the_fraction_of_a_count_is_one_draw_that_counts_for_it():
    measured = table([10.5], [0.7], [0.7]).null_ece(num_resamples=20000)
    hits, last = np.meshgrid(np.arange(11), [0, 1])
    chance = stats.binom.pmf(hits, 10, 0.7) * stats.binom.pmf(last, 1, 0.7)
    gaps = np.abs((hits + 0.5 * last) / 10.5 - 0.7)
    assert measured.null_mean == pytest.approx((chance * gaps).sum(), rel=0.02)


def test_draws_as_large_as_the_value_count_for_it():
    # One row of confidence .5: right or wrong, the gap is .5.
    assert table([1], [0.5], [1.0]).null_ece().p_value == 1
    # Ten rows of .3, six right: as large a gap, but for rounding, have 0 and 6 to 10.
    measured = table([10], [0.3], [0.6]).null_ece(num_resamples=2000)
    at_least = stats.binom.sf(5, 10, 0.3) + stats.binom.cdf(0, 10, 0.3)
    assert measured.p_value == pytest.approx(at_least, rel=0.2)


def test_one_calibrated_model_in_twenty_is_outside():
    # Of 1..1000: an error is outside above 950, a level below 25 and above 975.
    draws = np.arange(1.0, 1001)
    error = MeasuredValue.from_draws(951, draws)
    assert (error.null_lower, error.null_upper, error.outside) == (50, 950, True)
    assert not MeasuredValue.from_draws(1, draws).outside
    level = MeasuredValue.from_draws(24, draws, two_sided=True)
    assert (level.null_lower, level.null_upper, level.outside) == (25, 975, True)
    assert not MeasuredValue.from_draws(951, draws, two_sided=True).outside
    assert level.p_value == pytest.approx(2 * 25 / 1001)


def test_infinite_values_are_compared_too():
    measured = MeasuredValue.from_draws(np.inf, np.array([np.inf, 1.0, 2.0]))
    assert (measured.null_mean, measured.p_value) == (np.inf, 0.5)


def test_seeds_repeat_and_generators_go_on():
    bins = bin_predictions(LABELS, PROB)
    assert bins.null_ece(seed=3) == bins.null_ece(seed=3)
    assert bins.null_ece(seed=3) != bins.null_ece(seed=4)
    rng = np.random.default_rng(3)
    assert bins.null_ece(seed=rng) != bins.null_ece(seed=rng)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_of_the_accuracy_is_wilsons(level):
    hits, rows = np.array([0, 3, 7, 10]), 10
    bins = table(np.full(4, rows), [0.2, 0.4, 0.6, 0.9], hits / rows)
    low, high = bins.accuracy_interval(level)
    expected = [
        stats.binomtest(int(k), rows).proportion_ci(level, method="wilson")
        for k in hits
    ]
    np.testing.assert_allclose(low, [e.low for e in expected], atol=1e-12)
    np.testing.assert_allclose(high, [e.high for e in expected], rtol=1e-12)
    assert low[0] == 0
    assert high[3] == 1
    assert high[0] > 0.02  # a bin without hits still has an interval


def test_the_consistency_interval_is_binomial():
    bins = table([10, 0, 1000], [0.2, np.nan, 0.9], [0, np.nan, 1])
    low, high = bins.consistency_interval(0.9)
    expected = stats.binom.interval(0.9, [10, 1000], [0.2, 0.9])
    np.testing.assert_allclose(low[[0, 2]], expected[0] / [10, 1000])
    np.testing.assert_allclose(high[[0, 2]], expected[1] / [10, 1000])
    assert np.isnan([low[1], high[1]]).all()


def test_a_mean_above_1_by_rounding_is_1():
    bins = table([10], [1 + 1e-15], [0.5])
    low, high = bins.consistency_interval()
    assert (low[0], high[0]) == (1, 1)
    assert bins.null_ece().null_mean == pytest.approx(0, abs=1e-12)


def test_a_bare_bootstrap_interval_excludes_0_for_a_calibrated_model():
    # Why there is none here: resampled rows scatter round the observed accuracies,
    # which already scatter round the true ones: the ECE of resamples is never small.
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, 500)
    labels = (rng.random(500) < confidence).astype(int)
    rows = rng.integers(0, 500, (300, 500))
    values = [
        bin_predictions(labels[r], confidence[r, None], notion="positive").ece()
        for r in rows
    ]
    assert np.quantile(values, 0.025) > 0.025
    bins = bin_predictions(labels, confidence[:, None], notion="positive")
    assert bins.null_ece().p_value > 0.05


def test_the_frame_holds_the_table():
    bins = bin_predictions(LABELS, PROB, num_bins=5)
    frame = bins.to_frame()
    assert list(frame) == [
        *("lower", "upper", "count", "confidence", "accuracy", "gap"),
        *("accuracy_low", "accuracy_high"),
    ]
    np.testing.assert_array_equal(frame["count"], bins.count)
    np.testing.assert_allclose(frame["gap"], bins.confidence - bins.accuracy)
    np.testing.assert_array_equal(frame["upper"], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_array_equal(frame["accuracy_low"], bins.accuracy_interval()[0])


def test_the_repr_tells_the_ece_beside_its_null():
    bins = bin_predictions(LABELS, PROB)
    measured = bins.null_ece()
    assert (
        f"ece={measured.value:.4f} (if calibrated: {measured.null_mean:.4f}, "
        in repr(bins)
    )


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda b: b.ece("l3"), "`norm` must be one of 'l1', 'l2', 'max'"),
        (lambda b: b.null_ece(num_resamples=0), "`num_resamples` must be at least 1"),
        (lambda b: b.null_ece(seed=-1), "`seed` must be at least 0"),
        (lambda b: b.accuracy_interval(1), r"`level` must be in \(0, 1\)"),
        (lambda b: b.consistency_interval(0), r"`level` must be in \(0, 1\)"),
        (
            lambda b: bin_predictions(LABELS, PROB, binning="quantile"),
            "`binning` must be one of 'equal_width', 'equal_mass'",
        ),
    ],
)
def test_bad_arguments_raise(call, match):
    with pytest.raises(ValueError, match=match):
        call(bin_predictions(LABELS, PROB))
