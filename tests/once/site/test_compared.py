"""The comparison with other libraries: what it says of those that are installed."""

import inspect
import re
from pathlib import Path

import keras
import netcal.binning
import netcal.metrics
import netcal.scaling
import torch
from torchmetrics.classification import MulticlassCalibrationError

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "compared.md").read_text()


def test_the_versions_are_those_that_are_installed():
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().split()
        if "==" in line
    )
    for name in ("cleanlab", "keras", "mapie", "netcal", "torchmetrics", "relplot"):
        major, minor = pinned[name].split(".")[:2]
        found = re.search(rf"\[{name}\]\(\S+\) ([0-9.]+)", PAGE, re.IGNORECASE)
        assert found[1] == f"{major}.{minor}", name


def test_the_gce_of_keras_takes_probabilities_and_ignores_no_label():
    loss = keras.losses.CategoricalGeneralizedCrossEntropy
    arguments = inspect.signature(loss).parameters
    assert "q" in arguments
    assert not {"from_logits", "ignore_class"} & set(arguments)


def test_torchmetrics_keeps_every_confidence():
    for norm in ("l1", "max"):
        metric = MulticlassCalibrationError(num_classes=2, norm=norm)
        for _ in range(3):
            metric.update(torch.tensor([[0.3, 0.7]] * 5), torch.tensor([1] * 5))
        assert sum(len(kept) for kept in metric.confidences) == 15


def test_names_quoted_from_netcal_are_its_own():
    for name in ("ACE", "MMCE"):
        assert hasattr(netcal.metrics, name)
        assert name in PAGE
    for name in ("BBQ", "ENIR"):
        assert hasattr(netcal.binning, name)
        assert name in PAGE
    assert hasattr(netcal.binning, "HistogramBinning")
    assert hasattr(netcal.scaling, "BetaCalibration")
