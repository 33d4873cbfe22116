"""A loss that is known only after epochs with another one."""

import itertools
import json

import keras
import numpy as np
import pytest
from backend import BACKEND, quickly_compiled, to_numpy

from keras_robust import GCE, ForwardCorrection
from keras_robust.callbacks import SwapLoss
from keras_robust.noise import matrix_from_pairs

K = 3
RNG = np.random.default_rng(9)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = RNG.integers(0, K, 64)
CE = {"from_logits": True, "name": "ce"}


def compiled(seed=1, loss=None, **how):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(K)])
    loss = loss or keras.losses.SparseCategoricalCrossentropy(**CE)
    optimizer = keras.optimizers.Adam(0.1)
    model.compile(optimizer, loss, metrics=["accuracy"], **quickly_compiled(how))
    return model


def fit(model, *callbacks, epochs=3, **how):
    how = {"batch_size": 16, "shuffle": False, "verbose": 0, **how}
    return model.fit(
        X[:32], Y[:32], epochs=epochs, callbacks=list(callbacks), **how
    ).history


def corrected(model):
    """A loss that depends on all that the model has learnt, and on its labels."""
    predicted = model.predict(X[32:], verbose=0).argmax(-1)
    matrix = matrix_from_pairs(predicted, Y[32:], num_classes=K).matrix
    return ForwardCorrection(matrix, GCE(q=0.3, from_logits=True))


def assert_same_state(model, other):
    pairs = zip(
        [*model.weights, *model.optimizer.variables],
        [*other.weights, *other.optimizer.variables],
        strict=True,
    )
    for mine, its in pairs:
        np.testing.assert_allclose(to_numpy(mine), to_numpy(its), rtol=1e-5, atol=1e-6)


# `torch.compile` has a test of its own.
MODES = [{"run_eagerly": True}, {"jit_compile": BACKEND != "torch"}]
if BACKEND != "torch":
    MODES.append({"steps_per_execution": 2})


@pytest.mark.parametrize("how", MODES, ids=str)
def test_it_is_training_in_two_compiles_on_one_optimizer(how):
    checks = {"validation_data": (X[32:], Y[32:])}
    by_hand = compiled(**how)
    expected = fit(by_hand, epochs=2, **checks)
    loss = corrected(by_hand)
    again = {"metrics": ["accuracy"], **quickly_compiled(how)}
    by_hand.compile(by_hand.optimizer, loss, **again)
    for key, values in fit(by_hand, epochs=2, **checks).items():
        expected[key] += values

    swap = SwapLoss(corrected, warmup_epochs=2)
    model = compiled(**how)
    optimizer, metrics = model.optimizer, model.metrics
    history = fit(model, swap, epochs=4, **checks)
    assert model.loss is swap.loss_
    np.testing.assert_allclose(swap.loss_.matrix, loss.matrix, rtol=1e-6)
    for key, values in expected.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-5, err_msg=key)
    assert_same_state(model, by_hand)
    assert (model.optimizer, model.metrics) == (optimizer, metrics)
    assert model.run_eagerly == how.get("run_eagerly", False)
    value = model.evaluate(X[32:], Y[32:], verbose=0)[0]
    assert value == pytest.approx(history["val_loss"][-1], rel=1e-5)
    # And no other training than that gives its result.
    single = compiled(**how)
    fit(single, epochs=4)
    moved = to_numpy(model.weights[0]) - to_numpy(single.weights[0])
    assert np.abs(moved).max() > 1e-3


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [1, 2])
def test_a_run_that_was_interrupted_goes_on_as_if_not(tmp_path, stop):
    whole, state = compiled(), tmp_path / "loss.json"
    history = fit(whole, SwapLoss(corrected), epochs=4)
    model, backup = compiled(), keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(model, backup, SwapLoss(corrected, state_file=state), Interrupt(stop))
    calls = []

    def counted(model):
        calls.append(model)
        return corrected(model)

    resumed = compiled(seed=2)
    rest = fit(resumed, SwapLoss(counted, state_file=state), backup, epochs=4)
    assert len(calls) == (1 if stop == 1 else 0)
    np.testing.assert_allclose(rest["loss"], history["loss"][stop:], rtol=1e-5)
    assert_same_state(resumed, whole)
    assert json.loads(state.read_text())["epoch"] == 1


