"""The guide to deciding, of prediction sets and entities: its code runs."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import softmax

from keras_robust.noise import flip_labels, symmetric_matrix

DOCS = Path(__file__).parents[3] / "docs"


def code_of(section):
    text = (DOCS / "deciding.md").read_text()
    part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.M)[1]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


def model_and_labels(rng, rows, num_classes):
    real = rng.dirichlet(np.full(num_classes, 0.4), rows)
    labels = (real.cumsum(-1) < rng.random((rows, 1))).sum(-1)
    prob = real**2 / (real**2).sum(-1, keepdims=True)
    return labels.clip(max=num_classes - 1), prob


def test_the_code_of_the_sections_runs(capsys):
    rng = np.random.default_rng(0)
    y, prob = model_and_labels(rng, 3000, 10)
    noisy = flip_labels(y[:2000], symmetric_matrix(10, 0.2), seed=0).labels
    names = {"y_dev": y[:2000], "prob_dev": prob[:2000], "y_noisy": noisy}
    names |= {"y_test": y[2000:], "prob_test": prob[2000:], "prob_new": prob[:7]}
    blocks = code_of("Prediction sets")
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert "of 1000 where 0.9 was asked for (by chance 0.8" in capsys.readouterr().out
    assert names["in_set"].shape == (7, 10)
    held_out = (1 - prob[2000:])[np.arange(1000), y[2000:]]
    coverage = np.mean(held_out <= names["sets"].threshold_[0])
    assert coverage == pytest.approx(0.9, abs=0.05)
    sure = rng.choice([2.0, 5.0], (300, 1, 1))
    tags = rng.choice(5, (300, 10))
    logits = sure * np.eye(5)[tags] + rng.normal(size=(300, 10, 5))
    words = {"y_words": tags.ravel(), "prob_words": softmax(logits, -1).reshape(-1, 5)}
    names = {**words, "sentence": np.repeat(np.arange(300), 10)}
    blocks = code_of("Entities")
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    plt.close("all")
    assert names["kept"].correct.mean() >= 0.9
    assert names["rows"].correct.mean() < 0.9
    assert "confidence type" in capsys.readouterr().out
