"""A schedule under `torch.compile`, once: it takes long to compile."""

import keras
import numpy as np
import pytest

from keras_robust import ForwardCorrection, GammaCE
from keras_robust.callbacks import LossSchedule, SwapLoss, WarmUp
from keras_robust.noise import omission_matrix


class Graphs(keras.callbacks.Callback):
    """Counts what `torch.compile` has compiled by the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_epoch_end(self, epoch, logs=None):
        from torch._dynamo.utils import counters

        self.counts.append(counters["stats"]["unique_graphs"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.compile's own making
def test_torch_compiles_again_at_the_switch_only():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 4)).astype("float32"), rng.integers(0, 4, 64)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    loss = GammaCE(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=True)
    schedule, graphs = LossSchedule("gamma", WarmUp(0.8, epochs=2)), Graphs()
    # The first two steps of any training are compiled, the second with the optimizer
    # built: so there are two in the first epoch.
    how = {"batch_size": 32, "epochs": 4, "verbose": 0}
    history = model.fit(x, y, callbacks=[schedule, graphs], **how).history
    logits = model.predict(x, verbose=0)
    expected = [
        float(GammaCE(gamma, from_logits=True)(y, logits)) for gamma in (0, 0, 0.8, 0.8)
    ]
    assert expected[0] > 1.1 * expected[2]
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)
    assert np.diff(graphs.counts).tolist() == [0, 1, 0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.compile's own making
def test_torch_compiles_again_where_the_loss_is_swapped():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 4)).astype("float32"), rng.integers(0, 4, 64)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    # Of one class, so that nothing but their arrays tells them apart.
    losses = [
        ForwardCorrection(omission_matrix(4, rate), from_logits=True)
        for rate in (0.0, 0.5)
    ]
    model.compile(keras.optimizers.SGD(0.0), losses[0], jit_compile=True)
    how = {"batch_size": 32, "epochs": 2, "verbose": 0}
    history = model.fit(x, y, callbacks=[SwapLoss(losses[1])], **how).history
    logits = model.predict(x, verbose=0)
    expected = [float(loss(y, logits)) for loss in losses]
    assert abs(expected[0] - expected[1]) > 0.05
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)
