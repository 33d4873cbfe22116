"""One batch, looked at: why a loss is NaN, or will not learn."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_robust import _backend
from keras_robust._inputs import checks
from keras_robust._inputs.arrays import as_numpy
from keras_robust._inputs.declared import like_probabilities, outside
from keras_robust._inputs.labels import Aligned, align
from keras_robust._inputs.scores import ROW_SUM_SLACK
from keras_robust.callbacks._compiled_outputs import Output, compiled_outputs
from keras_robust.losses import RobustLoss

_OWNER = "check_batch"
# Keras's own losses of one label, which read their inputs as those of this package do.
_OF_KERAS = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
)


def check_batch(model: Any, x: Any, y: Any, sample_weight: Any = None) -> None:
    """Raises an error that says what is wrong with a batch, or returns nothing.

    Call it before `fit`, or where the loss is NaN: compiled, a step can only return
    NaN for labels from 1 to K, a label per class, logits that are taken for
    probabilities or the other way round, NaN in the data, or labels that are all
    ignored. Here one batch goes through the model, its losses and metrics, with its
    numbers at hand. Nothing is trained, and no metric is updated.

    Labels are looked at for the losses of this package and for Keras's (sparse)
    categorical cross entropy; of any other loss, whether it is finite.

    Args:
        model: A compiled `keras.Model`.
        x: Inputs of one batch, as for `fit`.
        y: Labels of it, as for `fit`.
        sample_weight: Weights of it, as for `fit`, or None.

    Returns:
        None, where nothing is wrong.

    Raises:
        ValueError: If something is wrong. The message names the argument.
        TypeError: If labels or inputs are of a type that losses do not take.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> from keras_robust import GCE, check_batch
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> model.compile("adam", GCE(from_logits=True))
        >>> x = np.zeros((4, 2), "float32")
        >>> check_batch(model, x, np.array([0, 1, 2, 2]))
        >>> check_batch(model, x, np.array([1, 2, 3, 3]))
        Traceback (most recent call last):
        ValueError: check_batch: `y` must be class ids in [0, 3). Received: labels \
