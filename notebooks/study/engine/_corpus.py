"""CoNLL-2003 and NoiseBench: words and tags, split by split."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine._config import ANNOTATORS
from keras_robust._inputs import checks

# As in the article, the shared task and TensorFlow Datasets.
TAGS = (
    "O",
    "B-PER",
    "I-PER",
    "B-ORG",
    "I-ORG",
    "B-LOC",
    "I-LOC",
    "B-MISC",
    "I-MISC",
)
SPLITS = ("train", "dev", "test")


class Sentence(NamedTuple):
    """Words, and a tag id for each by every annotator: `"clean"` is the truth."""

    words: list[str]
    tags: dict[str, list[int]]


def read_conll2003(splits: Iterable[str] = SPLITS) -> dict[str, list[Sentence]]:
    """Reads splits of CoNLL-2003 through TensorFlow Datasets."""
    tfds = checks.optional_module("study", "tensorflow_datasets", extra="study")
    builder = tfds.builder("conll2003")
    builder.download_and_prepare()
    names = builder.info.features["ner"].feature.names
    ids = [TAGS.index(name) for name in names]
    return {
        split: [
            Sentence(
                [word.decode() for word in words],
                {"clean": [ids[tag] for tag in tags]},
            )
            for batch in builder.as_dataset(split=split).ragged_batch(1000)
            for words, tags in zip(batch["tokens"].to_list(), batch["ner"].to_list())
            if words
        ]
        for split in splits
    }


def read_noisebench(path: Any = None) -> list[Sentence]:
    """Reads NoiseBench: CoNLL-2003 sentences with the tags of six annotators.

    Args:
        path: Tab-separated file with a line for each word, empty lines between
            sentences, and the columns token, clean, and noise_expert,
            noise_crowdbest, noise_crowd, noise_distant, noise_weak, noise_llm, in
            IOB2 tags; by default what `KERAS_ROBUST_NOISEBENCH` names.
    """
    path = Path(path or os.environ.get("KERAS_ROBUST_NOISEBENCH") or _no_noisebench())
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    columns = ["token", "clean", *(f"noise_{name}" for name in ANNOTATORS)]
    if header.split("\t") != columns:
        raise ValueError(f"{path}: the first line must name the columns {columns}.")
    return [_sentence(block) for block in _blocks(lines)]


def _no_noisebench() -> Path:
    raise FileNotFoundError(
        "The noise of annotators needs NoiseBench: set KERAS_ROBUST_NOISEBENCH to the "
        "tab-separated file that `read_noisebench` describes "
        "(https://github.com/elenamer/NoiseBench)."
    )


def _blocks(lines: list[str]) -> Iterator[list[list[str]]]:
    block: list[list[str]] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line.split("\t"))
        elif block:
            yield block
            block = []


def _sentence(block: list[list[str]]) -> Sentence:
    words, *columns = zip(*block)
    tags = [[TAGS.index(tag) for tag in column] for column in columns]
    return Sentence(list(words), dict(zip(("clean", *ANNOTATORS), tags)))


def read_corpus(name: str) -> dict[str, list[Sentence]]:
    """Reads the splits of a corpus, "conll2003" or "noisebench".

    NoiseBench holds training sentences only: 885 drawn from them are for development.
    The test set is that of CoNLL-2003. As in CoNLL-2003 itself, lines that news repeat
    are on both sides, word for word: "REUTER", "EASTERN DIVISION", heads of tables.
    """
    if name == "conll2003":
        return read_conll2003()
    sentences, held_out = read_noisebench(), 885
    order = np.random.default_rng(0).permutation(len(sentences))
    return {
        "train": [sentences[i] for i in order[:-held_out]],
        "dev": [sentences[i] for i in order[-held_out:]],
        **read_conll2003(["test"]),
    }
