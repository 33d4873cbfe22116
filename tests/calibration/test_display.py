"""Reliability diagrams: what is drawn is what was counted."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_robust import ExpectedCalibrationError, MaximumCalibrationError
from keras_robust.calibration import ReliabilityDisplay, bin_predictions

RNG = np.random.default_rng(2)
PROB = RNG.dirichlet(np.full(3, 0.4), 200).astype("float32")
LABELS = RNG.integers(0, 3, 200)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_the_bars_are_the_bins_and_empty_bins_are_blank():
    bins = bin_predictions(LABELS, PROB, num_bins=10)
    display = ReliabilityDisplay(bins).plot()
    seen = bins.count > 0
    assert 0 < seen.sum() < 10
    for artists in (display.accuracy_, display.gap_, display.counts_):
        assert len(artists) == seen.sum()
        assert [b.get_x() for b in artists] == pytest.approx(bins.edges[:-1][seen])
        assert [b.get_width() for b in artists] == pytest.approx([0.1] * seen.sum())
    heights = [bar.get_height() for bar in display.accuracy_]
    assert heights == pytest.approx(bins.accuracy[seen])
    assert [bar.get_height() for bar in display.counts_] == bins.count[seen].tolist()
    gaps = np.abs(bins.accuracy - bins.confidence)[seen]
    assert [bar.get_height() for bar in display.gap_] == pytest.approx(gaps)
    ends = [sorted([b.get_y(), b.get_y() + b.get_height()]) for b in display.gap_]
    both = np.sort(np.stack([bins.accuracy, bins.confidence], -1)[seen], -1)
    np.testing.assert_allclose(ends, both)
    assert all(bar.get_hatch() for bar in display.gap_)
    assert display.diagonal_.get_xydata().tolist() == [[0, 0], [1, 1]]


def test_the_figure_tells_ece_mce_and_n():
    bins = bin_predictions(LABELS, PROB)
    display = ReliabilityDisplay.from_predictions(LABELS, PROB, name="mine")
    text = display.text_.get_text()
    assert f"ECE {bins.ece():.3f}" in text
    assert f"MCE {bins.mce():.3f}" in text
    assert "n 200" in text
    assert display.ax_.get_title() == "mine"
    assert display.ax_.get_ylabel() == "accuracy"
    assert display.count_ax_.get_xlabel() == "confidence"
    assert display.count_ax_.get_ylabel() == "count"


def test_thin_bins_are_pale_and_out_of_the_mce():
    bins = bin_predictions(LABELS, PROB)
    display = ReliabilityDisplay(bins, min_count=10).plot()
    thin = bins.count[bins.count > 0] < 10
    assert 0 < thin.sum() < len(thin)
    assert [bar.get_alpha() == 0.25 for bar in display.accuracy_] == thin.tolist()
    assert [bar.get_alpha() == 0.25 for bar in display.gap_] == thin.tolist()
    assert f"MCE {bins.mce(10):.3f}" in display.text_.get_text()


@pytest.mark.parametrize(
    "metric", [ExpectedCalibrationError(), MaximumCalibrationError(min_count=10)]
)
def test_a_metric_draws_what_its_predictions_would(metric):
    metric.update_state(LABELS, PROB)
    streamed = ReliabilityDisplay.from_metric(metric)
    direct = ReliabilityDisplay.from_predictions(
        LABELS, PROB, min_count=getattr(metric, "min_count", 0)
    )
    np.testing.assert_array_equal(streamed.bins.count, direct.bins.count)
    assert streamed.text_.get_text() == direct.text_.get_text()


@pytest.mark.parametrize("layout", [None, "tight", "constrained"])
def test_it_draws_into_given_axes_and_nothing_overlaps(layout):
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout=layout)
    displays = [
        ReliabilityDisplay.from_predictions(LABELS, PROB, ax=ax, name=str(i))
        for i, ax in enumerate(axes)
    ]
    figure.canvas.draw()
    for display, ax in zip(displays, axes):
        assert display.ax_ is ax
        assert display.figure_ is figure
        upper, lower = ax.get_position(), display.count_ax_.get_position()
        assert lower.y1 < upper.y0
        assert (lower.x0, lower.x1) == pytest.approx((upper.x0, upper.x1))
    assert len(figure.axes) == 6
    assert plt.get_fignums() == [figure.number]  # no figure of its own


def test_axes_placed_by_hand_work_too():
    figure = plt.figure()
    ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    display = ReliabilityDisplay.from_predictions(LABELS, PROB, ax=ax)
    figure.canvas.draw()
    assert display.count_ax_.get_position().y1 < ax.get_position().y0 + 0.35


def test_nothing_global_is_touched():
    before = dict(plt.rcParams)
    ReliabilityDisplay.from_predictions(LABELS, PROB)
    assert dict(plt.rcParams) == before


def test_nothing_seen_is_drawn_without_bars():
    display = ReliabilityDisplay.from_metric(ExpectedCalibrationError())
    display.figure_.canvas.draw()
    assert len(display.accuracy_) == 0
    assert "n 0" in display.text_.get_text()


def test_what_is_no_table_and_no_metric_raises():
    with pytest.raises(TypeError, match="`bins` must be a ReliabilityBins"):
        ReliabilityDisplay([1, 2])
    with pytest.raises(TypeError, match="`metric` must have a method"):
        ReliabilityDisplay.from_metric("ece")
    with pytest.raises(ValueError, match="`min_count` must be"):
        ReliabilityDisplay(bin_predictions(LABELS, PROB), min_count=-1)
