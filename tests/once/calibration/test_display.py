"""Reliability diagrams: what is drawn is what was counted."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_robust import ExpectedCalibrationError, MaximumCalibrationError
from keras_robust.calibration import (
    MeasuredValue,
    ReliabilityComparison,
    ReliabilityDisplay,
    bin_predictions,
)
from keras_robust.metrics import ClasswiseCalibrationError

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
    assert f"(if calibrated {bins.null_ece().null_mean:.3f})" in text
    assert display.ax_.get_title() == "mine"
    assert display.ax_.get_ylabel() == "accuracy"
    assert display.count_ax_.get_xlabel() == "confidence"
    assert display.count_ax_.get_ylabel() == "count"


def test_an_ece_that_is_given_is_written_with_its_null_value():
    bins = bin_predictions(LABELS, PROB)
    given = MeasuredValue.from_draws(0.25, np.array([0.125, 0.375, 0.0625]))
    text = ReliabilityDisplay(bins, ece=given).plot().text_.get_text()
    assert text.startswith("ECE 0.250\n(if calibrated 0.188)\nMCE ")
    unknown = MeasuredValue.from_draws(0.25, np.zeros(0))
    text = ReliabilityDisplay(bins, ece=unknown).plot().text_.get_text()
    assert text.startswith("ECE 0.250\nMCE ")


def test_whiskers_and_boxes_are_the_intervals_of_the_bins():
    bins = bin_predictions(LABELS, PROB, num_bins=10)
    display = ReliabilityDisplay(bins, level=0.8).plot()
    seen = bins.count > 0
    low, high = (end[seen] for end in bins.accuracy_interval(0.8))
    (lines,) = display.whiskers_.lines[2]
    ends = np.array([segment[:, 1] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, np.stack([low, high], -1), atol=1e-12)
    middle = (bins.edges[:-1] + bins.edges[1:])[seen] / 2
    np.testing.assert_allclose([s[0, 0] for s in lines.get_segments()], middle)
    low, high = (end[seen] for end in bins.consistency_interval(0.8))
    boxes = [(b.get_y(), b.get_y() + b.get_height()) for b in display.band_]
    np.testing.assert_allclose(boxes, np.stack([low, high], -1), atol=1e-12)
    inside = [b.get_x() + b.get_width() / 2 for b in display.band_]
    np.testing.assert_allclose(inside, middle)
    # Narrower than the bars, which would be hidden.
    assert [b.get_width() for b in display.band_] == pytest.approx([0.05] * len(low))
    bare = ReliabilityDisplay(bins, level=None).plot()
    assert bare.whiskers_ is bare.band_ is None


def test_bars_of_equal_mass_have_the_widths_of_their_bins():
    display = ReliabilityDisplay.from_predictions(
        LABELS, PROB, binning="equal_mass", num_bins=6
    )
    edges = display.bins.edges
    assert display.bins.num_bins == 6
    assert [b.get_x() for b in display.accuracy_] == pytest.approx(edges[:-1])
    widths = [b.get_width() for b in display.accuracy_]
    assert widths == pytest.approx(np.diff(edges))


def test_the_legend_is_beside_the_diagram_inside_or_absent():
    bins = bin_predictions(LABELS, PROB)
    own = ReliabilityDisplay(bins).plot()
    assert own.ax_.get_legend() is None
    assert len(own.figure_.legends[0].get_texts()) == 5
    ax = plt.figure().subplots()
    assert len(ReliabilityDisplay(bins).plot(ax).ax_.get_legend().get_texts()) == 5
    ax = plt.figure().subplots()
    assert ReliabilityDisplay(bins).plot(ax, legend=False).ax_.get_legend() is None


def test_counts_are_logarithmic_only_where_they_differ_much():
    even = ReliabilityDisplay.from_predictions(
        LABELS, PROB, binning="equal_mass", num_bins=5
    )
    assert even.count_ax_.get_yscale() == "linear"
    sharp = PROB**5 / (PROB**5).sum(-1, keepdims=True)
    wide = ReliabilityDisplay.from_predictions(LABELS, sharp)
    assert wide.bins.count.max() > 10 * wide.bins.count[wide.bins.count > 0].min()
    assert wide.count_ax_.get_yscale() == "log"


def test_the_positive_notion_has_its_own_words():
    metric = ExpectedCalibrationError(notion="positive")
    metric.update_state(LABELS % 2, PROB[:, :1])
    streamed = ReliabilityDisplay.from_metric(metric)
    direct = ReliabilityDisplay.from_predictions(
        LABELS % 2, PROB[:, :1], notion="positive"
    )
    compared = ReliabilityComparison.from_predictions(
        LABELS % 2, {"a": PROB[:, :1]}, notion="positive"
    )
    for display in (streamed, direct, compared):
        assert display.ax_.get_ylabel() == "share of class 1"
        assert display.count_ax_.get_xlabel() == "probability of class 1"


def small_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)], name="small")
    model.set_weights([np.eye(3, dtype="float32") * 5, np.zeros(3)])
    return model


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(50 * index, 50 * (index + 1))
        return PROB[rows], LABELS[rows], np.full(50, 2.0)


def test_a_model_draws_what_its_predictions_would():
    model = small_model()
    logits = keras.ops.convert_to_numpy(model(PROB))
    expected = bin_predictions(LABELS, logits, from_logits=True)
    display = ReliabilityDisplay.from_model(model, PROB, LABELS, from_logits=True)
    np.testing.assert_array_equal(display.bins.count, expected.count)
    np.testing.assert_allclose(display.bins.accuracy, expected.accuracy)
    assert display.ax_.get_title() == "small"
    weighted = ReliabilityDisplay.from_model(
        model, PROB, LABELS, from_logits=True, sample_weight=np.arange(200) % 2
    )
    assert weighted.bins.total == 100
    batches = ReliabilityDisplay.from_model(model, Batches(), from_logits=True)
    np.testing.assert_array_equal(batches.bins.count, 2 * expected.count)
    pairs = [(PROB[:70], LABELS[:70]), (PROB[70:], LABELS[70:])]
    iterated = ReliabilityDisplay.from_model(model, iter(pairs), from_logits=True)
    np.testing.assert_array_equal(iterated.bins.count, expected.count)


def test_batches_of_sequences_may_differ_in_length():
    model = small_model()
    labels = LABELS.copy()
    labels[::5] = -100
    parts = [
        (PROB[:120].reshape(12, 10, 3), labels[:120].reshape(12, 10)),
        (PROB[120:].reshape(4, 20, 3), labels[120:].reshape(4, 20)),
    ]
    token = keras.Sequential([keras.Input((None, 3)), model.layers[0]])
    display = ReliabilityDisplay.from_model(token, iter(parts), from_logits=True)
    logits = keras.ops.convert_to_numpy(model(PROB))
    expected = bin_predictions(labels, logits, from_logits=True)
    np.testing.assert_array_equal(display.bins.count, expected.count)
    assert display.bins.total == 160


@pytest.mark.parametrize("data", [PROB, Batches(), [(PROB,)], iter([])])
def test_a_dataset_without_labels_raises(data):
    if isinstance(data, keras.utils.PyDataset):
        data = [batch[:1] for batch in (data[0], data[1])]
    with pytest.raises(ValueError, match=r"ReliabilityDisplay: `[xy]` must be"):
        ReliabilityDisplay.from_model(small_model(), data)


def test_a_comparison_draws_the_bins_of_each_model():
    sharp = PROB**3 / (PROB**3).sum(-1, keepdims=True)
    display = ReliabilityComparison.from_predictions(
        LABELS, {"before": PROB, "after": sharp}, num_bins=10, name="both"
    )
    for name, prob in {"before": PROB, "after": sharp}.items():
        bins = bin_predictions(LABELS, prob, num_bins=10)
        seen = bins.count > 0
        line, _, (whiskers,) = display.curves_[name].lines
        np.testing.assert_allclose(line.get_xdata(), bins.confidence[seen])
        np.testing.assert_allclose(line.get_ydata(), bins.accuracy[seen])
        low, high = (end[seen] for end in bins.accuracy_interval())
        ends = [segment[:, 1] for segment in whiskers.get_segments()]
        np.testing.assert_allclose(ends, np.stack([low, high], -1), atol=1e-12)
        drawn = display.counts_[name].get_data()
        np.testing.assert_array_equal(np.nan_to_num(drawn.values), bins.count)
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        measured = bins.null_ece()
        words = (
            f"{name}: ECE {measured.value:.3f} (if calibrated {measured.null_mean:.3f})"
        )
        assert words in texts
    colours = {c.lines[0].get_color() for c in display.curves_.values()}
    markers = {c.lines[0].get_marker() for c in display.curves_.values()}
    assert len(colours) == len(markers) == 2
    assert display.ax_.get_title() == "both"
    frame = display.to_frame()
    assert list(frame["model"].unique()) == ["before", "after"]
    assert len(frame) == 20
    bare = ReliabilityComparison(display.bins, level=None).plot()
    assert not bare.curves_["after"].has_yerr


def test_what_cannot_be_compared_raises():
    bins = bin_predictions(LABELS, PROB)
    with pytest.raises(TypeError, match="`bins` must map names"):
        ReliabilityComparison([bins])
    with pytest.raises(TypeError, match="`bins` must map names to ReliabilityBins"):
        ReliabilityComparison({"a": 1})
    with pytest.raises(ValueError, match="`bins` must be not empty"):
        ReliabilityComparison({})
    with pytest.raises(ValueError, match="`level` must be in"):
        ReliabilityComparison({"a": bins}, level=2)


def test_thin_bins_are_pale_and_out_of_the_mce():
    bins = bin_predictions(LABELS, PROB)
    display = ReliabilityDisplay(bins, min_count=10).plot()
    thin = bins.count[bins.count > 0] < 10
    assert 0 < thin.sum() < len(thin)
    assert [bar.get_alpha() == 0.25 for bar in display.accuracy_] == thin.tolist()
    assert [bar.get_alpha() == 0.25 for bar in display.gap_] == thin.tolist()
    assert f"MCE {bins.mce(10):.3f}" in display.text_.get_text()
    (lines,) = display.whiskers_.lines[2]
    assert len(lines.get_segments()) == len(display.band_) == (~thin).sum()


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
    bins = bin_predictions(LABELS, PROB)
    with pytest.raises(TypeError, match="`ece` must be a MeasuredValue or None"):
        ReliabilityDisplay(bins, ece=0.1)
    with pytest.raises(TypeError, match="`metric` must have a method"):
        ReliabilityDisplay.from_metric("ece")
    with pytest.raises(TypeError, match="`metric` must have one table"):
        ReliabilityDisplay.from_metric(ClasswiseCalibrationError(3))
    with pytest.raises(ValueError, match="`min_count` must be"):
        ReliabilityDisplay(bin_predictions(LABELS, PROB), min_count=-1)
    with pytest.raises(ValueError, match="`level` must be in"):
        ReliabilityDisplay(bin_predictions(LABELS, PROB), level=95)


def test_the_display_gives_its_table():
    display = ReliabilityDisplay.from_predictions(LABELS, PROB)
    frame = display.to_frame()
    np.testing.assert_array_equal(frame["count"], display.bins.count)