def test_a_saved_model_has_its_loss_and_goes_on_without_the_callback(tmp_path):
    model, swap = compiled(), SwapLoss(corrected)
    save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    fit(model, swap, save, epochs=2)
    before, loaded = (
        keras.models.load_model(tmp_path / f"{epoch}.keras") for epoch in (1, 2)
    )
    assert before.loss.name == "ce"
    assert loaded.loss.get_config() == swap.loss_.get_config()
    fit(loaded, epochs=1)
    fit(model, swap, epochs=3, initial_epoch=2)
    assert_same_state(loaded, model)


def test_a_further_fit_from_the_beginning_warms_up_again():
    model, swap = compiled(), SwapLoss(GCE(q=1.0, from_logits=True))
    entropy = model.loss
    seen = []

    class Sees(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            functions = (self.model.train_function, self.model.test_function)
            seen.append((self.model.loss, functions))

    for _ in range(2):
        fit(model, swap, Sees(), epochs=3)
    losses = [loss for loss, _ in seen]
    assert losses == 2 * [entropy, swap.loss, swap.loss]
    # Traced anew where the loss is another, and there only.
    traced = [one[1] != other[1] for one, other in itertools.pairwise(seen)]
    expected = [True, False, True, True, False]
    assert traced == (expected if BACKEND != "torch" else [False] * 5)
    assert swap.loss_ is swap.loss


def test_a_loss_that_is_given_is_known_whenever_a_run_begins():
    loss = GCE(q=0.5, from_logits=True)
    expected = compiled(loss=loss)
    history = fit(expected, epochs=1)
    model = compiled(loss="sparse_categorical_crossentropy")
    rest = fit(model, SwapLoss(loss, warmup_epochs=2), epochs=4, initial_epoch=3)
    np.testing.assert_allclose(rest["loss"], history["loss"], rtol=1e-5)
    assert_same_state(model, expected)


def test_one_loss_may_be_for_several_outputs():
    def two(loss):
        keras.utils.set_random_seed(0)
        x = keras.Input((4,))
        outputs = [keras.layers.Dense(K, name=name)(x) for name in ("a", "b")]
        model = keras.Model(x, outputs)
        model.compile(keras.optimizers.SGD(0.1), loss)
        return model

    def fit_two(model, *callbacks, **how):
        y = [Y, Y[::-1].copy()]
        return model.fit(X, y, verbose=0, callbacks=list(callbacks), **how).history

    loss = GCE(q=0.5, from_logits=True)
    expected = fit_two(two(loss))
    ce = keras.losses.SparseCategoricalCrossentropy(**CE)
    history = fit_two(two(ce), SwapLoss(loss), epochs=2, initial_epoch=1)
    assert set(history) == set(expected) == {"loss", "a_loss", "b_loss"}
    for key, values in expected.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-5)


def test_models_with_other_than_one_loss_raise():
    swap = SwapLoss(GCE())
    for loss in ([GCE()], {"dense": GCE()}, None):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(K)])
        model.compile("sgd", loss)
        swap.set_model(model)
        with pytest.raises(ValueError, match="`model` must be compiled with one loss"):
            swap.on_train_begin()


def test_a_run_that_begins_after_the_warm_up_needs_the_loss(tmp_path):
    other = tmp_path / "other.json"
    fit(compiled(), SwapLoss(corrected, warmup_epochs=2, state_file=other))
    for state in (None, tmp_path / "none.json", other):
        swap = SwapLoss(corrected, state_file=state)
        with pytest.raises(ValueError, match="`state_file` must be the file of the"):
            fit(compiled(), swap, epochs=4, initial_epoch=2)


def test_bad_arguments_raise(tmp_path):
    for loss in (GCE, "gce", None):
        with pytest.raises(TypeError, match="`loss` must be a keras"):
            SwapLoss(loss)
    with pytest.raises(ValueError, match="`warmup_epochs` must be at least 1"):
        SwapLoss(GCE(), warmup_epochs=0)
    with pytest.raises(ValueError, match="`state_file` must be a file in a folder"):
        SwapLoss(GCE(), state_file=tmp_path / "none" / "loss.json")
    with pytest.raises(TypeError, match=r"that returns a keras\.losses\.Loss.*None"):
        fit(compiled(), SwapLoss(lambda model: None))
