"""`jit_compile=True` on PyTorch, once: it takes long to compile."""

import keras
import numpy as np
import pytest

from keras_robust import SGCE, ExpectedCalibrationError
from keras_robust.calibration import bin_predictions


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.compile's own making
def test_fit_and_evaluate_compile():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(64, 4)).astype("float32"), rng.integers(0, 4, 64)
    labels[::5] = -100
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    loss = SGCE(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.0),
        loss,
        metrics=[ExpectedCalibrationError(from_logits=True)],
        jit_compile=True,
    )
    fitted = model.fit(x, labels, batch_size=64, verbose=0).history
    logits = model.predict(x, verbose=0)
    assert fitted["loss"][0] == pytest.approx(float(loss(labels, logits)), rel=1e-5)
    expected = bin_predictions(labels, logits, from_logits=True).ece()
    assert fitted["ece"][0] == pytest.approx(expected, rel=1e-4)
