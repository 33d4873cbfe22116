"""What losses make of rows of logits by formula, against what autodiff makes of it."""

import keras
import numpy as np
import pytest
from backend import BACKEND, value_and_grad

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE, _backend
from keras_robust._backend import plain
from keras_robust.noise import omission_matrix, symmetric_matrix

if BACKEND == "jax":
    pytest.skip("has the plain version", allow_module_level=True)

ops = keras.ops
CROSS_ENTROPY = GCE(q=0.0, from_logits=True)
NEVER = np.array([[1.0, 0, 0, 0], [0.3, 0.7, 0, 0], [0.3, 0, 0.7, 0], [0.3, 0, 0, 0.7]])
LOSSES = [
    *(GCE(q=q, from_logits=True) for q in (0.0, 1e-21, 1e-6, 0.6, 1.0, 10.0)),
    *(GCE(q=q, cutoff=0.2, from_logits=True) for q in (0.0, 0.6)),
    *(SCE(alpha, from_logits=True) for alpha in (0.0, 0.1)),
    *(NCERCE(alpha, from_logits=True) for alpha in (0.0, 1.0)),
    *(GammaCE(g, from_logits=True) for g in (0.0, 1e-40, 1e-31, 1e-29, 0.03, 0.3, 1.0)),
    *(GammaCE(g, b=0.2, from_logits=True) for g in (0.0, 1e-7, 0.1, 1.0)),
    *(GammaCE(0.1, b=b, from_logits=True, stop_gradient=True) for b in (0.0, 0.2)),
    *(SGCE(q, smoothing=s, from_logits=True) for q in (0.0, 0.6) for s in (0.0, 0.1)),
    *(ForwardCorrection(m, CROSS_ENTROPY) for m in (omission_matrix(4, 0.2), NEVER)),
    *(
        ForwardCorrection(symmetric_matrix(4, 0.2), base)
        for base in (
            GammaCE(b=0.1, from_logits=True),
            GCE(cutoff=0.2, from_logits=True),
            SCE(from_logits=True),
        )
    ),
]
# The label is likely, unlikely, as good as sure and as good as ruled out.
LOGITS = np.array(
    [[2, 0, 1, -1], [0, 3, -1, 1], [60, 0, 3, 1], [0, 60, 1, 2], [1, 1, 1, 1]] * 3, "f"
)
LABELS = np.tile([0, 2, 0, 0, 3], 3)
LIVE = np.arange(15) % 7 != 3


def of_version(version, loss, dtype):
    rows = [ops.convert_to_tensor(x) for x in (LABELS, LIVE, np.zeros(15, bool))]
    share = np.random.default_rng(3).normal(size=15)

    def total(logits):
        return ops.sum(ops.cast(share, dtype) * version(loss, logits, *rows))

    return value_and_grad(total, LOGITS, dtype)


def test_value_and_gradient_are_those_of_autodiff():
    for loss in LOSSES:
        expected = of_version(plain.row_costs, loss, "float64")
        for dtype, tolerance in {"float32": 1e-5, "float64": 1e-10}.items():
            found = of_version(_backend.row_costs, loss, dtype)
            for value, wanted in zip(found, expected):
                np.testing.assert_allclose(
                    value, wanted, rtol=tolerance, atol=tolerance, err_msg=str(loss)
                )
        assert np.abs(expected[1]).max() > 1e-3, loss


def test_only_what_is_live_and_broken_is_nan():
    broken = np.arange(15) % 2 == 0
    logits = np.where(LIVE[:, None], LOGITS, np.nan).astype("float32")
    rows = [ops.convert_to_tensor(x) for x in (LABELS, LIVE, broken)]
    for loss in LOSSES:
        kept = []

        def total(logits, loss=loss, kept=kept):
            costs = _backend.row_costs(loss, logits, *rows)
            kept.append(ops.convert_to_numpy(ops.stop_gradient(costs)))
            return ops.sum(costs)

        _, gradient = value_and_grad(total, logits)
        np.testing.assert_array_equal(np.isnan(kept[0]), LIVE & broken, str(loss))
        assert not kept[0][~LIVE].any()
        np.testing.assert_array_equal(np.isnan(gradient).all(-1), LIVE & broken)
        np.testing.assert_array_equal(np.isnan(gradient).any(-1), LIVE & broken)
        assert not gradient[~LIVE].any()


def test_a_subclass_with_a_cost_of_its_own_has_no_formula_of_another():
    class Halved(GCE):
        def label_cost(self, log_p):
            return 0.5 * super().label_cost(log_p)

    whole, half = GCE(from_logits=True), Halved(from_logits=True)
    for loss in (whole, half):
        assert type(loss)(from_logits=True).get_config() == loss.get_config()
    value, gradient = of_version(_backend.row_costs, whole, "float32")
    found = of_version(_backend.row_costs, half, "float32")
    np.testing.assert_allclose(2 * found[0], value, rtol=1e-6)
    np.testing.assert_allclose(2 * found[1], gradient, rtol=1e-5, atol=1e-7)
