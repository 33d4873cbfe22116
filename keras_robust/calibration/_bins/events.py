"""Predictions as events: a confidence, and whether what it was about came true."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.options import checked_notion
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)


class Events(NamedTuple):
    """One row for each counted prediction.

    Attributes:
        confidence: Float64 array of shape `(N,)`, in [0, 1].
        correct: Float64 array of shape `(N,)`: 1 or 0, or between for soft labels.
        weight: Float64 array of shape `(N,)`, all positive.
        dtype: The dtype in which the confidences were given.
        event: The class that each event is about, int64 of shape `(N,)`.
    """

    confidence: np.ndarray
    correct: np.ndarray
    weight: np.ndarray
    dtype: np.dtype
    event: np.ndarray


def read_events(
    owner: str,
    y_true: Any,
    y_prob: Any,
    *,
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
) -> Events:
    """Checks predictions and returns the events they are about."""
    notion = checked_notion(owner, notion)
    predictions = read_predictions(
        owner,
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
    )
    checked_distributions(owner, predictions)
    return events_of(owner, predictions, notion)


def read_batches(owner: str, batches: Iterable[tuple], **how: Any) -> Events:
    """Returns the events of batches of labels, predictions and sample weights."""
    parts = [
        read_events(owner, labels, prob, sample_weight=weight, **how)
        for labels, prob, weight in batches
    ]
    confidence, correct, weight, dtypes, event = zip(*parts)
    return Events(
        *map(np.concatenate, (confidence, correct, weight)),
        dtypes[0],
        np.concatenate(event),
    )


def events_of(owner: str, predictions: Predictions, notion: str) -> Events:
    """Returns the events of checked predictions."""
    prob = predictions.prob
    if notion == "positive":
        if prob.shape[-1] != 2:
            raise checks.invalid(
                owner,
                "notion",
                "'top_label' for more than two classes",
                f"notion='positive' with {prob.shape[-1]} classes",
                "For each class against the rest use `bin_classwise`.",
            )
        return one_class(predictions, 1)
    return _events(predictions, prob.argmax(axis=-1))


def one_class(predictions: Predictions, label: int) -> Events:
    """Returns the events that a row is of one class."""
    return _events(predictions, np.full(len(predictions.prob), label))


def _events(predictions: Predictions, event: np.ndarray) -> Events:
    prob, label = predictions.prob, predictions.label
    row = np.arange(len(prob))
    correct = (event == label) if label.ndim == 1 else label[row, event]
    return Events(
        prob[row, event],
        correct.astype("float64"),
        predictions.weight,
        predictions.dtype,
        event,
    )


def check_repetitions(owner: str, events: Events) -> None:
    """Raises for weights so small that they cannot be meant as repetitions of rows."""
    rows, total = len(events.weight), float(events.weight.sum())
    if total < rows / 2:
        raise checks.invalid(
            owner,
            "sample_weight",
            "repetitions of rows, of at least half their number in all",
            f"weights that sum to {total:.6g} for {rows} rows",
            f"Multiply them by {rows / total:.6g}, so that they are 1 on average.",
        )
