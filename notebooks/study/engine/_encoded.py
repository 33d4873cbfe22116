"""Sentences as word pieces, labelled on the first piece of each word."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine._corpus import Sentence

IGNORED = -100


@dataclass(frozen=True, eq=False)
class Encoded:
    """Sentences as word pieces, one after the other.

    Attributes:
        token_ids: int32 array of shape `(pieces,)`.
        lengths: int64 array of shape `(sentences,)`, pieces of each sentence.
        labels: For each annotator an int32 array of shape `(pieces,)`: the tag on the
            first piece of a word, -100 on the others and on special tokens.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    labels: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """Where each sentence begins."""
        return np.cumsum(self.lengths) - self.lengths

    def pieces(self, sentences: np.ndarray) -> np.ndarray:
        """Returns the positions of the pieces of some sentences, in their order."""
        lengths = self.lengths[sentences]
        within = np.arange(lengths.sum()) - np.repeat(
            np.cumsum(lengths) - lengths, lengths
        )
        return np.repeat(self.offsets[sentences], lengths) + within

    def take(self, sentences: np.ndarray) -> "Encoded":
        """Returns some of the sentences, in that order."""
        where = self.pieces(sentences)
        labels = {name: label[where] for name, label in self.labels.items()}
        return Encoded(self.token_ids[where], self.lengths[sentences], labels)


def encode(sentences: Sequence[Sentence], tokenizer: Any) -> Encoded:
    """Cuts words into pieces by a WordPiece tokenizer of KerasHub.

    Each word is cut by itself, so that its first piece is known. A word that leaves no
    piece (a lone control character) becomes the unknown token: every word keeps its
    label. Nothing is cut off.
    """
    pieces = _pieces_of_words(sentences, tokenizer)
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids: list[int] = []
    lengths = []
    labels: dict[str, list[int]] = {name: [] for name in sentences[0].tags}
    for words, tags in sentences:
        cut = [pieces[word] for word in words]
        row = [begin, *(piece for word in cut for piece in word), end]
        ids += row
        lengths.append(len(row))
        for name, tag in tags.items():
            labels[name] += [IGNORED, *_on_first_pieces(cut, tag), IGNORED]
    return Encoded(
        np.array(ids, "int32"),
        np.array(lengths, "int64"),
        {name: np.array(label, "int32") for name, label in labels.items()},
    )


def _pieces_of_words(
    sentences: Sequence[Sentence], tokenizer: Any
) -> dict[str, list[int]]:
    words = sorted({word for sentence in sentences for word in sentence.words})
    unknown = [tokenizer.token_to_id(tokenizer.oov_token)]
    return {word: list(cut) or unknown for word, cut in zip(words, tokenizer(words))}


def _on_first_pieces(cut: list[list[int]], tags: list[int]) -> list[int]:
    return [
        label
        for pieces, tag in zip(cut, tags)
        for label in (tag, *[IGNORED] * (len(pieces) - 1))
    ]
