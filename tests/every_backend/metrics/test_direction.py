"""Callbacks that ask a metric whether it should rise or fall."""

import keras
import numpy as np
import pytest
from backend import quickly_compiled

from keras_robust import GCE, metrics

MATRIX = [[0.8, 0.2], [0.3, 0.7]]
ARGUMENTS = {
    "ClasswiseCalibrationError": [2],
    "CleanAccuracy": [MATRIX],
    "MultilabelCalibrationError": [2],
}


def test_errors_fall_and_accuracies_rise_without_a_word_about_the_mode(tmp_path):
    every = [
        getattr(metrics, name)(*ARGUMENTS.get(name, []), from_logits=True)
        for name in metrics.__all__
    ]
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    y = np.eye(2, dtype="float32")[(x[:, 0] > 0).astype(int)]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", GCE(from_logits=True), metrics=every, **quickly_compiled({}))
    names = [f"val_{metric.name}" for metric in every]
    file = str(tmp_path / "best.weights.h5")
    best = keras.callbacks.ModelCheckpoint(
        file, monitor="val_ece", save_best_only=True, save_weights_only=True
    )
    stops = [keras.callbacks.EarlyStopping(name, patience=9) for name in names]
    slower = keras.callbacks.ReduceLROnPlateau("val_mce")
    history = model.fit(
        x,
        y,
        validation_data=(x, y),
        epochs=3,
        verbose=0,
        callbacks=[*stops, best, slower],
    ).history
    for name, stop in zip(names, stops):
        wanted = np.max if name == "val_clean_accuracy" else np.min
        assert stop.best == pytest.approx(wanted(history[name])), name
    for callback in (best, slower):
        assert callback.monitor_op(0.0, 1.0)
