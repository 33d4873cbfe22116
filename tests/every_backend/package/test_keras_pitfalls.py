"""The left-hand column of docs/keras-pitfalls.md, measured.

When one of these fails, Keras has changed: take the row out of the page, and see
whether the work-around can go.
"""

import copy

import keras
import numpy as np
import pytest
from backend import BACKEND, quickly_compiled, to_numpy, with_mask
from keras import ops
from keras.distillation import LogitsDistillation

from keras_robust import GCE

pytestmark = pytest.mark.slow  # written down for the Keras of today, not the oldest

CE = keras.losses.SparseCategoricalCrossentropy
LOGITS = np.random.default_rng(0).normal(size=(2, 2, 3)).astype("float32")
LABELS = np.array([[0, 1], [2, 0]])


@pytest.mark.parametrize(("dtype", "label"), [("float16", 2049), ("bfloat16", 257)])
def test_keras_casts_labels_to_the_dtype_of_the_loss(dtype, label):
    logits = np.zeros((1, label + 1), "float32")
    logits[0, label - 1] = 30
    loss = CE(from_logits=True, dtype=dtype)
    right, other = (float(loss(np.array([y]), logits)) for y in (label - 1, label))
    assert right == other < 1


def test_keras_overflows_in_the_mean_of_a_float16_loss():
    logits = np.random.default_rng(0).normal(size=(70_000, 3)).astype("float32")
    loss = CE(from_logits=True, dtype="float16")
    assert np.isnan(float(loss(np.arange(70_000) % 3, logits)))


@pytest.mark.parametrize("label", [7, -1])
def test_keras_takes_a_label_outside_the_classes_for_one_or_fails(label):
    def cost():
        return float(CE(from_logits=True)(np.array([label]), LOGITS[0, :1]))

    if BACKEND == "jax":
        assert cost() == 0
    else:
        with pytest.raises(Exception, match=r"out of range|out of bounds|outside"):
            cost()


def test_keras_fails_on_a_list_of_labels():
    with pytest.raises(ValueError, match=r"Expected an instance|Node type mismatch"):
        CE(from_logits=True)([0, 1], LOGITS[0])


def test_keras_drops_the_dtype_from_the_configuration():
    assert "dtype" not in CE(dtype="float16").get_config()


def test_keras_resolves_no_registered_name():
    import keras_robust

    assert keras_robust.SGCE
    with pytest.raises(ValueError, match="Could not interpret"):
        keras.losses.get("keras_robust>SGCE")


def test_keras_takes_weights_of_samples_for_weights_of_time_steps():
    per_position = to_numpy(CE(from_logits=True, reduction="none")(LABELS, LOGITS))
    weight = np.array([1.0, 0.0])
    weighed = to_numpy(CE(from_logits=True, reduction="none")(LABELS, LOGITS, weight))
    np.testing.assert_allclose(weighed, per_position * weight[None, :], rtol=1e-6)


def test_keras_fails_on_weights_of_samples_where_the_sizes_differ():
    logits = np.concatenate([LOGITS, LOGITS], axis=1)
    labels = np.concatenate([LABELS, LABELS], axis=1)
    assert to_numpy(CE(from_logits=True)(labels, logits)) > 0
    with pytest.raises(Exception, match=r"shape|size|broadcast"):
        CE(from_logits=True)(labels, logits, np.ones(2, "float32"))


def test_keras_takes_a_teachers_logits_for_probabilities():
    teacher = np.array([[-6.0, -10.0, -10.0]], "float32")
    student = np.array([[-10.0, -6.0, -10.0]], "float32")
    p, q = (np.exp(z) / np.exp(z).sum() for z in (teacher, student))
    expected = (p * np.log(p / q)).sum()
    assert expected > 3
    by_default = LogitsDistillation(temperature=1.0).compute_loss(teacher, student)
    assert float(by_default) == pytest.approx(0.0, abs=1e-6)
    given = LogitsDistillation(temperature=1.0, loss=keras.losses.KLDivergence())
    loss = float(given.compute_loss(teacher, student))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_copied_keras_metric_is_empty():
    mean = keras.metrics.Mean()
    mean.update_state([1.0, 2.0])
    assert float(copy.deepcopy(mean).result()) == 0


