"""Binning in NumPy."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from keras_robust import ExpectedCalibrationError
from keras_robust.calibration import ReliabilityBins, bin_predictions
from keras_robust.calibration._bins.bins import bin_edges

RNG = np.random.default_rng(11)
PROB = RNG.dirichlet(np.full(4, 0.5), 300)
LABELS = RNG.integers(0, 4, 300)


def test_the_table_of_four_predictions_worked_by_hand():
    # Confidences .9 (right), .9 (wrong), .6 (right), .25 (tie, first class, right):
    # 4 bins: [0,.25) none; [.25,.5): .25; [.5,.75): .6; [.75,1]: .9, .9.
    prob = [[0.9, 0.1, 0, 0], [0.05, 0.9, 0.05, 0], [0.2, 0.6, 0.2, 0], [0.25] * 4]
    bins = bin_predictions([0, 2, 1, 0], prob, num_bins=4)
    assert bins.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert bins.count.tolist() == [0, 1, 1, 2]
    np.testing.assert_allclose(bins.confidence, [np.nan, 0.25, 0.6, 0.9])
    np.testing.assert_allclose(bins.accuracy, [np.nan, 1, 1, 0.5])
    # Gaps .75, .4, .4 with weights 1/4, 1/4, 2/4.
    assert bins.ece() == pytest.approx(0.75 / 4 + 0.4 / 4 + 0.4 * 2 / 4)
    assert bins.mce() == pytest.approx(0.75)
    assert bins.mce(min_count=2) == pytest.approx(0.4)
    assert bins.mce(min_count=3) == 0
    assert (bins.num_bins, bins.total) == (4, 4.0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("num_bins", range(2, 201))
def test_every_edge_is_in_the_bin_above_it(num_bins, dtype):
    edges = (np.arange(num_bins + 1) / num_bins).astype(dtype)
    upper = edges[edges >= 0.5]
    bins = bin_predictions(np.ones(len(upper), int), upper[:, None], num_bins=num_bins)
    place = np.searchsorted(edges, upper, side="right") - 1
    expected = np.bincount(np.minimum(place, num_bins - 1), minlength=num_bins)
    np.testing.assert_array_equal(bins.count, expected)


def test_bfloat16_probabilities_are_binned_as_such():
    import ml_dtypes

    prob = np.array([[0.7, 0.3]]).astype(ml_dtypes.bfloat16)  # really 0.69921875
    assert bin_predictions([0], prob, num_bins=10).count[7] == 1


def test_logits_are_softmaxed_when_said():
    logits = np.log(PROB) + 1000
    expected = bin_predictions(LABELS, PROB)
    bins = bin_predictions(LABELS, logits, from_logits=True)
    np.testing.assert_array_equal(bins.count, expected.count)
    assert bins.ece() == pytest.approx(expected.ece())
    with pytest.raises(ValueError, match="from_logits=True"):
        bin_predictions(LABELS, logits)


def test_logits_of_minus_infinity_are_classes_ruled_out():
    bins = bin_predictions([1, 1], [[-np.inf, 3.0], [0.0, 0.0]], from_logits=True)
    assert bins.confidence[-1] == 1
    single = bin_predictions([0], [[-np.inf]], from_logits=True)
    assert (single.confidence[-1], single.accuracy[-1]) == (1, 1)


def test_layouts_agree():
    expected = bin_predictions(LABELS, PROB).ece()
    eye = np.eye(4)[LABELS]
    shaped = PROB.reshape(3, 100, 4)
    assert expected > 0.05
    for y, p in [
        (LABELS[:, None], PROB),
        (eye, PROB),
        (LABELS.astype("uint8"), PROB),
        (LABELS.astype(float), PROB),
        (LABELS.reshape(3, 100), shaped),
        (eye.reshape(3, 100, 4), shaped),
    ]:
        assert bin_predictions(y, p).ece() == pytest.approx(expected)
    binary = PROB[:, :1]
    both = np.concatenate([1 - binary, binary], -1)
    expected = bin_predictions(LABELS % 2, both).ece()
    assert bin_predictions(LABELS % 2, binary).ece() == pytest.approx(expected)
    logit = np.log(binary / (1 - binary))
    single = bin_predictions(LABELS[:, None] % 2, logit, from_logits=True)
    assert single.ece() == pytest.approx(expected)


def test_ignored_weight_0_and_removed_are_the_same():
    keep = np.arange(300) % 3 > 0
    expected = bin_predictions(LABELS[keep], PROB[keep])
    spoilt = np.where(keep[:, None], PROB, np.nan)
    for y, weight in [(np.where(keep, LABELS, -100), None), (LABELS, keep)]:
        bins = bin_predictions(y, spoilt, sample_weight=weight)
        np.testing.assert_array_equal(bins.count, expected.count)
        assert bins.ece() == pytest.approx(expected.ece())
    own = bin_predictions(LABELS, PROB, ignore_class=1)
    same = bin_predictions(np.eye(4)[LABELS], PROB, ignore_class=1)
    assert own.total == same.total == (LABELS != 1).sum()
    soft = np.where(keep[:, None], np.eye(4)[LABELS], -100)
    assert bin_predictions(soft, spoilt).ece() == pytest.approx(expected.ece())


def test_weight_2_is_the_row_twice():
    times = np.arange(300) % 3
    twice = bin_predictions(LABELS.repeat(times), PROB.repeat(times, 0))
    bins = bin_predictions(LABELS, PROB, sample_weight=times)
    np.testing.assert_array_equal(bins.count, twice.count)
    np.testing.assert_allclose(bins.accuracy, twice.accuracy)
    rows = bin_predictions(
        LABELS.reshape(3, 100), PROB.reshape(3, 100, 4), sample_weight=[1, 0, 2]
    )
    flat = bin_predictions(LABELS, PROB, sample_weight=np.repeat([1, 0, 2], 100))
    np.testing.assert_array_equal(rows.count, flat.count)


def test_nothing_gives_0():
    for bins in (
        bin_predictions(np.zeros(0, int), np.zeros((0, 3))),
        bin_predictions([-100, -100], np.full((2, 3), np.nan)),
    ):
        assert (bins.ece(), bins.mce(), bins.total) == (0.0, 0.0, 0.0)
        assert np.isnan(bins.accuracy).all()


@pytest.mark.parametrize(
    ("y", "p", "match"),
    [
        ([0, 1], [[0.5, 0.5]], "`y_true` must be of shape"),
        ([0], 0.5, "`y_true` must be of shape"),
        ([0, 1], [0.5, 0.5], r"For a single sigmoid output pass y_prob\[:, None\]"),
        ([2], [[0.5, 0.5]], r"`y_true` must be whole class ids in \[0, 2\)"),
        ([-1], [[0.5, 0.5]], "`y_true` must be whole class ids"),
        ([0.5], [[0.5, 0.5]], "`y_true` must be whole class ids"),
        ([[1, 1]], [[0.5, 0.5]], "`y_true` must be distributions"),
        ([2], [[0.5]], "`y_true` must be 0 or 1, or the probability of class 1"),
        ([0], [[0.5, np.nan]], r"`y_prob` must be in \[0, 1\], with no NaN"),
        ([0], [[1.5, 0.5]], "`y_prob` must be in"),
        ([0, 0], [[0.5, 0.5], [-0.5, 0.5]], "1 bad rows, the first row 1"),
    ],
)
def test_bad_values_raise_and_name_the_argument(y, p, match):
    with pytest.raises(ValueError, match=match):
        bin_predictions(y, p)


def test_an_edge_is_rounded_to_the_dtype_of_the_confidences_once():
    # 0.7 is 0.69921875 in bfloat16 and 0.7001953125 in float16; `linspace` gives
    # 0.30000000000000004 for 3/10.
    assert bin_edges(10)[3] == 0.3
    assert bin_edges(10, "bfloat16")[7] == 0.69921875
    assert bin_edges(10, "float16")[7] == 0.7001953125
    assert bin_edges(10, "float32")[7] == np.float32(0.7)
    assert bin_edges(10, "float16").dtype == "float64"


def test_a_bad_row_is_named_by_its_place_among_all_rows():
    prob = [[[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [2.0, 0.5]]]
    with pytest.raises(ValueError, match="the first row 3"):
        bin_predictions([[-100, 0], [-100, 1]], prob)
    with pytest.raises(ValueError, match="the first 7 in row 2"):
        bin_predictions([-100, 0, 7], [[0.5, 0.5]] * 3)


@pytest.mark.parametrize("weight", [[1], [1, 2, 3], [[1, 2]], [-1, 1], [np.nan, 1]])
def test_bad_weights_raise(weight):
    with pytest.raises(ValueError, match="`sample_weight` must be"):
        bin_predictions([0, 1], [[0.5, 0.5]] * 2, sample_weight=weight)


def test_class_names_and_bad_arguments_raise():
    with pytest.raises(TypeError, match="`y_true` must be of numbers"):
        bin_predictions(["cat"], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="`num_bins` must be at least 1"):
        bin_predictions([0], [[0.5, 0.5]], num_bins=0)
    with pytest.raises(ValueError, match="free of NaN"):
        bin_predictions([0], [[np.inf, 0]], from_logits=True)
    with pytest.raises(ValueError, match="free of NaN"):
        bin_predictions([0], [[-np.inf, -np.inf]], from_logits=True)
    with pytest.raises(ValueError, match="`min_count` must be"):
        bin_predictions([0], [[0.5, 0.5]]).mce(min_count=-1)


def test_rows_that_are_no_distributions_raise():
    with pytest.raises(ValueError, match="rows summing to 1"):
        bin_predictions([0, 1], [[0.9, 0.3], [0.2, 0.6]])


def test_a_float32_sigmoid_output_is_two_outputs_in_float32():
    # 1 - float32(.2) is float32(.8) in float32, an edge, and below it in float64.
    p = np.array([[0.2], [0.22]], "float32")
    one = bin_predictions([0, 1], p, num_bins=10)
    two = bin_predictions([0, 1], np.concatenate([1 - p, p], -1), num_bins=10)
    np.testing.assert_array_equal(one.count, two.count)
    assert one.count[8] == 1
    metric = ExpectedCalibrationError(num_bins=10)
    metric.update_state(np.array([0, 1]), p)
    np.testing.assert_array_equal(metric.bin_statistics().count, one.count)
    assert one.ece() == pytest.approx(0.49)


def test_tensors_and_frames_are_read_and_masked_arrays_refused():
    import torch

    expected = bin_predictions(LABELS, PROB.astype("float32")).ece()
    tensor = torch.tensor(PROB, dtype=torch.float32, requires_grad=True)
    assert bin_predictions(LABELS, tensor).ece() == pytest.approx(expected)
    half = torch.tensor([[0.7, 0.3]], dtype=torch.bfloat16)
    assert bin_predictions([0], half, num_bins=10).count[7] == 1
    frame = pd.DataFrame(PROB).astype("Float64")
    assert bin_predictions(pd.Series(LABELS), frame).ece() == pytest.approx(expected)
    with pytest.raises(TypeError, match="`y_prob` must be no masked array"):
        bin_predictions(LABELS, np.ma.masked_array(PROB))
    with pytest.raises(TypeError, match=r"`y_prob` must be of numbers.*Several models"):
        bin_predictions(LABELS, {"a": PROB})
    with pytest.raises(ValueError, match="`y_prob` must be lists of the same length"):
        bin_predictions([0, 0], [[0.5, 0.5], [1.0]])


def test_a_table_that_is_none_raises():
    for columns in (
        ([0, 1], [1, 2], [0.5, 0.5], [0.5, 0.5]),
        ([0, 1], [-1], [0.5], [0.5]),
        ([0, 1], [1], [0.5], [[0.5]]),
    ):
        with pytest.raises(ValueError, match="ReliabilityBins: `count` must be"):
            ReliabilityBins(*columns)


def test_bins_are_frozen():
    bins = bin_predictions(LABELS, PROB)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bins.count = None
    with pytest.raises(ValueError, match="read-only"):
        bins.count[0] = 1
    assert "ece=" in repr(bins)
    assert isinstance(bins, ReliabilityBins)
