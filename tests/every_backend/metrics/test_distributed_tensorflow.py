"""Metrics under MirroredStrategy with two CPUs, and traced with unknown shapes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_robust import ExpectedCalibrationError, GammaCE, MaximumCalibrationError
from keras_robust.calibration import (
    bin_classwise,
    bin_multilabel,
    bin_predictions,
    classwise_error,
    multilabel_error,
)
from keras_robust.metrics import ClasswiseCalibrationError, MultilabelCalibrationError

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


def test_values_on_two_replicas_are_those_on_one(two_replicas):
    loss, logits = GammaCE(gamma=0.1, from_logits=True), 3 * X[:100]
    labels = LABELS[:100].copy()
    labels[:40] = -100  # of the first replica's fifty

    with two_replicas.scope():
        metric = ExpectedCalibrationError(from_logits=True)

    def part(context):
        rows = slice(50 * context.replica_id_in_sync_group, None)
        return labels[rows][:50], logits[rows][:50]

    @tf.function
    def step(y, z):
        metric.update_state(y, z)
        return loss(y, z)

    def place(i):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(part(context)[i])
        )

    values = two_replicas.run(step, (place(0), place(1)))
    together = two_replicas.reduce("SUM", values, axis=None)
    assert float(together) == pytest.approx(float(loss(labels, logits)), rel=1e-6)
    one = ExpectedCalibrationError(from_logits=True)
    one.update_state(labels, logits)
    assert float(metric.result()) == pytest.approx(float(one.result()), rel=1e-6)


def test_two_replicas_report_the_error_of_every_class(two_replicas):
    with two_replicas.scope():
        model = keras.Sequential([keras.Input((K,)), keras.layers.Dense(K)])
        metric = ClasswiseCalibrationError(K, from_logits=True)
        loss = GammaCE(from_logits=True)
        model.compile(loss=loss, metrics=[metric], jit_compile=False)
    scores = model.evaluate(X, LABELS, batch_size=32, verbose=0, return_dict=True)
    bins = bin_classwise(LABELS, model.predict(X, verbose=0), from_logits=True)
    assert scores["classwise_ece"] == pytest.approx(classwise_error(bins), rel=1e-4)
    for ours, expected in zip(metric.bin_statistics(), bins):
        np.testing.assert_array_equal(ours.count, expected.count)


def traced(metric, y_shape, weight_shape, k=K):
    signature = [
        tf.TensorSpec(y_shape, "int64"),
        tf.TensorSpec([None, k], "float32"),
        tf.TensorSpec(weight_shape, "float32"),
    ]
    return tf.function(metric.update_state, input_signature=signature)


def test_a_traced_update_knows_the_size_of_no_batch():
    weight = np.random.default_rng(1).uniform(size=101).astype("float32")
    prob = tf.nn.softmax(X).numpy()
    metric = ClasswiseCalibrationError(K)
    update = traced(metric, [None], [None])
    for rows in (slice(0, 40), slice(40, 101)):
        update(LABELS[rows], prob[rows], weight[rows])
    expected = classwise_error(bin_classwise(LABELS, prob, sample_weight=weight))
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)

    y = np.where(X > 0.5, -100, (X > 0).astype(int))
    for y_shape, given in [([None, K], weight), ([None, None], weight[:, None])]:
        metric = MultilabelCalibrationError(K)
        update = traced(metric, y_shape, [None, *given.shape[1:]])
        for rows in (slice(0, 40), slice(40, 101)):
            update(y[rows], prob[rows], given[rows])
        bins = bin_multilabel(y, prob, sample_weight=weight)
        assert float(metric.result()) == pytest.approx(multilabel_error(bins), rel=1e-5)


def test_labels_of_one_row_for_a_traced_batch_give_no_number():
    for metric, y in [
        (ClasswiseCalibrationError(K), LABELS[-1:]),
        (MultilabelCalibrationError(K), np.ones((1, K), int)),
    ]:
        traced(metric, [None] * y.ndim, [])(y, tf.nn.softmax(X), 1.0)
        assert np.isnan(float(metric.result()))


def test_the_positive_notion_of_three_classes_raises_while_tracing():
    metric = ExpectedCalibrationError(notion="positive")
    with pytest.raises(ValueError, match="`notion` must be 'top_label'"):
        traced(metric, [None], [], 3).get_concrete_function()
