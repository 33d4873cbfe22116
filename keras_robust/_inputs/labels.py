"""How labels line up with predictions.

Losses and metrics read their labels here, so that both accept the same shapes, ignore
the same positions and refuse the same labels.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_robust import _numerics
from keras_robust._inputs import arrays, checks

# Laxer than for predictions (0.01), which come from a softmax: a soft target may be
# typed by hand (0.33 three times), or be the mean of rounded ones in bfloat16. Counts,
# multi-label rows and rows of zeros are caught all the same.
TARGET_SUM_SLACK = 0.05


# In which class ids are handed on; PyTorch takes entries by no other integers.
_ID_DTYPE = "int64" if keras.backend.backend() == "torch" else "int32"

_RESHAPE = (
    "Reshape the labels to match the predictions, or set `axis`; a single sigmoid "
    "output needs a last axis of 1."
)


class Aligned(NamedTuple):
    """Predictions and labels brought to one layout, the class axis last.

    Attributes:
        scores: Logits or probabilities, shape `(..., K)`, K >= 2, float32 or float64.
        labels: Class ids, int32 or int64 of shape `(...)`, or soft targets of the shape
            and dtype of `scores`; safe to use at every position.
        soft: Whether `labels` are soft targets.
        single: Whether the model gave one number; `scores` are (0, z) or (1 - p, p).
        counted: Bool `(...)`: false where the label says to ignore the position.
        broken: Bool `(...)`: the label is none, or a probability is not. Anything where
            the position is not counted.
    """

    scores: Any
    labels: Any
    soft: bool
    single: bool
    counted: Any
    broken: Any


def align(
    owner: str,
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool,
    ignore_class: int | None,
    axis: int,
    dtype: str,
    check_scores: bool = True,
) -> Aligned:
    """Brings labels and predictions to one layout; raises where shapes do not fit.

    With `check_scores=False`, `broken` is about labels only.
    """
    y_pred, y_true = dense(owner, "y_pred", y_pred), labels_tensor(owner, y_true)
    axis = _class_axis(owner, y_pred, axis)
    y_true = _drop_label_axis(owner, y_true, tuple(y_pred.shape), axis)
    soft = len(y_true.shape) == len(y_pred.shape)
    slack = _numerics.probability_slack(_numerics.standard_dtype(y_pred))
    scores = ops.cast(_classes_last(y_pred, axis), dtype)
    if soft:
        y_true = _classes_last(y_true, axis)
    single = y_pred.shape[axis] == 1
    if single:
        labels, counted, broken = _read_binary(y_true, ignore_class, dtype)
        scores = _two_class_scores(scores, from_logits)
        soft = True
    elif soft:
        num_classes = scores.shape[-1]
        labels, counted, broken = _read_soft(y_true, ignore_class, num_classes, dtype)
    else:
        labels, counted, broken = _read_ids(y_true, ignore_class, scores.shape[-1])
    if None in (*labels.shape, *scores.shape):
        misfit = ops.logical_not(_same_size(labels, scores))
        broken = ops.logical_or(broken, misfit)
    if check_scores and not from_logits:
        outside = _numerics.outside_unit_interval(scores, slack)
        broken = ops.logical_or(broken, ops.any(outside, axis=-1))
    return Aligned(scores, labels, soft, single, counted, broken)


def class_ids(
    owner: str, y_true: Any, shape: tuple, ignore_class: int | None
) -> tuple[Any, Any]:
    """Returns class ids `(...)` as they are, and where they are not to be ignored.

    For predictions that do not exist, of the shape `(..., K)`; no soft targets.
    """
    y_true = labels_tensor(owner, y_true)
    fix = "Reshape the labels to one for each position of `hidden`."
    ids = _drop_label_axis(owner, y_true, shape, len(shape) - 1, fix)
    if len(ids.shape) == len(shape):
        raise checks.invalid(
            owner,
            "y_true",
            f"of shape {shape[:-1]} or {(*shape[:-1], 1)} (class ids)",
            f"y_true.shape={tuple(y_true.shape)}",
            "Soft targets are as large as the logits: call the loss itself.",
        )
    ids = _exact_ids(ids)
    return ids, _is_counted(ids, ignore_class)


def same_size(a: int | None, b: int | None) -> bool:
    """Returns whether two static sizes may be equal; None is not known yet."""
    return a is None or b is None or a == b


def labels_tensor(owner: str, y_true: Any) -> Any:
    """Returns labels as a tensor, each of them as it was."""
    return dense(owner, "y_true", _in_32_bits(_of_one_shape(owner, "y_true", y_true)))


def dense(owner: str, argument: str, x: Any) -> Any:
    """Returns a tensor of a known rank, or raises."""
    if type(x).__name__ == "RaggedTensor" or getattr(x, "is_nested", False):
        raise checks.invalid_type(
            owner,
            argument,
            "a dense tensor",
            f"a {type(x).__name__} of rows of unequal length",
            "Pad it: labels with `ignore_class`, such as y.to_tensor(-100), and "
            "predictions with anything.",
        )
    x = ops.convert_to_tensor(_of_one_shape(owner, argument, x))
    if getattr(x.shape, "rank", 0) is None:
        raise checks.invalid(
            owner,
            argument,
            "of a known rank",
            f"{argument}.shape=<unknown>",
            "Say in the dataset how many axes there are, in the `output_signature` or "
            "by tf.ensure_shape(y, [None, None]).",
        )
    return x


def _of_one_shape(owner: str, argument: str, x: Any) -> Any:
    # Keras maps over nested lists leaf by leaf; one array keeps the shape.
    if isinstance(x, (list, tuple)):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise arrays.ragged(owner, argument, x) from error
    # No backend takes numbers that are Python objects, and none says what is wrong.
    if isinstance(x, np.ndarray) and x.dtype.kind in "OUS":
        return arrays.numeric(owner, argument, x)
    return x


def _class_axis(owner: str, y_pred: Any, axis: int) -> int:
    rank = len(y_pred.shape)
    if not -rank <= axis < rank:
        raise checks.invalid(
            owner,
            "y_pred",
            f"of a rank that has axis {axis}",
            f"y_pred.shape={tuple(y_pred.shape)}",
            "Pass predictions of shape (..., num_classes), or set `axis`.",
        )
    if y_pred.shape[axis] is None:
        raise checks.invalid(
            owner,
            "y_pred",
            f"of a known number of classes along axis {axis}",
            f"y_pred.shape={tuple(y_pred.shape)}",
            "Give the model's output a static last dimension.",
        )
    return axis % rank


def _drop_label_axis(
    owner: str, y_true: Any, pred: tuple, axis: int, fix: str = _RESHAPE
) -> Any:
    true = tuple(y_true.shape)
    positions = pred[:axis] + pred[axis + 1 :]
    if len(true) == len(pred):
        single = pred[axis] == 1 and true[axis] is None
        if true[axis] == 1 or single:
            y_true = ops.squeeze(y_true, axis=axis)
        elif true[-1] == 1 and all(map(same_size, true, positions)):
            y_true = ops.squeeze(y_true, axis=-1)
        true = tuple(y_true.shape)
    wanted = positions if len(true) == len(positions) else pred
    # One axis for both could be a batch of single outputs as well as a distribution.
    unclear = len(true) == len(pred) == 1
    if len(true) != len(wanted) or not all(map(same_size, true, wanted)) or unclear:
        raise checks.invalid(
            owner,
            "y_true",
            f"of shape {positions} or {(*positions, 1)} (class ids) or {pred} "
            "(soft targets)",
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={pred}",
            fix,
        )
    return y_true


def _classes_last(x: Any, axis: int) -> Any:
    return x if axis == len(x.shape) - 1 else ops.moveaxis(x, axis, -1)


def _same_size(labels: Any, scores: Any) -> Any:
    # Dimensions that tracing did not know: a wrong one that happens to broadcast
    # (labels of one row for a batch) must not give a number.
    pairs = zip(ops.shape(labels), ops.shape(scores))
    return ops.all(ops.stack([ops.equal(a, b) for a, b in pairs]))


def _in_32_bits(y_true: Any) -> Any:
    # JAX would wrap wider integers around, to a class perhaps, or to an ignored label.
    if isinstance(y_true, np.ndarray) and y_true.dtype in ("int64", "uint64", "uint32"):
        limits = np.iinfo("int32")
        low = 0 if y_true.dtype.kind == "u" else limits.min
        return np.clip(y_true, low, limits.max).astype("int32")
    return y_true


def _is_counted(y_true: Any, ignore_class: int | None) -> Any:
    if ignore_class is None:
        return ops.ones_like(y_true, dtype="bool")
    return y_true != ignore_class


def _exact_ids(y_true: Any) -> Any:
    # Unsigned and small integers cannot hold -100; 64-bit ones stay as they are.
    small = ("bool", "int8", "uint8", "int16", "uint16")
    dtype = _numerics.standard_dtype(y_true)
    if dtype in ("uint32", "uint64"):
        return ops.cast(y_true, "int64")
    return ops.cast(y_true, "int32") if dtype in small else y_true


def _read_ids(y_true: Any, ignore_class: int | None, num_classes: int) -> Any:
    y_true = _exact_ids(y_true)
    counted = _is_counted(y_true, ignore_class)
    if "int" in _numerics.standard_dtype(y_true):
        ids = _numerics.clip(y_true, 0, num_classes - 1)
        return ops.cast(ids, _ID_DTYPE), counted, ids != y_true
    fits = ops.logical_and(y_true >= 0, y_true < num_classes)
    fits = ops.logical_and(fits, ops.equal(y_true, ops.floor(y_true)))
    ids = ops.where(fits, y_true, ops.zeros_like(y_true))
    return ops.cast(ids, _ID_DTYPE), counted, ops.logical_not(fits)


def _read_soft(
    y_true: Any, ignore_class: int | None, num_classes: int, dtype: str
) -> Any:
    slack = _numerics.probability_slack(_numerics.standard_dtype(y_true))
    targets = ops.cast(y_true, dtype)
    counted = ops.any(_is_counted(targets, ignore_class), axis=-1)
    if ignore_class is not None and 0 <= ignore_class < num_classes:
        # A class of its own, such as padding: its one-hot rows, as its ids.
        counted = ops.not_equal(targets[..., ignore_class], 1.0)
    outside = ops.any(_numerics.outside_unit_interval(targets, slack), axis=-1)
    off = ops.abs(ops.sum(targets, axis=-1) - 1.0) > TARGET_SUM_SLACK
    broken = ops.logical_or(outside, off)
    use = ops.logical_and(counted, ops.logical_not(broken))
    targets = ops.where(ops.expand_dims(use, -1), targets, ops.zeros_like(targets))
    return targets, counted, broken


def _read_binary(y_true: Any, ignore_class: int | None, dtype: str) -> Any:
    slack = _numerics.probability_slack(_numerics.standard_dtype(y_true))
    target = ops.cast(y_true, dtype)
    counted = _is_counted(target, ignore_class)
    broken = _numerics.outside_unit_interval(target, slack)
    use = ops.logical_and(counted, ops.logical_not(broken))
    target = ops.where(use, target, ops.zeros_like(target))
    return ops.stack([1.0 - target, target], axis=-1), counted, broken


def _two_class_scores(scores: Any, from_logits: bool) -> Any:
    other = ops.zeros_like(scores) if from_logits else 1.0 - scores
    return ops.concatenate([other, scores], axis=-1)
