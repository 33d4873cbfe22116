"""The sums in float32, as JAX and Apple's MPS hold them, on the fastest backend."""

import numpy as np
import pytest

from keras_robust.metrics import (
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    _sums,
)

RNG = np.random.default_rng(3)
PROB = RNG.dirichlet(np.ones(3), 5000).astype("float32")
LABELS = RNG.integers(0, 3, 5000)
WEIGHT = RNG.uniform(0.1, 3, 5000).astype("float32")


@pytest.fixture(params=[ExpectedCalibrationError, lambda: ClasswiseCalibrationError(3)])
def narrow_and_wide(request, monkeypatch):
    """The same metric with its state in float32, and in float64."""
    wide = request.param()
    monkeypatch.setattr(_sums, "accumulation_dtype", lambda: "float32")
    narrow = request.param()
    assert [str(v.dtype) for v in narrow.variables] == ["float32"] * 3
    assert [str(v.dtype) for v in wide.variables] == ["float64"]
    return narrow, wide


def sums(metric):
    return _sums.exact_sums(metric._state)


def test_sums_in_float32_are_those_in_float64(narrow_and_wide):
    narrow, wide = narrow_and_wide
    for metric in narrow_and_wide:
        for rows in (slice(0, 50), slice(50, 51), slice(51, 5000)):
            metric.update_state(LABELS[rows], PROB[rows], WEIGHT[rows])
    np.testing.assert_allclose(sums(narrow), sums(wide), rtol=3e-7)
    assert float(narrow.result()) == pytest.approx(float(wide.result()), rel=1e-6)


def test_rows_one_by_one_are_not_lost_where_float32_counts_stop(narrow_and_wide):
    for metric in narrow_and_wide:
        metric.update_state(LABELS, PROB)
        for variable in metric.variables:  # as of so many replicas
            variable.assign(variable * 2.0**16)
        for row in range(200):
            metric.update_state(LABELS[row : row + 1], PROB[row : row + 1])
    narrow, wide = map(sums, narrow_and_wide)
    assert wide[0].max() > 2**24
    np.testing.assert_array_equal(narrow[0], wide[0])
    np.testing.assert_array_equal(narrow[2], wide[2])
    np.testing.assert_allclose(narrow[1], wide[1], rtol=3e-7)


def test_small_weights_do_not_drift(narrow_and_wide):
    # A plain float32 sum of so many loses them all.
    for metric in narrow_and_wide:
        metric.update_state(LABELS[:1], PROB[:1], np.full(1, 1000.0, "float32"))
        for _ in range(100):
            metric.update_state(LABELS[:1], PROB[:1], np.full(1, 1e-5, "float32"))
    narrow, wide = map(sums, narrow_and_wide)
    np.testing.assert_allclose(narrow, wide, rtol=1e-7)
