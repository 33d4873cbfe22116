"""The gamma that a model finds by itself, while it is trained."""

import itertools
import json

import keras
import numpy as np
import pytest
from backend import BACKEND, quickly_compiled, to_numpy

from keras_robust import GammaCE
from keras_robust.callbacks import NoiseAwareGamma, _noise_aware_gamma
from keras_robust.noise import (
    RateEstimate,
    estimate_rate,
    flip_labels,
    gamma_from_noise_rate,
    symmetric_matrix,
)

K, RATE = 4, 0.4
TRUE = np.random.default_rng(7).integers(0, K, 2400)
Y = flip_labels(TRUE, symmetric_matrix(K, RATE), seed=1).labels
CENTRES = 2.0 * np.eye(K)[TRUE]
X = (CENTRES + np.random.default_rng(8).normal(size=CENTRES.shape)).astype("float32")
TRAIN, HELD = slice(0, 1200), slice(1200, None)


def compiled(seed=1, gamma=0.1, units=K, **how):
    loss = {"from_logits": True, **how.pop("loss", {})}
    how = quickly_compiled(how)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((K,)), keras.layers.Dense(units)])
    model.compile(keras.optimizers.Adam(0.05), GammaCE(gamma, **loss), **how)
    return model


def fit(model, *callbacks, epochs=3, y=Y, **how):
    how = {"batch_size": 100, "shuffle": False, "verbose": 0, **how}
    return model.fit(
        *(X[TRAIN], y[TRAIN]), epochs=epochs, callbacks=list(callbacks), **how
    ).history


def assert_same_state(model, other):
    for mine, its in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(to_numpy(mine), to_numpy(its), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    # With XLA but on PyTorch, where it takes long.
    "how",
    [{"run_eagerly": True}, {"jit_compile": BACKEND != "torch"}],
)
def test_it_is_cross_entropy_then_gamma_ce_at_the_estimate(how):
    by_hand = compiled(gamma=0.0, **how)
    fit(by_hand, epochs=2)
    logits = by_hand.predict(X[HELD], verbose=0)
    rate = estimate_rate(Y[HELD], logits, from_logits=True)
    gamma = gamma_from_noise_rate(K, rate)
    by_hand.compile(by_hand.optimizer, GammaCE(gamma, from_logits=True), **how)
    losses = fit(by_hand, epochs=2)["loss"]

    aware = NoiseAwareGamma((X[HELD], Y[HELD]), warmup_epochs=2, re_estimate=False)
    model = compiled(**how)
    history = fit(model, aware, epochs=4, validation_data=(X[HELD], Y[HELD]))
    assert (aware.rate_, aware.gamma_) == pytest.approx((rate, gamma), rel=1e-6)
    assert aware.rate_ == pytest.approx(RATE, abs=0.1)
    assert aware.rate_.standard_error == pytest.approx(np.sqrt(0.24 / 300), abs=0.01)
    assert history["gamma"] == [0.0, 0.0, aware.gamma_, aware.gamma_]
    assert np.isnan(history["noise_rate"][:2]).all()
    assert history["noise_rate"][2:] == [aware.rate_] * 2
    np.testing.assert_allclose(history["loss"][2:], losses, rtol=1e-5)
    assert_same_state(model, by_hand)
    expected = model.loss(Y[HELD], model.predict(X[HELD], verbose=0))
    assert history["val_loss"][-1] == pytest.approx(float(expected), rel=1e-5)


def batches(x, y, *weight):
    columns = (x, y, *weight)
    return [tuple(c[i : i + 600] for c in columns) for i in range(0, len(x), 600)]


class Batches(keras.utils.PyDataset):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


