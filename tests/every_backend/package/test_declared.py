"""`from_logits` that cannot be true of the predictions is said, once."""

import warnings

import keras
import numpy as np
import pytest
from backend import BACKEND, compiled, quickly_compiled
from scipy import special

from keras_robust import GCE, SGCE, metrics

RNG = np.random.default_rng(8)
LOGITS = RNG.normal(scale=2, size=(20, 3)).astype("float32")
PROB = special.softmax(LOGITS, axis=-1)
LABELS = RNG.integers(0, 3, 20)
MATRIX = np.eye(3) * 0.7 + 0.1


def everything(from_logits):
    reading = {"from_logits": from_logits}
    streamed = [
        metrics.ExpectedCalibrationError(**reading),
        metrics.ClasswiseCalibrationError(3, **reading),
        metrics.CleanAccuracy(MATRIX, **reading),
    ]
    calls = [(metric, metric.update_state) for metric in streamed]
    return [*calls, *((loss, loss) for loss in (GCE(**reading), SGCE(**reading)))]


def said(function, *batch):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*batch)
    messages = [str(warning.message) for warning in caught]
    return [message for message in messages if "from_logits" in message]


@pytest.mark.parametrize(
    ("from_logits", "wrong", "right"), [(True, PROB, LOGITS), (False, LOGITS, PROB)]
)
def test_the_first_predictions_are_looked_at(from_logits, wrong, right):
    for owner, call in everything(from_logits):
        (message,) = said(call, LABELS, wrong)
        assert message.startswith(f"{type(owner).__name__}: `from_logits` is ")
        assert f"from_logits={not from_logits}" in message
        assert not said(call, LABELS, wrong)
    for _, call in everything(from_logits):
        assert not said(call, LABELS, right)
        assert not said(call, LABELS, wrong)


def test_what_does_not_count_is_not_looked_at():
    labels, mixed = np.where(np.arange(20) < 10, LABELS, -100), PROB.copy()
    mixed[10:] = 7.0
    for _, call in everything(from_logits=False):
        assert not said(call, labels, mixed)


def test_neither_logits_near_zero_nor_a_single_sigmoid_are_suspected():
    for _, call in everything(from_logits=True):
        assert not said(call, LABELS, np.full((20, 3), 0.4, "float32"))
    loss = GCE(from_logits=True)
    assert not said(loss, LABELS % 2, np.full((20, 1), 0.4, "float32"))


def test_no_value_changes():
    with pytest.warns(UserWarning, match="`from_logits` is True"):
        once = float(GCE(from_logits=True)(LABELS, PROB))
    p = special.softmax(PROB, axis=-1)[np.arange(20), LABELS]
    assert once == pytest.approx(float(((1 - p**0.7) / 0.7).mean()), rel=1e-5)


def test_a_traced_loss_has_nothing_to_look_at_and_looks_later():
    loss = GCE(from_logits=True)
    if BACKEND != "torch":
        assert not said(compiled(lambda z: loss(LABELS, z), jit=True), PROB)
    assert said(loss, LABELS, PROB)


@pytest.mark.skipif(BACKEND == "jax", reason="its tracers tell nothing")
@pytest.mark.parametrize("classes", [1, 3])
def test_fit_says_that_the_model_ends_in_an_activation(classes):
    activation = "softmax" if classes > 1 else "sigmoid"
    last = keras.layers.Dense(classes, activation=activation)
    model = keras.Sequential([keras.Input((3,)), last])
    loss = GCE(from_logits=True)
    ece = metrics.ExpectedCalibrationError(from_logits=True)
    model.compile("sgd", loss, metrics=[ece], **quickly_compiled({}))
    messages = said(
        lambda: model.fit(LOGITS, LABELS % max(classes, 2), epochs=2, verbose=0)
    )
    owners = sorted(message.split(":")[0] for message in messages)
    assert owners == ["ExpectedCalibrationError", "GCE"]
    assert all("comes from a softmax or sigmoid" in message for message in messages)
