"""Metrics on true labels, estimated from noisy ones and their noise matrix."""

import keras
import numpy as np
import pytest
from backend import BACKEND, quickly_compiled, with_mask
from keras import ops

from keras_robust.calibration import bin_predictions
from keras_robust.metrics import (
    CleanAccuracy,
    ExpectedCalibrationError,
    MaximumCalibrationError,
    _sums,
)
from keras_robust.noise import matrix_from_pairs, symmetric_matrix

K = 4
RNG = np.random.default_rng(5)
PROB = RNG.dirichlet(np.full(K, 0.5), 500).astype("float32")
LABELS = RNG.integers(0, K, 500)
WEIGHT = RNG.uniform(0.1, 3, 500).astype("float32")
# No two entries the same, so that no index can be mistaken.
MATRIX = 0.6 * np.eye(K) + 0.4 * RNG.dirichlet(np.ones(K), K)
INVERSE = np.linalg.inv(MATRIX)
both = pytest.mark.parametrize(
    "cls", [ExpectedCalibrationError, MaximumCalibrationError]
)


def read(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


def check_bins(metric, expected, rtol=2e-6):
    bins = metric.bin_statistics()
    assert bins.corrected
    assert expected.corrected
    assert bins.ends == expected.ends
    for name in ("count", "confidence", "accuracy", "variance"):
        ours, theirs = getattr(bins, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, rtol, 1e-6, err_msg=name)


def test_the_metrics_are_those_of_the_bins_in_numpy():
    one_hot = np.eye(K, dtype="float32")[LABELS]
    soft = RNG.dirichlet(np.ones(K), 500).astype("float32")
    for labels in (LABELS, LABELS[:, None], one_hot, soft):
        for weight in (None, WEIGHT):
            how = {"sample_weight": weight, "noise_matrix": MATRIX}
            expected = bin_predictions(labels, PROB, **how)
            assert expected.ece() > 0.1
            for cls, value in [
                (ExpectedCalibrationError, expected.ece()),
                (MaximumCalibrationError, expected.mce()),
            ]:
                metric = cls(noise_matrix=MATRIX)
                found = read(metric, (labels, PROB, weight))
                assert found == pytest.approx(value, rel=1e-5)
                check_bins(metric, expected)


def test_the_accuracy_is_the_mean_of_the_entries_of_the_inverse():
    top = PROB.argmax(-1)
    terms = INVERSE[LABELS, top]
    expected = np.average(terms, weights=WEIGHT)
    parts = [(LABELS[i], PROB[i], WEIGHT[i]) for i in (slice(0, 250), slice(250, 500))]
    assert read(CleanAccuracy(MATRIX), *parts) == pytest.approx(expected, rel=1e-5)
    plain = np.average(top == LABELS, weights=WEIGHT)
    assert abs(plain - expected) > 0.01
    without = read(CleanAccuracy(np.eye(K)), (LABELS, PROB, WEIGHT))
    assert without == pytest.approx(plain, rel=1e-6)
    # Of few rows nothing is clipped.
    few = terms < -0.1
    found = read(CleanAccuracy(MATRIX), (LABELS, PROB, few))
    assert found == pytest.approx(terms[few].mean(), rel=1e-5)


def test_the_positive_class_and_single_outputs():
    matrix = np.array([[0.9, 0.1], [0.3, 0.7]])
    p, y = PROB[:, :1], LABELS % 2
    pair = np.concatenate([1 - p, p], -1)
    for prob in (p, pair):
        how = {"notion": "positive", "noise_matrix": matrix}
        metric = ExpectedCalibrationError(**how)
        expected = bin_predictions(y, pair, **how)
        assert read(metric, (y, prob)) == pytest.approx(expected.ece(), rel=1e-5)
        check_bins(metric, expected)
        top = (pair[:, 1] > 0.5).astype(int)
        terms = np.linalg.inv(matrix)[y, top]
        found = read(CleanAccuracy(matrix), (y, prob))
        assert found == pytest.approx(terms.mean(), rel=1e-5)
    logits = np.log(p / (1 - p))
    found = read(CleanAccuracy(matrix, from_logits=True), (y, logits))
    assert found == pytest.approx(terms.mean(), rel=1e-5)


def test_ignored_masked_weight_0_and_removed_are_the_same():
    keep = np.arange(500) % 3 > 0
    expected = bin_predictions(LABELS[keep], PROB[keep], noise_matrix=MATRIX)
    accuracy = INVERSE[LABELS[keep], PROB[keep].argmax(-1)].mean()
    spoilt = np.where(keep[:, None], PROB, np.nan)
    ignored, broken = np.where(keep, LABELS, -100), np.where(keep, LABELS, 999)
    for batch in [
        (ignored, spoilt),
        (broken, spoilt, keep),
        (broken, with_mask(spoilt, keep)),
        (ignored.reshape(5, 100), PROB.reshape(5, 100, K)),
    ]:
        metric = ExpectedCalibrationError(noise_matrix=MATRIX)
        assert read(metric, batch) == pytest.approx(expected.ece(), rel=1e-5)
        assert read(CleanAccuracy(MATRIX), batch) == pytest.approx(accuracy, rel=1e-5)
    assert read(CleanAccuracy(MATRIX)) == 0
    assert read(CleanAccuracy(MATRIX), (np.full(500, -100), PROB)) == 0


@pytest.mark.filterwarnings("ignore:.*`from_logits` is False")
def test_bad_values_give_nan():
    for make in (
        lambda **how: CleanAccuracy(MATRIX, **how),
        lambda **how: ExpectedCalibrationError(noise_matrix=MATRIX, **how),
        lambda **how: MaximumCalibrationError(noise_matrix=MATRIX, **how),
    ):
        for y, p in [
            ([K, 0], PROB[:2]),
            ([-1, 0], PROB[:2]),
            ([0, 0], np.where(np.arange(2)[:, None], PROB[:2], np.nan)),
            ([0, 0], PROB[:2] + 0.9),
        ]:
            assert np.isnan(read(make(), (np.array(y), p)))
        assert np.isnan(read(make(ignore_class=None), (np.array([-100, 0]), PROB[:2])))
        assert np.isnan(read(make(), (LABELS[:2], PROB[:2], np.array([1.0, -1.0]))))


def test_a_matrix_that_does_not_serve_is_an_error():
    for make in (CleanAccuracy, lambda m: ExpectedCalibrationError(noise_matrix=m)):
        for bad, match in [
            (np.eye(3)[:2], "`noise_matrix` must be square"),
            (MATRIX.T, "rows summing to 1"),
            (np.full((K, K), 1 / K), "invertible.*100.*entries up to.*rows_to_check"),
            (symmetric_matrix(2, 0.4999), "one with entries up to 2.5e"),
        ]:
            with pytest.raises(ValueError, match=match):
                make(bad)
        with pytest.raises(ValueError, match="of the 4 classes"):
            make(symmetric_matrix(3, 0.2)).update_state(LABELS, PROB)
        with pytest.raises(ValueError, match="of the 2 classes of the predictions"):
            make(MATRIX).update_state(LABELS % 2, PROB[:, :1])
        make(symmetric_matrix(2, 0.49))
    with pytest.raises(ValueError, match="of the 2 classes"):
        ExpectedCalibrationError(notion="positive", noise_matrix=MATRIX)
    with pytest.raises(TypeError, match="must be a transition matrix"):
        CleanAccuracy(None)


@pytest.mark.parametrize(
    "make",
    [
        lambda m, **how: CleanAccuracy(m, **how),
        lambda m, **how: ExpectedCalibrationError(9, noise_matrix=m, norm="l2", **how),
        lambda m, **how: MaximumCalibrationError(min_count=9, noise_matrix=m, **how),
    ],
)
def test_a_configuration_gives_back_the_same_value(make):
    estimate = matrix_from_pairs(
        RNG.integers(0, K, 40), np.arange(40) % K, K, prior=9 * np.eye(K) + 1
    )
    metric = make(estimate, from_logits=True, ignore_class=1, name="x")
    plain = make(estimate.matrix, from_logits=True, ignore_class=1, name="x")
    batch = (LABELS, np.log(PROB), WEIGHT)
    expected = read(plain, batch)
    assert expected == read(metric, batch) != 0
    config = metric.get_config()
    np.testing.assert_allclose(config["noise_matrix"], estimate.matrix, rtol=1e-12)
    assert type(config["noise_matrix"][0][0]) is float
    for copied in (
        type(metric).from_config(config),
        keras.metrics.deserialize(keras.metrics.serialize(metric)),
    ):
        assert copied.get_config().keys() == config.keys()
        assert read(copied, batch) == pytest.approx(expected, rel=1e-6)
    assert ExpectedCalibrationError().get_config()["noise_matrix"] is None


def test_a_model_is_measured_in_fit():
    metric = ExpectedCalibrationError(noise_matrix=MATRIX, from_logits=True)
    accuracy = CleanAccuracy(MATRIX, from_logits=True)
    model = keras.Sequential([keras.Input((K,)), keras.layers.Dense(K)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.0),
        loss,
        metrics=[metric, accuracy],
        **quickly_compiled({}),
    )
    seen = model.fit(PROB, LABELS, batch_size=100, verbose=0).history
    logits = model.predict(PROB, verbose=0)
    how = {"from_logits": True, "noise_matrix": MATRIX}
    expected = bin_predictions(LABELS, logits, **how)
    assert seen["ece"][0] == pytest.approx(expected.ece(), rel=1e-4)
    terms = INVERSE[LABELS, logits.argmax(-1)]
    assert seen["clean_accuracy"][0] == pytest.approx(terms.mean(), rel=1e-4)


@pytest.mark.skipif(BACKEND != "torch", reason="on the fastest backend")
def test_sums_in_float32_are_those_in_float64(monkeypatch):
    # Rows of one kind: their rounding in a plain float32 sum is always to the same
    # side. Labels 0 and 2 give negative sums: of few rows, above -4096.
    matrix = symmetric_matrix(K, 0.3)
    prob = np.array([[0.1, 0.7, 0.1, 0.1]] * 6400, "float32")
    for label in (0, 1, 2):
        wide = ExpectedCalibrationError(noise_matrix=matrix)
        with monkeypatch.context() as patch:
            patch.setattr(_sums, "accumulation_dtype", lambda: "float32")
            narrow = ExpectedCalibrationError(noise_matrix=matrix)
        assert [str(v.dtype) for v in narrow.variables] == ["float32"] * 3
        rows = 0
        for size, updates in [(1, 9), (3, 1), (6400, 5), (7, 30)]:
            for metric in (narrow, wide):
                for _ in range(updates):
                    metric.update_state(np.full(size, label), prob[:size])
            rows += size * updates
            ours, theirs = (
                _sums.exact_sums(metric._state) for metric in (narrow, wide)
            )
            assert ours[0].max() == theirs[0].max() == rows
            term = np.linalg.inv(matrix)[label, 1]
            np.testing.assert_allclose(theirs[2].sum(), rows * term, rtol=1e-12)
            # Entries of the inverse are rounded to float32, once.
            np.testing.assert_allclose(ours[2].sum(), rows * term, rtol=1e-7)
            np.testing.assert_allclose(ours[3].sum(), rows * term**2, rtol=5e-6)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="the state is float64")
