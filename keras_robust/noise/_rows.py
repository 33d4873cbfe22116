"""Given labels beside the predictions of a model, as flat arrays."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import arrays, checks, distributions
from keras_robust.noise._flip import counted_labels, integer_labels


class Rows(NamedTuple):
    """Labelled positions, one row each.

    Attributes:
        given: Class ids of shape `(N,)`, int64, N >= 1.
        prob: Float64 probabilities of shape `(N, K)`, K >= 2.
    """

    given: np.ndarray
    prob: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each row, the first of several."""
        return self.prob.argmax(axis=-1)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.prob.shape[-1]

    def surest(self, quantile: float) -> "Rows":
        """Returns the rows whose confidence is at the quantile or above, ties too."""
        confidence = self.prob.max(axis=-1)
        keep = confidence >= np.quantile(confidence, quantile, method="lower")
        return Rows(self.given[keep], self.prob[keep])

    def predicted_as(self, label: int) -> "Rows":
        """Returns the rows of which a class is the likeliest."""
        keep = self.predicted == label
        return Rows(self.given[keep], self.prob[keep])


def read_rows(
    owner: str, labels: Any, prob: Any, *, from_logits: bool, ignore_class: int | None
) -> Rows:
    """Checks labels and predictions and flattens them, ignored positions left out."""
    from_logits = checks.flag(owner, "from_logits", from_logits)
    ignore_class = checks.ignored_class(owner, ignore_class)
    labels = integer_labels(owner, "labels", labels)
    scores = arrays.numeric(owner, "prob", prob)
    if scores.ndim and labels.shape == (*scores.shape[:-1], 1):
        labels = labels[..., 0]
    if scores.ndim == 0 or labels.shape != scores.shape[:-1]:
        raise checks.invalid(
            owner,
            "labels",
            "of the shape of `prob` without its last axis, that of the classes",
            f"labels.shape={labels.shape}, prob.shape={scores.shape}",
            "A single sigmoid output needs a last axis of 1.",
        )
    single = scores.shape[-1] == 1
    num_classes = 2 if single else scores.shape[-1]
    counted = counted_labels(owner, "labels", labels, ignore_class, num_classes)
    if not counted.any():
        raise checks.invalid(
            owner,
            "labels",
            "of at least one position that is not ignored",
            f"labels.shape={labels.shape}, all ignored",
            f"Positions labelled ignore_class={ignore_class} are left out.",
        )
    scores = scores[counted]
    if single:
        other = np.zeros_like(scores) if from_logits else 1 - scores
        scores = np.concatenate([other, scores], axis=-1)
    log_p = distributions.log_distribution(
        owner, "prob", scores, from_logits=from_logits
    )
    return Rows(labels[counted].astype("int64"), np.exp(log_p))
