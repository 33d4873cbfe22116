"""What predictions and labels may be, and what is said of those that may not."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from keras_robust import calibration
from keras_robust.calibration import (
    ReliabilityComparison,
    ReliabilityDisplay,
    bin_predictions,
    calibration_report,
    choose_by_likelihood,
)
from keras_robust.noise import LabelPosterior, symmetric_matrix

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(300, 4))
PROB = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
LABELS = (PROB.cumsum(1) > RNG.random((300, 1))).argmax(1)
TWO = {"a": PROB, "b": PROB.astype("float32")}
MEASURES = [
    "area_under_risk_coverage",
    "bin_classwise",
    "bin_predictions",
    "brier_decomposition",
    "brier_score",
    "expected_calibration_error",
    "negative_log_likelihood",
    "smooth_ece",
]


def said(function, *arguments, **how):
    """Returns what a call warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*arguments, **how)
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


CALLS = {
    **{name: (getattr(calibration, name), PROB) for name in MEASURES},
    "ReliabilityDisplay": (ReliabilityDisplay.from_predictions, PROB),
    "ReliabilityComparison": (ReliabilityComparison.from_predictions, TWO),
    "calibration_report": (calibration_report, TWO),
    "choose_by_likelihood": (choose_by_likelihood, TWO),
}


@pytest.mark.parametrize("name", CALLS)
def test_probabilities_that_are_said_to_be_logits_are_told_once_a_call(name):
    function, values = CALLS[name]
    how = {"num_resamples": 2} if name == "calibration_report" else {}
    (message,) = said(function, LABELS, values, from_logits=True, **how)
    argument = {"choose_by_likelihood": "candidates['a']"}.get(name, "y_prob['a']")
    argument = argument if values is TWO else "y_prob"
    assert message.startswith(f"{name}: `from_logits` is True, and all rows of ")
    assert f"`{argument}`" in message
    assert "pass from_logits=False." in message


def test_what_no_probability_is_is_not_suspected():
    how = {"from_logits": True}
    assert said(bin_predictions, LABELS, LOGITS, **how) == []
    assert said(bin_predictions, LABELS, PROB) == []
    assert said(bin_predictions, LABELS, PROB + 0.01, **how) == []
    # One row, and a few single outputs, may lie there by chance.
    assert said(bin_predictions, [0], [[1.0, 0.0]], **how) == []
    assert said(bin_predictions, [0] * 9, np.full((9, 1), 0.5), **how) == []
    assert said(bin_predictions, [0] * 10, np.full((10, 1), 0.5), **how) != []
    # As halves and as printed with two digits.
    for rounded in (PROB.astype("float16"), PROB.round(2)):
        off = np.abs(rounded.astype(float).sum(-1) - 1) < 0.01
        assert said(bin_predictions, LABELS[off], rounded[off], **how) != []


def test_percentages_are_told_as_such_and_never_as_logits():
    (message,) = said(bin_predictions, LABELS, 100 * PROB, from_logits=True)
    assert "sum to 100, as percentages are" in message
    with pytest.raises(ValueError, match="as percentages do: divide them by 100") as e:
        bin_predictions(LABELS, 100 * PROB)
    assert "logits" not in str(e.value)
    single, y = 100 * PROB[:, 1:2], LABELS == 1
    (message,) = said(bin_predictions, y, single, from_logits=True)
    assert "in [0, 100], as percentages are" in message
    with pytest.raises(ValueError, match=r"They lie in \[0, 100\], as percentages do"):
        bin_predictions(y, single)
    assert said(bin_predictions, y, np.minimum(single, 20), from_logits=True) == []
    nan = np.where(np.arange(300)[:, None] == 5, np.nan, PROB)
    with pytest.raises(ValueError, match=r"nan\]?.*Drop rows without a pred") as e:
        bin_predictions(LABELS, nan)
    assert "logits" not in str(e.value)


def test_posteriors_of_labels_warn_as_well():
    posterior = LabelPosterior(symmetric_matrix(4, 0.2), from_logits=True)
    (message,) = said(posterior.fit, LABELS, LABELS, PROB)
    assert "`from_logits` is True" in message


@pytest.mark.parametrize("name", MEASURES)
def test_classes_may_be_on_any_axis(name):
    # Three of everything: no shape tells which axis is that of the classes.
    logits = RNG.normal(size=(3, 3, 3, 3))
    labels = RNG.integers(0, 3, (3, 3, 3))
    function = getattr(calibration, name)
    right = repr(function(labels, logits, from_logits=True))
    moved = np.moveaxis(logits, -1, 1)
    for y in (labels, labels[:, None], labels[..., None]):
        assert repr(function(y, moved, from_logits=True, axis=1)) == right
    assert repr(function(labels, moved, from_logits=True)) != right
    soft = np.moveaxis(np.eye(3)[labels], -1, 1)
    assert repr(function(soft, moved, from_logits=True, axis=-3))[:14] == right[:14]
    with pytest.raises(ValueError, match="`axis` must be one of the 4 axes of `y_prob"):
        function(labels, moved, from_logits=True, axis=4)
    with pytest.raises(TypeError, match="`axis` must be an integer"):
        function(labels, moved, axis="channels_first")


