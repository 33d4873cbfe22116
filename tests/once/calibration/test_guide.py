"""The guide to calibration: its code runs."""

import re
from pathlib import Path

import keras
import numpy as np
from scipy import special

GUIDE = Path(__file__).parents[3] / "docs" / "calibration.md"


def test_the_code_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    chance = special.softmax(model.predict(x, verbose=0) / 2, -1)
    y = (chance.cumsum(-1) < rng.random((200, 1))).sum(-1)
    names = {"keras": keras, "model": model}
    names |= {"x_test": x[:100], "y_test": y[:100]}
    names |= {"x_held_out": x[100:], "y_held_out": y[100:]}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    out = capsys.readouterr().out
    assert "Calibration of 100 predictions" in out
    assert "Estimated for true labels from noisy ones" in out
    assert (tmp_path / "report.html").exists()
    loaded = keras.models.load_model(tmp_path / "calibrated.keras")
    expected = names["scaling"].transform(model.predict(x, verbose=0))
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-5)
