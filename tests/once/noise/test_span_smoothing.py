"""Targets smoothed along spans, against cases worked by hand."""

import keras
import numpy as np
import pytest

from keras_robust import GCE, SGCE, ExpectedCalibrationError
from keras_robust.noise import SpanSmoothing


def test_each_neighbour_is_given_half_of_the_mass():
    # Own label 0.8 where both neighbours are there, 0.9 at the two ends.
    targets = SpanSmoothing(4, smoothing=0.2)([0, 1, 2, 3])
    expected = [
        [0.9, 0.1, 0, 0],
        [0.1, 0.8, 0.1, 0],
        [0, 0.1, 0.8, 0.1],
        [0, 0, 0.1, 0.9],
    ]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)
    assert targets.dtype == np.float32


def test_neighbours_with_the_same_label_change_nothing():
    targets = SpanSmoothing(2, smoothing=0.4)([1, 1, 1, 0])
    # The third has one neighbour of each label: 0.8 + 0.2 * 0 ... and 0.2 for label 0.
    np.testing.assert_allclose(targets[:, 0], [0, 0, 0.2, 0.8], rtol=1e-6)


def test_a_wider_window_shares_the_mass_among_more():
    # 0.4 / 4 = 0.1 for each of up to four neighbours.
    targets = SpanSmoothing(5, smoothing=0.4, window=2)([0, 1, 2, 3, 4])
    np.testing.assert_allclose(targets[2], [0.1, 0.1, 0.6, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(targets[0], [0.8, 0.1, 0.1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(targets[3], [0, 0.1, 0.1, 0.7, 0.1], rtol=1e-6)


def test_nothing_passes_an_ignored_position():
    # Within a window of 2, label 0 would reach label 2 over the ignored position.
    targets = SpanSmoothing(3, smoothing=0.4, window=2)([0, -100, 2, 1])
    np.testing.assert_allclose(targets[0], [1, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(targets[1], [-100, -100, -100])
    np.testing.assert_allclose(targets[2], [0, 0.1, 0.9], rtol=1e-6)
    np.testing.assert_allclose(targets[3], [0, 0.9, 0.1], rtol=1e-6)


def test_nothing_passes_the_end_of_a_sequence():
    smooth = SpanSmoothing(2, smoothing=0.5)
    together = smooth(np.array([[0, 0], [1, 1]]))
    np.testing.assert_array_equal(together, np.eye(2)[[[0, 0], [1, 1]]])
    apart = smooth([[0, 0, 1], [1]])
    assert [one.shape for one in apart] == [(3, 2), (1, 2)]
    np.testing.assert_allclose(apart[0][:, 1], [0, 0.25, 0.75], rtol=1e-6)
    np.testing.assert_array_equal(apart[1], [[0, 1]])


@pytest.mark.parametrize("window", [1, 2, 7])
def test_targets_sum_to_1_and_no_smoothing_leaves_them_one_hot(window):
    labels = np.random.default_rng(0).integers(-1, 5, (20, 6))
    options = {"window": window, "ignore_class": -1}
    targets = SpanSmoothing(5, smoothing=0.9, **options)(labels)
    counted = labels >= 0
    np.testing.assert_allclose(targets[counted].sum(-1), 1.0, rtol=1e-5)
    assert (targets[counted] >= 0).all()
    assert 0 < targets[counted].max(-1).min() < 0.9
    plain = SpanSmoothing(5, smoothing=0.0, **options)(labels)
    np.testing.assert_array_equal(plain[counted], np.eye(5)[labels[counted]])


def test_a_longer_window_than_the_sequence_and_no_tokens_are_fine():
    targets = SpanSmoothing(2, smoothing=0.2, window=9)([0, 1])
    np.testing.assert_allclose(
        targets, [[1 - 0.1 / 9, 0.1 / 9], [0.1 / 9, 1 - 0.1 / 9]], rtol=1e-5
    )
    assert SpanSmoothing(2)(np.zeros((0, 3), int)).shape == (0, 3, 2)
    assert SpanSmoothing(2)(np.zeros((3, 0), int)).shape == (3, 0, 2)


def test_labels_are_not_modified_and_tensors_are_taken():
    labels = np.array([[0, 1, -100]], "int8")
    targets = SpanSmoothing(2)(labels)
    assert labels.tolist() == [[0, 1, -100]]
    tensor = keras.ops.convert_to_tensor(labels.astype("int32"))
    np.testing.assert_array_equal(SpanSmoothing(2)(tensor), targets)


@pytest.mark.parametrize("loss", [GCE(q=0.6, from_logits=True), SGCE(from_logits=True)])
def test_losses_and_metrics_ignore_what_is_ignored(loss):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 4, 3)).astype("float32")
    targets = SpanSmoothing(3, smoothing=0.2)([[0, -100, 2, 1]])
    # The loss is linear in its targets: 0.9 of the own label, 0.1 of the neighbour's.
    costs = {
        label: keras.ops.convert_to_numpy(loss.call(np.full((1, 4), label), logits))[0]
        for label in range(3)
    }
    expected = (
        costs[0][0],
        0.9 * costs[2][2] + 0.1 * costs[1][2],
        0.9 * costs[1][3] + 0.1 * costs[2][3],
    )
    got = float(loss(targets, logits))
    assert got == pytest.approx(sum(expected) / 3, rel=1e-5)
    metric = ExpectedCalibrationError(from_logits=True)
    metric.update_state(targets, logits)
    assert metric.bin_statistics().count.sum() == 3


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"smoothing": -0.1}, "smoothing"),
        ({"window": 0}, "window"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ValueError, match=f"SpanSmoothing: `{argument}` must be"):
        SpanSmoothing(**{"num_classes": 3, **arguments})


def test_bad_labels_are_refused():
    with pytest.raises(ValueError, match=r"`sequences` must be in \[0, 3\)"):
        SpanSmoothing(3)([0, 3])
    with pytest.raises(ValueError, match="a single label"):
        SpanSmoothing(3)(1)
    with pytest.raises(TypeError, match="sequences"):
        SpanSmoothing(3)([0.5, 1.0])


@pytest.mark.parametrize("ignore_class", [0, 1, 2])
def test_a_class_of_its_own_may_be_the_ignored_one(ignore_class):
    labels = np.array([[0, 1, 2, 1, 2, 0]])
    logits = np.random.default_rng(5).normal(size=(1, 6, 3)).astype("float32")
    smooth = SpanSmoothing(3, smoothing=0.2, ignore_class=ignore_class)
    plain = SpanSmoothing(3, smoothing=0.2)
    counted = labels != ignore_class
    expected = plain(np.where(counted, labels, -100))
    value = float(
        GCE(from_logits=True, ignore_class=ignore_class)(smooth(labels), logits)
    )
    assert value == pytest.approx(
        float(GCE(from_logits=True)(expected, logits)), rel=1e-6
    )
    metric = ExpectedCalibrationError(from_logits=True, ignore_class=ignore_class)
    metric.update_state(smooth(labels), logits)
    other = ExpectedCalibrationError(from_logits=True)
    other.update_state(expected, logits)
    assert float(metric.result()) == pytest.approx(float(other.result()), rel=1e-6)
