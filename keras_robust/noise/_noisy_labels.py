"""Noisy labels together with the noise that really happened."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class NoisyLabels:
    """Corrupted labels and the noise that they really carry.

    Unpacks as `labels, matrix`.

    Attributes:
        labels: The noisy labels, in the form and dtype of the clean ones.
        matrix: Realised transition matrix, float64 of shape `(K, K)`: the share of
            true class i that was given label j; NaN in the rows of classes that the
            labels do not hold.
        rate: Realised share of labels that changed; 0 if there were none.
    """

    labels: Any
    matrix: np.ndarray
    rate: float

    def __iter__(self) -> Iterator[Any]:
        return iter((self.labels, self.matrix))

    def __repr__(self) -> str:
        return f"NoisyLabels(num_classes={len(self.matrix)}, rate={self.rate:.4f})"

    @classmethod
    def compare(
        cls, labels: Any, true: np.ndarray, given: np.ndarray, num_classes: int
    ) -> "NoisyLabels":
        """Reads the realised noise off flat arrays of true and given class ids."""
        pairs = np.bincount(true * num_classes + given, minlength=num_classes**2)
        pairs = pairs.reshape(num_classes, num_classes)
        with np.errstate(invalid="ignore"):
            matrix = pairs / pairs.sum(axis=1, keepdims=True)
        changed = pairs.sum() - np.trace(pairs)
        return cls(labels, matrix, float(changed / max(pairs.sum(), 1)))
