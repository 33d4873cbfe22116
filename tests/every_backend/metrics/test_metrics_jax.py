"""What only JAX has: DataParallel, jitted stateless updates, sums in float32 limbs."""

import every_loss
import jax
import keras
import numpy as np
import pytest

from keras_robust import metrics
from keras_robust.calibration import bin_classwise, bin_predictions, classwise_error

K = 4
RNG = np.random.default_rng(5)
X = RNG.normal(size=(96, K)).astype("float32")
LABELS = RNG.integers(0, K, 96)
LABELS[:20] = -100  # the first device has fewer that count
LOSSES = {param.id: param.values[0] for param in every_loss.makers(K)}
START = [v.value for v in metrics.ExpectedCalibrationError().variables]


@pytest.fixture
def two_devices():
    assert len(jax.devices()) == 2
    distribution = keras.distribution.DataParallel(devices=jax.devices())
    keras.distribution.set_distribution(distribution)
    yield
    keras.distribution.set_distribution(None)


def test_two_devices_report_what_one_does(two_devices):
    x = keras.Input((K,))
    logits = keras.layers.Dense(K)(x)
    outputs = {name: keras.layers.Identity(name=name)(logits) for name in LOSSES}
    model = keras.Model(x, outputs)
    model.compile(
        keras.optimizers.SGD(0.0),
        {name: make(from_logits=True) for name, make in LOSSES.items()},
        metrics={
            "GCE": [
                metrics.ExpectedCalibrationError(from_logits=True),
                metrics.MaximumCalibrationError(from_logits=True),
            ]
        },
    )
    y = dict.fromkeys(LOSSES, LABELS)
    logs = model.fit(X, y, batch_size=32, shuffle=False, verbose=0).history
    logits = model.predict(X, verbose=0)["GCE"]
    bins = bin_predictions(LABELS, logits, from_logits=True)
    for name, make in LOSSES.items():
        means = [
            float(make(from_logits=True)(LABELS[i : i + 32], logits[i : i + 32]))
            for i in range(0, 96, 32)
        ]
        seen = logs[f"{name}_loss"][0]
        assert seen == pytest.approx(np.mean(means), rel=1e-5), name
    assert logs["GCE_ece"][0] == pytest.approx(bins.ece(), rel=1e-4)
    assert logs["GCE_mce"][0] == pytest.approx(bins.mce(), rel=1e-4)


def test_values_on_two_devices_are_those_on_one(two_devices):
    losses = [make(from_logits=True) for make in LOSSES.values()]
    logits = 3 * X

    @jax.jit
    def update(labels, logits):
        metric = metrics.ExpectedCalibrationError(from_logits=True)
        state = metric.stateless_update_state(START, labels, logits)
        both = [jax.value_and_grad(loss, 1)(labels, logits) for loss in losses]
        return both, metric.stateless_result(state)

    mesh = jax.sharding.Mesh(jax.devices(), ("batch",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    both = [jax.device_put(x, spread) for x in (LABELS.astype("int32"), logits)]
    assert len(both[1].sharding.device_set) == 2
    alone = [jax.device_put(np.asarray(x), jax.devices()[0]) for x in both]
    (one, error), (two, other) = (update(*arrays) for arrays in (alone, both))
    for name, mine, its in zip(LOSSES, two, one, strict=True):
        assert float(mine[0]) == pytest.approx(float(its[0]), rel=1e-6), name
        np.testing.assert_allclose(mine[1], its[1], rtol=1e-6, atol=1e-9, err_msg=name)
    assert float(other) == pytest.approx(float(error), rel=1e-6)
    assert float(error) > 0.1


@pytest.mark.slow
def test_jitted_stateless_updates_count_20_million_rows_exactly():
    metric = metrics.ExpectedCalibrationError()
    prob, labels = np.full((66_667, 1), 0.9, "float32"), np.arange(66_667) % 4 > 0
    step = jax.jit(lambda state: metric.stateless_update_state(state, labels, prob))
    state = metric.stateless_reset_state()
    for _ in range(300):
        state = step(state)
    for variable, value in zip(metric.variables, state):
        variable.assign(value)
    bins = metric.bin_statistics()
    assert bins.total == 300 * 66_667
    np.testing.assert_allclose(bins.confidence[13], float(np.float32(0.9)), rtol=1e-6)
    np.testing.assert_allclose(bins.accuracy[13], labels.mean(), rtol=1e-9)


@pytest.mark.slow
def test_many_small_updates_do_not_drift():
    # One row of weight 0.001 at a time: a plain float32 sum is 1e-4 off by then.
    metric = metrics.ExpectedCalibrationError()
    prob, weight = np.full((1, 1), 0.9, "float32"), np.full(1, 1e-3, "float32")

    def step(_, state):
        return metric.stateless_update_state(state, np.ones(1), prob, weight)

    updates = 200_000
    start = [jax.numpy.asarray(v) for v in metric.stateless_reset_state()]
    state = jax.lax.fori_loop(0, updates, step, start)
    for variable, value in zip(metric.variables, state):
        variable.assign(value)
    bins = metric.bin_statistics()
    np.testing.assert_allclose(bins.total, updates * float(weight[0]), rtol=1e-7)
    np.testing.assert_allclose(bins.confidence[13], float(prob[0, 0]), rtol=1e-7)
    plain = np.cumsum(np.full(updates, weight[0]), dtype="float32")[-1]
    assert abs(plain / bins.total - 1) > 1e-5


def test_a_jitted_stateless_update_counts_every_class():
    metric = metrics.ClasswiseCalibrationError(K, from_logits=True)
    step = jax.jit(metric.stateless_update_state)
    state = metric.stateless_reset_state()
    for start in range(0, 96, 32):
        state = step(state, LABELS[start : start + 32], X[start : start + 32])
    expected = classwise_error(bin_classwise(LABELS, X, from_logits=True))
    value = float(metric.stateless_result(state))
    assert value == pytest.approx(expected, rel=1e-5)


def test_the_memory_of_an_update_grows_with_the_rows_of_one_class_only():
    # 3 sums for each of 64 rows a lane, at most twice as many as it needs: not 64 times
    # as much, as with lanes for all entries.
    classes, num_bins, rows = 100, 15, 6400
    metric = metrics.ClasswiseCalibrationError(classes, num_bins=num_bins)
    y, prob = np.zeros(rows, "int32"), np.full((rows, classes), 0.01, "float32")
    state = metric.stateless_reset_state()
    traced = jax.make_jaxpr(metric.stateless_update_state)(state, y, prob)
    sizes = [out.aval.size for line in traced.jaxpr.eqns for out in line.outvars]
    assert max(sizes) <= max(3 * rows * classes, 2 * rows / 64 * classes * num_bins * 3)
