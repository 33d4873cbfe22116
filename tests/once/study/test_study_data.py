"""The real data, where they can be had."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from engine import RunConfig
from engine._corpus import ANNOTATORS, TAGS, read_corpus, read_noisebench

TAGGED = """token\tclean\t{}
EU\tB-ORG\tB-ORG\tB-LOC\tO\tO\tO\tB-MISC
rejects\tO\tO\tO\tO\tO\tB-PER\tO

Peter\tB-PER\tB-PER\tB-PER\tB-PER\tO\tO\tB-PER
Blackburn\tI-PER\tI-PER\tO\tI-PER\tO\tB-PER\tI-PER


"""


def noisebench_file(folder, header=None):
    path = folder / "noise.tsv"
    header = header or "\t".join(f"noise_{name}" for name in ANNOTATORS)
    path.write_text(TAGGED.format(header), encoding="utf-8")
    return path


def test_noisebench_is_read_as_its_format_is_described(tmp_path, monkeypatch):
    path = noisebench_file(tmp_path)
    first, second = read_noisebench(path)
    assert first.words == ["EU", "rejects"]
    assert second.words == ["Peter", "Blackburn"]
    names = ("clean", *ANNOTATORS)
    begins = [TAGS[first.tags[name][0]] for name in names]
    assert begins == ["B-ORG", "B-ORG", "B-LOC", "O", "O", "O", "B-MISC"]
    assert [TAGS[t] for t in second.tags["weak"]] == ["O", "B-PER"]
    monkeypatch.setenv("KERAS_ROBUST_NOISEBENCH", str(path))
    assert read_noisebench() == [first, second]


def test_noisebench_has_to_be_there_and_in_its_format(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="the first line must name the columns"):
        read_noisebench(noisebench_file(tmp_path, "noise_expert"))
    monkeypatch.delenv("KERAS_ROBUST_NOISEBENCH", raising=False)
    with pytest.raises(FileNotFoundError, match="set KERAS_ROBUST_NOISEBENCH"):
        read_noisebench()


@pytest.fixture(scope="module")
def noisebench():
    path = os.environ.get("KERAS_ROBUST_NOISEBENCH")
    if not path or not Path(path).is_file():
        pytest.skip("KERAS_ROBUST_NOISEBENCH names no file")
    return read_noisebench()


def breaks(tags):
    """Counts I- tags that go on with nothing."""
    names = ["O", *(TAGS[tag] for tag in tags)]
    return sum(
        name.startswith("I-") and before[2:] != name[2:]
        for before, name in itertools.pairwise(names)
    )


def test_conll_2003_is_read_whole(conll2003):
    sizes = {split: len(sentences) for split, sentences in conll2003.items()}
    assert sizes == {"train": 14_041, "dev": 3_250, "test": 3_453}
    words = {s: sum(len(x.words) for x in conll2003[s]) for s in conll2003}
    assert words == {"train": 203_621, "dev": 51_362, "test": 46_435}
    first = conll2003["train"][0]
    assert all(sentence.words for split in conll2003.values() for sentence in split)
    assert all(len(first.words) == len(tags) for tags in first.tags.values())
    # Entities of each split, as Tjong Kim Sang and De Meulder (2003) count them.
    entities = {
        split: {
            kind: sum(s.tags["clean"].count(TAGS.index(f"B-{kind}")) for s in sentences)
            for kind in ("LOC", "MISC", "ORG", "PER")
        }
        for split, sentences in conll2003.items()
    }
    assert entities["train"] == {"LOC": 7140, "MISC": 3438, "ORG": 6321, "PER": 6600}
    assert entities["dev"] == {"LOC": 1837, "MISC": 922, "ORG": 1341, "PER": 1842}
    assert entities["test"] == {"LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617}
    every = [s.tags["clean"] for split in conll2003.values() for s in split]
    assert sum(map(breaks, every)) == 0


def test_noisebench_is_read_whole(noisebench):
    assert len(noisebench) == 5_885
    assert {tuple(s.tags) for s in noisebench} == {("clean", *ANNOTATORS)}
    truth = np.concatenate([s.tags["clean"] for s in noisebench])
    rates = {}
    for name in ANNOTATORS:
        given = np.concatenate([s.tags[name] for s in noisebench])
        rates[name] = round(float(np.mean(given != truth)), 3)
        assert sum(breaks(s.tags[name]) for s in noisebench) == 0
    assert rates == {
        "expert": 0.010,
        "crowdbest": 0.033,
        "crowd": 0.078,
        "distant": 0.071,
        "weak": 0.081,
        "llm": 0.126,
    }


def test_noisebench_shares_stock_lines_only_with_the_test_set(conll2003, noisebench):
    corpus = read_corpus("noisebench")
    assert {split: len(s) for split, s in corpus.items()} == {
        "train": 5_000,
        "dev": 885,
        "test": 3_453,
    }
    known = {tuple(s.words) for s in (*corpus["train"], *corpus["dev"])}
    training = {tuple(s.words) for s in conll2003["train"]}
    assert known <= training
    shared = [s for s in corpus["test"] if tuple(s.words) in known]
    # Such as "REUTER", "EASTERN DIVISION" and heads of tables. CoNLL-2003's own
    # training set has them all.
    assert len(shared) < 0.04 * len(corpus["test"])
    entities = sum(tag % 2 for s in shared for tag in s.tags["clean"])
    every = sum(tag % 2 for s in corpus["test"] for tag in s.tags["clean"])
    assert entities < 0.02 * every


def test_a_default_run_is_on_conll_2003():
    assert not RunConfig().annotated
    assert RunConfig(noise="crowd").annotated