def test_20_million_rows_of_signed_terms_are_right_to_1e_6():
    matrix = np.array([[0.6, 0.4], [0.35, 0.65]])
    inverse = np.linalg.inv(matrix)
    metric, batch, updates = CleanAccuracy(matrix), 100_001, 200
    prob = np.full((batch, 1), 0.9, "float32")
    labels = np.arange(batch) % 3 > 0
    for _ in range(updates):
        metric.update_state(labels, prob)
    bins = metric.bin_statistics()
    assert bins.count.tolist() == [updates * batch]
    terms = inverse[labels.astype(int), 1]
    assert terms.min() < -1
    assert bins.accuracy[0] == pytest.approx(terms.mean(), rel=1e-6)
    assert float(metric.result()) == pytest.approx(terms.mean(), rel=1e-6)
    assert bins.variance[0] == pytest.approx(terms.var(), rel=1e-5)


def test_the_states_of_replicas_merge_by_addition():
    parts = [ExpectedCalibrationError(noise_matrix=MATRIX) for _ in range(2)]
    expected = read(parts[0], (LABELS, PROB, WEIGHT))
    parts[0].reset_state()
    parts[0].update_state(LABELS[:250], PROB[:250], WEIGHT[:250])
    parts[1].update_state(LABELS[250:], PROB[250:], WEIGHT[250:])
    merged = ExpectedCalibrationError(noise_matrix=MATRIX)
    for target, *sources in zip(merged.variables, *(part.variables for part in parts)):
        assert target.aggregation == "sum"
        target.assign(ops.convert_to_tensor(sources[0]) + sources[1])
    assert float(merged.result()) == pytest.approx(expected, rel=1e-6)
