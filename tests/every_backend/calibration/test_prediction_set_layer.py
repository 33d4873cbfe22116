"""Prediction sets as a layer of a model."""

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_robust.calibration import PredictionSetLayer, PredictionSets

RNG = np.random.default_rng(4)
N, K = 200, 4
LOGITS = RNG.normal(scale=2, size=(N, K)).astype("float32")
LABELS = np.where(RNG.random(N) < 0.7, LOGITS.argmax(-1), RNG.integers(0, K, N))
METHODS = {
    "lac": {},
    "aps": {},
    "raps": {"lambda_reg": 0.03, "k_reg": 1},
}


def fitted(outputs, **options):
    y, z = (LABELS, LOGITS) if outputs == K else (LABELS > 1, LOGITS[:, :1])
    return PredictionSets(0.8, from_logits=True, **options).fit(y, z)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outputs", [K, 1])
def test_a_saved_model_with_the_layer_gives_the_sets_of_transform(
    method, outputs, tmp_path
):
    sets = fitted(outputs, method=method, per_class=method == "aps", **METHODS[method])
    inputs = keras.Input((outputs,))
    logits = keras.layers.Identity()(inputs)
    model = keras.Model(inputs, [logits, sets.as_layer(name="sets")(logits)])
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = np.vstack([LOGITS, np.zeros((2, K))]).astype("float32")[:, :outputs]
    found = model.predict(x, verbose=0)[1]
    assert found.dtype == bool
    expected = sets.transform(x)
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.mean() < 1
    layer = model.get_layer("sets")
    assert layer.weights == []
    assert layer.from_logits
    assert not sets.as_layer(from_logits=False).from_logits
    assert layer.get_config()["threshold"] == sets.threshold_.tolist()
    assert layer.get_config()["lambda_reg"] == METHODS[method].get("lambda_reg", 0.01)
    assert layer.get_config()["k_reg"] == METHODS[method].get("k_reg", 5)


def test_probabilities_of_any_shape_and_classes_that_are_always_in():
    layer = PredictionSetLayer([0.5, 0.5, float("inf")])
    layer = PredictionSetLayer.from_config(layer.get_config())
    prob = np.array([[[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]], "float32")
    found = to_numpy(layer(prob))
    assert found.tolist() == [[[True, False, True], [False, True, True]]]


@pytest.mark.parametrize("method", METHODS)
def test_a_row_with_a_nan_has_all_classes(method):
    layer = PredictionSetLayer([0.1] * 3, method=method)
    prob = np.array([[np.nan, 0.9, 0.1], [0.05, 0.9, 0.05]], "float32")
    assert to_numpy(layer(prob)).tolist() == [[True] * 3, [False, True, False]]


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_under_mixed_precision_nothing_is_rounded_to_half(dtype):
    # .7 is .7002 in float16 and .6992 in bfloat16: a class on the threshold.
    layer = PredictionSetLayer([0.3 - 1e-4, 0.3], dtype=dtype)
    assert to_numpy(layer(np.array([[0.7, 0.3]], "float32")))[0].tolist() == [
        False,
        False,
    ]
    layer = PredictionSetLayer([0.3, 0.3], dtype=dtype)
    assert to_numpy(layer(np.array([[0.7, 0.3]], "float32")))[0].tolist() == [
        True,
        False,
    ]


def test_what_is_random_or_along_another_axis_is_no_layer():
    drawn = fitted(K, method="aps", seed=0)
    with pytest.raises(ValueError, match="`seed` must be None to make a layer"):
        drawn.as_layer()
    images = LOGITS.T.reshape(1, K, N)
    sets = PredictionSets(0.8, axis=1, from_logits=True).fit(LABELS[None], images)
    with pytest.raises(ValueError, match="`axis` must be -1 to make a layer"):
        sets.as_layer()


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"threshold": [0.5]}, ValueError, "`threshold` must be a row of numbers"),
        ({"threshold": [0.5, np.nan]}, ValueError, "`threshold` must be a row"),
        ({"threshold": ["a", "b"]}, TypeError, "`threshold` must be of numbers"),
        ({"threshold": [1, 1], "method": "x"}, ValueError, "`method` must be one of"),
    ],
)
def test_bad_settings_are_an_error(how, error, match):
    with pytest.raises(error, match=f"PredictionSetLayer: {match}"):
        PredictionSetLayer(**how)


def test_inputs_of_other_classes_are_an_error():
    layer = PredictionSetLayer([0.5] * 3)
    for shape in [(2, 2), (2, 1), ()]:
        with pytest.raises(ValueError, match=r"`inputs` must be of shape \(..., 3\)"):
            layer(np.zeros(shape, "float32"))
