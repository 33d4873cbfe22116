"""The guide to stopping, saving and exporting: its code, on each backend."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_robust import GCE
from keras_robust.calibration import bin_predictions
from keras_robust.noise import flip_labels, symmetric_matrix

PAGE = (Path(__file__).parents[3] / "docs" / "deploy.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
STOP, STOP_BY_ECE, SAVE, LOAD, SERVED, SAVED_MODEL, ONNX = BLOCKS
pytestmark = pytest.mark.slow  # exporting is Keras's own


def run(block, names):
    exec(compile(block, "deploy.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def names():
    keras.utils.set_random_seed(0)
    true = np.random.default_rng(0).integers(0, 10, 3000)
    noisy = flip_labels(true, symmetric_matrix(10, 0.4), seed=0).labels
    x = np.eye(10, dtype="float32")[true]
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(10)])
    model.compile("adam", GCE(q=0.6, from_logits=True))
    names = {"model": model, "keras": keras, "x": x[:1000], "y": noisy[:1000]}
    names |= {"x_dev": x[1000:], "y_dev": noisy[1000:], "y_true_dev": true[1000:]}
    return names


@pytest.mark.parametrize("block", [STOP, STOP_BY_ECE], ids=["accuracy", "ece"])
def test_early_stopping_watches_accuracy_or_an_ece_that_knows_the_noise(names, block):
    if keras.backend.backend() != "torch":
        pytest.skip("compiling takes long, and metrics have tests of their own")
    other = {**names, "model": keras.models.clone_model(names["model"])}
    other["held_out"] = names["x_dev"], names["y_dev"]
    run("from keras_robust import GCE, ExpectedCalibrationError", other)
    run(block.replace("epochs=20", "epochs=2"), other)
    assert {"val_accuracy", "val_ece"} < set(other["history"].history)


def test_the_ece_of_the_best_model_is_the_noise_rate_unless_it_is_told(names):
    sure = names["x_dev"]  # of the truth
    for how, right in (({}, 0.4), ({"noise_matrix": symmetric_matrix(10, 0.4)}, 0.0)):
        bins = bin_predictions(names["y_dev"], sure, **how)
        assert abs(bins.ece() - right) < 0.03


def test_a_model_is_loaded_in_a_new_process(names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(SAVE, dict(names))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", LOAD]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["GCE", "0.6"]


@pytest.mark.parametrize(
    ("block", "without"), [(SAVED_MODEL, "torch"), (ONNX, "jax")], ids=["tf", "onnx"]
)
def test_what_is_exported_gives_the_same_probabilities(
    names, block, without, tmp_path, monkeypatch
):
    if keras.backend.backend() == without:
        pytest.skip(f"not from {without}")
    exporter = {"tensorflow": "tf2onnx"}.get(keras.backend.backend(), "onnxscript")
    for module in ["tensorflow"] if block is SAVED_MODEL else [exporter, "onnxruntime"]:
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        served = run(SERVED, dict(names))
        expected = served["prob"]
        found = run(block, served)["prob"]
    np.testing.assert_allclose(expected.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
