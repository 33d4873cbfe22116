"""Parameters of the compiled loss that change from epoch to epoch."""

import inspect

import every_loss
import keras
import numpy as np
import pytest
from backend import BACKEND, quickly_compiled, to_numpy

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE, losses
from keras_robust.callbacks import LinearAnneal, LossSchedule, WarmUp
from keras_robust.noise import symmetric_matrix

K = 4
RNG = np.random.default_rng(6)
X = RNG.normal(size=(48, 5)).astype("float32")
Y = RNG.integers(0, K, 48)
X_VAL, Y_VAL = X[32:], Y[32:]


def compiled(loss, seed=1, optimizer=None, **how):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(K)])
    optimizer = optimizer or keras.optimizers.Adam(0.1)
    model.compile(optimizer, loss, metrics=["accuracy"], **quickly_compiled(how))
    return model


def fit(model, *callbacks, epochs=4, validate=True, **how):
    if validate:
        how["validation_data"] = (X_VAL, Y_VAL)
    how = {"batch_size": 16, "shuffle": False, "verbose": 0, **how}
    return model.fit(
        X[:32], Y[:32], epochs=epochs, callbacks=list(callbacks), **how
    ).history


def state_of(model):
    return [to_numpy(v) for v in [*model.weights, *model.optimizer.variables]]


def assert_same_state(model, other, rtol=1e-5):
    for mine, its in zip(state_of(model), state_of(other), strict=True):
        np.testing.assert_allclose(mine, its, rtol=rtol, atol=1e-6)


# On PyTorch there is one step per execution, and `jit_compile` has a test of its own;
# on TensorFlow XLA takes long, and has one mode of one test.
PLAIN = {"jit_compile": BACKEND == "jax"}
MODES = [{"run_eagerly": True}, PLAIN]
if BACKEND != "torch":
    MODES.append({"steps_per_execution": 2})
XLA = [{"jit_compile": True}] if BACKEND == "tensorflow" else []
every_mode = pytest.mark.parametrize("how", MODES, ids=str)


def by_hand(new_loss, values, **how):
    """Trains with the loss compiled anew where it changes, on one optimizer."""
    model, last = compiled(new_loss(values[0]), **how), values[0]
    history = {}
    for value in values:
        if value != last:
            again = {"metrics": ["accuracy"], **quickly_compiled(how)}
            model.compile(model.optimizer, new_loss(value), **again)
        for key, column in fit(model, epochs=1).items():
            history.setdefault(key, []).extend(column)
        last = value
    return model, history


def assert_as_by_hand(cls, parameter, schedule, how):
    values = [schedule(epoch) for epoch in range(3)]
    expected, by_epoch = by_hand(
        lambda value: cls(**{parameter: value}, from_logits=True), values, **how
    )
    model = compiled(cls(from_logits=True), **how)
    history = fit(model, LossSchedule(parameter, schedule), epochs=3)
    assert history[parameter] == values
    for key in ("loss", "val_loss", "accuracy", "val_accuracy"):
        np.testing.assert_allclose(history[key], by_epoch[key], rtol=1e-5)
    assert_same_state(model, expected)
    # And no other training than that gives its result.
    single = compiled(cls(**{parameter: values[-1]}, from_logits=True))
    fit(single, epochs=3, validate=False)
    assert np.abs(state_of(model)[0] - state_of(single)[0]).max() > 1e-3


@pytest.mark.parametrize("how", MODES + XLA, ids=str)
def test_a_warm_up_is_training_in_two_phases(how):
    assert_as_by_hand(GCE, "q", WarmUp(0.7, epochs=2), how)


@pytest.mark.parametrize(
    ("cls", "parameter", "schedule"),
    [
        (GCE, "cutoff", WarmUp(0.3, epochs=1)),
        (SCE, "alpha", LinearAnneal(1.0, epochs=2)),
        (NCERCE, "alpha", LinearAnneal(1.0, epochs=2)),
        (SGCE, "smoothing", WarmUp(0.3, epochs=1)),
        (GammaCE, "gamma", LinearAnneal(1.0, epochs=2)),
    ],
)
def test_other_parameters_change_as_if_compiled_anew(cls, parameter, schedule):
    assert_as_by_hand(cls, parameter, schedule, {})


