"""What is kept on disk, and under which name."""

import numpy as np
import pytest
from engine._cache import kept, source_name
from engine._encoded import Encoded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(tmp_path / "new"))
    return tmp_path / "new"


def test_what_is_kept_is_made_once_and_read_back_as_it_was(folder):
    made = []

    def make():
        labels = {"clean": np.arange(3, dtype="int32"), "llm": np.array([2, 0, -100])}
        words = Encoded(np.arange(3, dtype="int32"), np.array([1, 2]), labels)
        made.append({"dev": words, "none": np.zeros((0, 4)), "step": np.array(7)})
        return made[-1]

    for _ in range(2):
        again = kept("words", make)
        assert set(again) == {"dev", "none", "step"}
        np.testing.assert_equal(vars(again["dev"]), vars(made[0]["dev"]))
        assert again["none"].shape == (0, 4)
        assert again["step"] == 7
    assert len(made) == 1
    assert [path.name for path in folder.iterdir()] == ["words.joblib"]
    assert isinstance(again["dev"].token_ids, np.memmap)


def test_what_fails_to_be_made_or_written_leaves_nothing(folder):
    with pytest.raises(ZeroDivisionError):
        kept("words", lambda: 1 / 0)
    with pytest.raises(Exception, match="pickle"):
        kept("words", lambda: [np.zeros(10_000), lambda: None])
    assert list(folder.iterdir()) == []


def test_the_cache_knows_an_encoder_and_a_table_by_what_they_are(tmp_path, monkeypatch):
    folders = [tmp_path / name / "bert" for name in "ab"]
    for content, folder in zip(("one", "other"), folders):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(content)
    names = {source_name("conll2003", str(folder)) for folder in folders}
    assert len(names) == 2
    assert source_name("conll2003", "bert_tiny_en_uncased") == (
        "bert_tiny_en_uncased-conll2003"
    )
    table = tmp_path / "table.tsv"
    monkeypatch.setenv("KERAS_ROBUST_NOISEBENCH", str(table))
    names = set()
    for content in ("one", "other"):
        table.write_text(content)
        names.add(source_name("noisebench", "bert_tiny_en_uncased"))
    assert len(names) == 2
