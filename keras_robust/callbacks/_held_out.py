"""Labels and predictions of rows that a model is not trained on."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks


def held_out(
    owner: str,
    model: Any,
    data: Any,
    *,
    batch_size: int,
    axis: int,
    ignore_class: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels `(N,)` and predictions `(N, K)` of the positions that count.

    Batches are read one by one: their shapes may differ, as padded sequences' do.
    """
    parts = [
        _counted(owner, _numpy(y), weight, _numpy(scores), axis, ignore_class)
        for y, weight, scores in _predicted(model, data, batch_size)
    ]
    if not sum(len(labels) for labels, _ in parts):
        raise checks.invalid(
            owner,
            "data",
            "of at least one position that counts",
            "none",
            "All labels may be ignored, or the dataset used up.",
        )
    labels, scores = (np.concatenate(column) for column in zip(*parts))
    return labels, scores


def _predicted(model: Any, data: Any, batch_size: int) -> Iterator[tuple]:
    if isinstance(data, tuple):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        yield y, weight, model.predict(x, batch_size=batch_size, verbose=0)
        return
    # A PyDataset has a length and items, but no end to run into.
    indexed = isinstance(data, keras.utils.PyDataset)
    for batch in map(data.__getitem__, range(len(data))) if indexed else data:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(tuple(batch))
        yield y, weight, model.predict_on_batch(x)


def _counted(
    owner: str,
    y: np.ndarray,
    weight: Any,
    scores: np.ndarray,
    axis: int,
    ignore_class: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = _class_ids(y, scores, axis), np.moveaxis(scores, axis, -1)
    positions = scores.shape[:-1]
    if labels.shape not in (positions, (*positions, 1)):
        raise checks.invalid(
            owner,
            "data",
            "of labels that fit the predictions",
            f"y.shape={y.shape}, predictions of shape {scores.shape}",
            "Pass (x, y), with an integer class for each position.",
        )
    labels = labels.reshape(positions)
    keep = np.ones(positions, bool) if ignore_class is None else labels != ignore_class
    if weight is not None:
        weight = _numpy(weight)
        trailing = (1,) * (len(positions) - weight.ndim)
        keep = keep & (weight.reshape(weight.shape + trailing) != 0)
    return labels[keep], scores[keep]


def _class_ids(y: np.ndarray, scores: np.ndarray, axis: int) -> np.ndarray:
    if y.shape == scores.shape and scores.shape[axis] > 1:
        y = np.moveaxis(y, axis, -1)
        # An ignored row of one-hot labels has its mark in every entry.
        marked = (y == y[..., :1]).all(axis=-1)
        y = np.where(marked, y[..., 0], y.argmax(axis=-1))
    whole = y.dtype.kind == "f" and (y == np.rint(y)).all()
    return y.astype("int64") if whole else y


def _numpy(x: Any) -> np.ndarray:
    is_array = isinstance(x, (np.ndarray, list, tuple))
    return np.asarray(x) if is_array else keras.ops.convert_to_numpy(x)