def test_a_corrected_loss_has_the_parameters_of_its_base():
    def make(q):
        base = GCE(q=q, from_logits=True)
        return ForwardCorrection(symmetric_matrix(K, 0.2), base)

    expected, by_epoch = by_hand(make, [0.0, 0.6])
    model = compiled(make(0.0))
    history = fit(model, LossSchedule("q", WarmUp(0.6)), epochs=2)
    assert history["q"] == [0.0, 0.6]
    np.testing.assert_allclose(history["loss"], by_epoch["loss"], rtol=1e-5)
    assert_same_state(model, expected)


@every_mode
def test_evaluate_uses_the_value_of_the_last_epoch(how):
    model = compiled(GammaCE(from_logits=True), **how)
    history = fit(model, LossSchedule("gamma", WarmUp(0.5, epochs=3)))
    expected = GammaCE(0.5, from_logits=True)(Y_VAL, model.predict(X_VAL, verbose=0))
    value = model.evaluate(X_VAL, Y_VAL, verbose=0)[0]
    assert value == pytest.approx(float(expected), rel=1e-5)
    assert history["val_loss"][-1] == pytest.approx(value, rel=1e-5)


class Traces(keras.callbacks.Callback):
    """Counts how often the loss is traced in each epoch, validation included."""

    def __init__(self):
        super().__init__()
        self.values, self.in_epoch = [], []

    def loss(self, **kwargs):
        values = self.values

        class Counted(GammaCE):
            def label_cost(self, log_p):
                values.append(self.gamma)
                return super().label_cost(log_p)

        return Counted(from_logits=True, **kwargs)

    def on_epoch_begin(self, epoch, logs=None):
        self.before = len(self.values)

    def on_epoch_end(self, epoch, logs=None):
        self.in_epoch.append(len(self.values) - self.before)


def test_steps_are_traced_anew_only_when_the_value_changes():
    # Two functions, of training and of validation. The first epoch's traces are those
    # of any training.
    for schedule, expected in [
        (lambda epoch: 0.3, [0, 0, 0]),
        (WarmUp(0.5, epochs=2), [0, 2, 0]),
        (LinearAnneal(1.0, epochs=2), [2, 2, 0]),
        (LinearAnneal(1.0, epochs=2, every=2), [0, 2, 0]),
    ]:
        traces = Traces()
        model = compiled(traces.loss())
        fit(model, LossSchedule("gamma", schedule), traces, epochs=4)
        if BACKEND == "torch":
            expected = [3] * 3  # not traced but run, at each of three steps
        assert traces.in_epoch[1:] == expected


def test_a_further_fit_at_the_same_value_traces_nothing():
    traces = Traces()
    model = compiled(traces.loss())
    schedule = LossSchedule("gamma", WarmUp(0.5, epochs=2))
    fit(model, schedule, epochs=3)
    fit(model, schedule, traces, epochs=5, initial_epoch=3)
    fit(model, schedule, traces, epochs=1)  # from the beginning, that is, at 0
    expected = [3, 3, 3] if BACKEND == "torch" else [0, 0, 2]
    assert traces.in_epoch == expected


@every_mode
def test_a_step_that_something_still_holds_is_replaced(how):
    # JAX gives an equal function its old trace; see `_of_its_own`.
    held = []

    class Holds(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            held.append((self.model.train_function, self.model.test_function))

    schedule = LossSchedule("gamma", WarmUp(0.9, epochs=1))
    model, other = (compiled(GammaCE(from_logits=True), **how) for _ in range(2))
    seen = fit(model, Holds(), schedule, epochs=2)
    assert seen == fit(other, schedule, epochs=2)
    assert_same_state(model, other)


def test_a_model_keeps_its_own_steps():
    class Model(keras.Sequential):
        pass

    model = Model([keras.Input((5,)), keras.layers.Dense(K)])
    model.compile("sgd", GCE(from_logits=True))
    before = set(vars(model))
    fit(model, LossSchedule("q", WarmUp(0.5)), epochs=2)
    assert {"train_step", "test_step"}.isdisjoint(set(vars(model)) - before)
    own = model.train_step
    vars(model)["train_step"] = own
    fit(model, LossSchedule("q", WarmUp(0.5)), epochs=2)
    assert vars(model)["train_step"] is own


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("schedule", "stop"),
    [(WarmUp(0.6), 1), (WarmUp(0.6), 2), (LinearAnneal(1, epochs=2), 1)],
)
def test_a_run_that_was_interrupted_goes_on_as_if_not(tmp_path, schedule, stop):
    how = {"epochs": 3, "validate": False}
    whole = compiled(GammaCE(from_logits=True))
    history = fit(whole, LossSchedule("gamma", schedule), **how)
    interrupted = compiled(GammaCE(from_logits=True))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    first = [backup, LossSchedule("gamma", schedule), Interrupt(stop)]
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, *first, **how)
    resumed = compiled(GammaCE(from_logits=True), seed=2)
    rest = fit(resumed, LossSchedule("gamma", schedule), backup, **how)
    assert rest["gamma"] == history["gamma"][stop:]
    np.testing.assert_allclose(rest["loss"], history["loss"][stop:], rtol=1e-5)
    assert_same_state(resumed, whole)


