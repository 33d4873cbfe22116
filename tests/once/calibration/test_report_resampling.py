"""Null values of many rows: from sums, in bounded memory, as exact as row by row."""

import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from keras_robust.calibration import calibration_report
from keras_robust.calibration._report import cells, progress, resampling
from keras_robust.calibration._report.draw import Draw
from keras_robust.calibration._report.isotonic import Steps, discrimination

RNG = np.random.default_rng(1)
N = 3000
LOGITS = 2 * RNG.normal(size=(N, 4))
PROB = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
LABELS = (PROB.cumsum(1) > RNG.random((N, 1))).argmax(1)

# Of cells of six rows; the smooth ECE is a bandwidth found by halving.
LOOSE = {
    "smooth_ece": 0.04,
    "aurc": 1e-3,
    "miscalibration": 0.01,
    "discrimination": 1e-4,
    "brier_top_label": 1e-3,
}


def nulls(report):
    rows = report.rows()
    return {
        r["measure"]: (r["null_mean"], r["null_lower"], r["null_upper"]) for r in rows
    }


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_cells_give_the_null_values_of_rows(weighted, tied, monkeypatch):
    how = {"num_resamples": 40}
    if weighted:
        how["sample_weight"] = RNG.integers(1, 4, N)
    prob = PROB
    if tied:  # a tenth of the rows are equal
        prob = np.where((np.arange(N) % 10 == 0)[:, None], PROB[0], PROB)
    exact = nulls(calibration_report(LABELS, prob, **how))
    monkeypatch.setattr(cells, "_NUM_CELLS", 500)
    monkeypatch.setattr(resampling, "_CHUNK", 1000)  # ties reach over chunks
    monkeypatch.setattr(resampling, "_ROOM", 20_000)
    coarse = nulls(calibration_report(LABELS, prob, **how))
    # The labels are others, as they are drawn in another order: within chance.
    monkeypatch.setattr(resampling, "_CHUNK", 2**15)
    monkeypatch.setattr(resampling, "_ROOM", 2**22)
    same = nulls(calibration_report(LABELS, prob, **how))
    for name, values in exact.items():
        tight = LOOSE.get(name, 1e-9)
        assert same[name] == pytest.approx(values, rel=tight, abs=1e-12), name
        assert coarse[name][0] == pytest.approx(values[0], rel=0.35, abs=0.02), name


@pytest.mark.parametrize("num_classes", [3, 100])
def test_labels_are_drawn_with_their_probabilities(num_classes):
    prob = RNG.dirichlet(np.full(num_classes, 0.3), 5)
    prob[0] = np.eye(num_classes)[1]
    label = Draw(prob)(20_000, np.random.default_rng(0))
    assert label.shape == (20_000, 5)
    for row, p in enumerate(prob):
        share = np.bincount(label[:, row], minlength=num_classes) / 20_000
        assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 20_000)).all()


def test_an_isotonic_fit_may_begin_with_parts():
    right = (RNG.random((7, 60)) < np.linspace(0.1, 0.9, 60)).astype(float)
    weight = RNG.integers(1, 4, 60).astype(float)
    every = np.arange(20)
    parts = [
        Steps.joined(
            [
                Steps.fitted(right[k : k + 1, rows] * weight[rows], weight[rows], every)
                for k in range(7)
            ]
        )
        for rows in (slice(0, 20), slice(20, 40), slice(40, 60))
    ]
    for k in range(7):
        fitted = isotonic_regression(right[k], sample_weight=weight)
        mean = weight @ right[k] / weight.sum()
        expected = weight @ (fitted - mean) ** 2 / weight.sum()
        assert discrimination(parts, k) == pytest.approx(expected)


def test_with_noise_undone_the_null_is_that_of_two_draws():
    matrix = 0.7 * np.eye(4) + 0.075
    noisy = (matrix[LABELS].cumsum(1) > RNG.random((N, 1))).argmax(1)
    report = calibration_report(noisy, PROB, noise_matrix=matrix, num_resamples=60)
    confidence = PROB.max(1).mean()
    error = report["accuracy"].null_upper - report["accuracy"].null_lower
    assert report["accuracy"].null_mean == pytest.approx(confidence, abs=error / 8)
    entropy = -(PROB * np.log(PROB)).sum(-1).mean()
    spread = report["nll"].null_upper - report["nll"].null_lower
    assert report["nll"].null_mean == pytest.approx(entropy, abs=spread / 8)
    for name in ("ece", "classwise_ece", "debiased_ece"):
        assert report[name].value < 1.2 * report[name].null_upper


def test_a_report_can_be_pickled_and_is_small():
    report = calibration_report(LABELS, {"a": PROB, "b": PROB}, num_resamples=3)
    kept = pickle.dumps(report)
    again = pickle.loads(kept)
    assert again.rows() == report.rows()
    assert repr(again) == repr(report)
    assert len(kept) < 20_000  # nothing of its rows


def test_memory_stays_below_twice_that_of_the_predictions():
    prob = RNG.dirichlet(np.ones(20), 200_000)  # 32 MB
    labels = prob.argmax(1)  # miscalibrated: a temperature is looked for
    calibration_report(labels[:50], prob[:50], num_resamples=1)  # imports
    tracemalloc.start()
    calibration_report(labels, prob, num_resamples=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * prob.nbytes


def test_progress_is_shown_without_tqdm(monkeypatch, capsys):
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.progress(4, "labels")) == [0, 1, 2, 3]
    err = capsys.readouterr().err
    assert "labels: 75 %" in err
    assert "25 %" not in err  # not before two seconds
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert list(progress.progress(4, "labels")) == [0, 1, 2, 3]
    assert capsys.readouterr().err == ""
