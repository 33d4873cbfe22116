"""Labelled rows, and what their labels say of scores."""

from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """Labelled rows of logits.

    Attributes:
        log_prob: Float64 log-probabilities of shape `(N, K)`, K >= 2.
        target: Float64 label distributions of shape `(N, K)`.
        weight: Float64 weights of shape `(N,)`, summing to 1.
        total: The sum of the weights as they were given.
    """

    log_prob: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    total: float

    @property
    def absent(self) -> np.ndarray:
        """Ids of classes that no label has."""
        return np.flatnonzero(self.weight @ self.target == 0)

    def of_target(self, scores: np.ndarray) -> np.ndarray:
        """Returns each row's score of its label, shape (N,); 0 * -inf counts as 0."""
        return (self.target * np.where(self.target > 0, scores, 0)).sum(axis=-1)

    @property
    def spread(self) -> float:
        """Root of the mean variance of a row's logits, those of -inf left out."""
        below = self.log_prob - self.log_prob.max(axis=-1, keepdims=True)
        scale = -float(below[np.isfinite(below)].min())  # squares may overflow
        if scale == 0.0:
            return 0.0
        finite = np.where(np.isneginf(below), np.nan, below / scale)
        return scale * float(np.sqrt(self.weight @ np.nanvar(finite, axis=-1)))

    def nll(self, log_prob: np.ndarray) -> float:
        """Returns the mean negative log-likelihood of calibrated rows."""
        return float(-self.weight @ self.of_target(log_prob))

    def all_right(self, scores: np.ndarray) -> bool:
        """Returns whether each label is certain and has the highest score alone."""
        rest = np.where(self.target == 1, -np.inf, scores).max(axis=-1)
        certain = (self.target.max(axis=-1) == 1).all()
        return bool(certain and (self.of_target(scores) > rest).all())