def test_data_come_in_every_form():
    model = compiled(gamma=0.0)
    fit(model, epochs=1)

    def estimated(data):
        aware = NoiseAwareGamma(data, batch_size=600)
        aware.set_model(model)
        aware.on_epoch_begin(0)
        aware.on_epoch_begin(1)
        return aware.rate_

    x, y = X[HELD], Y[HELD]
    whole = NoiseAwareGamma((x, y), batch_size=600)
    fit(compiled(), whole, epochs=2)
    expected = estimated((x, y))
    assert expected == whole.rate_ > 0.3
    one_hot = np.eye(K, dtype="float32")[y]
    odd = np.arange(len(y)) % 2 == 1
    x_and_junk = np.concatenate([x, x + np.nan])
    junk = np.concatenate([y, np.full(len(y), -100)])
    hot_junk = np.concatenate([one_hot, np.full_like(one_hot, -100)])
    for data in [
        (x, y[:, None]),
        (x, y.astype("float32")),
        (x, one_hot),
        (x, y, np.full(len(y), 0.5)),
        batches(x, y),
        [list(batch) for batch in batches(x, one_hot)],
        Batches(batches(x, y)),
        (x_and_junk, junk),
        (x_and_junk, hot_junk),
        (x_and_junk, np.abs(junk) % K, (junk >= 0).astype("float32")),
    ]:
        assert estimated(data) == expected
    half = estimated((x[odd], y[odd]))
    assert estimated((x, y, odd.astype("float32"))) == half != expected


def test_tokens_and_padded_batches_are_positions():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, K)), keras.layers.Dense(K)])
    model.compile(keras.optimizers.Adam(0.05), GammaCE(from_logits=True))
    x, y = X.reshape(600, 4, K), Y.reshape(600, 4)
    short = (x[300:450, :3], y[300:450, :3])
    aware = NoiseAwareGamma([short, (x[450:], y[450:])])
    model.fit(x[:300], y[:300], epochs=2, verbose=0, callbacks=[aware])
    assert aware.rate_ == pytest.approx(RATE, abs=0.1)
    rows = NoiseAwareGamma((x, y, np.ones(600)))  # one weight for each row
    model.fit(x[:300], y[:300], epochs=2, verbose=0, callbacks=[rows])
    assert rows.rate_ == pytest.approx(RATE, abs=0.1)


def test_classes_may_be_on_another_axis():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3, K)), keras.layers.Dense(K), keras.layers.Permute((2, 1))]
    model = keras.Sequential(layers)
    loss = GammaCE(from_logits=True, axis=1)
    model.compile(keras.optimizers.Adam(0.05), loss)
    x, y = X.reshape(800, 3, K), Y.reshape(800, 3)
    one_hot = np.moveaxis(np.eye(K)[y], -1, 1)
    rates = []
    for labels in (y, one_hot):
        aware = NoiseAwareGamma((x, labels))
        model.fit(x, y, epochs=2, verbose=0, callbacks=[aware])
        rates.append(aware.rate_)
    assert rates == pytest.approx([RATE, RATE], abs=0.1)


@pytest.mark.parametrize("from_logits", [True, False])
def test_a_single_output_is_two_classes(from_logits):
    true = (X[:, 0] + X[:, 1] > 2).astype(int)
    y = flip_labels(true, symmetric_matrix(2, 0.2), seed=1).labels
    keras.utils.set_random_seed(0)
    activation = None if from_logits else "sigmoid"
    dense = keras.layers.Dense(1, activation=activation)
    model = keras.Sequential([keras.Input((K,)), dense])
    model.compile(keras.optimizers.Adam(0.05), GammaCE(from_logits=from_logits))
    aware = NoiseAwareGamma((X[HELD], y[HELD]), warmup_epochs=4)
    fit(model, aware, epochs=5, y=y)
    assert aware.rate_ == pytest.approx(0.2, abs=0.1)
    assert aware.gamma_ == pytest.approx(gamma_from_noise_rate(2, aware.rate_))


FEW = pytest.mark.filterwarnings("ignore:NoiseAwareGamma. only")


