"""Predictions as events: a confidence, and whether what it was about came true."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import Correction, correction
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
        correct: Float64 array of shape `(N,)`: 1 or 0, or between for soft labels; of
            labels whose noise is undone, what has the expectation 1 or 0.
        weight: Float64 array of shape `(N,)`, all positive.
        dtype: The dtype in which the confidences were given.
        event: The class that each event is about, int64 of shape `(N,)`.
        ends: The smallest and largest value `correct` can have, where noise is undone;
            else None.
    """

    confidence: np.ndarray
    correct: np.ndarray
    weight: np.ndarray
    dtype: np.dtype
    event: np.ndarray
    ends: tuple[float, float] | None = None


def read_events(
    owner: str,
    y_true: Any,
    y_prob: Any,
    *,
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    noise_matrix: Any = None,
) -> Events:
    """Checks predictions and returns the events they are about."""
    notion = checked_notion(owner, notion)
    undone = correction(owner, noise_matrix)
    predictions = read_predictions(
        owner,
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
    )
    checked_distributions(owner, predictions)
    return events_of(owner, predictions, notion, undone)


def read_batches(
    owner: str,
    batches: Iterable[Predictions],
    *,
    notion: str = "top_label",
    noise_matrix: Any = None,
) -> Events:
    """Returns the events of checked predictions that come in batches."""
    undone = correction(owner, noise_matrix)
    parts = [events_of(owner, part, notion, undone) for part in batches]
    confidence, correct, weight, dtypes, event, ends = zip(*parts)
    return Events(
        *map(np.concatenate, (confidence, correct, weight)),
        dtypes[0],
        np.concatenate(event),
        ends[0],
    )


def events_of(
    owner: str,
    predictions: Predictions,
    notion: str,
    undone: Correction | None = None,
) -> Events:
    """Returns the events of checked predictions, with the noise of labels undone."""
    prob = predictions.prob
    if undone is not None:
        undone.check_classes(owner, prob.shape[-1])
    if notion == "positive":
        if prob.shape[-1] != 2:
            raise checks.invalid(
                owner,
                "notion",
                "'top_label' for more than two classes",
                f"notion='positive' with {prob.shape[-1]} classes",
                "For each class against the rest use `bin_classwise`.",
            )
        event = np.ones(len(prob), "int64")
    else:
        event = prob.argmax(axis=-1)
    label, row = predictions.label, np.arange(len(prob))
    if undone is not None:
        correct = undone.of_labels(label)[row, event]
    else:
        correct = (event == label) if label.ndim == 1 else label[row, event]
    return Events(
        prob[row, event],
        correct.astype("float64"),
        predictions.weight,
        predictions.dtype,
        event,
        None if undone is None else undone.ends,
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
