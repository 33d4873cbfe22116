"""Why a changed loss needs more than `make_train_function(force=True)` on JAX."""

import keras
import numpy as np

from keras_robust import GammaCE


def test_keras_keeps_the_old_loss_while_something_holds_the_old_step():
    x, y = np.eye(4, dtype="float32"), np.arange(4)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", GammaCE(0.0, from_logits=True))
    entropy = model.evaluate(x, y, verbose=0)
    model.loss.gamma = 0.9
    expected = float(model.loss(y, model.predict(x, verbose=0)))
    held = model.test_function
    model.make_test_function(force=True)
    assert model.test_function is not held
    assert model.evaluate(x, y, verbose=0) == entropy > 1.1 * expected
