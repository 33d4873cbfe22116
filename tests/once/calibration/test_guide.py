"""The guide to calibration: its code runs."""

import re
from pathlib import Path

import keras
import keras_robust_cli
import numpy as np
import pandas as pd
import pytest
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
    assert len(blocks) == 6
    for block in blocks:
        exec(block, names)
    out = capsys.readouterr().out
    assert "Calibration of 100 predictions" in out
    assert "Estimated for true labels from noisy ones" in out
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "diagram.png").exists()
    assert names["report"]["event_rate"].value == 4 / 6
    loaded = keras.models.load_model(tmp_path / "calibrated.keras")
    expected = names["scaling"].transform(model.predict(x, verbose=0))
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(names["prob"], expected[:100], rtol=1e-5)


def test_the_commands_of_the_guide_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    prob = rng.dirichlet([1, 1], 30)
    label = rng.integers(0, 2, 30)
    np.savez("test.npz", y_prob=prob, y_true=label)
    table = pd.DataFrame(prob, columns=["prob_no", "prob_yes"])
    table["y_true"], table["id"] = np.array(["no", "yes"])[label], range(30)
    table.to_csv("raw.csv", index=False)
    table.to_csv("scaled.csv", index=False)
    table[::-1].to_csv("labels.csv", index=False)
    table[["prob_yes", "y_true"]].to_csv("one.csv", index=False)
    answers = {
        "confidence": prob[:, 0],
        "answer": "a",
        "truth": np.array(["a", "b"])[label],
    }
    pd.DataFrame(answers).to_csv("answers.csv", index=False)
    pairs = {"confidence": prob[:, 0], "right": 1 - label}
    pd.DataFrame(pairs).to_csv("pairs.csv", index=False)
    (block,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    commands = block.splitlines()
    assert len(commands) == 6
    for command in commands:
        program, *arguments = command.split()
        assert program == "keras-robust"
        code = keras_robust_cli.main([*arguments, "--resamples", "2"])
        assert (code, capsys.readouterr().err) == (0, "")
    options = set(re.findall(r"`(--[a-z-]+)", GUIDE.read_text()))
    with pytest.raises(SystemExit):
        keras_robust_cli.parser().parse_args(["report", "--help"])
    assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
