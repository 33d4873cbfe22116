"""What is wrong with a batch, in words."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_robust import GCE, SGCE, ExpectedCalibrationError, check_batch

K = 3
RNG = np.random.default_rng(1)
X = RNG.normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % K
LOGITS = GCE(from_logits=True)
PROB = SGCE()
MULTI_HOT = np.eye(K)[Y] + np.eye(K)[(Y + 1) % K]
CE = keras.losses.SparseCategoricalCrossentropy


def compiled(loss=LOGITS, activation=None, **how):
    # As sure of itself as logits of which some are outside [0, 1] for certain.
    start = keras.initializers.RandomNormal(stddev=2.0, seed=0)
    last = layers.Dense(K, activation=activation, kernel_initializer=start)
    model = keras.Sequential([keras.Input((4,)), last])
    model.compile("sgd", loss, **how)
    return model


def broken(array, value=np.nan):
    array = array.astype("float32")
    array[5] = value
    return array


@pytest.mark.parametrize(
    ("loss", "activation", "y", "weight"),
    [
        (LOGITS, None, Y, None),
        (LOGITS, None, Y[:, None], np.ones(12)),
        (LOGITS, None, np.eye(K)[Y], None),
        (LOGITS, None, np.where(Y == 1, -100, Y), None),
        (PROB, "softmax", Y, np.arange(12.0)),
        (CE(from_logits=True), None, Y, None),
        ("sparse_categorical_crossentropy", "softmax", Y, None),
        ("mse", None, np.eye(K)[Y], None),
    ],
)
def test_a_good_batch_passes(loss, activation, y, weight):
    check_batch(compiled(loss, activation), X, y, weight)


@pytest.mark.parametrize("loss", [LOGITS, CE(from_logits=True)])
@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        (
            X,
            Y + 1,
            None,
            r"`y` must be class ids in \[0, 3\).* from 1 to 3.*pass y - 1",
        ),
        (X, Y * 2, None, "`y` must be class ids .* from 0 to 4.*3 classes"),
        (X, np.where(Y == 0, -1, Y), None, "from -1 to 2.*ignore_class=-1"),
        (X, MULTI_HOT, None, r"one label in each row.*y\[\.\.\., None\]"),
        (X, broken(Y), None, "Received: NaN"),
        (X, Y[:7], None, r"`y_true` must be of shape \(12,\)"),
        (broken(X), Y, None, r"`x` must be finite numbers.*the first at \[5, 0\]"),
        (broken(X, np.inf), Y, None, "`x` must be finite"),
        (X, Y, broken(Y), "`sample_weight` must be finite"),
        (X, Y, -np.ones(12), "`sample_weight` must be finite and at least 0"),
        (X, Y, np.zeros(12), "`sample_weight` must be above 0"),
    ],
)
def test_what_is_wrong_with_the_batch_is_named(loss, x, y, weight, message):
    with pytest.raises(ValueError, match=rf"(?s)check_batch: .*{message}"):
        check_batch(compiled(loss), x, y, weight)


def test_labels_that_are_all_ignored_are_named():
    with pytest.raises(ValueError, match="nothing but ignored labels"):
        check_batch(compiled(), X, np.full(12, -100))


@pytest.mark.parametrize(
    ("loss", "activation", "message"),
    [
        (LOGITS, "softmax", "Pass from_logits=False to GCE"),
        (CE(from_logits=True), "softmax", "to SparseCategoricalCrossentropy"),
        (PROB, None, "predictions from .*Pass from_logits=True to SGCE"),
        (CE(), None, "Pass from_logits=True"),
        (PROB, "sigmoid", "do not sum to 1"),
    ],
)
def test_what_is_wrong_with_the_loss_is_named(loss, activation, message):
    with pytest.raises(ValueError, match=rf"`from_logits` must be .*{message}"):
        check_batch(compiled(loss, activation), X, Y)


def test_a_metric_that_reads_them_otherwise_is_named():
    model = compiled(metrics=["accuracy", ExpectedCalibrationError()])
    with pytest.raises(ValueError, match="True to ExpectedCalibrationError"):
        check_batch(model, X, Y)
    good = ExpectedCalibrationError(from_logits=True)
    check_batch(compiled(metrics=["accuracy", good]), X, Y)
    assert float(ops.sum(good.variables[0])) == 0  # as it was


def test_weights_that_are_nan_are_named():
    model = compiled()
    model.layers[-1].bias.assign(np.full(K, np.nan))
    with pytest.raises(ValueError, match=r"`model` must be .*weights NaN"):
        check_batch(model, X, Y)


def test_a_loss_that_is_not_compiled_is_named():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(K)])
    with pytest.raises(ValueError, match="`model` must be compiled with a loss"):
        check_batch(model, X, Y)


@pytest.mark.parametrize("kind", [dict, list])
def test_of_several_outputs_the_wrong_one_is_named(kind):
    inputs = keras.Input((4,))
    heads = {name: layers.Dense(K, name=name)(inputs) for name in ("tag", "topic")}
    as_kind = dict if kind is dict else lambda pairs: list(pairs.values())
    model = keras.Model(inputs, as_kind(heads))
    losses = as_kind({"tag": LOGITS, "topic": SGCE(from_logits=True)})
    model.compile("sgd", losses)
    check_batch(model, X, as_kind({"tag": Y, "topic": Y[::-1]}))
    place = r"\['topic'\]" if kind is dict else r"\[1\]"
    with pytest.raises(ValueError, match=rf"`y{place}` must be class ids.*y - 1"):
        check_batch(model, X, as_kind({"tag": Y, "topic": Y + 1}))
    if kind is dict:
        with pytest.raises(ValueError, match=rf"`y{place}` must be given"):
            check_batch(model, X, {"tag": Y})
