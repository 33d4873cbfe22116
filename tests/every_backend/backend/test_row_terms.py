"""The fast versions of what losses need of logits, against the plain one."""

import keras
import numpy as np
import pytest
from backend import BACKEND, to_numpy, value_and_grad

from keras_robust import _backend
from keras_robust._backend import plain as plain_version

ops = keras.ops
TORCH = BACKEND == "torch"
EXPONENTS = [None, 0.0, 1e-21, 1e-6, 0.03, 0.0999, 0.1, 0.6, 1.0]


@pytest.fixture(autouse=True, params=["at once", "in blocks"][: 1 + TORCH])
def _version(request, monkeypatch):
    # Of the few rows of a test; several blocks, the last one not full.
    if request.param == "in blocks":
        from keras_robust._backend import torch_rows

        monkeypatch.setattr(torch_rows, "_FEW", 0)
        monkeypatch.setattr(torch_rows, "_BLOCK", 40)


def of_rows(logits, labels, live, q):
    rows = [ops.convert_to_tensor(x) for x in (logits, labels.astype("int32"), live)]
    return _backend.row_terms(*rows, q)


def combined(terms, labels, live, q, weights):
    """A function of the logits in which each row of both results has its weight."""
    labels = ops.convert_to_tensor(labels.astype("int32"))
    live = ops.convert_to_tensor(live)

    def function(logits):
        log_p, of_all = terms(logits, labels, live, q)
        total = ops.sum(ops.cast(weights[0], logits.dtype) * log_p)
        if q is not None:
            total += ops.sum(ops.cast(weights[1], logits.dtype) * of_all)
        return total

    return function


def both(logits, labels, live, q, dtype="float32"):
    weights = np.random.default_rng(13).normal(size=(2, *labels.shape))
    return [
        value_and_grad(combined(terms, labels, live, q, weights), logits, kind)
        for terms, kind in [
            (_backend.row_terms, dtype),
            (plain_version.row_terms, dtype if BACKEND == "jax" else "float64"),
        ]
    ]


def draw(shape, scale=3.0, dead=0.3):
    rng = np.random.default_rng(12)
    logits = scale * rng.normal(size=shape)
    labels = rng.integers(0, shape[-1], shape[:-1])
    live = rng.random(shape[:-1]) >= dead
    live.flat[:1] = True
    return logits.astype("float32"), labels, live


@pytest.mark.parametrize("q", EXPONENTS)
@pytest.mark.parametrize("shape", [(12, 2), (7, 9), (3, 5, 11), (2, 2, 2, 4), (3, 300)])
def test_value_and_gradient_are_those_of_the_plain_version(shape, q):
    (value, gradient), (expected, by_plain) = both(*draw(shape), q)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, by_plain, rtol=1e-5, atol=3e-6)
    assert np.abs(by_plain).max() > 0.05


@pytest.mark.parametrize("q", [None, 0.0, 0.03, 0.6])
def test_each_row_has_its_own_terms(q):
    logits, labels, live = draw((9, 6))
    results = of_rows(logits, labels, live, q)
    wide = logits.astype("float64")
    log_p = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
    expected = np.where(live, log_p[np.arange(9), labels], 0)
    np.testing.assert_allclose(to_numpy(results[0]), expected, rtol=1e-5, atol=1e-6)
    if q is None:
        assert results[1] is None
        return
    costs = -np.expm1(q * log_p) / q if q else -log_p
    expected = np.where(live, costs.sum(-1), 0)
    np.testing.assert_allclose(to_numpy(results[1]), expected, rtol=1e-5)


@pytest.mark.parametrize("q", EXPONENTS)
def test_float64_has_all_its_digits(float64, q):
    logits, labels, live = draw((7, 9))
    (value, gradient), (expected, by_plain) = both(logits, labels, live, q, "float64")
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, by_plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("q", [None, 0.03, 0.6])
def test_extreme_logits_are_finite_and_right(q):
    logits, labels, live = draw((40, 5), scale=1.0, dead=0.0)
    logits *= np.logspace(0, 4, 40, dtype="float32")[:, None]
    (value, gradient), (expected, by_plain) = both(logits, labels, live, q)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, by_plain, rtol=2e-5, atol=3e-6)


@pytest.mark.parametrize("q", [None, 0.03, 0.6])
def test_dead_rows_are_0_whatever_is_in_them(q):
    logits, labels, live = draw((12, 4))
    logits[~live] = [np.nan, np.inf, -np.inf, 1.0]
    (value, gradient), _ = both(logits, labels, live, q)
    assert np.isfinite(value)
    assert (gradient[~live] == 0).all()
    assert (gradient[live] != 0).all()


@pytest.mark.parametrize("q", [None, 0.03, 0.6])
def test_a_live_row_with_a_nan_is_nan_and_no_other(q):
    logits, labels, live = draw((6, 4), dead=0.0)
    logits[2, 1] = np.nan
    results = of_rows(logits, labels, live, q)
    for result in results:
        if result is not None:
            assert np.isnan(to_numpy(result)).tolist() == [i == 2 for i in range(6)]


def test_a_class_that_is_ruled_out_has_no_pull():
    logits, labels, live = draw((6, 4), dead=0.0)
    labels[:] = 1
    logits[:, 3] = -np.inf
    (value, gradient), (expected, by_plain) = both(logits, labels, live, 0.6)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert (gradient[:, 3] == 0).all()
    np.testing.assert_allclose(gradient[:, :3], by_plain[:, :3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("q", [None, 0.6])
def test_no_rows_have_no_terms(q):
    logits, labels, live = draw((0, 4))
    (value, gradient), _ = both(logits, labels, live, q)
    assert value == 0
    assert gradient.shape == (0, 4)


@pytest.mark.parametrize("q", [0.03, 0.6])
def test_the_other_labels_of_a_hard_label_are_pulled_exactly(q):
    # Under autodiff of a log-softmax these have an error of float32 eps times the
    # weights' sum: here of a twentieth.
    logits = np.array([[0.0, 40.0, -15.0]])
    (_, gradient), _ = both(logits, np.array([0]), np.array([True]), q)
    p = np.exp(logits - 40) / np.exp(logits - 40).sum()

    def pulled(weights):
        total = (p**q).sum()
        return weights[0] * (np.eye(3)[0] - p) - weights[1] * (p**q - total * p)

    unit = [pulled(w) for w in ((1, 0), (0, 1))]
    labels, live = np.array([0]), np.array([True])
    for weights, expected in zip(((1.0, 0.0), (0.0, 1.0)), unit):
        columns = np.array(weights)[:, None]
        function = combined(_backend.row_terms, labels, live, q, columns)
        _, gradient = value_and_grad(function, logits)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9)
