"""Recalibrations as layers of a model."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from backend import to_numpy
from keras import ops
from scipy import special

from keras_robust import GCE, SGCE, ForwardCorrection, GammaCE
from keras_robust.calibration import (
    Acceptance,
    AcceptanceThreshold,
    AnalyticCalibration,
    IsotonicCalibration,
    PlattScaling,
    ScaleAndBias,
    Temperature,
    TemperatureScaling,
    VectorScaling,
)

RNG = np.random.default_rng(5)
N, K = 300, 4
LOGITS = RNG.normal(scale=3, size=(N, K)).astype("float32")
LABELS = (special.softmax(LOGITS / 2.5, -1).cumsum(-1) < RNG.random((N, 1))).sum(-1)
Z = LOGITS[:, :1]
Y = (RNG.random(N) < special.expit(0.4 * Z[:, 0] - 0.8)).astype(int)
CE, BCE = keras.losses.CategoricalCrossentropy, keras.losses.BinaryCrossentropy


def fitted(cls, outputs):
    y = LABELS if outputs == K else Y
    return cls(from_logits=True).fit(y, LOGITS[:, :outputs])


def analytic(loss):
    return AnalyticCalibration(loss, from_logits=True)


CASES = {
    "temperature": (fitted(TemperatureScaling, K), K),
    "temperature_of_one": (fitted(TemperatureScaling, 1), 1),
    "vector": (fitted(VectorScaling, K), K),
    "vector_of_one": (fitted(VectorScaling, 1), 1),
    "platt": (fitted(PlattScaling, 2), 2),
    "platt_of_one": (fitted(PlattScaling, 1), 1),
    "gce": (analytic(GCE(q=0.6)), K),
    "gce_of_one": (analytic(GCE(q=0.6)), 1),
    "sgce": (analytic(SGCE(q=0.3, smoothing=0.0)), K),
    "gamma_ce": (analytic(GammaCE(gamma=0.0)), K),
    "cross_entropy": (analytic(CE()), K),
    "binary_cross_entropy": (analytic(BCE()), 1),
}


def model_with(*layers, outputs=K, dtype=None):
    return keras.Sequential(
        [keras.Input((outputs,)), keras.layers.Dense(outputs, dtype=dtype), *layers]
    )


def probabilities(logits):
    wide = logits.astype("float64")
    return special.expit(wide) if wide.shape[-1] == 1 else special.softmax(wide, -1)


def test_a_model_with_the_layer_gives_what_transform_gives_here_and_elsewhere(tmp_path):
    # Saved, and loaded in a process that only imports the package.
    expected = {}
    for name, (calibration, outputs) in CASES.items():
        plain = model_with(outputs=outputs)
        model = keras.Sequential([plain, calibration.as_layer(name="calibrated")])
        x = LOGITS[:, :outputs]
        expected[name] = calibration.transform(plain.predict(x, verbose=0))
        found = probabilities(model.predict(x, verbose=0))
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, err_msg=name)
        assert model.layers[-1].name == "calibrated"
        assert model.layers[-1].weights == []
        model.save(tmp_path / f"{name}.keras")
    np.save(tmp_path / "x.npy", LOGITS)
    code = (
        "import sys, keras, numpy as np, keras_robust\n"
        "x = np.load(sys.argv[1] + '/x.npy')\n"
        "for name in sys.argv[2:]:\n"
        "    path = f'{sys.argv[1]}/{name}.keras'\n"
        "    model = keras.models.load_model(path, safe_mode=True)\n"
        "    inputs = x[:, : model.input_shape[-1]]\n"
        "    np.save(f'{sys.argv[1]}/{name}.npy', model.predict(inputs, verbose=0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *CASES],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, prob in expected.items():
        found = probabilities(np.load(tmp_path / f"{name}.npy"))
        np.testing.assert_allclose(found, prob, rtol=1e-5, err_msg=name)


def test_the_layers_of_the_theory_are_temperatures_known_beforehand():
    for name, temperature in [
        ("gce", 1 / (1 - 0.6)),
        ("sgce", 1 / (1 - 0.3)),
        ("gamma_ce", 1),
        ("cross_entropy", 1),
        ("binary_cross_entropy", 1),
    ]:
        assert CASES[name][0].as_layer().temperature == temperature
    assert analytic(GammaCE(gamma=0.2, b=1.0)).as_layer().temperature == 1


@pytest.mark.parametrize(
    ("calibration", "why"),
    [
        (analytic(SGCE(q=0.3, smoothing=0.1)), "SGCE, whose posterior"),
        (analytic(GammaCE(gamma=0.1)), "GammaCE, whose posterior"),
        (analytic(ForwardCorrection(np.eye(K))), "ForwardCorrection, whose posterior"),
        (analytic(CE(label_smoothing=0.1)), "CategoricalCrossentropy, whose posterior"),
        (
            AnalyticCalibration(GCE(q=0.3), np.eye(K), from_logits=True),
            "a noise_matrix, which mixes",
        ),
        (fitted(IsotonicCalibration, 1), "step functions"),
    ],
)
def test_what_is_no_map_of_logits_is_no_layer_and_says_why(calibration, why):
    with pytest.raises(ValueError, match=f"`as_layer` must be.*{why}.*`transform`"):
        calibration.as_layer()


def test_what_was_made_for_probabilities_or_not_fitted_is_no_layer():
    for cls in (TemperatureScaling, VectorScaling, PlattScaling, IsotonicCalibration):
        with pytest.raises(ValueError, match="`fit` must be called first"):
            cls(from_logits=True).as_layer()
    by_prob = TemperatureScaling().fit([0, 0, 1], [[0.6, 0.4]] * 3)
    for calibration in (by_prob, AnalyticCalibration(GCE(q=0.5))):
        with pytest.raises(ValueError, match="`from_logits` must be True to make a"):
            calibration.as_layer()


def test_the_config_holds_the_values_in_plain_numbers():
    layer = Temperature(np.float32(2.5), name="t", dtype="mixed_bfloat16")
    config = layer.get_config()
    assert type(config["temperature"]) is float
    again = Temperature.from_config(config)
    assert (again.temperature, again.name) == (2.5, "t")
    assert again.dtype_policy.name == "mixed_bfloat16"
    assert not again.autocast
    layer = ScaleAndBias(np.array([1, 2]), (0.5, np.float32(-0.5)), name="s")
    config = layer.get_config()
    assert (config["scale"], config["bias"]) == ([1.0, 2.0], [0.5, -0.5])
    assert {type(value) for value in config["scale"] + config["bias"]} == {float}
    again = ScaleAndBias.from_config(config)
    assert (again.scale, again.bias, again.name) == ((1.0, 2.0), (0.5, -0.5), "s")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_under_mixed_precision_nothing_is_rounded_to_half(policy):
    # 1e5 overflows in float16, and 257 is 256 in bfloat16.
    x = np.array([[1e5, 257.0, 3.0]], "float32")
    layer = Temperature(3.0, dtype=policy)
    out = layer(ops.convert_to_tensor(x))
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    np.testing.assert_allclose(to_numpy(out), x / 3, rtol=1e-6)
    half = layer(ops.convert_to_tensor(x[:, 1:], dtype="float16"))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    model = model_with(layer, dtype=policy)
    assert model.outputs[0].dtype == "float32"
    assert model.predict(LOGITS[:4], verbose=0).dtype == np.float32
    scaled = ScaleAndBias([3.0] * 3, [257.0] * 3, dtype=policy)
    expected = 3 * special.log_softmax(x, -1) + 257
    out = to_numpy(scaled(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    x = np.array([[2.0, 3.0, 2.5]])  # exact in half precision, not so what follows
    half = scaled(ops.convert_to_tensor(x, dtype="float16"))
    expected = 3 * special.log_softmax(x, -1) + 257
    np.testing.assert_allclose(to_numpy(half), expected, rtol=1e-6)


def test_float64_logits_stay_float64(float64):
    out = Temperature(3.0, dtype="float64")(np.array([1.0, 2.0]))
    np.testing.assert_allclose(to_numpy(out), [1 / 3, 2 / 3], rtol=1e-15)
    z = np.array([[0.3], [-40.0]])
    out = ScaleAndBias([0.1, 0.1], [-0.2, 0.2], dtype="float64")(z)
    np.testing.assert_allclose(to_numpy(out), 0.1 * z + 0.4, rtol=1e-14)


@pytest.mark.parametrize("layer", [Temperature(2.0), ScaleAndBias([1] * K, [0] * K)])
def test_the_layers_pass_masks_on(layer):
    inputs = keras.Input((3,), dtype="int32")
    x = keras.layers.Embedding(5, K, mask_zero=True)(inputs)
    assert getattr(layer(x), "_keras_mask", None) is not None
    ids = np.array([[1, 2, 0]])
    eager = layer(keras.layers.Embedding(5, K, mask_zero=True)(ids))
    assert eager.shape == (1, 3, K)
    np.testing.assert_array_equal(ops.convert_to_numpy(eager._keras_mask), ids != 0)


def test_logits_of_other_classes_are_an_error():
    layer = ScaleAndBias([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    for shape in [(2, 2), (2, 1), ()]:
        with pytest.raises(ValueError, match=r"`inputs` must be logits of shape .*3\)"):
            layer(np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("scale", "bias", "error", "match"),
    [
        ([1.0], [1.0], ValueError, "`scale` must be a row of finite numbers"),
        ([1.0, np.nan], [1.0, 2.0], ValueError, "`scale` must be a row of finite"),
        ([1.0, 1.0], [[1.0, 2.0]], ValueError, "`bias` must be a row of finite"),
        ([1.0, 1.0], [1.0, 2.0, 3.0], ValueError, "`bias` must be of as many"),
        (["a", "b"], [1.0, 2.0], TypeError, "`scale` must be of numbers"),
    ],
)
def test_bad_scales_and_biases_are_an_error(scale, bias, error, match):
    with pytest.raises(error, match=f"ScaleAndBias: {match}"):
        ScaleAndBias(scale, bias)


def accepting(outputs, **how):
    """A threshold for the outputs of a model, fitted to what it predicts."""
    y, z = (LABELS, LOGITS) if outputs == K else (Y, Z)
    made = AcceptanceThreshold(0.65, from_logits=True, **how)
    return made.fit(y, z), z


@pytest.mark.parametrize(
    ("outputs", "how"),
    [(K, {}), (1, {}), (1, {"notion": "positive"}), (2, {"notion": "positive"})],
)
def test_a_model_with_the_layer_accepts_what_accept_does_saved_or_not(
    outputs, how, tmp_path
):
    threshold, z = accepting(1 if outputs == 2 else outputs, **how)
    if outputs == 2:
        z = np.concatenate([np.zeros_like(z), z], axis=-1)
    expected = threshold.accept(z)
    assert 0 < expected.sum() < N
    inputs = keras.Input((outputs,))
    layer = threshold.as_layer(name="decision")
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    for one in (model, keras.models.load_model(tmp_path / "model.keras")):
        out = one.predict(z, verbose=0)
        np.testing.assert_array_equal(out["accepted"], expected)
        np.testing.assert_allclose(out["probabilities"], probabilities(z), rtol=1e-5)
    by_prob = threshold.as_layer(from_logits=False)(probabilities(z).astype("float32"))
    np.testing.assert_array_equal(to_numpy(by_prob["accepted"]), expected)
    assert keras.backend.standardize_dtype(by_prob["accepted"].dtype) == "bool"


def test_the_layer_takes_other_axes_and_passes_masks_on():
    threshold, z = accepting(K)
    first = Acceptance(threshold.threshold_, from_logits=True, axis=1)
    out = first(ops.convert_to_tensor(z.reshape(10, 30, K).transpose(0, 2, 1)))
    expected = threshold.accept(z).reshape(10, 30)
    np.testing.assert_array_equal(to_numpy(out["accepted"]), expected)
    ids = np.array([[1, 2, 0]])
    hidden = keras.layers.Embedding(5, K, mask_zero=True)(ids)
    for tensor in threshold.as_layer()(hidden).values():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(tensor._keras_mask), ids != 0
        )


def test_an_acceptance_of_nothing_or_all_survives_its_config():
    x = np.array([[30.0, -30.0], [0.0, 0.0], [np.nan, np.nan]], "float32")
    for threshold, expected in [
        (np.inf, [False, False, False]),
        (1.5, [False, False, False]),
        (0.0, [True, True, False]),
        (1.0, [True, False, False]),  # as sure as NumPy can tell
        (0.5, [True, True, False]),
    ]:
        for from_logits in (True, False):
            layer = Acceptance(threshold, from_logits=from_logits, name="a")
            again = Acceptance.from_config(layer.get_config())
            assert (again.threshold, again.name) == (threshold, "a")
            assert again.from_logits is from_logits
            given = x if from_logits else probabilities(x).astype("float32")
            out = again(ops.convert_to_tensor(given))["accepted"]
            assert to_numpy(out).tolist() == expected, (threshold, from_logits)


def test_close_to_one_the_layer_tells_confidences_apart_by_their_logits():
    # In float32 all of these probabilities are 1.
    z = np.array([[20.0, 0.0, 0.0], [22.0, 0.0, 0.0], [24.0, 0.0, 0.0]], "float32")
    threshold = special.softmax(z[1].astype("float64"))[0] - 1e-12
    out = Acceptance(threshold, from_logits=True)(ops.convert_to_tensor(z))
    assert to_numpy(out["accepted"]).tolist() == [False, True, True]
    assert (to_numpy(out["probabilities"])[:, 0] == 1).all()


def test_bad_thresholds_and_notions_are_an_error():
    for threshold in (-0.1, np.nan):
        with pytest.raises(ValueError, match="`threshold` must be at least 0"):
            Acceptance(threshold)
    with pytest.raises(ValueError, match="`notion` must be 'top_label' for more"):
        Acceptance(0.5, notion="positive")(np.zeros((2, 3), "float32"))
