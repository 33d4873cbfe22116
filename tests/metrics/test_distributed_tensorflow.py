"""Metrics and losses under MirroredStrategy with two CPUs."""

import keras
import numpy as np
import pytest

from keras_robust import ExpectedCalibrationError, GammaCE, MaximumCalibrationError
from keras_robust.calibration import bin_predictions

K = 4
RNG = np.random.default_rng(5)
X = RNG.normal(size=(101, K)).astype("float32")
LABELS = RNG.integers(0, K, 101)
LABELS[::7] = -100


@pytest.mark.parametrize("cls", [ExpectedCalibrationError, MaximumCalibrationError])
def test_two_replicas_report_what_one_does(cls, two_replicas):
    assert two_replicas.num_replicas_in_sync == 2
    with two_replicas.scope():
        model = keras.Sequential([keras.Input((K,)), keras.layers.Dense(K)])
        model.compile(
            keras.optimizers.SGD(0.0),
            GammaCE(from_logits=True),
            metrics=[metric := cls(from_logits=True)],
            weighted_metrics=[cls(from_logits=True, name="weighted")],
            jit_compile=False,  # with XLA, TensorFlow cannot mirror on CPUs at all
        )
    weight = np.random.default_rng(1).uniform(size=101)
    data = {"x": X, "y": LABELS, "sample_weight": weight, "batch_size": 32}
    fitted = model.fit(**data, epochs=2, verbose=0).history
    logits = model.predict(X, verbose=0)
    bins = bin_predictions(LABELS, logits, from_logits=True)
    name = cls().name
    expected = getattr(bins, name)()
    scores = model.evaluate(**data, verbose=0, return_dict=True)
    assert scores[name] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_array_equal(metric.bin_statistics().count, bins.count)
    heavy = bin_predictions(LABELS, logits, from_logits=True, sample_weight=weight)
    assert scores["weighted"] == pytest.approx(getattr(heavy, name)(), rel=1e-4)
    # The second epoch shows that the state was reset on both replicas.
    assert fitted[name][-1] == pytest.approx(expected, rel=1e-4)
