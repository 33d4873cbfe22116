"""A model's predictions on labelled data, batch by batch."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import as_numpy
from keras_robust._inputs.batches import labelled_batches
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)


def predicted(
    owner: str,
    model: Any,
    data: Any,
    *,
    argument: str,
    from_logits: bool,
    ignore_class: int | None,
    batch_size: int = 32,
    steps: int | None = None,
    axis: int = -1,
    output: str | int | None = None,
) -> Iterator[Predictions]:
    """Yields checked predictions with their labels and weights, batch by batch.

    One by one, as shapes may differ: those of padded sequences do.

    Args:
        owner: Who asks, for the errors.
        model: A Keras model.
        data: A tuple `(x, y)` or `(x, y, sample_weight)` of arrays, which give a single
            batch; or what yields such batches, whatever the backend: a `PyDataset`, a
            `tf.data.Dataset`, a PyTorch `DataLoader`, a generator, a list.
        argument: What the caller calls the data, for the errors.
        from_logits: Whether the model returns logits.
        ignore_class: Label of positions to leave out, or None.
        batch_size: Rows that are predicted at a time, with arrays.
        steps: Number of batches to read, or None for all.
        axis: Axis of the classes in predictions and soft targets.
        output: Name or number of the model's output, where it has several.
    """
    batches = labelled_batches(owner, argument, data, steps)
    first = next(batches, None)
    if first is None:
        raise checks.invalid(
            owner,
            argument,
            "a dataset of batches",
            "no batch",
            "A generator that was read before is used up.",
        )
    said: set[str] = set()
    for number, (x, y, weight) in enumerate(itertools.chain([first], batches)):
        if isinstance(data, tuple):
            outputs = model.predict(x, batch_size=batch_size, verbose=0)
        else:
            x = keras.tree.map_structure(lambda v: _for_backend(owner, v), x)
            outputs = model.predict_on_batch(x)
        try:
            scores, y, weight = _of_output(owner, model, outputs, output, y, weight)
            part = read_predictions(
                owner,
                _dense(owner, "y", y),
                scores,
                from_logits=from_logits,
                sample_weight=weight,
                ignore_class=ignore_class,
                axis=axis,
                argument="y_pred",
                label_argument="y",
                said=said,
            )
            part = checked_distributions(owner, part, "y_pred")
        except (TypeError, ValueError) as error:
            if isinstance(data, tuple) or not checks.problem_of(error):
                raise
            raise _in_batch(number, error) from None
        yield part


def _in_batch(number: int, error: Exception) -> Exception:
    problem = checks.problem_of(error)
    make = checks.invalid_type if isinstance(error, TypeError) else checks.invalid
    return make(*problem._replace(received=f"{problem.received}, in batch {number}"))


def _for_backend(owner: str, x: Any) -> Any:
    # Other libraries' tensors mean nothing to the backend.
    known = isinstance(x, np.ndarray) or keras.ops.is_tensor(x)
    return x if known else as_numpy(_dense(owner, "x", x))


def _dense(owner: str, argument: str, values: Any) -> Any:
    if hasattr(values, "ragged_rank"):
        raise checks.invalid_type(
            owner,
            argument,
            "padded to one length",
            "a ragged tensor",
            "Call its `to_tensor()`; with `default_value=-100` for labels, the padding "
            "is left out by `ignore_class`.",
        )
    if hasattr(values, "dense_shape"):  # a tf.SparseTensor
        import tensorflow as tf

        return tf.sparse.to_dense(values)
    return values.toarray() if hasattr(values, "toarray") else values  # of SciPy


def check_output(owner: str, model: Any, output: str | int | None) -> None:
    """Raises if it is known before predicting that `output` does not choose one."""
    names = getattr(model, "output_names", None)
    if names:
        _place(owner, list(names), output)


def _of_output(
    owner: str, model: Any, outputs: Any, output: Any, y: Any, weight: Any
) -> tuple[Any, Any, Any]:
    """Returns one output, and its part of labels and weights."""
    flat = keras.tree.flatten(outputs)
    names = list(getattr(model, "output_names", None) or [])
    if isinstance(outputs, dict):
        names = sorted(outputs)  # as Keras flattens them
    if len(names) != len(flat):
        names = list(range(len(flat)))
    place = _place(owner, names, output)
    parts = (_part(owner, part, names, place) for part in (y, weight))
    return flat[place], *parts


def _place(owner: str, names: list, output: str | int | None) -> int:
    told = ", ".join(map(str, names))
    if output is None and len(names) > 1:
        raise checks.invalid(
            owner,
            "output",
            "given for a model with several outputs",
            f"output=None, outputs {told}",
            "Pass the name of the one to look at.",
        )
    if output is not None and output not in (*names, *range(len(names))):
        fix = "Pass the name of one of the model's outputs."
        raise checks.invalid(owner, "output", f"one of {told}", f"{output=}", fix)
    return names.index(output) if output in names else int(output or 0)


def _part(owner: str, values: Any, names: list, place: int) -> Any:
    """Returns what belongs to one output, where `values` are of all of them."""
    if isinstance(values, dict):
        if names[place] not in values:
            raise checks.invalid(
                owner,
                "y",
                f"a dict with an entry {names[place]!r}",
                f"the keys {', '.join(map(str, values))}",
                "Name labels and weights as the model's outputs.",
            )
        return values[names[place]]
    of_all = isinstance(values, (list, tuple)) and len(values) == len(names)
    return values[place] if of_all and np.ndim(values[0]) else values
