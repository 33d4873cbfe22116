"""Reliability tables recorded while a model is trained."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_robust import ExpectedCalibrationError
from keras_robust.calibration import bin_predictions
from keras_robust.callbacks import ReliabilityHistory, _tensorboard
from keras_robust.metrics import ClasswiseCalibrationError

RNG = np.random.default_rng(4)
X = RNG.normal(size=(90, 4)).astype("float32")
Y = RNG.integers(0, 3, 90)
X_VAL, Y_VAL = X[60:], Y[60:]


class Logits(keras.callbacks.Callback):
    """Keeps what the model would predict after each epoch."""

    def __init__(self):
        super().__init__()
        self.bins = []

    def on_epoch_end(self, epoch, logs=None):
        logits = keras.ops.convert_to_numpy(self.model(X_VAL))
        self.bins.append(bin_predictions(Y_VAL, logits, from_logits=True))


def trained(*callbacks, metrics=(), validate=True, epochs=3, **fit):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, metrics=list(metrics))
    if validate:
        fit["validation_data"] = (X_VAL, Y_VAL)
    model.fit(
        *(X[:60], Y[:60]),
        batch_size=20,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **fit,
    )
    return model


def assert_same(tables, expected):
    assert len(tables) == len(expected)
    for bins, other in zip(tables, expected):
        np.testing.assert_array_equal(bins.count, other.count)
        np.testing.assert_allclose(bins.confidence, other.confidence, rtol=1e-5)
        np.testing.assert_allclose(bins.accuracy, other.accuracy, rtol=1e-5)


def test_the_metrics_tables_are_those_of_the_validation_data():
    metric, seen = ExpectedCalibrationError(from_logits=True), Logits()
    history = ReliabilityHistory(metric)
    trained(history, seen, metrics=[metric])
    assert list(history.tables) == [0, 1, 2]
    assert_same(list(history.tables.values()), seen.bins)
    assert history.tables[0].ece() != history.tables[2].ece()


def test_data_of_its_own_are_predicted_after_each_epoch():
    seen = Logits()
    history = ReliabilityHistory(
        validation_data=(X_VAL, Y_VAL), from_logits=True, batch_size=7
    )
    trained(history, seen, validate=False)
    assert_same(list(history.tables.values()), seen.bins)
    batches = [(X_VAL[:10], Y_VAL[:10]), (X_VAL[10:], Y_VAL[10:])]
    from_batches = ReliabilityHistory(validation_data=batches, from_logits=True)
    trained(from_batches, seen := Logits(), validate=False)
    assert_same(list(from_batches.tables.values()), seen.bins)


def test_epochs_without_validation_have_no_table():
    metric = ExpectedCalibrationError(from_logits=True)
    history = ReliabilityHistory(metric)
    trained(history, metrics=[metric], epochs=5, validation_freq=2)
    assert list(history.tables) == [1, 3]
    assert all(bins.total == 30 for bins in history.tables.values())


def test_a_fit_that_validates_nothing_is_told_so():
    metric = ExpectedCalibrationError(from_logits=True)
    history = ReliabilityHistory(metric)
    with pytest.warns(UserWarning, match="nothing was recorded"):
        trained(history, metrics=[metric], validate=False)
    assert history.to_frame().empty


def test_a_metric_that_compile_does_not_know_records_nothing():
    history = ReliabilityHistory(ExpectedCalibrationError(from_logits=True))
    with pytest.warns(UserWarning, match="with this very metric"):
        trained(history, metrics=[ExpectedCalibrationError(from_logits=True)])
    assert history.tables == {}


def test_the_frame_has_a_row_for_each_epoch_and_bin():
    metric = ExpectedCalibrationError(num_bins=5, from_logits=True)
    history = ReliabilityHistory(metric)
    trained(history, metrics=[metric])
    frame = history.to_frame()
    assert list(frame["epoch"]) == [0] * 5 + [1] * 5 + [2] * 5
    counts = frame.groupby("epoch")["count"].sum()
    assert counts.tolist() == [30, 30, 30]


def test_tensorboard_gets_a_diagram_and_scalars(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    metric = ExpectedCalibrationError(from_logits=True)
    history = ReliabilityHistory(metric, log_dir=tmp_path / "logs")
    trained(history, metrics=[metric])
    events = event_accumulator.EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    tags = events.Tags()
    assert tags["images"] == ["reliability/diagram"]
    names = ("ece", "ece_if_calibrated", "mce", "signed_gap")
    assert set(tags["scalars"]) == {f"reliability/{name}" for name in names}
    values = [(e.step, e.value) for e in events.Scalars("reliability/ece")]
    expected = [(k, bins.ece()) for k, bins in history.tables.items()]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    images = events.Images("reliability/diagram")
    assert [image.step for image in images] == [0, 1, 2]
    assert images[0].encoded_image_string.startswith(b"\x89PNG")
    assert images[0].width > 300
    assert not plt.get_fignums()


def test_the_diagram_of_an_epoch_is_about_what_the_metric_is(tmp_path, monkeypatch):
    drawn = []
    plain = _tensorboard.ReliabilityDisplay

    def seen(bins, **options):
        drawn.append(options["notion"])
        return plain(bins, **options)

    monkeypatch.setattr(_tensorboard, "ReliabilityDisplay", seen)
    bins = bin_predictions([0, 1], [[0.7, 0.3], [0.4, 0.6]], notion="positive")
    metric = ExpectedCalibrationError(notion="positive")
    for history in (
        ReliabilityHistory(metric, log_dir=tmp_path),
        ReliabilityHistory(validation_data=(0, 0), notion="positive", log_dir=tmp_path),
    ):
        monkeypatch.setattr(history, "_validated", bins)
        monkeypatch.setattr(history, "_predicted", lambda: bins)
        history.on_epoch_end(0)
    assert drawn == ["positive", "positive"]


def test_bad_arguments_raise():
    metric = ExpectedCalibrationError()
    with pytest.raises(ValueError, match="`metric` must be given, or else"):
        ReliabilityHistory()
    with pytest.raises(ValueError, match="`metric` must be given, or else"):
        ReliabilityHistory(metric, validation_data=(X, Y))
    with pytest.raises(TypeError, match="`metric` must have a method"):
        ReliabilityHistory("ece")
    with pytest.raises(TypeError, match="`metric` must have one reliability table"):
        ReliabilityHistory(ClasswiseCalibrationError(3))
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        ReliabilityHistory(validation_data=(X, Y), batch_size=0)
    with pytest.raises(ValueError, match="`num_bins` must be at least 1"):
        ReliabilityHistory(validation_data=(X, Y), num_bins=0)
    with pytest.raises(ValueError, match="`notion` must be one of"):
        ReliabilityHistory(validation_data=(X, Y), notion="top")
