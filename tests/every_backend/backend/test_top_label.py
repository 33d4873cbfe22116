"""The fast versions of which class is predicted, held to NumPy's argmax."""

import functools

import keras
import numpy as np
import pytest
from backend import BACKEND, compiled, jit_modes, to_numpy

from keras_robust._backend import plain as plain_version
from keras_robust._backend import top_label

SLACK = 1e-5
# Short rows, and long ones.
SIZES = [2, 10, 64, 65, 1000]
# One number of rows for all, so that each version is compiled once for each size.
ROWS = 24
VERSIONS = {"fast": top_label, "plain": plain_version.top_label}
every_version = pytest.mark.parametrize("version", VERSIONS)
every_mode = pytest.mark.parametrize("jit", jit_modes())


@functools.cache
def of_version(version, jit):
    def function(prob, labels, broken):
        return VERSIONS[version](prob, labels, broken, SLACK)

    return compiled(function, jit)


def results(function, prob, labels, broken=None):
    """Returns confidences, hits and what is bad, as NumPy arrays."""
    prob, labels = np.asarray(prob, "float32"), np.asarray(labels, "int32")
    broken = np.zeros(len(labels), bool) if broken is None else broken
    tensors = map(keras.ops.convert_to_tensor, (prob, labels, broken))
    confidence, hit = map(to_numpy, function(*tensors))
    return confidence, hit, np.isnan(confidence)


def random_prob(num_classes, rows=ROWS):
    z = np.random.default_rng(0).normal(scale=3.0, size=(rows, num_classes))
    prob = np.exp(z - z.max(-1, keepdims=True))
    return (prob / prob.sum(-1, keepdims=True)).astype("float32")


def assert_is_argmax(function, num_classes, rows=ROWS):
    prob, row = random_prob(num_classes, rows), np.arange(rows)
    # Half of the labels are the predicted class.
    labels = np.where(row % 2, prob.argmax(-1), row % num_classes)
    confidence, hit, bad = results(function, prob, labels)
    case = f"{num_classes} classes"
    np.testing.assert_array_equal(confidence, prob.max(-1), case)
    np.testing.assert_array_equal(hit, prob.argmax(-1) == labels, case)
    assert not bad.any(), case


@every_version
@every_mode
def test_it_is_numpys_argmax(version, jit):
    for num_classes in SIZES:
        assert_is_argmax(of_version(version, jit), num_classes)


@every_version
@every_mode
def test_of_equal_ones_the_first_is_predicted(version, jit):
    for num_classes in SIZES:
        last = num_classes - 1
        uniform = np.full(num_classes, 1 / num_classes)
        two = np.zeros(num_classes)
        two[[0, last]] = 0.5
        # No distribution, but both are in [0, 1].
        high = np.zeros(num_classes)
        high[[0, last]] = 0.9
        prob = np.resize([uniform, uniform, two, two, high, high], (ROWS, num_classes))
        labels = np.resize([0, last], ROWS)
        _, hit, bad = results(of_version(version, jit), prob, labels)
        np.testing.assert_array_equal(hit, labels == 0, f"{num_classes} classes")
        assert not bad.any(), f"{num_classes} classes"


@every_version
@every_mode
def test_what_is_no_probability_is_bad(version, jit):
    # Each value in a batch of its own: a fast version looks at the whole batch first.
    for num_classes in SIZES:
        for value in (np.nan, -1e-4, 1 + 1e-4, np.inf, -np.inf):
            prob = random_prob(num_classes)
            places = {3: 0, 11: 1, 20: -1}
            for row, place in places.items():
                prob[row, place] = value
            fine = ~np.isin(np.arange(ROWS), list(places))
            found = results(of_version(version, jit), prob, prob.argmax(-1))
            confidence, hit, bad = found
            case = f"{num_classes} classes, {value}"
            np.testing.assert_array_equal(bad, ~fine, case)
            np.testing.assert_array_equal(confidence[fine], prob[fine].max(-1), case)
            assert hit[fine].all(), case


@every_version
@every_mode
def test_rounding_is_no_fault(version, jit):
    for num_classes in SIZES:
        prob = np.zeros((ROWS, num_classes), "float32")
        prob[::2, 1], prob[1::2, :2] = 1 + 5e-6, (-5e-6, 1)
        function = of_version(version, jit)
        confidence, hit, bad = results(function, prob, np.ones(ROWS))
        case = f"{num_classes} classes"
        np.testing.assert_array_equal(confidence, np.ones(ROWS), case)
        assert hit.all(), case
        assert not bad.any(), case


@every_version
@every_mode
def test_where_the_label_is_broken_there_is_no_confidence(version, jit):
    for num_classes in SIZES:
        prob, broken = random_prob(num_classes), np.arange(ROWS) % 3 == 1
        found = results(of_version(version, jit), prob, prob.argmax(-1), broken)
        np.testing.assert_array_equal(found[2], broken, f"{num_classes} classes")


@every_version
@every_mode
def test_many_small_negative_numbers_hide_no_tie(version, jit):
    # Within the slack each, but the sum is 0.991: less than twice the largest.
    prob = np.full((ROWS, 1000), -9e-6, "float32")
    prob[:, [0, -1]] = 0.5
    labels = np.resize([0, 999], ROWS)
    _, hit, bad = results(of_version(version, jit), prob, labels)
    np.testing.assert_array_equal(hit, labels == 0)
    assert not bad.any()


@every_version
def test_no_rows_give_no_results(version):
    labels = keras.ops.zeros((0,), dtype="int32")
    for num_classes in (3, 100):
        prob = keras.ops.zeros((0, num_classes))
        for result in VERSIONS[version](prob, labels, labels > 0, SLACK):
            assert tuple(result.shape) == (0,)


if BACKEND != "tensorflow":  # which has no blocks

    @pytest.mark.parametrize("rows", [ROWS, ROWS + 1])
    def test_blocks_of_rows_give_what_all_rows_do(rows, monkeypatch):
        # Of 5 rows: the last block is not full.
        function = top_label
        if BACKEND == "torch":
            from keras_robust._backend import torch_rows as own

            monkeypatch.setattr(own, "_FEW", 0)
        else:
            import jax

            from keras_robust._backend import jax as own

            # There are blocks on a single device only. Traced anew, not out of a cache.
            monkeypatch.setattr(jax, "device_count", lambda: 1)
            function = jax.jit(top_label.__wrapped__, static_argnums=3)
        for num_classes in SIZES:
            monkeypatch.setattr(own, "_BLOCK", 5 * num_classes)
            assert_is_argmax(lambda *rows: function(*rows, SLACK), num_classes, rows)
