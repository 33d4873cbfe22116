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
from keras_robust._inputs.row_weights import check_repetitions


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
    axis: int = -1,
    noise_matrix: Any = None,
    argument: str = "y_prob",
    repetitions: bool = False,
    said: set[str] | None = None,
) -> Events:
    """Checks predictions and returns the events they are about.

    `repetitions` says that weights must be able to stand for rows, as they must for
    all that concerns chance; `argument` and `said` are as in `read_predictions`.
    """
    notion = checked_notion(owner, notion)
    undone = correction(owner, noise_matrix)
    predictions = read_predictions(
        owner,
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
        argument=argument,
        said=said,
    )
    checked_distributions(owner, predictions, argument)
    events = events_of(owner, predictions, notion, undone)
    if repetitions:
        check_repetitions(owner, len(events.weight), float(events.weight.sum()))
    return events


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
    events = Events(
        *map(np.concatenate, (confidence, correct, weight)),
        dtypes[0],
        np.concatenate(event),
        ends[0],
    )
    check_repetitions(owner, len(events.weight), float(events.weight.sum()))
    return events


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
