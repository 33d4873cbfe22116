"""Bins for every class or label in NumPy, and the errors read off them."""

import numpy as np
import pytest
from netcal.metrics import ECE

from keras_robust.calibration import (
    ReliabilityBins,
    bin_classwise,
    bin_multilabel,
    bin_predictions,
    classwise_error,
    multilabel_error,
)

RNG = np.random.default_rng(11)
PROB = RNG.dirichlet(np.full(4, 0.5), 300)
LABELS = RNG.integers(0, 4, 300)
P = RNG.uniform(size=(300, 4))
Y = (RNG.uniform(size=(300, 4)) < P**2).astype(int)


def counts(bins):
    return np.stack([table.count for table in bins])


def test_three_classes_worked_by_hand():
    # 2 bins. Class 0: .75 right, .25 wrong: gaps .25, .25. Class 1: .25 twice, wrong:
    # gap .25. Class 2: 0 wrong, .5 right: gaps 0, .5 of half the rows each.
    bins = bin_classwise([0, 2], [[0.75, 0.25, 0], [0.25, 0.25, 0.5]], num_bins=2)
    assert counts(bins).tolist() == [[1, 1], [2, 0], [1, 1]]
    np.testing.assert_allclose(bins[0].confidence, [0.25, 0.75])
    np.testing.assert_allclose(bins[2].accuracy, [0, 1])
    assert classwise_error(bins) == pytest.approx(0.25)
    # Squared errors of the classes: 1/16, 1/16, (0 + 1/4)/2 = 1/8.
    assert classwise_error(bins, norm="l2") == pytest.approx((1 / 12) ** 0.5)
    assert classwise_error(bins, norm="max") == pytest.approx(0.5)


def test_labels_worked_by_hand():
    # Label 0: .25 twice, one applies: gap .25. Label 1: .75, does not apply: gap .75.
    # Label 2: nothing seen, out of the mean. Pooled, 2 bins: .25 twice, .75 once.
    y = [[1, 0, -100], [0, -100, -100]]
    bins = bin_multilabel(y, [[0.25, 0.75, 0.5], [0.25, np.nan, 0.5]], num_bins=2)
    assert counts(bins).tolist() == [[2, 0], [0, 1], [0, 0]]
    for norm in ("l1", "l2", "max"):
        assert multilabel_error(bins, norm=norm) == pytest.approx(0.5)
    assert multilabel_error(bins, average="micro") == pytest.approx(1.25 / 3)
    expected = ((2 / 16 + 9 / 16) / 3) ** 0.5
    assert multilabel_error(bins, norm="l2", average="micro") == pytest.approx(expected)
    assert multilabel_error(bins, norm="max", average="micro") == pytest.approx(0.75)


def test_the_errors_are_made_of_those_of_netcal():
    each = [ECE(15).measure(PROB[:, k], k == LABELS) for k in range(4)]
    assert classwise_error(bin_classwise(LABELS, PROB)) == pytest.approx(np.mean(each))
    each = [ECE(15).measure(P[:, k], Y[:, k]) for k in range(4)]
    bins = bin_multilabel(Y, P)
    assert multilabel_error(bins) == pytest.approx(np.mean(each))
    pooled = ECE(15).measure(P.ravel(), Y.ravel())
    assert multilabel_error(bins, average="micro") == pytest.approx(pooled)


def test_each_table_is_that_of_its_class_by_itself():
    for k, table in enumerate(bin_classwise(LABELS, PROB, num_bins=7)):
        alone = bin_predictions(
            (k == LABELS).astype(int), PROB[:, [k]], notion="positive", num_bins=7
        )
        np.testing.assert_array_equal(table.count, alone.count)
        np.testing.assert_allclose(table.accuracy, alone.accuracy)


def test_layouts_and_logits_agree():
    expected = counts(bin_classwise(LABELS, PROB))
    for y, p, from_logits in [
        (np.eye(4)[LABELS], PROB, False),
        (LABELS.reshape(3, 100), PROB.reshape(3, 100, 4), False),
        (LABELS, np.log(PROB) + 50, True),
    ]:
        bins = bin_classwise(y, p, from_logits=from_logits)
        np.testing.assert_array_equal(counts(bins), expected)
    expected = counts(bin_multilabel(Y, P))
    for y, p, from_logits in [
        (Y.astype("uint8"), P, False),
        (Y.astype(bool).tolist(), P.tolist(), False),
        (Y.reshape(3, 100, 4), P.reshape(3, 100, 4), False),
        (Y, np.log(P / (1 - P)), True),
    ]:
        bins = bin_multilabel(y, p, from_logits=from_logits)
        np.testing.assert_array_equal(counts(bins), expected)


