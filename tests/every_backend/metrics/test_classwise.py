"""The metrics with bins for every class or label: definition and contract."""

import copy
import pickle
from collections.abc import Callable
from typing import NamedTuple

import by_definition
import keras
import numpy as np
import pytest
import torch
from backend import BACKEND, to_numpy, with_mask
from keras import ops
from netcal.metrics import ECE
from torchmetrics.functional.classification import binary_calibration_error

from keras_robust import calibration
from keras_robust.metrics import ClasswiseCalibrationError, MultilabelCalibrationError

K = 4
RNG = np.random.default_rng(5)
WEIGHT = RNG.uniform(0.1, 3, 500).astype("float32")


class Case(NamedTuple):
    """A metric with data for it and its definition."""

    cls: type
    arguments: dict
    y: np.ndarray
    prob: np.ndarray
    definition: Callable
    to_logits: Callable
    bins: Callable
    name: str

    def make(self, num_bins=15, **arguments):
        return self.cls(K, num_bins=num_bins, **self.arguments, **arguments)

    def read(self, *batches, **arguments):
        return read(self.make(**arguments), *batches)


def read(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


PROB = RNG.dirichlet(np.full(K, 0.5), 500).astype("float32")
P = RNG.uniform(0.01, 0.99, size=(500, K)).astype("float32")
Y = (RNG.uniform(size=(500, K)) < P**2).astype("int32")
CLASSES = Case(
    ClasswiseCalibrationError,
    {},
    RNG.integers(0, K, 500),
    PROB,
    by_definition.classwise,
    np.log,
    calibration.bin_classwise,
    "classwise_ece",
)
MACRO, MICRO = (
    Case(
        MultilabelCalibrationError,
        {"average": average},
        Y,
        P,
        getattr(by_definition, average),
        lambda p: np.log(p / (1 - p)),
        calibration.bin_multilabel,
        "multilabel_ece",
    )
    for average in ("macro", "micro")
)
every_case = pytest.mark.parametrize(
    "case", [CLASSES, MACRO, MICRO], ids=["classes", "macro", "micro"]
)
classes_and_labels = pytest.mark.parametrize(
    "case", [CLASSES, MACRO], ids=["classes", "labels"]
)


@every_case
@pytest.mark.parametrize("num_bins", [1, 9, 15])
def test_the_metric_is_its_definition(case, num_bins):
    first = case.make(num_bins)
    first.update_state(case.y, case.prob, WEIGHT)
    for norm in ("l1", "l2", "max"):  # of the same bins
        expected = case.definition(case.y, case.prob, WEIGHT, num_bins, norm)
        metric = case.make(num_bins, norm=norm)
        value = float(metric.stateless_result(first.variables))
        assert expected > 0.01
        assert value == pytest.approx(expected, rel=1e-5), norm


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_the_errors_are_made_of_those_of_torchmetrics(norm):
    # Random probabilities: none is 1 or on an edge, where torchmetrics goes wrong.
    def theirs(p, y):
        p, y = torch.tensor(p), torch.tensor(y).long()
        return float(binary_calibration_error(p, y, 15, norm))

    y, prob = CLASSES.y, CLASSES.prob
    each = np.array([theirs(prob[:, k], y == k) for k in range(K)])
    expected = {"l1": each.mean(), "l2": (each**2).mean() ** 0.5, "max": each.max()}
    value = CLASSES.read((y, prob), norm=norm)
    assert value == pytest.approx(expected[norm], rel=1e-5)
    each = [theirs(P[:, k], Y[:, k]) for k in range(K)]
    value = MACRO.read((Y, P), norm=norm)
    assert value == pytest.approx(np.mean(each), rel=1e-5)
    value = MICRO.read((Y, P), norm=norm)
    assert value == pytest.approx(theirs(P.ravel(), Y.ravel()), rel=1e-5)


def test_the_errors_are_made_of_those_of_netcal():
    # A confidence on an edge goes into the bin below in netcal; here there is none.
    each = [ECE(15).measure(PROB[:, k], CLASSES.y == k) for k in range(K)]
    value = CLASSES.read((CLASSES.y, PROB))
    assert value == pytest.approx(np.mean(each), rel=1e-5)
    each = [ECE(15).measure(P[:, k], Y[:, k]) for k in range(K)]
    assert MACRO.read((Y, P)) == pytest.approx(np.mean(each), rel=1e-5)


def test_two_classes_worked_by_hand():
    # Class 0: .75 and .75, one of two right: gap .25. Class 1: .25, .25: gap .25.
    # The other two classes: 0, 0, none right: 0.
    batch = ([0, 1], np.array([[0.75, 0.25, 0, 0]] * 2, "float32"))
    for norm, expected in [("l1", 0.125), ("l2", 0.03125**0.5), ("max", 0.25)]:
        assert CLASSES.read(batch, norm=norm) == pytest.approx(expected, rel=1e-6)


def test_two_labels_worked_by_hand():
    # Label 0: .25 twice, one applies: gap .25. Label 1: .25, does not: gap .25; its
    # other entry is ignored. Labels 2 and 3: all ignored, out of the mean. Pooled: .25
    # three times, one applies: |1/3 - 1/4|.
    y = np.array([[1, 0, -100, -100], [0, -100, -100, -100]])
    prob = np.array([[0.25, 0.25, 0.9, 0.9], [0.25, np.nan, 0.9, 0.9]], "float32")
    for norm in ("l1", "l2", "max"):
        assert MACRO.read((y, prob), norm=norm) == pytest.approx(0.25, rel=1e-6)
        assert MICRO.read((y, prob), norm=norm) == pytest.approx(1 / 12, rel=1e-5)


def test_pooling_hides_labels_that_are_wrong_in_opposite_ways():
    batch = (np.array([[0, 1] * 2] * 2), np.full((2, K), 0.5, "float32"))
    assert MACRO.read(batch) == pytest.approx(0.5)
    assert MICRO.read(batch) == 0


@every_case
def test_any_split_and_any_order_equal_all_at_once(case):
    expected = case.read((case.y, case.prob, WEIGHT))
    for order in (np.arange(500), np.random.default_rng(3).permutation(500)):
        parts = [(case.y[i], case.prob[i], WEIGHT[i]) for i in order.reshape(5, 100)]
        assert case.read(*parts) == pytest.approx(expected, rel=1e-6)


@classes_and_labels
def test_bin_statistics_are_the_tables_of_numpy(case):
    metric = case.make()
    metric.update_state(case.y, case.prob, WEIGHT)
    tables = metric.bin_statistics()
    expected = case.bins(case.y, case.prob, sample_weight=WEIGHT)
    assert len(tables) == len(expected) == K
    for ours, theirs in zip(tables, expected):
        for name in ("edges", "count", "confidence", "accuracy"):
            np.testing.assert_allclose(
                getattr(ours, name), getattr(theirs, name), rtol=1e-6, err_msg=name
            )


@every_case
@pytest.mark.filterwarnings("ignore:.*`from_logits` is False")
def test_logits_and_probabilities_agree_when_said(case):
    logits = case.to_logits(case.prob)
    expected = case.read((case.y, case.prob))
    value = case.read((case.y, logits), from_logits=True)
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.isnan(case.read((case.y, logits)))


@every_case
def test_layouts_agree(case):
    y, prob = case.y, case.prob
    expected = case.read((y, prob))
    shaped = y.reshape(5, 100, *y.shape[1:])
    others = [(y.astype("uint8"), prob), (shaped, prob.reshape(5, 100, K))]
    if case is CLASSES:
        eye = np.eye(K, dtype="float32")
        others += [(y[:, None], prob), (eye[y], prob)]
    else:
        others += [(y.astype(bool), prob), (y.astype("float32"), prob)]
        others += [(y.tolist(), prob.tolist())]
    for batch in others:
        assert case.read(batch) == pytest.approx(expected, rel=1e-6)


def test_a_single_sigmoid_output_is_two_classes():
    p, y = P[:, :1], Y[:, 0]
    expected = by_definition.classwise(y, np.hstack([1 - p, p]), np.ones(500), 15, "l1")
    value = read(ClasswiseCalibrationError(2), (y, p))
    assert value == pytest.approx(expected, rel=1e-5)


def test_soft_labels_count_by_their_probability():
    prob = np.array([[0.9, 0.1, 0, 0]] * 2, "float32")
    # Gaps .6, .6, 0, 0 of the classes; of the labels |.3 - .9|, |1 - .1|, 0, 1.
    value = CLASSES.read((np.array([[0.3, 0.7, 0, 0]] * 2), prob))
    assert value == pytest.approx(0.3, rel=1e-6)
    value = MACRO.read((np.array([[0.3, 1, 0, 1]] * 2), prob))
    assert value == pytest.approx(2.5 / 4, rel=1e-6)


@every_case
@pytest.mark.filterwarnings("ignore:.*`from_logits` is False")
def test_a_broken_probability_gives_nan_and_stays(case):
    for value in (np.nan, 1.5, -0.5):
        spoilt = case.prob.copy()
        spoilt[7, 1] = value
        metric = case.make()
        assert np.isnan(read(metric, (case.y, spoilt))), value
        assert np.isnan(read(metric, (case.y, case.prob))), value
        assert np.isnan(case.make(norm="max").stateless_result(metric.variables))
        metric.reset_state()
        weight = (np.arange(500) != 7).astype("float32")
        assert not np.isnan(read(metric, (case.y, spoilt, weight))), value


@every_case
def test_a_label_that_is_none_gives_nan(case):
    y = case.y.astype("float32")
    for label in (-1, 7, 0.5, np.nan):
        y[7] = label
        soft = case.cls is MultilabelCalibrationError and label == 0.5
        assert np.isnan(case.read((y, case.prob))) != soft, label
    y[7] = -100
    assert not np.isnan(case.read((y, case.prob)))


@every_case
def test_a_weight_that_is_none_gives_nan(case):
    for weight in (np.nan, -1.0, np.inf):
        spoilt = WEIGHT.copy()
        spoilt[7] = weight
        metric = case.make(norm="max")
        assert np.isnan(read(metric, (case.y, case.prob, spoilt))), weight
        assert any(np.isnan(table.ece()) for table in metric.bin_statistics())


@every_case
def test_logits_that_are_no_numbers_give_nan(case):
    for bad in (np.nan, np.inf):
        logits = case.to_logits(case.prob)
        logits[7, 1] = bad
        assert np.isnan(case.read((case.y, logits), from_logits=True)), bad


@classes_and_labels
def test_nothing_seen_gives_0(case):
    nothing = np.full_like(case.y, -100)
    assert case.read() == 0
    assert case.read((nothing, case.prob)) == 0
    assert case.read((case.y, case.prob, np.zeros(500, "float32"))) == 0
    assert case.read((case.y[:0], case.prob[:0])) == 0


@every_case
def test_ignored_masked_weight_0_and_removed_are_the_same(case):
    keep = np.arange(500) % 5 > 0
    y, prob = case.y, case.prob
    expected = case.definition(y[keep], prob[keep], np.ones(keep.sum()), 15, "l1")
    wide = keep if y.ndim == 1 else keep[:, None]
    spoilt = np.where(keep[:, None], prob, np.nan)
    ignored, broken = np.where(wide, y, -100), np.where(wide, y, 999)
    nan_weight = np.where(keep, 1, np.nan).astype("float32")
    for batch in [
        (ignored, spoilt),
        (ignored, prob, nan_weight),
        (broken, spoilt, keep),
        (broken, with_mask(spoilt, keep)),
    ]:
        assert case.read(batch) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(case.read((ignored, prob), ignore_class=None))


def test_entries_of_labels_are_ignored_and_weighted_singly():
    drop = RNG.uniform(size=(500, K)) < 0.3
    each = [
        by_definition.error(P[keep, k], Y[keep, k], np.ones(keep.sum()), 15, "l1")
        for k, keep in enumerate(~drop.T)
    ]
    spoilt = np.where(drop, np.nan, P)
    for batch in [
        (np.where(drop, -100, Y), spoilt),
        (np.where(drop, 9, Y), spoilt, (~drop).astype("float32")),
        (np.where(drop, 9, Y), with_mask(spoilt, ~drop)),
    ]:
        assert MACRO.read(batch) == pytest.approx(np.mean(each), rel=1e-5)
    weight = RNG.uniform(0.1, 3, (500, K)).astype("float32")
    for case in (MACRO, MICRO):
        expected = case.definition(Y, P, weight, 15, "l2")
        value = case.read((Y, P, weight), norm="l2")
        assert value == pytest.approx(expected, rel=1e-5)


@every_case
def test_weight_2_is_the_row_twice(case):
    y, prob, times = case.y, case.prob, np.arange(500) % 3
    times[0] = 1  # 500 rows again: JAX compiles for each shape
    expected = case.read((y.repeat(times, 0), prob.repeat(times, 0)))
    weight = times.astype("float32")
    for given in (weight, weight[:, None]):
        assert case.read((y, prob, given)) == pytest.approx(expected, rel=1e-5)
    assert case.read((y, prob, 2.5)) == pytest.approx(case.read((y, prob)), rel=1e-6)
    shaped = y.reshape(5, 100, *y.shape[1:]), prob.reshape(5, 100, K)
    per_sample = np.array([1.0, 0, 2, 1, 3], "float32")
    expected = case.read((y, prob, per_sample.repeat(100)))
    assert case.read((*shaped, per_sample)) == pytest.approx(expected, rel=1e-6)
    per_position = weight.reshape(5, 100)
    expected = case.read((y, prob, weight))
    assert case.read((*shaped, per_position)) == pytest.approx(expected, rel=1e-6)


def test_probabilities_past_0_and_1_by_rounding_count_as_0_and_1():
    prob = ops.cast([[1.0078125, -0.0078125]] * 2, "bfloat16")
    y = np.array([[1, 0]] * 2)
    assert read(MultilabelCalibrationError(2), (y, prob)) == 0
    assert read(ClasswiseCalibrationError(2), (y, prob)) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("labels", [False, True])
def test_every_edge_is_the_first_probability_of_its_bin(float64, dtype, labels):
    # The tests of one confidence have all numbers; JAX compiles for each.
    few = [15] if labels else [49]
    for num_bins in few if BACKEND == "jax" else (2, 3, 7, 10, 15, 49, 100, 200):
        edges = np.arange(num_bins + 1) / num_bins
        padded = np.zeros((201, 1))  # one shape for all, which JAX compiles once
        padded[: num_bins + 1, 0] = edges
        given = ops.cast(padded, dtype)
        y = np.where(np.arange(201) <= num_bins, 1, -100)
        if labels:
            metric, y = MultilabelCalibrationError(1, num_bins=num_bins), y[:, None]
        else:
            metric = ClasswiseCalibrationError(2, num_bins=num_bins)
        metric.update_state(y, given)
        # Edges that rounding has made equal share the bin above the last of them.
        rounded = to_numpy(ops.cast(edges, dtype))
        place = [sum(p >= edge for edge in rounded[1:-1]) for p in rounded]
        expected = np.bincount(place, minlength=num_bins)
        if dtype in ("float32", "float64"):
            np.testing.assert_array_equal(expected, [1] * (num_bins - 1) + [2])
        count = metric.bin_statistics()[-1].count
        np.testing.assert_array_equal(count, expected, err_msg=f"{num_bins} bins")


@classes_and_labels
def test_rows_past_2_to_the_24_in_one_bin_count_exactly(case):
    # Where float32 counts stop, after 16.8 million.
    batch = 100_001
    prob = np.full((batch, 2), [0.27, 0.73], "float32")  # far from middles
    y = (np.arange(batch) % 4 > 0).astype("int8")
    metric = case.cls(2)
    if case is MACRO:
        y = np.stack([1 - y, y], -1)
    metric.update_state(y, prob, np.ones(batch, "float32"))
    for variable in metric.variables:  # as of so many replicas
        variable.assign(variable * 167.0)
    updates = 4
    for _ in range(updates):
        metric.update_state(y, prob, np.ones(batch, "float32"))
    rows = (167 + updates) * batch
    right = (167 + updates) * int(np.count_nonzero(np.arange(batch) % 4))
    assert 167 * batch < 2**24 < rows
    for column, (p, hits) in enumerate([(0.27, rows - right), (0.73, right)]):
        table = metric.bin_statistics()[column]
        used = table.count > 0
        assert table.count[used].tolist() == [rows]
        np.testing.assert_allclose(table.confidence[used], np.float32(p), rtol=1e-6)
        np.testing.assert_allclose(table.accuracy[used] * rows, hits, rtol=1e-12)
    gaps = (
        abs(right / rows - np.float32(0.73)),
        abs(1 - right / rows - np.float32(0.27)),
    )
    assert float(metric.result()) == pytest.approx(np.mean(gaps), abs=2e-7)


@every_case
def test_the_states_of_replicas_merge_by_addition(case):
    parts = [case.make() for _ in range(5)]
    expected = case.read((case.y, case.prob, WEIGHT))
    for part, rows in zip(parts, np.arange(500).reshape(5, 100)):
        part.update_state(case.y[rows], case.prob[rows], WEIGHT[rows])
    merged = case.make()
    for target, *sources in zip(merged.variables, *(part.variables for part in parts)):
        assert target.aggregation == "sum"
        target.assign(sum(ops.convert_to_tensor(source) for source in sources))
    assert float(merged.result()) == pytest.approx(expected, rel=1e-6)


def test_the_state_is_classes_times_bins():
    metric = CLASSES.make()
    metric.update_state(CLASSES.y, PROB)
    assert all(tuple(v.shape) == (3, K * 15) for v in metric.variables)
    assert len(metric.variables) <= 3


@classes_and_labels
def test_stateless_use_gives_the_same_value(case):
    metric = case.make()
    state = metric.stateless_reset_state()
    for rows in np.arange(500).reshape(5, 100):
        state = metric.stateless_update_state(state, case.y[rows], case.prob[rows])
    expected = case.read((case.y, case.prob))
    assert float(metric.stateless_result(state)) == pytest.approx(expected, rel=1e-6)
    assert float(metric.result()) == 0


@classes_and_labels
def test_a_configuration_gives_back_the_same_value(case):
    extra, other = ({}, 1) if case is CLASSES else ({"average": "micro"}, -7)
    metric = case.cls(
        K,
        num_bins=9,
        norm="l2",
        from_logits=True,
        ignore_class=other,
        dtype="float16",
        **extra,
    )
    batch = (case.y, case.to_logits(case.prob))
    expected = read(metric, batch)
    for other in [
        keras.metrics.deserialize(keras.metrics.serialize(metric)),
        copy.deepcopy(metric),
        pickle.loads(pickle.dumps(metric)),
    ]:
        assert read(other, batch) == expected
        assert other.get_config() == metric.get_config()
        assert keras.backend.standardize_dtype(other.result().dtype) == "float16"
    assert case.cls(K).name == case.name


@classes_and_labels
def test_bad_arguments_raise_and_name_themselves(case):
    size = "num_classes" if case is CLASSES else "num_labels"
    for argument, bad, error in [
        (size, 0, ValueError),
        (size, 2.5, TypeError),
        ("num_bins", 0, ValueError),
        ("norm", "l3", ValueError),
        ("from_logits", "yes", TypeError),
        ("ignore_class", 0.5, TypeError),
        ("axis", None, TypeError),
        *([("average", "weighted", ValueError)] if case is MACRO else []),
    ]:
        with pytest.raises(error, match=rf"{case.cls.__name__}: `{argument}` must be"):
            case.cls(**{size: K, argument: bad})


@pytest.mark.parametrize(
    ("case", "y", "prob", "argument"),
    [
        (CLASSES, (5,), (5, 3), "y_pred"),
        (CLASSES, (5,), (5, 1), "y_pred"),
        (CLASSES, (4,), (5, K), "y_true"),
        (MACRO, (5, 3), (5, 3), "y_pred"),
        (MACRO, (5,), (5, K), "y_true"),
        (MACRO, (5, K, 1), (5, K), "y_true"),
        (MACRO, (1, K), (5, K), "y_true"),
    ],
)
def test_shapes_that_do_not_fit_raise(case, y, prob, argument):
    wanted = "of 4 labels along axis -1, of one shape" if case is MACRO else "of"
    with pytest.raises(ValueError, match=rf"Error: `{argument}` must be {wanted}"):
        case.make().update_state(np.zeros(y, "int32"), np.full(prob, 0.5, "float32"))


@classes_and_labels
def test_weights_that_do_not_fit_raise(case):
    for shape in [(3,), (500, 3), (1, K)]:
        with pytest.raises(ValueError, match="`sample_weight` must be"):
            case.make().update_state(case.y, case.prob, np.ones(shape, "float32"))


# --- Inside models ------------------------------------------------------------------


def compiled(case):
    model = keras.Sequential([keras.Input((K,)), keras.layers.Dense(K)])
    loss = (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if case is CLASSES
        else keras.losses.BinaryCrossentropy(from_logits=True)
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        loss,
        metrics=[case.make(norm="l2", from_logits=True)],
        weighted_metrics=[case.make(from_logits=True, name="weighted")],
        jit_compile=BACKEND != "torch",  # where it takes long
    )
    return model


@classes_and_labels
def test_fit_evaluate_and_a_loaded_model_report_what_numpy_does(case, tmp_path):
    x = np.random.default_rng(4).normal(size=(500, K)).astype("float32")
    model = compiled(case)
    data = {"x": x, "y": case.y, "sample_weight": WEIGHT, "batch_size": 100}
    fitted = {name: v[-1] for name, v in model.fit(**data, verbose=0).history.items()}
    scores = model.evaluate(**data, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    again = loaded.evaluate(**data, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0)
    error = (
        calibration.classwise_error if case is CLASSES else calibration.multilabel_error
    )
    plain = case.bins(case.y, logits, from_logits=True)
    heavy = case.bins(case.y, logits, from_logits=True, sample_weight=WEIGHT)
    for seen in (fitted, scores, again):
        assert seen[case.name] == pytest.approx(error(plain, norm="l2"), rel=1e-4)
        assert seen["weighted"] == pytest.approx(error(heavy), rel=1e-4)
