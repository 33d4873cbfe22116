"""The data of one run: sentences drawn, labels made wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine._batches import Batches
from engine._cache import corpus_name, encoded_corpus, hidden_states
from engine._config import RunConfig
from engine._corpus import TAGS
from engine._encoded import IGNORED, Encoded
from engine._encoder import Encoder
from keras_robust import noise


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
    draw = {"symmetric": noise.symmetric_matrix, "pair": noise.pair_matrix}
    return draw[config.noise](len(TAGS), config.noise_rate)