def test_a_model_saved_in_between_has_the_value_and_goes_on(tmp_path):
    schedule = LossSchedule("q", LinearAnneal(0.8, epochs=2))
    whole = compiled(GCE(from_logits=True))
    fit(whole, schedule, epochs=3, validate=False)
    model = compiled(GCE(from_logits=True))
    path = tmp_path / "model_{epoch}.keras"
    save = keras.callbacks.ModelCheckpoint(path)
    fit(model, schedule, save, epochs=2, validate=False)
    loaded = keras.models.load_model(tmp_path / "model_2.keras")
    assert loaded.loss.q == 0.4
    assert keras.models.load_model(tmp_path / "model_1.keras").loss.q == 0.0
    rest = fit(loaded, schedule, epochs=3, initial_epoch=2, validate=False)
    assert rest["q"] == [0.8]
    assert_same_state(loaded, whole)


def numbers_of(cls):
    return [
        argument.name
        for argument in inspect.signature(cls).parameters.values()
        if isinstance(argument.default, float)
    ]


NUMBERS = [
    (cls, parameter)
    for cls in (getattr(losses, name) for name in every_loss.NAMES)
    for parameter in numbers_of(cls)
]


@pytest.mark.parametrize(("cls", "parameter"), NUMBERS)
def test_every_loss_reads_its_numbers_when_it_is_called(cls, parameter):
    # What a schedule relies on: a changed attribute is a changed loss.
    # Wide enough for probabilities below the gate, whatever tests ran before.
    logits = 3 * np.random.default_rng(0).normal(size=(12, K)).astype("float32")
    loss = cls(from_logits=True)
    other = cls(**{parameter: 0.31}, from_logits=True)
    before = float(loss(Y[:12], logits))
    setattr(loss, parameter, 0.31)
    assert float(loss(Y[:12], logits)) == float(other(Y[:12], logits)) != before
    assert loss.get_config() == other.get_config()


def test_losses_of_keras_change_as_well():
    # They compute with a copy of their arguments.
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model = compiled(loss)
    one_hot = np.eye(K, dtype="float32")[Y]
    schedule = LossSchedule("label_smoothing", WarmUp(0.4))
    model.fit(X, one_hot, epochs=2, verbose=0, callbacks=[schedule])
    expected = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.4
    )(one_hot, model.predict(X, verbose=0))
    value = model.evaluate(X, one_hot, verbose=0)[0]
    assert value == pytest.approx(float(expected), rel=1e-5)
    assert loss.get_config()["label_smoothing"] == 0.4


def two_outputs(loss):
    x = keras.Input((5,))
    outputs = [keras.layers.Dense(K, name=name)(x) for name in ("left", "right")]
    model = keras.Model(x, dict(zip(("left", "right"), outputs)))
    model.compile("sgd", loss, **quickly_compiled({}))
    return model


def fit_two(model, *callbacks, epochs=2, **how):
    y = {"left": Y, "right": (Y + 1) % K}
    how = {"batch_size": 48, "verbose": 0, "callbacks": list(callbacks), **how}
    return model.fit(X, y, epochs=epochs, **how).history


def test_of_several_losses_one_is_chosen_by_its_output():
    left, right = GCE(from_logits=True), GCE(from_logits=True)
    model = two_outputs({"left": left, "right": right})
    left_q = LossSchedule("q", WarmUp(0.2), output="left")
    right_q = LossSchedule("q", lambda epoch: 0.1 * epoch, output="right")
    before = fit_two(model, left_q, right_q, epochs=1)
    assert (before["left_q"], before["right_q"]) == ([0.0], [0.0])
    logits = model.predict(X, batch_size=48, verbose=0)
    history = fit_two(model, left_q, right_q, epochs=2, initial_epoch=1)
    assert (history["left_q"], history["right_q"]) == ([0.2], [0.1])
    assert (left.q, right.q) == (0.2, 0.1)
    expected = left(Y, logits["left"]) + right((Y + 1) % K, logits["right"])
    assert history["loss"][0] == pytest.approx(float(expected), rel=1e-5)


