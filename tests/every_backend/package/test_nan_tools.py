"""The tools that look for the first NaN find none in clean data.

Whoever sees `loss: nan`, which broken labels give on purpose, turns one on.
"""

import contextlib

import keras
import numpy as np
import pytest
from backend import BACKEND, compiled, to_numpy, value_and_grad

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE, metrics

RNG = np.random.default_rng(5)
LOGITS = RNG.normal(scale=3, size=(24, 3)).astype("float32")
LOGITS[0], LOGITS[1] = [300, 0, -300], [0, 300, 0]
LABELS = np.array([*range(3)] * 8, "int32")
LABELS[5::5] = -100
ONE_HOT = np.eye(3, dtype="float32")[np.arange(24) % 3]
WEIGHT = np.linspace(0, 1, 24).astype("float32")
EVEN = np.eye(3) * 0.7 + 0.1
UNEVEN = [[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.0, 0.3, 0.7]]


def losses(**reading):
    return [
        SGCE(**reading),
        GCE(cutoff=0.2, **reading),
        SCE(**reading),
        NCERCE(**reading),
        GammaCE(b=0.2, **reading),
        GammaCE(stop_gradient=True, **reading),
        ForwardCorrection(EVEN, **reading),
        ForwardCorrection(UNEVEN, GCE(**reading)),
    ]


def every_metric(**reading):
    return [
        metrics.ExpectedCalibrationError(**reading),
        metrics.ExpectedCalibrationError(noise_matrix=EVEN, **reading),
        metrics.MaximumCalibrationError(**reading),
        metrics.ClasswiseCalibrationError(3, norm="l2", **reading),
        metrics.MultilabelCalibrationError(3, **reading),
        metrics.CleanAccuracy(EVEN, **reading),
    ]


@contextlib.contextmanager
def looking_for_nan():
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.debugging.enable_check_numerics()
        try:
            yield
        finally:
            tf.debugging.disable_check_numerics()
    elif BACKEND == "jax":
        import jax

        with jax.debug_nans(True), jax.debug_infs(True):
            yield
    else:
        import torch

        with pytest.warns(UserWarning, match="Anomaly Detection"):
            tool = torch.autograd.detect_anomaly(check_nan=True)
        with tool:
            yield


def predictions(from_logits):
    return LOGITS if from_logits else to_numpy(keras.ops.softmax(LOGITS))


@pytest.mark.parametrize("from_logits", [True, False])
def test_clean_data_train(from_logits):
    every = losses(from_logits=from_logits)

    def cost(y_pred):
        of_ids = sum(loss(LABELS, y_pred, WEIGHT) for loss in every)
        return of_ids + every[0](ONE_HOT, y_pred) + every[-1](ONE_HOT, y_pred)

    with looking_for_nan():
        value, slope = value_and_grad(
            compiled(cost, jit=False), predictions(from_logits)
        )
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("from_logits", [True, False])
def test_clean_data_are_measured(from_logits):
    every = every_metric(from_logits=from_logits)

    def measured(y_pred):
        for metric in every:
            of_entries = isinstance(metric, metrics.MultilabelCalibrationError)
            metric.update_state(ONE_HOT if of_entries else LABELS, y_pred, WEIGHT)
        return [metric.result() for metric in every]

    with looking_for_nan():
        found = compiled(measured, jit=False)(
            keras.ops.convert_to_tensor(predictions(from_logits))
        )
    assert np.isfinite([float(x) for x in found]).all()


def test_they_stop_at_a_label_that_is_none():
    loss, labels = GCE(from_logits=True), np.where(LABELS == 2, 3, LABELS)
    function = compiled(lambda z: loss(labels, z), jit=False)
    with pytest.raises(Exception, match=r"(?i)\bnan\b"), looking_for_nan():
        value_and_grad(function, LOGITS)
