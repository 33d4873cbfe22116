"""The page for those who come from another library: two lines give one number."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.datasets import load_digits

from keras_robust import GCE, GammaCE

PAGE = (Path(__file__).parents[3] / "docs" / "coming-from.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PAIRS = {
    "CategoricalGeneralizedCrossEntropy": 1e-5,
    "label_smoothing": 1e-5,
    "BinaryFocalCrossentropy": 1e-5,
    "MulticlassCalibrationError": 1e-4,  # its sums are float32
    "netcal.metrics": 1e-6,
    "netcal.scaling": 5e-3,  # stops at its optimizer's tolerance
    "GammaCE(gamma=1.0": 1e-5,
}


def run(block, names):
    exec(compile(block, "coming-from.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def names():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(500, 10)).astype("float32")
    prob = ops.convert_to_numpy(ops.softmax(logits))
    y = np.array([rng.choice(10, p=row / row.sum()) for row in prob.astype("float64")])
    names = {"y": y, "logits": logits, "prob": prob}
    exec("import keras, numpy as np", names)
    exec("from keras_robust.calibration import expected_calibration_error", names)
    return names


@pytest.mark.parametrize("name", PAIRS)
def test_both_lines_give_the_same(name, names):
    (block,) = [block for block in BLOCKS if name in block]
    found = run(block, dict(names))
    there, here = (
        np.asarray(ops.convert_to_numpy(found[side]), "float64")
        for side in ("there", "here")
    )
    assert np.abs(there).max() > 0
    np.testing.assert_allclose(here, there, rtol=0, atol=PAIRS[name] * there.max())


def test_every_pair_is_compared():
    pairs = [block for block in BLOCKS if re.search(r"^there = ", block, re.M)]
    assert len(pairs) == len(PAIRS)
    assert len(BLOCKS) == len(PAIRS) + 2  # cleanlab's


def test_what_stands_in_for_cleanlabs_wrappers_trains_and_finds_wrong_labels():
    x, true = load_digits(return_X_y=True)
    x, true = (x[:600] / 16).astype("float32"), true[:600]
    y = true.copy()
    wrong = np.arange(0, 600, 10)
    y[wrong] = (y[wrong] + 1) % 10
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((64,)),
        keras.layers.Dense(32, "relu"),
        keras.layers.Dense(10),
    ]
    names = {"x": x, "y": y, "num_classes": 10, "model": keras.Sequential(layers)}
    names |= {"keras": keras, "GCE": GCE}
    for block in BLOCKS:
        if "model" in block:
            run(block, names)
    found = np.flatnonzero(names["suspicious"])
    assert len(set(found) & set(wrong)) > 0.7 * len(wrong)


def gradient(loss, y, logits, softmax=False):
    import torch

    z = torch.tensor(logits, requires_grad=True)
    loss(y, ops.softmax(z) if softmax else z).backward()
    return z.grad.numpy()


def test_dft_and_gce_at_1_have_one_gradient(names):
    dft = GammaCE(gamma=1.0, stop_gradient=True, from_logits=True)
    own = gradient(dft, names["y"], names["logits"])
    plain = gradient(GCE(q=1.0, from_logits=True), names["y"], names["logits"])
    np.testing.assert_allclose(own, plain, rtol=1e-4, atol=1e-8)
    # By hand: the weight p_y times p_k - [k = y].
    p, y = names["prob"].astype("float64"), names["y"]
    expected = p[np.arange(500), y][:, None] * (p - np.eye(10)[y]) / 500
    np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-8)


def test_the_gradient_of_kerass_gce_is_nan_where_a_probability_is_0():
    logits, y = np.array([[200.0, 0.0]], "float32"), np.array([1])
    of_keras = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.6)
    assert np.isnan(gradient(of_keras, y, logits, softmax=True)).any()
    assert np.isfinite(gradient(GCE(q=0.6, from_logits=True), y, logits)).all()


def test_defaults_are_those_that_the_page_names():
    assert keras.losses.CategoricalGeneralizedCrossEntropy().q == 0.5
    assert GCE().q == 0.7
    with pytest.raises(ImportError):
        import cleanlab.models.keras  # noqa: F401
