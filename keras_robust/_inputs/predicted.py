"""A model's predictions on labelled data, as events."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust.calibration._bins.events import Events, read_events


def events_of_model(
    owner: str,
    model: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int,
    how: dict[str, Any],
) -> Events:
    """Returns the events of a model's predictions on arrays or on a dataset.

    Batches are read one by one: their shapes may differ, as padded sequences' do.
    """
    if y is not None:
        prob = to_numpy(model.predict(x, batch_size=batch_size, verbose=0))
        return read_events(
            owner, to_numpy(y), prob, sample_weight=to_numpy(sample_weight), **how
        )
    parts = [
        read_events(
            owner,
            to_numpy(y_batch),
            to_numpy(model.predict_on_batch(x_batch)),
            sample_weight=to_numpy(weight),
            **how,
        )
        for x_batch, y_batch, weight in _batches(owner, x)
    ]
    if not parts:
        raise checks.invalid(
            owner, "x", "a dataset of batches", "no batch", "It may be used up."
        )
    columns = zip(*parts)
    confidence, correct, weight, dtypes, event = columns
    return Events(
        *map(np.concatenate, (confidence, correct, weight)),
        dtypes[0],
        np.concatenate(event),
    )


def to_numpy(x: Any) -> Any:
    """Returns a tensor of any backend as a NumPy array; None stays None."""
    if x is None or isinstance(x, (np.ndarray, list, tuple)):
        return x
    return keras.ops.convert_to_numpy(x)


def _batches(owner: str, dataset: Any) -> Iterator[tuple[Any, Any, Any]]:
    for batch in dataset if hasattr(dataset, "__iter__") else [(dataset,)]:
        batch = tuple(batch) if isinstance(batch, list) else batch
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            raise checks.invalid(
                owner,
                "y",
                "given, or `x` a dataset of (x, y) batches",
                f"y=None and x of type {type(dataset).__name__}",
                "Without labels there is no reliability.",
            )
        yield x, y, weight