from 1 to 3. They count from 1: pass y - 1.
    """
    if getattr(model, "loss", None) is None:
        raise checks.invalid(
            _OWNER,
            "model",
            "compiled with a loss",
            "a model without",
            "Call model.compile(loss=...) first.",
        )
    _check_numbers("x", x)
    outputs = model(keras.tree.map_structure(_tensor, x), training=False)
    for output in compiled_outputs(model, outputs, y, sample_weight):
        _check_output(output)


class _Reading(NamedTuple):
    """How a loss or metric reads its inputs."""

    name: str
    from_logits: bool
    ignore_class: int | None
    axis: int


def _reading(of: Any) -> _Reading | None:
    name = type(of).__name__
    if isinstance(of, _OF_KERAS):
        told = {"ignore_class": None, **_backend.constants_of(of)}
    elif isinstance(of, (RobustLoss, keras.metrics.Metric)):
        told = vars(of)
    else:
        return None
    names = ("from_logits", "ignore_class", "axis")
    known = all(key in told for key in names)
    return _Reading(name, *(told[key] for key in names)) if known else None


def _check_output(output: Output) -> None:
    if output.y is None:
        raise checks.invalid(
            _OWNER,
            f"y{output.place}",
            "given for every output that has a loss",
            "nothing",
            "Pass y as the model's outputs are: a dict or a list.",
        )
    if output.weight is not None:
        _check_weight(f"sample_weight{output.place}", as_numpy(output.weight))
    reading = _reading(output.loss)
    if reading is not None:
        _check_read(output, reading)
    if isinstance(output.loss, keras.losses.Loss):
        _check_finite(output, output.loss(output.y, output.y_pred, output.weight))
    for metric in output.metrics:
        of_metric = _reading(metric)
        if of_metric is not None:  # not of Keras's own, which hold none of the three
            _check_said(output, of_metric, _aligned(output, of_metric))
            fresh = type(metric).from_config(metric.get_config())
            fresh.update_state(output.y, output.y_pred)


def _check_weight(argument: str, weight: np.ndarray) -> None:
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise checks.invalid(
            _OWNER,
            argument,
            "finite and at least 0",
            f"a minimum of {weight.min()}, a maximum of {weight.max()}",
            "Use 0 to leave a position out.",
        )
    if not weight.any():
        fix = "Nothing is learnt."
        raise checks.invalid(_OWNER, argument, "above 0 somewhere", "zeros", fix)


def _aligned(output: Output, reading: _Reading) -> Aligned:
    tensors = align(
        _OWNER,
        output.y,
        output.y_pred,
        from_logits=reading.from_logits,
        ignore_class=reading.ignore_class,
        axis=reading.axis,
        dtype="float32",
        check_scores=False,
    )
    arrays = {"soft": tensors.soft, "single": tensors.single}
    for name in ("scores", "labels", "counted", "broken"):
        arrays[name] = ops.convert_to_numpy(getattr(tensors, name))
    arrays["broken"] &= arrays["counted"]
    return Aligned(**arrays)


def _check_read(output: Output, reading: _Reading) -> None:
    aligned = _aligned(output, reading)
    if not aligned.counted.any():
        raise checks.invalid(
            _OWNER,
            f"y{output.place}",
            f"other than ignore_class={reading.ignore_class} somewhere",
            "nothing but ignored labels",
            "The loss is 0 and nothing is learnt.",
        )
    if np.isnan(aligned.scores[aligned.counted]).any():
        raise checks.invalid(
            _OWNER,
            "model",
            "a model whose outputs are numbers",
            "NaN from inputs without any",
            "An earlier step may have made its weights NaN: build it anew.",
        )
    _check_said(output, reading, aligned)
    if aligned.broken.any():
        raise _wrong_labels(output, reading, aligned)


def _check_said(output: Output, reading: _Reading, aligned: Aligned) -> None:
    rows = aligned.scores[aligned.counted]
    received, fix = "", f"Pass from_logits={not reading.from_logits} to {reading.name}."
    if reading.from_logits:
        if _backend.is_activated(output.y_pred):
            received = "a model that ends in a softmax or sigmoid"
        elif not aligned.single and like_probabilities(rows):
            received = "predictions in [0, 1] that sum to 1"
    elif outside(rows):
        received = f"predictions from {rows.min():.4g} to {rows.max():.4g}"
    elif (np.abs(rows.sum(axis=-1) - 1) > ROW_SUM_SLACK).any():
        received = "predictions in [0, 1] that do not sum to 1"
        fix = "End the model in a softmax; for several labels in a row see the docs."
    if received:
        wanted = "logits" if reading.from_logits else "probabilities"
        expected = f"{reading.from_logits} in {reading.name} only for {wanted}"
        raise checks.invalid(_OWNER, "from_logits", expected, received, fix)


def _wrong_labels(output: Output, reading: _Reading, aligned: Aligned) -> ValueError:
    y, num_classes = as_numpy(output.y), aligned.scores.shape[-1]
    fix, expected = "", f"class ids in [0, {num_classes})"
    if aligned.soft and not aligned.single:
        row = np.moveaxis(y, reading.axis, -1)[aligned.broken][0]
        expected, received = "one label in each row", f"the row {row.tolist()[:9]}"
        if np.isin(row, (0, 1)).all() and row.sum() > 1:
            fix = (
                "For several labels in a row, end the model in sigmoids of shape "
                "(..., L, 1) and pass y[..., None]."
            )
        return checks.invalid(_OWNER, f"y{output.place}", expected, received, fix)
    counted = y.reshape(aligned.counted.shape)[aligned.counted]
    low, high = counted.min(), counted.max()
    received, fix = "NaN", f"Mark what has no label with {reading.ignore_class}."
    if not np.isnan(low):
        received = f"labels from {low} to {high}"
        fix = f"The model has an output for {num_classes} classes."
        if low == 1 and high == num_classes:
            fix = "They count from 1: pass y - 1."
        elif low == -1:
            fix = f"Where -1 is no label, pass ignore_class=-1 to {reading.name}."
    return checks.invalid(_OWNER, f"y{output.place}", expected, received, fix)


def _check_finite(output: Output, value: Any) -> None:
    if not np.isfinite(ops.convert_to_numpy(value)).all():
        raise checks.invalid(
            _OWNER,
            "loss",
            "finite",
            f"{ops.convert_to_numpy(value)} of {type(output.loss).__name__}",
            "Inputs, labels and weights are numbers: look at the loss itself.",
        )


def _check_numbers(argument: str, values: Any) -> None:
    for leaf in keras.tree.flatten(values):
        array = as_numpy(leaf)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            first = np.argwhere(~np.isfinite(array))[0].tolist()
            raise checks.invalid(
                _OWNER,
                argument,
                "finite numbers",
                f"{int((~np.isfinite(array)).sum())} that are NaN or infinite, the "
                f"first at {first}",
                "Drop or fill what is missing.",
            )


def _tensor(x: Any) -> Any:
    return ops.convert_to_tensor(x if ops.is_tensor(x) else as_numpy(x))
