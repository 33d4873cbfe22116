"""What a user does first, in an environment that has the built package and no clone."""

from pathlib import Path

import keras
import numpy as np

import keras_robust
from keras_robust import GCE, ExpectedCalibrationError

assert "site-packages" in Path(keras_robust.__file__).parts, keras_robust.__file__
x, y = np.eye(4, dtype="float32"), np.arange(4)
model = keras.Sequential([keras.layers.Dense(4)])
metrics = [ExpectedCalibrationError(from_logits=True)]
model.compile("adam", GCE(from_logits=True), metrics=metrics)
assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][-1])
prob = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x, verbose=0)))
np.savez("predictions.npz", y_prob=prob, y_true=y)
