"""Rows to decide on: labels that were drawn, confidences, what each row belongs to."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust._inputs.groups import known_parts, one_for_each
from keras_robust._inputs.matrices import Correction
from keras_robust._inputs.options import checked_axis
from keras_robust._inputs.predictions import (
    checked_distributions,
    read_predictions,
    with_class_ids,
)
from keras_robust._inputs.row_weights import check_whole
from keras_robust.calibration._bins.events import Events, events_of


class DecidedRows(NamedTuple):
    """Counted rows with labels, and where they were.

    Attributes:
        owner: Who reads them, for errors.
        events: The rows.
        row: Where they were among all positions, int64 of shape `(N,)`.
        positions: Their shape, that of `y_prob` without its axis of classes.
        num_classes: How many classes were predicted, 2 for a single output.
    """

    owner: str
    events: Events
    row: np.ndarray
    positions: tuple
    num_classes: int

    def of_positions(self, argument: str, values: np.ndarray) -> np.ndarray:
        """Returns the values of the rows, of an array with one for each position."""
        return one_for_each(self.owner, argument, values, self.positions)[self.row]


def read_decided(
    owner: str,
    y_true: Any,
    y_prob: Any,
    *,
    notion: str,
    undone: Correction | None,
    from_logits: bool,
    sample_weight: Any,
    ignore_class: int | None,
    axis: int,
) -> DecidedRows:
    """Checks predictions and labels that were drawn, and returns their rows."""
    scores = numeric(owner, "y_prob", y_prob)
    predictions = read_predictions(
        owner,
        y_true,
        scores,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
    )
    checked_distributions(owner, predictions)
    why, fix = "to be tested", "A soft target is neither right nor wrong."
    predictions = with_class_ids(owner, predictions, why, fix)
    check_whole(owner, predictions.weight)
    if not len(predictions.row):
        raise checks.invalid(
            owner,
            "y_true",
            "of at least one label that counts",
            "none, or only ignored ones and weights of 0",
            "Pass held-out labels.",
        )
    events = events_of(owner, predictions, notion, undone)
    positions = list(scores.shape)
    del positions[axis]
    num_classes = predictions.prob.shape[-1]
    return DecidedRows(owner, events, predictions.row, tuple(positions), num_classes)


def confidences(
    owner: str,
    y_prob: Any,
    num_classes: int,
    *,
    notion: str,
    from_logits: bool,
    axis: int,
) -> np.ndarray:
    """Returns the confidences of predictions, without the axis of classes."""
    scores = numeric(owner, "y_prob", y_prob)
    shape = list(scores.shape)
    shape.pop(checked_axis(owner, axis, scores, "y_prob"))
    predictions = read_predictions(
        owner,
        np.zeros(shape, int),
        scores,
        from_logits=from_logits,
        sample_weight=None,
        ignore_class=None,
        axis=axis,
    )
    checked_distributions(owner, predictions)
    if predictions.prob.shape[-1] != num_classes:
        raise checks.invalid(
            owner,
            "y_prob",
            f"of the {num_classes} classes of `fit`",
            f"{predictions.prob.shape[-1]} classes",
            "Fit again for another model.",
        )
    return events_of(owner, predictions, notion).confidence.reshape(shape)


def thresholds_by(
    owner: str, thresholds: dict[Any, float], by: Any, shape: tuple
) -> np.ndarray:
    """Returns the threshold of each position, by what it belongs to."""
    values = known_parts(owner, by, shape, thresholds)
    return np.array([thresholds[value] for value in values]).reshape(shape)
