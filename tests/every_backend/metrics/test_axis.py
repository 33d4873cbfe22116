"""Classes on another axis than the last: images of shape (N, K, H, W)."""

import warnings

import numpy as np
import pytest
from scipy import special

from keras_robust import metrics

RNG = np.random.default_rng(2)
# As many classes as rows and columns: only the argument tells which axis is which.
K = 4
LOGITS = RNG.normal(scale=2, size=(3, K, K, K)).astype("float32")
PROB = special.softmax(LOGITS, axis=1)
LABELS = RNG.integers(0, K, (3, K, K))
LABELS[:, 0] = -100
SOFT = special.softmax(RNG.normal(size=LOGITS.shape), axis=1).astype("float32")
WEIGHT = RNG.uniform(size=LABELS.shape).astype("float32")
MATRIX = np.eye(K) * 0.6 + 0.1
OF_CLASSES = [
    (metrics.ExpectedCalibrationError, {}),
    (metrics.ExpectedCalibrationError, {"noise_matrix": MATRIX}),
    (metrics.MaximumCalibrationError, {}),
    (metrics.ClasswiseCalibrationError, {"num_classes": K}),
    (metrics.CleanAccuracy, {"noise_matrix": MATRIX}),
]


def last(x):
    return np.moveaxis(x, 1, -1)


def read(metric, *batch):
    metric.update_state(*batch)
    return float(metric.result())


@pytest.mark.parametrize("axis", [1, -3])
@pytest.mark.parametrize(("cls", "options"), OF_CLASSES)
def test_it_is_the_metric_of_the_classes_moved_last(cls, options, axis):
    for y_pred in (PROB, LOGITS):
        options = {**options, "from_logits": y_pred is LOGITS}
        expected = read(cls(**options), LABELS, last(y_pred), WEIGHT)
        metric = cls(axis=axis, **options)
        assert read(metric, LABELS, y_pred, WEIGHT) == pytest.approx(expected, rel=1e-6)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wrong = read(cls(**options), LABELS, y_pred, WEIGHT)
        assert wrong != pytest.approx(expected)
        # Of probabilities, the sums of rows tell.
        texts = [str(w.message) for w in caught]
        assert len(texts) == (y_pred is PROB)
        assert all(f"{cls.__name__}: most rows" in x and "`axis`" in x for x in texts)
        assert metric.get_config()["axis"] == axis
    expected = read(cls(**options), last(SOFT), last(LOGITS))
    assert read(cls(axis=axis, **options), SOFT, LOGITS) == pytest.approx(expected)


@pytest.mark.parametrize(
    "weight", [WEIGHT, RNG.uniform(size=PROB.shape), WEIGHT[:, 0, 0]]
)
def test_it_is_the_metric_of_the_labels_moved_last(weight):
    y, weight = (SOFT > 0.3).astype("int32"), weight.astype("float32")
    of_entries = last(weight) if weight.ndim == 4 else weight
    expected = read(
        metrics.MultilabelCalibrationError(K), last(y), last(PROB), of_entries
    )
    metric = metrics.MultilabelCalibrationError(K, axis=1)
    assert read(metric, y, PROB, weight) == pytest.approx(expected, rel=1e-6)


def test_a_sigmoid_output_may_lie_anywhere():
    p, y = PROB[:, :1], (LABELS == 0).astype("int32")
    metric = metrics.ExpectedCalibrationError(axis=1, notion="positive")
    expected = read(metrics.ExpectedCalibrationError(notion="positive"), y, last(p))
    assert read(metric, y, p) == pytest.approx(expected, rel=1e-6)


def test_shapes_that_fit_on_no_axis_are_refused():
    with pytest.raises(ValueError, match=r"`y_pred` must be of a rank that has axis 3"):
        metrics.ExpectedCalibrationError(axis=3).update_state([0, 1], [[0.5, 0.5]] * 2)
    with pytest.raises(ValueError, match="of 3 classes along axis 1"):
        metrics.ClasswiseCalibrationError(3, axis=1).update_state(LABELS, PROB)
    with pytest.raises(ValueError, match="of 3 labels along axis 1"):
        metrics.MultilabelCalibrationError(3, axis=1).update_state(SOFT, PROB)
