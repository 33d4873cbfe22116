"""The package in a fresh process: what importing it costs, and what it loads."""

import json
import os
import subprocess
import sys

import every_loss
import keras
import numpy as np
import pytest
from backend import quickly_compiled

from keras_robust import metrics
from keras_robust.noise import symmetric_matrix

IN_A_FRESH_PROCESS = """
import json, sys
import keras
before = set(sys.modules)
import keras_robust
imported = {name.split(".")[0] for name in set(sys.modules) - before}
import numpy as np
model = keras.models.load_model(sys.argv[1], safe_mode=True)
x = np.eye(5, dtype="float32")
y = json.loads(sys.argv[2])
y = {name: np.array(labels) for name, labels in y.items()}
values = model.evaluate(x, y, verbose=0, return_dict=True)
names = {name: loss.name for name, loss in model.loss.items()}
model.fit(x, y, verbose=0)
print(json.dumps([sorted(imported), values, names]))
"""


@pytest.fixture(scope="module")
def saved_and_loaded(tmp_path_factory):
    """What a model with every loss and metric says, and what it says when loaded."""
    x = np.eye(5, dtype="float32")
    y = {name: [0, 1, 2, 3, -100] for name in every_loss.NAMES}
    y["labels"] = (1 - np.eye(5, dtype=int)).tolist()
    start = keras.Input((5,))
    outputs = {name: keras.layers.Dense(5, name=name)(start) for name in y}
    makers = {param.id: param.values[0] for param in every_loss.makers(5)}
    losses = {
        name: make(from_logits=True, name=f"my_{name}") for name, make in makers.items()
    }
    losses["labels"] = keras.losses.BinaryCrossentropy(from_logits=True)
    multilabel = [metrics.MultilabelCalibrationError(5, from_logits=True)]
    others = [
        metrics.ExpectedCalibrationError(from_logits=True),
        metrics.MaximumCalibrationError(from_logits=True),
        metrics.ClasswiseCalibrationError(5, from_logits=True),
        metrics.CleanAccuracy(symmetric_matrix(5, 0.2), from_logits=True),
    ]
    assert len(multilabel + others) == len(metrics.__all__)
    model = keras.Model(start, outputs)
    model.compile(
        "adam",
        losses,
        metrics={"labels": multilabel, every_loss.NAMES[0]: others},
        **quickly_compiled({}),
    )
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    arrays = {name: np.array(labels) for name, labels in y.items()}
    model.fit(x, arrays, verbose=0)
    before = model.evaluate(x, arrays, verbose=0, return_dict=True)
    model.save(path)
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, str(path), json.dumps(y)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return before, *json.loads(done.stdout)


def test_importing_the_package_imports_nothing_but_itself(saved_and_loaded):
    # On top of Keras and what Keras imports: so it costs next to no time.
    _, imported, _, _ = saved_and_loaded
    assert imported == ["keras_robust"]


def test_a_model_is_loaded_in_a_process_that_only_imports_the_package(saved_and_loaded):
    before, _, after, names = saved_and_loaded
    for name in every_loss.NAMES:
        assert names[name] == f"my_{name}"
        assert before[f"{name}_loss"] > 0
    for name in ("ece", "mce", "classwise_ece", "clean_accuracy"):
        assert before[f"{every_loss.NAMES[0]}_{name}"] != 0
    assert before["labels_multilabel_ece"] > 0
    assert after == pytest.approx(before, rel=1e-5)


def test_the_keras_under_test_is_the_one_that_was_asked_for():
    # Set where the suite runs on the oldest Keras that pyproject.toml admits.
    expected = os.environ.get("EXPECTED_KERAS", keras.__version__)
    assert keras.__version__ == expected