@FEW
def test_a_new_estimate_is_of_the_posterior_that_predictions_stand_for():
    seen = []

    class Sees(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            loss, logits = self.model.loss, self.model.predict(X[HELD], verbose=0)
            posterior = loss.posterior(logits, from_logits=True)
            seen.append(estimate_rate(Y[HELD], posterior, method="anchor"))

    aware = NoiseAwareGamma((X[HELD], Y[HELD]), method="anchor")
    history = fit(compiled(), aware, Sees(), epochs=3)
    assert len(set(seen)) == 3
    assert history["noise_rate"][1:] == pytest.approx(np.minimum.accumulate(seen)[:2])
    once = NoiseAwareGamma((X[HELD], Y[HELD]), method="anchor", re_estimate=False)
    rates = fit(compiled(), once, epochs=3)["noise_rate"][1:]
    assert rates == [rates[0]] * 2


def estimating(monkeypatch, *rates, num_rows=10_000, num_classes=(K,) * 9):
    """Estimates that are known beforehand; None where the model knows too little."""
    made, of = iter(rates), iter(num_classes)

    def estimate(*args, **kwargs):
        rate = next(made)
        if rate is None:
            raise ValueError("the model knows no more than chance")
        return RateEstimate(rate, num_rows, next(of))

    monkeypatch.setattr(_noise_aware_gamma, "estimate_rate", estimate)
    return NoiseAwareGamma((X[HELD], Y[HELD]))


def test_the_lowest_estimate_is_kept(monkeypatch):
    aware = estimating(monkeypatch, 0.4, 0.5, 0.2, 0.3)
    model = compiled()
    history = fit(model, aware, epochs=5)
    assert history["noise_rate"][1:] == [0.4, 0.4, 0.2, 0.2]
    gammas = [gamma_from_noise_rate(K, rate) for rate in (0.4, 0.4, 0.2, 0.2)]
    assert history["gamma"] == [0.0, *gammas]
    assert (aware.rate_, model.loss.gamma) == (0.2, gammas[-1])


def test_an_estimate_of_one_class_gives_way(monkeypatch):
    aware = estimating(monkeypatch, 0.0, 0.1, 0.2, 0.05, num_classes=[1, 3, 4, 1])
    history = fit(compiled(), aware, epochs=5)
    assert history["noise_rate"][1:] == [0.0, 0.1, 0.1, 0.1]


def test_an_estimate_that_is_still_falling_is_said_to_be(monkeypatch):
    aware = estimating(monkeypatch, 0.4, 0.3, 0.2)
    with pytest.warns(UserWarning, match="still fell .* from 0.3 to 0.2, by more than"):
        fit(compiled(), aware, epochs=4)
    # By less than the error, of .004: no warning, which would be an error.
    fit(compiled(), estimating(monkeypatch, 0.4, 0.2, 0.197), epochs=4)
    fit(compiled(), estimating(monkeypatch, 0.4, 0.2, 0.3), epochs=4)


def test_an_estimate_of_few_rows_is_said_to_be(monkeypatch):
    with pytest.warns(UserWarning, match=r"only 80 of the rows .* be 0\.\d+ or 0\.\d+"):
        fit(compiled(), estimating(monkeypatch, 0.4, num_rows=80), epochs=2)
    fit(compiled(), estimating(monkeypatch, 0.4, num_rows=120), epochs=2)


def test_an_estimate_that_fails_costs_a_warning_not_the_run(monkeypatch):
    aware = estimating(monkeypatch, None, 0.3, None)
    with pytest.warns(UserWarning, match="no new estimate in epoch .*than chance") as w:
        history = fit(compiled(), aware, epochs=4)
    said = [str(one.message) for one in w if one.category is UserWarning]
    gamma = gamma_from_noise_rate(K, 0.3)
    assert [text.split(": ")[1].split(". ")[0] for text in said] == [
        "no new estimate in epoch 1, gamma stays 0",
        f"no new estimate in epoch 3, gamma stays {gamma:.6g}",
    ]
    np.testing.assert_equal(history["noise_rate"], [np.nan, np.nan, 0.3, 0.3])
    assert history["gamma"][:2] == [0, 0]


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch == 3 and self.current == self.epoch:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch


@FEW
@pytest.mark.parametrize(("stop", "re_estimate"), [(1, False), (2, False), (2, True)])
def test_a_run_that_was_interrupted_goes_on_as_if_not(tmp_path, stop, re_estimate):
    state = tmp_path / "gamma.json"

    def new():
        return NoiseAwareGamma(
            (X[HELD], Y[HELD]),
            re_estimate=re_estimate,
            method="anchor",
            state_file=state,
        )

    whole = compiled()
    history = fit(whole, new(), epochs=4)
    state.unlink()
    model, backup = compiled(), keras.callbacks.BackupAndRestore(tmp_path / "backup")
    first = [backup, new(), Interrupt(stop)]
    with pytest.raises(KeyboardInterrupt):
        fit(model, *first, epochs=4)
    resumed = compiled(seed=2)
    rest = fit(resumed, new(), backup, epochs=4)
    for key in ("gamma", "noise_rate", "loss"):
        np.testing.assert_allclose(rest[key], history[key][stop:], rtol=1e-5)
    assert_same_state(resumed, whole)


def test_a_resumed_run_takes_the_estimate_from_the_file(tmp_path):
    state = tmp_path / "gamma.json"
    of = {"num_rows": 500, "num_classes": K}
    rows = [
        {"epoch": 1, "rate": None},
        {"epoch": 2, "rate": 0.123, "gamma": 0.0625, **of},
        {"epoch": 3, "rate": 0.3, "gamma": 0.125, **of},
    ]
    state.write_text(json.dumps(rows))
    aware = NoiseAwareGamma((X[HELD], Y[HELD]), state_file=state)
    model = compiled()
    fit(model, epochs=4)
    history = fit(model, aware, epochs=6, initial_epoch=4)
    assert history["gamma"] == [0.0625] * 2  # lower than the new ones
    assert history["noise_rate"] == [0.123] * 2
    assert json.loads(state.read_text())[1] == {
        **rows[1],
        "standard_error": aware.rate_.standard_error,
    }
    assert [row["epoch"] for row in json.loads(state.read_text())] == [1, 2, 3, 4, 5]
    fit(compiled(), aware, epochs=2)  # a run from the beginning does not
    assert aware.rate_ == pytest.approx(RATE, abs=0.1)
    (row,) = json.loads(state.read_text())
    assert row == {
        "epoch": 1,
        "rate": aware.rate_,
        "standard_error": aware.rate_.standard_error,
        "num_rows": aware.rate_.num_rows,
        "num_classes": K,
        "gamma": aware.gamma_,
    }


def test_a_run_without_an_estimate_so_far_goes_on_without(tmp_path):
    state = tmp_path / "gamma.json"
    state.write_text(json.dumps([{"epoch": 1, "rate": None}]))
    aware = NoiseAwareGamma((X[HELD], Y[HELD]), state_file=state)
    model = compiled()
    fit(model, epochs=2)
    fit(model, aware, epochs=3, initial_epoch=2)
    assert aware.rate_ == pytest.approx(RATE, abs=0.1)


def test_a_run_that_begins_after_the_warm_up_needs_the_estimate(tmp_path):
    other = tmp_path / "other.json"
    row = {"epoch": 3, "rate": 0.1, "gamma": 0.1, "num_rows": 9, "num_classes": K}
    other.write_text(json.dumps([row]))
    for state in (None, tmp_path / "none.json", other):
        aware = NoiseAwareGamma((X[HELD], Y[HELD]), state_file=state)
        with pytest.raises(ValueError, match="`state_file` must be a file with the"):
            fit(compiled(), aware, epochs=4, initial_epoch=2)


# The first part ends while the model is still learning, which a warning says.
@pytest.mark.filterwarnings("ignore:NoiseAwareGamma. the estimated noise rate still")
@pytest.mark.parametrize("re_estimate", [True, False])
def test_the_same_callback_goes_on_where_it_was(re_estimate):
    aware = NoiseAwareGamma((X[HELD], Y[HELD]), re_estimate=re_estimate)
    model, whole = compiled(), compiled()
    first = fit(model, aware, epochs=2)
    then = fit(model, aware, epochs=3, initial_epoch=2)
    assert (then["gamma"] == [first["gamma"][1]]) != re_estimate
    once = NoiseAwareGamma((X[HELD], Y[HELD]), re_estimate=re_estimate)
    fit(whole, once, epochs=3)
    assert_same_state(model, whole)


def test_a_loaded_model_goes_on_without_the_callback(tmp_path):
    aware = NoiseAwareGamma((X[HELD], Y[HELD]))
    model = compiled()
    fit(model, aware, epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.gamma == aware.gamma_ > 0
    fit(loaded, epochs=1)
    fit(model, epochs=3, initial_epoch=2)
    assert_same_state(loaded, model)


def test_models_that_it_cannot_serve_raise():
    aware = NoiseAwareGamma((X[HELD], Y[HELD]))
    model = compiled()
    for loss in ("sparse_categorical_crossentropy", [GammaCE()], None):
        model.compile("sgd", loss)
        with pytest.raises(ValueError, match="compiled with one instance of GammaCE"):
            fit(model, aware)


@pytest.mark.parametrize("again", [True, False])
def test_data_that_tell_nothing_raise(again):
    def started(data, match):
        with pytest.raises(ValueError, match=match):
            fit(compiled(), NoiseAwareGamma(data, re_estimate=again), epochs=2)

    x, y = X[HELD], Y[HELD]
    started((x, np.full(len(x), -100)), "at least one position that counts")
    started([], "`data` must be a dataset of batches")
    started((x, y[:-1]), r"`y` must be of shape \(1200,\)")
    by_chance = np.random.default_rng(0).integers(0, K, len(x))
    if not again:
        started((x, by_chance), "more than by chance")


def test_predictions_that_are_no_distributions_raise():
    # Sigmoids of many classes, which the loss would take one by one.
    layers = [keras.Input((K,)), keras.layers.Dense(K, activation="sigmoid")]
    model = keras.Sequential(layers)
    model.compile("sgd", GammaCE())
    with pytest.raises(ValueError, match="`y_pred` must be distributions, with rows"):
        fit(model, NoiseAwareGamma((X[HELD], Y[HELD])), epochs=2)


def test_bad_arguments_of_the_callback_raise(tmp_path):
    data = (X, Y)
    with pytest.raises(ValueError, match="`warmup_epochs` must be at least 1"):
        NoiseAwareGamma(data, warmup_epochs=0)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        NoiseAwareGamma(data, batch_size=0)
    with pytest.raises(TypeError, match="`re_estimate` must be True or False"):
        NoiseAwareGamma(data, re_estimate="yes")
    with pytest.raises(ValueError, match="`state_file` must be a file in a folder"):
        NoiseAwareGamma(data, state_file=tmp_path / "none" / "gamma.json")


def test_steps_are_traced_anew_at_the_estimate_only():
    # As LossSchedule, which has the tests of it: by the same functions.
    aware = NoiseAwareGamma((X[HELD], Y[HELD]), re_estimate=False)
    model, seen = compiled(), []

    class Steps(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append((self.model.train_function, self.model.test_function))

    fit(model, aware, Steps(), epochs=3)
    changed = [one != other for one, other in itertools.pairwise(seen)]
    expected = keras.backend.backend() != "torch"
    assert changed == [expected, False]
