"""A last layer that is given the labels, and adds the loss itself.

On JAX such a model is built with sizes that are symbols.
"""

import keras
import numpy as np
import pytest
from backend import quickly_compiled
from scipy import special

from keras_robust import GCE, ExpectedCalibrationError
from keras_robust.losses import fused_linear
from keras_robust.metrics import ClasswiseCalibrationError

RNG = np.random.default_rng(0)
HIDDEN = RNG.normal(size=(4, 5, 6)).astype("float32")
TOKENS = RNG.integers(0, 11, (4, 5)).astype("int32")


INPUTS = {"shape": (None, 6)}, {"shape": (None,), "dtype": "int32"}


class Loss(keras.layers.Layer):
    def __init__(self, fused):
        super().__init__()
        self.loss, self.fused = GCE(q=0.5, from_logits=True), fused

    def build(self, hidden_shape, tokens_shape):
        self.kernel = self.add_weight(shape=(hidden_shape[-1], 11), name="kernel")

    def call(self, hidden, tokens):
        if self.fused:
            self.add_loss(fused_linear(self.loss, tokens, hidden, self.kernel))
        else:
            self.add_loss(self.loss(tokens, hidden @ self.kernel))
        return hidden


@pytest.mark.parametrize("fused", [True, False])
def test_its_loss_is_that_of_its_logits(fused):
    inputs, head = [keras.Input(**about) for about in INPUTS], Loss(fused)
    model = keras.Model(inputs, head(*inputs))
    model.compile("sgd", **quickly_compiled({}))
    found = model.evaluate([HIDDEN, TOKENS], batch_size=2, verbose=0, return_dict=True)
    prob = special.softmax(HIDDEN @ keras.ops.convert_to_numpy(head.kernel), axis=-1)
    p_y = np.take_along_axis(prob, TOKENS[..., None], axis=-1)
    assert found["loss"] == pytest.approx(np.mean((1 - p_y**0.5) / 0.5), rel=1e-5)


class Metrics(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.streamed = [
            ExpectedCalibrationError(from_logits=True),
            ClasswiseCalibrationError(6, from_logits=True),
        ]

    def call(self, logits, tokens):
        for metric in self.streamed:
            metric.update_state(tokens % 6, logits)
        return logits


def test_it_may_update_metrics():
    inputs, head = [keras.Input(**about) for about in INPUTS], Metrics()
    keras.Model(inputs, head(*inputs))
    # Building sees no numbers.
    assert [float(metric.result()) for metric in head.streamed] == [0, 0]
