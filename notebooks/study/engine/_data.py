"""The data of one run: sentences drawn, labels made wrong."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine._batches import Batches
from engine._cache import corpus_name, encoded_corpus, hidden_states
from engine._config import RunConfig
from engine._corpus import TAGS, read_corpus
from engine._encoded import IGNORED, Encoded
from engine._encoder import Encoder
from keras_robust import noise

# To the labels of sentences that were looked at again, for `losses.PartlyTrusted`.
TRUSTED = len(TAGS)


@dataclass(frozen=True, eq=False)
class Split:
    """Sentences with true and given labels, ready to be fed.

    Attributes:
        encoded: The sentences.
        clean: int32 array of shape `(pieces,)`: the true labels.
        given: The labels that an annotator gave, of the same shape.
        targets: What to train on: `given`, or soft targets of shape `(pieces, K)`.
        encoder: Tells what the model takes.
        hidden: Output of the layers that stay, for all sentences of the corpus; None
            if there are none.
        origin: Where the pieces of these sentences are in `hidden`.
    """

    encoded: Encoded
    clean: np.ndarray
    given: np.ndarray
    targets: np.ndarray
    encoder: Encoder
    hidden: np.ndarray | None
    origin: np.ndarray

    def batches(self, batch_size: int, **options: Any) -> Batches:
        """Returns batches with the targets."""
        options = {"batch_size": batch_size, **options}
        return Batches(self.encoded, self.targets, self._inputs, **options)

    def _inputs(
        self, token_ids: np.ndarray, mask: np.ndarray, where: np.ndarray
    ) -> Any:
        if self.hidden is None:
            return self.encoder.token_inputs(token_ids, mask)
        hidden = self.hidden[self.origin[where]].astype("float32")
        hidden[~mask] = 0
        return {"hidden": hidden, "padding_mask": mask}

    @property
    def words(self) -> np.ndarray:
        """Positions of first pieces: one for each word."""
        return np.flatnonzero(self.clean != IGNORED)

    @property
    def sentence_of_words(self) -> np.ndarray:
        """The number of each word's sentence."""
        lengths = self.encoded.lengths
        return np.repeat(np.arange(len(lengths)), lengths)[self.words]

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Given and true labels of the words."""
        return self.given[self.words], self.clean[self.words]

    def take(self, sentences: np.ndarray) -> "Split":
        """Returns some of the sentences, in that order."""
        where = self.encoded.pieces(sentences)
        return dataclasses.replace(
            self,
            encoded=self.encoded.take(sentences),
            clean=self.clean[where],
            given=self.given[where],
            targets=self.targets[where],
            origin=self.origin[where],
        )

    def with_trusted(self, trusted: "Split", offset: int) -> "Split":
        """Returns these sentences and others, whose targets are their true labels.

        Their labels are `offset` higher, so that a loss knows them.
        """
        both = (self, trusted)
        known = np.where(trusted.clean == IGNORED, IGNORED, trusted.clean + offset)
        if self.targets.ndim == 2:
            one_hot = np.eye(len(TAGS))[np.maximum(known, 0)]
            known = np.where(known[:, None] < 0, IGNORED, one_hot)
        hidden, origin = None, np.concatenate([split.origin for split in both])
        if self.hidden is not None:
            hidden = np.concatenate([split.hidden[split.origin] for split in both])
            origin = np.arange(len(hidden))
        return Split(
            Encoded(
                np.concatenate([split.encoded.token_ids for split in both]),
                np.concatenate([split.encoded.lengths for split in both]),
                {},
            ),
            np.concatenate([self.clean, trusted.clean]),
            np.concatenate([self.given, trusted.clean]),
            np.concatenate([self.targets, known.astype(self.targets.dtype)]),
            self.encoder,
            hidden,
            origin,
        )

    @property
    def matrix(self) -> np.ndarray:
        """Realised transition matrix, NaN in the rows of tags that do not occur."""
        clean, given = (x[self.words].astype("int64") for x in (self.clean, self.given))
        return noise.NoisyLabels.compare(None, clean, given, len(TAGS)).matrix

    @property
    def rate(self) -> float:
        """Realised share of words with a wrong label."""
        return float(np.mean(self.clean[self.words] != self.given[self.words]))


def splits_of(config: RunConfig, encoder: Encoder, preset: str) -> dict[str, Split]:
    """Returns the "train", "dev" and "test" sentences of a run.

    The test split has its true labels only. The development labels are made wrong in
    the same way as the training labels, but on their own.
    """
    corpus = encoded_corpus(corpus_name(config), preset)
    return {
        split: _split(config, encoder, preset, split, encoded)
        for split, encoded in corpus.items()
    }


def trusted_sentences(config: RunConfig, dev: Split) -> np.ndarray:
    """Returns which of the development sentences were looked at again."""
    rng = np.random.default_rng([config.seed, 3])
    return rng.permutation(len(dev.encoded))[: config.trusted_sentences]


def trusted_of(config: RunConfig, dev: Split) -> Split:
    """Returns the development sentences that were looked at again."""
    return dev.take(trusted_sentences(config, dev))


def matrix_of(config: RunConfig, splits: dict[str, Split]) -> np.ndarray:
    """Returns the matrix that is known before training, of shape `(K, K)`."""
    counted = splits["train"]
    if config.matrix_rule != "true":
        counted = trusted_of(config, splits["dev"])
    given, clean = counted.pairs
    if config.matrix_rule == "omission":
        missed = given[clean > 0] == 0
        return noise.omission_matrix(len(TAGS), float(missed.mean()))
    return noise.matrix_from_pairs(given, clean, len(TAGS)).matrix


def posterior_targets(
    config: RunConfig,
    splits: dict[str, Split],
    train_logits: np.ndarray,
    dev_logits: np.ndarray,
) -> np.ndarray:
    """Returns P(true label | word, given label) for training pieces, -100 elsewhere.

    `noise.LabelPosterior`, fitted to the sentences that were looked at again; logits
    are those of words, of models that were not trained on them.
    """
    train, dev = splits["train"], splits["dev"]
    given, clean = trusted_of(config, dev).pairs
    judged = trusted_rows(config, dev, dev_logits)
    known = kinds = None
    if config.targets == "by_kind":
        known, kinds = (
            np.array([word[:1].isupper() for word in words_of(config, name)])
            for name in ("dev", "train")
        )
        known = trusted_rows(config, dev, known)
    posterior = noise.LabelPosterior(from_logits=True)
    posterior.fit(given, clean, judged, by=known)
    of_words = posterior.transform(train.pairs[0], train_logits, by=kinds)
    if config.targets == "recounted":
        counts = of_words.T.astype("float64") @ np.eye(len(TAGS))[train.pairs[0]]
        matrix = counts / counts.sum(axis=1, keepdims=True)
        posterior = noise.LabelPosterior(matrix, from_logits=True)
        posterior.fit(given, clean, judged)
        of_words = posterior.transform(train.pairs[0], train_logits)
    targets = np.full((len(train.clean), len(TAGS)), IGNORED, "float32")
    targets[train.words] = of_words
    return targets


def trusted_rows(config: RunConfig, dev: Split, rows: np.ndarray) -> np.ndarray:
    """Returns the rows of words that were looked at again, of those of all words."""
    every = np.zeros((len(dev.clean), *rows.shape[1:]), rows.dtype)
    every[dev.words] = rows
    where = dev.encoded.pieces(trusted_sentences(config, dev))
    return every[where[dev.clean[where] != IGNORED]]


def words_of(config: RunConfig, name: str) -> list[str]:
    """Returns the words of a split."""
    sentences = read_corpus(corpus_name(config))[name]
    chosen = _chosen(config, name, len(sentences))
    return [word for i in chosen for word in sentences[i].words]


def _split(
    config: RunConfig, encoder: Encoder, preset: str, name: str, encoded: Encoded
) -> Split:
    encoder.check_lengths(encoded.lengths)
    chosen = _chosen(config, name, len(encoded))
    taken = encoded.take(chosen)
    clean = taken.labels["clean"]
    given = clean if name == "test" else _given(config, name, taken)
    smooth = config.span_smoothing if name == "train" else 0.0
    return Split(
        taken,
        clean,
        given,
        _smoothed(taken, given, smooth) if smooth else given,
        encoder,
        hidden_states(config, name, encoded, encoder, preset),
        encoded.pieces(chosen),
    )


def _chosen(config: RunConfig, name: str, available: int) -> np.ndarray:
    # Training sentences differ from seed to seed, the others do not.
    wanted = getattr(config, f"{name}_sentences")
    if wanted is None:
        return np.arange(available)
    stream = [config.seed, 0] if name == "train" else [0]
    return np.random.default_rng(stream).permutation(available)[:wanted]


def _given(config: RunConfig, name: str, encoded: Encoded) -> np.ndarray:
    if config.annotated:
        return encoded.labels[config.noise]
    rng = np.random.default_rng([config.seed, 1 if name == "train" else 2])
    if config.noise == "boundary":
        sentences = np.split(encoded.labels["clean"], encoded.offsets[1:])
        options = {"shift": config.noise_rate, "seed": rng}
        return np.concatenate(noise.corrupt_spans(sentences, TAGS, **options).labels)
    matrix = noise_matrix(config)
    return noise.flip_labels(encoded.labels["clean"], matrix, seed=rng).labels


def _smoothed(encoded: Encoded, given: np.ndarray, smoothing: float) -> np.ndarray:
    # Over words: between first pieces, later ones would stand in the way.
    where = np.flatnonzero(given != IGNORED)
    ends = np.searchsorted(where, encoded.offsets[1:])
    of_words = noise.SpanSmoothing(len(TAGS), smoothing=smoothing)(
        np.split(given[where], ends)
    )
    targets = np.full((len(given), len(TAGS)), IGNORED, "float32")
    targets[where] = np.concatenate(of_words)
    return targets


def noise_matrix(config: RunConfig) -> np.ndarray:
    """Returns the transition matrix of drawn noise."""
    draw = {
        "symmetric": noise.symmetric_matrix,
        "pair": noise.pair_matrix,
        "omission": noise.omission_matrix,
    }
    return draw[config.noise](len(TAGS), config.noise_rate)
