"""Which loss, labels, weights and metrics go with which output of a compiled model."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from keras_robust import _backend


class Output(NamedTuple):
    """One output of the model, with what `compile` and the batch have for it."""

    place: str  # where its labels are in y, for the errors: "" or "['name']"
    y_pred: Any
    loss: Any
    y: Any
    weight: Any
    metrics: list[Any]


def compiled_outputs(
    model: Any, outputs: Any, y: Any, sample_weight: Any
) -> Iterator[Output]:
    """Yields each output of a compiled model that has a loss.

    `outputs`, `y` and `sample_weight` are of one batch.
    """
    losses, metrics = model.loss, _backend.metrics_of(model)
    if not isinstance(outputs, (dict, list, tuple)):
        loss = keras.losses.get(next(iter(keras.tree.flatten(losses))))
        flat = [metric for given in metrics for metric in keras.tree.flatten(given)]
        yield Output("", outputs, loss, _array(y), sample_weight, flat)
        return
    named = isinstance(outputs, dict)
    keys = list(outputs) if named else model.output_names
    for index, key in enumerate(keys):
        place = (key, index)
        loss = _part(losses, *place, of_all=not isinstance(losses, (dict, list)))
        if loss is None:
            continue
        flat = [
            m for given in metrics for m in keras.tree.flatten(_part(given, *place))
        ]
        yield Output(
            f"[{key!r}]" if isinstance(y, dict) else f"[{index}]",
            outputs[key] if named else outputs[index],
            keras.losses.get(loss),
            _array(_part(y, *place)),
            _part(sample_weight, *place),
            flat,
        )


def _part(whole: Any, key: str, index: int, of_all: bool = False) -> Any:
    if of_all or whole is None:
        return whole
    if isinstance(whole, dict):
        return whole.get(key)
    if isinstance(whole, (list, tuple)) and index < len(whole):
        return whole[index]
    return None


def _array(y: Any) -> Any:
    return y.to_numpy() if hasattr(y, "to_numpy") else y  # of pandas
