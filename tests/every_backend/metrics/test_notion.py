"""Norms and notions of the calibration error with one confidence per prediction."""

import by_definition
import keras
import numpy as np
import pytest
import torch
from netcal.metrics import ECE, MCE
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from keras_robust.calibration import bin_predictions
from keras_robust.metrics import ExpectedCalibrationError, MaximumCalibrationError

RNG = np.random.default_rng(5)
PROB = RNG.dirichlet(np.full(4, 0.5), 500).astype("float32")
LABELS = RNG.integers(0, 4, 500)
WEIGHT = RNG.uniform(0.1, 3, 500).astype("float32")
P = RNG.uniform(size=(500, 1)).astype("float32")
Y = (RNG.uniform(size=500) < P[:, 0] ** 2).astype(int)
both = pytest.mark.parametrize(
    "cls", [ExpectedCalibrationError, MaximumCalibrationError]
)
every_norm = pytest.mark.parametrize("norm", ["l1", "l2", "max"])


def read(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


def few(y, p):
    """Returns a batch of 4 rows, the rest ignored: JAX compiles for each number."""
    missing = ((0, 4 - len(y)), (0, 0))
    y = np.pad(np.array(y), missing[0], constant_values=-100)
    return y, np.pad(np.array(p, "float32"), missing, constant_values=0.5)


def positive(norm="l1", num_bins=10, **arguments):
    return ExpectedCalibrationError(num_bins, norm=norm, notion="positive", **arguments)


@every_norm
@pytest.mark.parametrize("num_bins", [1, 15])  # JAX compiles for each number
def test_each_norm_is_its_definition(norm, num_bins):
    hit, top = PROB.argmax(-1) == LABELS, PROB.max(-1)
    expected = by_definition.error(top, hit, WEIGHT, num_bins, norm)
    metric = ExpectedCalibrationError(num_bins, norm=norm)
    assert expected > 0.05
    assert read(metric, (LABELS, PROB, WEIGHT)) == pytest.approx(expected, rel=1e-5)
    expected = by_definition.error(P[:, 0], Y, WEIGHT, num_bins, norm)
    metric = positive(norm, num_bins)
    assert expected > 0.05
    assert read(metric, (Y, P, WEIGHT)) == pytest.approx(expected, rel=1e-5)


def test_the_norms_of_two_bins_worked_by_hand():
    # Bin [.2, .3): twice .25, none right: gap .25. Bin [.9, 1]: .95, right: gap .05.
    batch = few([0, 0, 1], [[0.25], [0.25], [0.95]])
    l1, l2 = (2 * 0.25 + 0.05) / 3, ((2 * 0.25**2 + 0.05**2) / 3) ** 0.5
    assert read(positive("l1"), batch) == pytest.approx(l1, rel=1e-5)
    assert read(positive("l2"), batch) == pytest.approx(l2, rel=1e-5)
    assert read(positive("max"), batch) == pytest.approx(0.25, rel=1e-5)


def test_the_max_norm_is_the_maximum_calibration_error():
    metric = ExpectedCalibrationError(norm="max")
    expected = read(MaximumCalibrationError(), (LABELS, PROB, WEIGHT))
    assert read(metric, (LABELS, PROB, WEIGHT)) == pytest.approx(expected, rel=1e-6)


@every_norm
def test_each_norm_is_that_of_torchmetrics(norm):
    # Random probabilities: none is 1 or on an edge, where torchmetrics goes wrong.
    theirs = binary_calibration_error(torch.tensor(P[:, 0]), torch.tensor(Y), 15, norm)
    assert read(positive(norm, 15), (Y, P)) == pytest.approx(float(theirs), rel=1e-5)
    theirs = multiclass_calibration_error(
        torch.tensor(PROB), torch.tensor(LABELS), 4, 15, norm
    )
    metric = ExpectedCalibrationError(15, norm=norm)
    assert read(metric, (LABELS, PROB)) == pytest.approx(float(theirs), rel=1e-5)


def test_the_positive_notion_is_that_of_netcal():
    # A confidence on an edge goes into the bin below in netcal; here there is none.
    theirs = ECE(15).measure(P[:, 0], Y)
    assert read(positive("l1", 15), (Y, P)) == pytest.approx(theirs, rel=1e-5)
    metric = MaximumCalibrationError(15, notion="positive")
    theirs = MCE(15).measure(P[:, 0], Y)
    assert read(metric, (Y, P)) == pytest.approx(theirs, rel=1e-5)


def test_a_confidence_of_1_shares_the_last_bin():
    # .95, right, and 1, wrong, are in [.9, 1]: gap |.5 - .975|. torchmetrics 1.9 has a
    # bin for 1 alone and says (.05 + 1)/2 = .525, and 1 for the maximum.
    batch = few([1, 0], [[0.95], [1.0]])
    for norm in ("l1", "l2", "max"):
        assert read(positive(norm), batch) == pytest.approx(0.475, rel=1e-5)


def test_logits_within_0_and_1_are_logits_when_said():
    # sigmoid(.9) = .7109 for a label 1, sigmoid(.2) = .5498 for a label 0: bins [.7,
    # .8) and [.5, .6), gaps .2891 and .5498. torchmetrics takes such a batch for
    # probabilities and says (.1 + .2)/2 = .15.
    batch = few([1, 0], [[0.9], [0.2]])
    p, q = 1 / (1 + np.exp(-0.9)), 1 / (1 + np.exp(-0.2))
    expected = (1 - p + q) / 2
    assert read(positive(from_logits=True), batch) == pytest.approx(expected, rel=1e-5)


def test_a_probability_above_1_by_rounding_is_1():
    # .9 is in [.9, 1] three times, once wrong, with 1.0000001: gap |3/4 - 3.7/4| =
    # .175. torchmetrics takes all four for logits and says .034.
    prob = np.array([[1.0000001], [0.9], [0.9], [0.9]], "float32")
    assert prob[0, 0] > 1
    assert read(positive(), few([1, 1, 1, 0], prob)) == pytest.approx(0.175, rel=1e-5)


def test_a_confidence_on_an_edge_is_in_the_bin_above():
    # .25 in [.2, .3), wrong; .3 and .35 in [.3, .4), right: (.25 + 2*.675)/3. netcal
    # 1.4 counts .3 with .25: (2*.225 + .65)/3 = .3667.
    batch = few([0, 1, 1], [[0.25], [0.3], [0.35]])
    assert read(positive(), batch) == pytest.approx(1.6 / 3, rel=1e-5)
    # The edge 6/15 is .40000004 in torch.linspace, so that torchmetrics counts .4 in
    # the bin below.
    metric = positive(num_bins=15)
    metric.update_state(*few([1], [[0.4]]))
    assert metric.bin_statistics().count[6] == 1


def test_20_million_sure_and_right_rows_keep_their_gap():
    # torchmetrics says 0: in float32 both its count and its sum stop at 2^24.
    metric, rows = positive("l2"), np.full((100_000, 1), 0.9, "float32")
    metric.update_state(np.ones(len(rows), "int8"), rows)
    for variable in metric.variables:  # as of 200 replicas
        variable.assign(variable * 200.0)
    assert metric.bin_statistics().count[9] == 20_000_000
    gap = 1 - float(np.float32(0.9))
    assert float(metric.result()) == pytest.approx(gap, abs=2e-7)


@both
def test_the_notion_is_what_was_said_whatever_the_data(cls):
    # Label 1 twice, at .2 and .8. Class 1: gaps .8 and .2. Predicted class: twice .8,
    # once right: gap .3.
    y, single = few([1, 1], [[0.2], [0.8]])
    for prob in (single, np.concatenate([1 - single, single], -1)):
        assert read(cls(), (y, prob)) == pytest.approx(0.3, rel=1e-5)
        expected = 0.5 if cls is ExpectedCalibrationError else 0.8
        value = read(cls(notion="positive"), (y, prob))
        assert value == pytest.approx(expected, rel=1e-5)


@both
def test_layouts_of_binary_predictions_agree(cls):
    expected = read(cls(notion="positive"), (Y, P))
    two = np.concatenate([1 - P, P], -1)
    for y, prob in [(Y[:, None], P), (Y, two), (np.eye(2)[Y], two)]:
        value = read(cls(notion="positive"), (y, prob))
        assert value == pytest.approx(expected, rel=1e-6)
    for logits in (np.log(P / (1 - P)), np.log(two)):
        value = read(cls(notion="positive", from_logits=True), (Y, logits))
        assert value == pytest.approx(expected, rel=1e-5)


@both
def test_a_soft_label_is_right_by_its_probability_of_class_1(cls):
    metric = cls(notion="positive")
    assert read(metric, ([0.3], np.array([[0.9]], "float32"))) == pytest.approx(0.6)
    soft = np.array([[0.6, 0.4]])
    value = read(cls(notion="positive"), (soft, np.array([[0.9, 0.1]], "float32")))
    assert value == pytest.approx(0.3)


@both
def test_the_positive_notion_of_more_than_two_classes_raises(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__}: `notion` must be 'top_labe"):
        cls(notion="positive").update_state(LABELS, PROB)


@both
def test_positive_rows_that_are_ignored_or_broken(cls):
    keep = np.arange(500) % 3 > 0
    norm = "l1" if cls is ExpectedCalibrationError else "max"
    rows = P[keep, 0], Y[keep], np.ones(keep.sum())
    expected = by_definition.error(*rows, 15, norm)
    ignored = np.where(keep, Y, -100)
    spoilt = np.where(keep[:, None], P, np.nan)
    value = read(cls(notion="positive"), (ignored, spoilt))
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.isnan(read(cls(notion="positive"), (Y, spoilt)))
    assert np.isnan(read(cls(notion="positive"), (np.where(keep, Y, 2), P)))
    assert read(cls(notion="positive"), (np.full(500, -100), P)) == 0


@every_norm
def test_weights_of_any_scale_give_the_same_norm(norm):
    expected = read(positive(norm), (Y, P, WEIGHT))
    for scale in (1e-20, 1e12):
        scaled = read(positive(norm), (Y, P, WEIGHT * np.float32(scale)))
        assert scaled == pytest.approx(expected, rel=1e-5)


@both
def test_positive_bins_are_those_of_numpy(cls):
    metric = cls(notion="positive")
    metric.update_state(Y, P, WEIGHT)
    bins = metric.bin_statistics()
    expected = bin_predictions(Y, P, notion="positive", sample_weight=WEIGHT)
    assert bins.count[0] > 0  # class 1 has confidences below one half
    for name in ("count", "confidence", "accuracy"):
        ours, theirs = getattr(bins, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, err_msg=name)


@both
def test_a_configuration_gives_back_the_norm_and_the_notion(cls):
    extra = {"norm": "l2"} if cls is ExpectedCalibrationError else {"min_count": 20}
    metric = cls(9, notion="positive", **extra)
    expected = read(metric, (Y, P))
    restored = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert read(restored, (Y, P)) == expected
    assert restored.get_config() == metric.get_config()
    assert expected != pytest.approx(read(cls(9), (Y, P)), rel=1e-3)
    assert cls().notion == "top_label"


def test_bad_norms_and_notions_raise():
    with pytest.raises(ValueError, match=r"ExpectedCalibrationError: `norm` must be o"):
        ExpectedCalibrationError(norm="l3")
    for cls in (ExpectedCalibrationError, MaximumCalibrationError):
        with pytest.raises(ValueError, match=rf"{cls.__name__}: `notion` must be one"):
            cls(notion="binary")
