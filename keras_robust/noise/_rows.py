"""Given labels beside the predictions of a model, as flat arrays."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import integer_labels
from keras_robust._inputs.predictions import checked_distributions, read_predictions


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
        """Returns the rows whose confidence is at the quantile or above, ties too.

        Of no rows, none.
        """
        if not len(self.given):
            return self
        confidence = self.prob.max(axis=-1)
        keep = confidence >= np.quantile(confidence, quantile, method="lower")
        return Rows(self.given[keep], self.prob[keep])

    def surest_of_each(self, quantile: float) -> "Rows":
        """Returns the surest rows of every predicted class, one class after another."""
        parts = [self.predicted_as(k).surest(quantile) for k in range(self.num_classes)]
        given, prob = zip(*parts)
        return Rows(np.concatenate(given), np.concatenate(prob))

    def predicted_as(self, label: int) -> "Rows":
        """Returns the rows of which a class is the likeliest."""
        keep = self.predicted == label
        return Rows(self.given[keep], self.prob[keep])


def read_rows(
    owner: str, labels: Any, y_prob: Any, *, from_logits: bool, ignore_class: int | None
) -> Rows:
    """Checks labels and predictions and flattens them, ignored positions left out."""
    predictions = read_predictions(
        owner,
        integer_labels(owner, "labels", labels),
        y_prob,
        from_logits=from_logits,
        sample_weight=None,
        ignore_class=ignore_class,
        label_argument="labels",
    )
    checked_distributions(owner, predictions)
    if not len(predictions.label):
        raise checks.invalid(
            owner,
            "labels",
            "of at least one position that is not ignored",
            f"labels of shape {np.shape(labels)}, all ignored",
            f"Positions labelled ignore_class={ignore_class} are left out.",
        )
    return Rows(predictions.class_id, predictions.prob)
