"""A loss that somebody else writes: it has all that ours have."""

import keras
import numpy as np
import pytest
from backend import to_numpy, value_and_grad

from keras_robust import GCE, ForwardCorrection
from keras_robust.losses import RobustLoss, fused_linear
from keras_robust.metrics import ExpectedCalibrationError

RNG = np.random.default_rng(9)
LOGITS = RNG.normal(scale=2, size=(10, 4)).astype("float32")
LABELS = RNG.integers(0, 4, 10)
LABELS[3] = -100


@keras.saving.register_keras_serializable(package="tests")
class CostOnly(RobustLoss):
    """-log(p), by nothing but the cost of a label."""

    def label_cost(self, log_p):
        return -log_p


@keras.saving.register_keras_serializable(package="tests")
class Squared(RobustLoss):
    """(1 - p)^2 / 2 with its theory, but for the way back."""

    def __init__(self, scale=1.0, **options):
        super().__init__(**options)
        self.scale = scale

    def label_cost(self, log_p):
        return self.scale * keras.ops.expm1(log_p) ** 2 / 2

    def _minimizer(self, posterior):
        # π_k (1 - p_k) is the same for all k: with two classes, p_k = π_k.
        return posterior

    def _negative_gradient(self, prob, posterior):
        return self.scale * posterior * (1 - prob)

    def get_config(self):
        return {"scale": self.scale, **super().get_config()}


def test_the_cost_of_a_label_is_all_it_takes():
    ours = CostOnly(from_logits=True)
    theirs = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=-100
    )
    value, grad = value_and_grad(lambda z: ours(LABELS, z), LOGITS)
    expected = value_and_grad(lambda z: theirs(LABELS, z), LOGITS)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-4, atol=1e-7)
    assert ours.name == "cost_only"
    soft = np.eye(4, dtype="float32")[np.maximum(LABELS, 0)]
    soft[3] = -100
    np.testing.assert_allclose(float(ours(soft, LOGITS)), value, rtol=1e-5)


def test_a_loss_of_ones_own_is_saved_with_its_model(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", Squared(scale=2.0, from_logits=True, axis=-1))
    model.fit(LOGITS, LABELS, verbose=0)
    before = model.evaluate(LOGITS, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.scale == 2.0
    np.testing.assert_allclose(loaded.evaluate(LOGITS, LABELS, verbose=0), before, 1e-5)


def test_it_can_be_fused_with_the_layer_that_makes_its_logits():
    loss = Squared(from_logits=True)
    kernel = RNG.normal(size=(4, 4)).astype("float32")
    expected = float(loss(LABELS, LOGITS @ kernel))
    assert expected > 0.1
    found = fused_linear(loss, LABELS, LOGITS, kernel, rows_at_once=3)
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


def test_it_can_be_the_base_of_a_forward_correction():
    matrix = np.array([[0.9, 0.1], [0.3, 0.7]])
    base = Squared(from_logits=True, reduction="none")
    loss = ForwardCorrection(matrix, base)
    z = LOGITS[:, :2]
    prob = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    expected = (1 - prob @ matrix) ** 2 / 2
    for label in (0, 1):
        found = to_numpy(loss(np.full(10, label), z))
        np.testing.assert_allclose(found, expected[:, label], rtol=1e-5)
    # Labels that the matrix can make, and labels that it cannot: the nearest is sure.
    clean = np.array([[0.2, 0.8], [1.0, 0.0]])
    np.testing.assert_allclose(loss.minimizer(clean @ matrix), clean, atol=1e-9)
    np.testing.assert_allclose(loss.minimizer([1.0, 0.0]), [1.0, 0.0], atol=1e-6)


def test_theory_that_nobody_wrote_is_said_to_be_missing():
    for call, method in [
        (lambda: CostOnly().minimizer([0.5, 0.5]), "_minimizer"),
        (lambda: Squared().posterior([0.5, 0.5]), "_posterior"),
        (lambda: RobustLoss()([0], [[0.5, 0.5]]), "label_cost"),
    ]:
        with pytest.raises(NotImplementedError, match=f"has no method `{method}`"):
            call()


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"GCE: `y_true` must be lists of the same"):
        GCE()([[0, 1], [2]], np.full((2, 2, 3), 1 / 3, "float32"))


def test_objects_are_read_as_numbers_and_names_are_refused():
    loss, metric = GCE(), ExpectedCalibrationError()
    prob = np.full((2, 3), 1 / 3, "float32")
    labels = np.array([0, 1.0], dtype=object)
    assert to_numpy(loss(labels, prob)) == to_numpy(loss([0, 1], prob))
    metric.update_state(labels, prob)
    assert to_numpy(metric.result()) == pytest.approx(1 / 6)
    for call in (loss, metric.update_state):
        with pytest.raises(TypeError, match="`y_true` must be of numbers"):
            call(np.array(["cat", "dog"]), prob)