def test_ignored_weight_0_and_removed_are_the_same():
    keep = np.arange(300) % 3 > 0
    spoilt = np.where(keep[:, None], PROB, np.nan)
    expected = counts(bin_classwise(LABELS[keep], PROB[keep]))
    for y, weight in [(np.where(keep, LABELS, -100), None), (LABELS, keep)]:
        bins = bin_classwise(y, spoilt, sample_weight=weight)
        np.testing.assert_array_equal(counts(bins), expected)
    drop = RNG.uniform(size=Y.shape) < 0.3
    spoilt = np.where(drop, np.nan, P)
    single = bin_multilabel(np.where(drop, -100, Y), spoilt)
    for label, keep in enumerate(~drop.T):
        alone = bin_multilabel(Y[keep][:, [label]], P[keep][:, [label]])
        np.testing.assert_array_equal(single[label].count, alone[0].count)
    weighed = bin_multilabel(np.where(drop, 7, Y), spoilt, sample_weight=~drop)
    np.testing.assert_array_equal(counts(weighed), counts(single))


def test_weight_2_is_the_row_twice():
    times = np.arange(300) % 3
    twice = bin_multilabel(Y.repeat(times, 0), P.repeat(times, 0))
    for weight in (times, times[:, None], np.tile(times[:, None], 4)):
        bins = bin_multilabel(Y, P, sample_weight=weight)
        np.testing.assert_array_equal(counts(bins), counts(twice))
        error = multilabel_error(bins)
        assert error == pytest.approx(multilabel_error(twice), rel=1e-9)
    twice = bin_classwise(LABELS.repeat(times), PROB.repeat(times, 0))
    bins = bin_classwise(LABELS, PROB, sample_weight=times)
    np.testing.assert_array_equal(counts(bins), counts(twice))
    assert classwise_error(bins) == pytest.approx(classwise_error(twice), rel=1e-9)


def test_soft_labels_count_by_their_probability():
    bins = bin_classwise([[0.3, 0.7]], [[0.9, 0.1]])
    assert classwise_error(bins) == pytest.approx(0.6)
    assert multilabel_error(bin_multilabel([[0.3]], [[0.9]])) == pytest.approx(0.6)


def test_nothing_gives_0_and_nan_stays():
    bins = bin_classwise([-100], np.full((1, 3), np.nan))
    assert classwise_error(bins) == classwise_error(bins, norm="max") == 0
    bins = bin_multilabel(np.zeros((0, 2)), np.zeros((0, 2)))
    assert multilabel_error(bins) == multilabel_error(bins, average="micro") == 0
    broken = ReliabilityBins.from_sums(*np.full((3, 15), np.nan))
    assert np.isnan(classwise_error([*bins, broken]))
    for average in ("macro", "micro"):
        assert np.isnan(multilabel_error([*bins, broken], average=average))


@pytest.mark.parametrize(
    ("y", "p", "weight", "match"),
    [
        ([[0, 2]], [[0.5, 0.5]], None, r"`y_true` must be in \[0, 1\] for every label"),
        ([[0, np.nan]], [[0.5, 0.5]], None, "1 bad entries, the first nan"),
        ([0, 1], [[0.5, 0.5]], None, "`y_true` must be of the shape of `y_prob`"),
        (0, 0.5, None, "`y_true` must be of the shape of `y_prob`"),
        ([[0, 1]], [[0.5, 1.5]], None, r"`y_prob` must be in \[0, 1\]"),
        ([[0, 1]], [[0.5, 0.5]], [[1, -1]], "`sample_weight` must be finite"),
        ([[0, 1]], [[0.5, 0.5]], [1, 1, 1], "`sample_weight` must be of shape"),
    ],
)
def test_bad_values_raise_and_name_the_argument(y, p, weight, match):
    with pytest.raises(ValueError, match=f"bin_multilabel: .*{match}"):
        bin_multilabel(y, p, sample_weight=weight)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="bin_classwise: `y_true` must be whole class"):
        bin_classwise([4], PROB[:1])
    for function in (bin_classwise, bin_multilabel):
        with pytest.raises(ValueError, match="`num_bins` must be at least 1"):
            function([[0, 1]], [[0.5, 0.5]], num_bins=0)
    bins = bin_multilabel(Y, P)
    with pytest.raises(ValueError, match="classwise_error: `norm` must be one of"):
        classwise_error(bins, norm="l3")
    with pytest.raises(ValueError, match="multilabel_error: `average` must be one of"):
        multilabel_error(bins, average="weighted")
    with pytest.raises(
        ValueError, match="classwise_error: `bins` must be at least one"
    ):
        classwise_error(())
    with pytest.raises(ValueError, match="all of the same number of bins"):
        multilabel_error([*bins, *bin_multilabel(Y, P, num_bins=3)])
