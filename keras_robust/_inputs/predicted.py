"""A model's predictions on labelled data, batch by batch."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import as_numpy, numeric


def predicted(
    owner: str,
    model: Any,
    data: Any,
    *,
    argument: str,
    batch_size: int = 32,
    steps: int | None = None,
    axis: int = -1,
) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
    """Yields labels, predictions and sample weights, batch by batch.

    One by one, as shapes may differ: those of padded sequences do.

    Args:
        owner: Who asks, for the errors.
        model: A Keras model with one output.
        data: A tuple `(x, y)` or `(x, y, sample_weight)` of arrays, which give a single
            batch; or what yields such batches, whatever the backend: a `PyDataset`, a
            `tf.data.Dataset`, a PyTorch `DataLoader`, a generator, a list.
        argument: What the caller calls the data, for the errors.
        batch_size: Rows that are predicted at a time, with arrays.
        steps: Number of batches to read, or None for all.
        axis: Axis of the classes in predictions and soft targets. What is yielded has
            it last.
    """
    batches = _batches(owner, argument, data, steps)
    first = next(batches, None)
    if first is None:
        raise checks.invalid(
            owner,
            argument,
            "a dataset of batches",
            "no batch",
            "A generator that was read before is used up.",
        )
    for x, y, weight in itertools.chain([first], batches):
        if isinstance(data, tuple):
            outputs = model.predict(x, batch_size=batch_size, verbose=0)
        else:
            x = keras.tree.map_structure(_for_backend, x)
            outputs = model.predict_on_batch(x)
        scores = _only_output(owner, model, outputs)
        labels = numeric(owner, "y", y)
        if labels.shape == scores.shape:
            labels = np.moveaxis(labels, axis, -1)
        yield labels, np.moveaxis(scores, axis, -1), weight


def _batches(
    owner: str, argument: str, data: Any, steps: int | None
) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(data, tuple) and steps is not None:
        raise checks.invalid(
            owner,
            "steps",
            "None for arrays",
            f"steps={steps}",
            "Pass the part of the arrays that counts.",
        )
    if steps is None and _is_endless(data):
        raise checks.invalid(
            owner,
            "steps",
            "given for a dataset that does not end",
            f"steps=None, {argument} of type {type(data).__name__}",
            "Pass the number of batches to predict.",
        )
    single = isinstance(data, tuple) or not hasattr(data, "__iter__")
    for batch in itertools.islice([data] if single else data, steps):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            raise checks.invalid(
                owner,
                argument,
                "given with labels",
                f"a {type(data).__name__} without",
                "Pass arrays x and y, or a dataset that yields (x, y) batches.",
            )
        yield x, y, weight


def _is_endless(data: Any) -> bool:
    # As far as data tell: of a generator nobody knows.
    if isinstance(data, keras.utils.PyDataset):
        try:
            return data.num_batches is None
        except NotImplementedError:
            return True
    cardinality = getattr(data, "cardinality", None)  # of a tf.data.Dataset
    return cardinality is not None and int(cardinality()) == -1


def _for_backend(x: Any) -> Any:
    # Other libraries' tensors mean nothing to the backend.
    known = isinstance(x, np.ndarray) or keras.ops.is_tensor(x)
    return x if known else as_numpy(x)


def _only_output(owner: str, model: Any, outputs: Any) -> np.ndarray:
    flat = keras.tree.flatten(outputs)
    if len(flat) != 1:
        names = getattr(model, "output_names", None) or range(len(flat))
        if isinstance(outputs, dict):
            names = outputs
        raise checks.invalid(
            owner,
            "model",
            "a model with one output",
            f"one with the outputs {', '.join(map(str, names))}",
            "Make a keras.Model of the output to look at.",
        )
    return numeric(owner, "y_pred", flat[0])
