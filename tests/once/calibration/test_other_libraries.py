"""Where other libraries give another number, and which is right, worked by hand.

docs/calibration.md tells users of these differences. A test here that fails after an
upgrade may mean that the other library has changed: then change the page.
"""

import warnings

import numpy as np
import pytest
import relplot
import torch
from netcal.metrics import ECE
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from keras_robust.calibration import bin_predictions, smooth_ece


def ours(y, p, num_bins=10):
    prob = np.asarray(p)[:, None]
    return bin_predictions(y, prob, num_bins=num_bins, notion="positive").ece()


def by_netcal(y, p, num_bins=10):
    return float(ECE(bins=num_bins).measure(np.asarray(p), np.asarray(y)))


def by_relplot(y, p, num_bins=10):
    return float(relplot.metrics.binnedECE(np.asarray(p), np.asarray(y), num_bins))


def by_torchmetrics(y, p, num_bins=10):
    p, y = torch.tensor(np.asarray(p)), torch.tensor(np.asarray(y))
    return float(binary_calibration_error(p, y, n_bins=num_bins))


@pytest.mark.parametrize(
    ("p", "num_bins", "wrong"),
    [
        # 0.3 is 3/10 in floats, so the lower edge of bin 3; numpy.linspace makes that
        # edge 0.30000000000000004, int(0.3 / 0.1) is 2: both put it into bin 2.
        ([0.3, 0.25], 10, (by_netcal, by_relplot, by_torchmetrics)),
        ([0.6, 0.55], 10, (by_netcal, by_relplot)),
        ([0.7, 0.65], 10, (by_netcal, by_relplot)),
        ([0.29, 0.285], 100, (by_relplot,)),
    ],
)
def test_a_confidence_on_an_edge(p, num_bins, wrong):
    # One row in each of two bins, the first true, the second false: the ECE is
    # ((1 - p[0]) + p[1]) / 2. Both in one bin: |mean p - 1/2|.
    right = ((1 - p[0]) + p[1]) / 2
    merged = abs(np.mean(p) - 0.5)
    assert ours([1, 0], p, num_bins) == pytest.approx(right)
    for library in wrong:
        assert library([1, 0], p, num_bins) == pytest.approx(merged, rel=1e-5)


@pytest.mark.parametrize("p", [0.7, 0.9])
def test_a_float32_confidence_on_an_edge(p):
    # netcal compares float32 numbers with float64 edges, and loses the row: its ECE is
    # the gap of the other row alone.
    single = np.array([p, p - 0.04], dtype="float32")
    right = ((1 - p) + p - 0.04) / 2
    assert ours([1, 0], single) == pytest.approx(right, rel=1e-6)
    assert by_netcal([1, 0], single) == pytest.approx(p - 0.04, rel=1e-6)


def test_a_confidence_of_1_is_in_the_last_bin():
    # 1.0 (false) and .95 (true) share the bin [.9, 1]: |.975 - .5| = .475. torchmetrics
    # and relplot keep a bin for 1.0 alone: (1 + .05) / 2 = .525.
    y, p = [0, 1], [1.0, 0.95]
    assert ours(y, p) == pytest.approx(0.475) == by_netcal(y, p)
    for library in (by_relplot, by_torchmetrics):
        assert library(y, p) == pytest.approx(0.525)


def test_nan_never_gives_a_number():
    y, p = [1, 0], [0.3, np.nan]
    assert by_netcal(y, p) == pytest.approx(0.7)  # of the other row alone
    with pytest.raises(ValueError, match="with no NaN"):
        ours(y, p)
    with pytest.raises(ValueError, match="with no NaN"):
        smooth_ece(y, np.array(p)[:, None])


def test_logits_are_not_guessed():
    # torchmetrics takes a batch for logits if any number is outside [0, 1], so that the
    # same logits count as probabilities in one batch and as logits in the next.
    logits = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    labels = torch.tensor([0, 1])
    as_probabilities = multiclass_calibration_error(logits, labels, 2, n_bins=10)
    logits = torch.cat([logits, torch.tensor([[1.5, 0.1]])])
    with_another_row = multiclass_calibration_error(
        logits, torch.tensor([0, 1, 0]), 2, n_bins=10
    )
    softmax = torch.softmax(logits, -1).max(-1).values
    assert float(as_probabilities) == pytest.approx(0.15)
    assert float(with_another_row) == pytest.approx(float(1 - softmax.mean()), rel=1e-5)
    for rows in (2, 3):
        with warnings.catch_warnings():  # two of them look like probabilities
            warnings.simplefilter("ignore", UserWarning)
            bins = bin_predictions(
                [0, 1, 0][:rows], logits.numpy()[:rows], from_logits=True, num_bins=10
            )
        assert bins.ece() == pytest.approx(float(1 - softmax[:rows].mean()), rel=1e-5)


def test_equal_mass_with_ties():
    y = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    p = np.array([0.5] * 6 + [0.9] * 2)
    with pytest.raises(ValueError, match="smallest edge difference"):
        ECE(bins=4, equal_intervals=False).measure(p, y)
    bins = bin_predictions(
        y, p[:, None], num_bins=4, binning="equal_mass", notion="positive"
    )
    # Gaps 0 over 6 rows and .4 over 2.
    assert bins.ece() == pytest.approx(0.1)


def test_twenty_million_rows():
    # .9 and right, all of them: the ECE is .1. torchmetrics adds up ones in float32,
    # whose sums stop at 2^24, and then divides by another count.
    rows = 20_000_000
    p, y = np.full(rows, 0.9, "float32"), np.ones(rows, "int64")
    assert ours(y[:1], p[:1]) == pytest.approx(0.1)
    assert by_torchmetrics(y, p) == pytest.approx(0.0, abs=1e-3)
