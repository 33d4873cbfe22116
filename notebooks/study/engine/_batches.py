"""Batches of sentences of about one length."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from engine._encoded import IGNORED, Encoded

# Lengths to which sentences are padded where each new shape is compiled anew.
_FEW_LENGTHS = np.array([16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512])


def padded_length(length: int) -> int:
    """Returns the length to which a batch is padded on the current backend."""
    if keras.backend.backend() == "torch" or length > _FEW_LENGTHS[-1]:
        return -(-length // 4) * 4
    return int(_FEW_LENGTHS[np.searchsorted(_FEW_LENGTHS, length)])


class Batches(keras.utils.PyDataset):
    """Padded batches, in a new order each epoch.

    Sentences are sorted by length, with a little chance, and cut into batches; their
    order is drawn from the seed and the epoch. The last batch is filled up with empty
    rows, which have no label.

    Args:
        encoded: The sentences.
        labels: int array of shape `(pieces,)`, -100 where there is none, or soft
            targets of shape `(pieces, K)`.
        inputs: Makes the model's inputs from token ids and padding mask, both of shape
            `(batch, length)`, and the positions of the pieces.
        batch_size: Sentences in a batch.
        seed: Seed of the order; None keeps sentences sorted by length.
        epoch: Number of the epoch; `OrderOfEpoch` goes on from there.
    """

    def __init__(
        self,
        encoded: Encoded,
        labels: np.ndarray,
        inputs: Callable[[np.ndarray, np.ndarray, np.ndarray], Any],
        *,
        batch_size: int,
        seed: int | None = None,
        epoch: int = 0,
    ) -> None:
        super().__init__()
        self.encoded, self.labels, self.inputs = encoded, labels, inputs
        self.batch_size, self.seed, self.epoch = batch_size, seed, epoch
        self._order()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        where, mask = self.positions(index)
        token_ids = np.where(mask, self.encoded.token_ids[where], 0)
        labels = self.labels[where]
        labels[~mask] = IGNORED
        return self.inputs(token_ids, mask, where), labels

    def positions(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the positions of a batch's pieces, and which of them are real."""
        sentences = self.batches[index]
        starts = np.zeros(self.batch_size, "int64")
        lengths = np.zeros(self.batch_size, "int64")
        starts[: len(sentences)] = self.encoded.offsets[sentences]
        lengths[: len(sentences)] = self.encoded.lengths[sentences]
        steps = np.arange(padded_length(int(lengths.max())))
        mask = steps < lengths[:, None]
        return np.where(mask, starts[:, None] + steps, 0), mask

    def start(self, epoch: int) -> None:
        """Draws the order of an epoch."""
        self.epoch = epoch
        self._order()

    def feed(self) -> Any:
        """Returns what `fit` takes for batches of any length."""
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        # Keras would hold all batches to the length of the first two, if it is one.
        def spec(array: np.ndarray) -> Any:
            return tf.TensorSpec([array.shape[0], None, *array.shape[2:]], array.dtype)

        signature = keras.tree.map_structure(spec, self[0])
        data = tf.data.Dataset.from_generator(self.__iter__, output_signature=signature)
        return data.apply(tf.data.experimental.assert_cardinality(len(self)))

    def _order(self) -> None:
        lengths = self.encoded.lengths.astype("float64")
        rng = None
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.epoch + 1])
            lengths = lengths + 3 * rng.random(len(lengths))
        order = np.argsort(lengths, kind="stable")
        cuts = range(self.batch_size, len(order), self.batch_size)
        self.batches = np.split(order, cuts)
        if rng is not None:
            rng.shuffle(self.batches)


class OrderOfEpoch(keras.callbacks.Callback):
    """Gives each epoch of `fit` its order."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Draws it."""
        self.batches.start(epoch)