def test_keras_takes_a_sequence_of_labels_for_a_one_hot_row():
    x, labels = np.zeros((1, 2, 3), "float32"), np.array([[0, 2]])
    model = keras.Sequential([keras.Input((2, 3)), keras.layers.Dense(3)])
    model.compile("sgd", CE(from_logits=True), **quickly_compiled({}))
    weights = {0: 1.0, 1: 5.0, 2: 1.0}
    found = model.fit(x, labels, class_weight=weights, verbose=0).history["loss"][0]
    # Of logits 0; the largest label is at place 1.
    assert found == pytest.approx(5 * np.log(3), rel=1e-5)


def test_keras_cannot_take_the_softmax_of_masked_predictions():
    tokens = keras.Input((4,), dtype="int32")
    hidden = keras.layers.Embedding(9, 3, mask_zero=True)(tokens)
    batch = np.array([[1, 2, 0, 0]])
    keras.Model(tokens, keras.layers.Activation("softmax")(hidden))(batch)
    with pytest.raises(ValueError, match="mask"):
        keras.Model(tokens, keras.layers.Softmax()(hidden)).predict(batch, verbose=0)


@pytest.mark.parametrize("loss", [CE, GCE])
def test_the_loss_of_evaluate_depends_on_the_batch_size(loss):
    loss = loss(from_logits=True, ignore_class=-100)
    labels = np.array([[0, -100], [1, 2]])
    model = keras.Sequential([keras.Input((2, 3)), keras.layers.Identity()])
    model.compile("sgd", loss, **quickly_compiled({}))
    one, both = (
        model.evaluate(LOGITS, labels, batch_size=size, verbose=0) for size in (1, 2)
    )
    by_row = [float(loss(labels[i : i + 1], LOGITS[i : i + 1])) for i in range(2)]
    assert one == pytest.approx(np.mean(by_row), rel=1e-5)
    assert both == pytest.approx(np.average(by_row, weights=[1, 2]), rel=1e-5)
    assert abs(one - both) > 0.01


if BACKEND == "torch":

    def test_keras_modifies_weights_in_place_where_there_is_a_mask():
        weight = ops.ones((2, 2))
        mask = np.array([[True, False], [True, True]])
        CE(from_logits=True)(LABELS, with_mask(LOGITS, mask), weight)
        assert not (to_numpy(weight) == 1).all()

    def test_keras_fails_on_a_weight_per_sample_where_there_is_a_mask():
        mask = np.array([[True, False], [True, True]])
        weight = ops.ones((2, 1))
        with pytest.raises(RuntimeError, match=r"shape|size"):
            CE(from_logits=True)(LABELS, with_mask(LOGITS, mask), weight)

    def test_keras_rounds_float64_to_float32():
        third, x = 1 / 3, ops.zeros((1,), dtype="float64")
        rounded = float(np.float32(third))
        assert ops.where(x < 1, third, x).item() == rounded
        assert ops.maximum(x, ops.full_like(x, third)).item() == rounded
        rows = ops.full((1,), third, dtype="float64")
        assert ops.segment_sum(rows, ops.zeros((1,), "int32"), 1).item() == rounded


if BACKEND == "tensorflow":

    def test_keras_takes_the_mean_of_the_means_of_replicas(two_replicas):
        labels = np.array([-100, -100, -100, 0, 1, 2])
        logits = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
        with two_replicas.scope():
            start = keras.initializers.Constant(logits)
            layer = keras.layers.Dense(3, use_bias=False, kernel_initializer=start)
            model = keras.Sequential([keras.Input((6,)), layer])
            loss = CE(from_logits=True, ignore_class=-100)
            model.compile(keras.optimizers.SGD(0.0), loss)
        x = np.eye(6, dtype="float32")
        fitted = model.fit(x, labels, batch_size=6, shuffle=False, verbose=0)
        value = float(CE(from_logits=True, ignore_class=-100)(labels, logits))
        assert fitted.history["loss"][0] == pytest.approx(value / 2, rel=1e-5)