def test_the_only_loss_with_the_parameter_needs_no_choice():
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = two_outputs({"left": entropy, "right": GCE(from_logits=True)})
    assert fit_two(model, LossSchedule("q", WarmUp(0.2)))["q"] == [0.0, 0.2]
    one = GCE(from_logits=True)
    model = two_outputs({"left": one, "right": one})
    assert fit_two(model, LossSchedule("q", WarmUp(0.3)))["q"] == [0.0, 0.3]


def test_a_loss_that_cannot_be_found_raises():
    def started(loss, **how):
        fit(compiled(loss), LossSchedule("q", WarmUp(0.5), **how), epochs=2)

    for loss in ("sparse_categorical_crossentropy", GammaCE(from_logits=True), None):
        with pytest.raises(ValueError, match="with a number `q`, compiled into"):
            started(loss)
    with pytest.raises(ValueError, match="`output` must be a key or an index"):
        started(GCE(from_logits=True), output="left")
    two = {"left": GCE(from_logits=True), "right": GCE(from_logits=True)}
    with pytest.raises(ValueError, match="given where several losses have `q`"):
        fit_two(two_outputs(two), LossSchedule("q", WarmUp(0.5)))
    for output in ("middle", 0):
        with pytest.raises(ValueError, match="`output` must be a key or an index"):
            fit_two(two_outputs(two), LossSchedule("q", WarmUp(0.5), output=output))


def test_a_value_that_the_loss_refuses_raises_before_training():
    model = compiled(GCE(from_logits=True))
    before = state_of(model)

    def started(schedule):
        fit(model, LossSchedule("q", schedule), epochs=4)

    with pytest.raises(ValueError, match=r"15\.0 for epoch 3\. GCE: `q` must be in"):
        started(WarmUp(15.0, epochs=3))
    with pytest.raises(ValueError, match=r"nan for epoch 0\. GCE: `q` must be finite"):
        started(lambda epoch: float("nan"))
    with pytest.raises(TypeError, match=r"None for epoch 0\. GCE: `q` must be a real"):
        started(lambda epoch: None)
    assert model.loss.q == 0.7
    for mine, its in zip(before, state_of(model)):
        np.testing.assert_array_equal(mine, its)


def test_schedules_have_their_values():
    assert [WarmUp(0.7)(e) for e in range(3)] == [0.0, 0.7, 0.7]
    assert [WarmUp(0.7, epochs=0)(e) for e in range(2)] == [0.7, 0.7]
    assert [WarmUp(0, epochs=2, start=1)(e) for e in range(3)] == [1.0, 1.0, 0.0]
    line = LinearAnneal(0.2, epochs=4, start=1.0, delay=2)
    expected = [1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2]
    assert [line(e) for e in range(8)] == pytest.approx(expected)
    stairs = LinearAnneal(1.0, epochs=5, delay=1, every=3)
    expected = [0, 0, 0, 0, 0.6, 0.6, 1, 1]
    assert [stairs(e) for e in range(8)] == pytest.approx(expected)
    assert LinearAnneal(0.1, epochs=3, start=0.7)(3) == 0.1  # not a rounding away


@pytest.mark.parametrize(
    "schedule",
    [
        WarmUp(0.7, epochs=3, start=0.1),
        LinearAnneal(0.9, epochs=6, start=0.1, delay=2, every=3),
    ],
)
def test_schedules_are_saved_and_restored(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    restored = keras.saving.deserialize_keras_object(config)
    assert [restored(e) for e in range(10)] == [schedule(e) for e in range(10)]
    assert len({schedule(e) for e in range(10)}) > 1
    assert restored == schedule


def test_bad_arguments_of_schedules_raise():
    with pytest.raises(TypeError, match="LossSchedule: `parameter` must be a string"):
        LossSchedule(0.5, WarmUp(1.0))
    with pytest.raises(TypeError, match="LossSchedule: `schedule` must be a function"):
        LossSchedule("q", 0.5)
    with pytest.raises(TypeError, match="WarmUp: `value` must be a real number"):
        WarmUp("q")
    with pytest.raises(ValueError, match="WarmUp: `epochs` must be at least 0"):
        WarmUp(0.5, epochs=-1)
    for argument, value in (("epochs", 0), ("delay", -1), ("every", 0)):
        with pytest.raises(ValueError, match=f"LinearAnneal: `{argument}` must be"):
            LinearAnneal(1.0, **{"epochs": 2, argument: value})
    with pytest.raises(TypeError, match="LinearAnneal: `start` must be a real"):
        LinearAnneal(1.0, epochs=2, start=None)