def test_reports_displays_and_choices_take_an_axis():
    labels = RNG.integers(0, 4, (5, 4, 4))
    logits = RNG.normal(size=(5, 4, 4, 4)) + np.eye(4)[labels]
    moved, how = np.moveaxis(logits, -1, 1), {"from_logits": True}
    ece = bin_predictions(labels, logits, **how).ece()
    report = calibration_report(labels, moved, axis=1, num_resamples=2, **how)
    assert report["ece"].value == pytest.approx(ece)
    display = ReliabilityDisplay.from_predictions(labels, moved, axis=1, **how)
    assert display.bins.ece() == pytest.approx(ece)
    both = ReliabilityComparison.from_predictions(labels, {"m": moved}, axis=1, **how)
    assert both.bins["m"].ece() == pytest.approx(ece)
    choice = choose_by_likelihood(labels, {"m": moved}, axis=1, **how)
    last = choose_by_likelihood(labels, {"m": logits}, **how)
    assert choice.nll == pytest.approx(last.nll)
    many = (RNG.random((6, 3, 3)) < 0.5).astype(int), RNG.random((6, 3, 3))
    tables = calibration.bin_multilabel(*many)
    again = calibration.bin_multilabel(*(np.moveaxis(x, -1, 1) for x in many), axis=1)
    assert [t.ece() for t in tables] == [t.ece() for t in again]


def test_weights_that_are_no_repetitions_are_refused_wherever_chance_counts():
    tiny = np.full(300, 1 / 300)
    how = {"sample_weight": tiny}
    bins = bin_predictions(LABELS, PROB, **how)
    assert bins.ece() == pytest.approx(bin_predictions(LABELS, PROB).ece())
    assert "if calibrated" not in repr(bins)
    of_classes = calibration.bin_classwise(LABELS, PROB, **how)[0]
    of_sums = calibration.ReliabilityBins.from_sums(  # whose rows nobody knows
        *(total * np.ones(5) for total in (0.2, 0.1, 0.15))
    )
    for table in (bins, of_classes, of_sums):
        for ask in (
            table.null_ece,
            table.debiased_ece,
            table.accuracy_interval,
            table.consistency_interval,
            table.to_frame,
        ):
            with pytest.raises(ValueError, match="`sample_weight` must be repetitions"):
                ask()
    for make, values in (
        (ReliabilityDisplay.from_predictions, PROB),
        (ReliabilityComparison.from_predictions, {"m": PROB}),
    ):
        with pytest.raises(ValueError, match="Multiply them by 300"):
            make(LABELS, values, **how)


def test_a_bad_label_is_shown_as_it_was_given():
    with pytest.raises(ValueError, match="first -1 in row 1") as error:
        bin_predictions([1, -1, 1], [[0.9], [0.2], [0.6]])
    assert "2.0" not in str(error.value)
    with pytest.raises(ValueError, match="labels from 1 to 4 are one too large"):
        bin_predictions(LABELS + 1, PROB)


def test_numbers_in_arrays_of_objects_are_numbers():
    prob, labels = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), np.array([0, 1, 1])
    right = bin_predictions(labels, prob).ece()
    mixed = [[Decimal("0.9"), np.float32(0.1)], [0.2, 0.8], [0.7, 0.3]]
    for objects in (prob.astype(object), np.array(mixed, dtype=object)):
        for y in (labels, labels.astype(object), pd.Series(labels, dtype="Int64")):
            assert bin_predictions(y, objects).ece() == pytest.approx(right)
    assert bin_predictions(labels == 1, prob).ece() == pytest.approx(right)
    with pytest.raises(ValueError, match="with no NaN"):
        bin_predictions(labels, [[0.9, None], [0.2, 0.8], [0.7, 0.3]])


@pytest.mark.parametrize(
    ("y_true", "fix"),
    [
        (["cat", "dog", "cat"], "Convert class names to integer ids"),
        (np.array(["cat", "dog", 1], dtype=object), "Convert class names to integer"),
        (["0", "1", "1"], "numbers as text: convert them with `.astype"),
        (np.array([0, 1, 1j]), "Complex numbers are neither"),
        (np.array([[0], [1, 1], [0]], dtype=object), "Rows must be of one length"),
        (np.array(["2024-01-01"] * 3, "M8[D]"), "Convert it with `.astype"),
    ],
)
def test_what_is_no_number_is_told_with_what_helps(y_true, fix):
    with pytest.raises(TypeError, match="`y_true` must be of numbers") as error:
        bin_predictions(y_true, [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert fix in str(error.value)
    with pytest.raises(ValueError, match="lists of the same length"):
        bin_predictions([[0], [1, 1]], [[0.9, 0.1]] * 2)
    outputs = [np.full((2, 2), 0.5), np.full((2, 3), 1 / 3)]  # of `model.predict`
    with pytest.raises(ValueError, match=r"a list of 2 that differ in shape\. .* one"):
        bin_predictions([0, 1], outputs)
    with pytest.raises(TypeError, match="Pass one for each row"):
        bin_predictions([0, 1], outputs[0], sample_weight={0: 1.0, 1: 2.0})


def test_a_column_of_lists_is_an_array():
    column = pd.Series(PROB.tolist(), index=RNG.permutation(len(PROB)))
    expected = bin_predictions(LABELS, PROB).ece()
    assert bin_predictions(LABELS, column).ece() == expected
    assert bin_predictions(LABELS, pd.Series(list(PROB))).ece() == expected
    with pytest.raises(TypeError, match="Rows must be of one length"):
        bin_predictions([0, 1], pd.Series([[0.9, 0.1], [1.0]]))
