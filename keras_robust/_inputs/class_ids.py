"""Class ids as NumPy arrays, checked: labels that noise changes or is read off."""

from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks


def integer_labels(owner: str, argument: str, labels: Any) -> np.ndarray:
    """Returns labels as an integer array, or raises."""
    array = arrays.numeric(owner, argument, labels)
    if array.size == 0:
        return array.astype("int64") if array.dtype.kind not in "iu" else array
    if array.dtype.kind not in "iu":
        raise checks.invalid_type(
            owner,
            argument,
            "integer class ids",
            f"an array of dtype {array.dtype}",
            "Convert them with `.astype('int64')`, or one-hot labels with "
            "`.argmax(-1)`.",
        )
    return array


def counted_labels(
    owner: str,
    argument: str,
    labels: np.ndarray,
    ignore_class: int | None,
    num_classes: int,
) -> np.ndarray:
    """Returns where labels are not ignored; raises if such a label is no class."""
    if num_classes - 1 > np.iinfo(labels.dtype).max:
        raise checks.invalid(
            owner,
            argument,
            f"of a dtype that can hold class {num_classes - 1}",
            f"dtype {labels.dtype}",
            "Convert the labels with `.astype('int64')`.",
        )
    counted = np.ones(labels.shape, bool)
    if ignore_class is not None:
        counted = labels != ignore_class
    bad = counted & ((labels < 0) | (labels >= num_classes))
    if bad.any():
        raise checks.invalid(
            owner,
            argument,
            f"in [0, {num_classes})",
            f"{int(bad.sum())} labels outside, the first {labels[bad].flat[0]}",
            f"Positions labelled ignore_class={ignore_class} are left alone.",
        )
    return counted


def paired_labels(
    owner: str,
    labels: Any,
    true_labels: Any,
    ignore_class: Any,
    num_classes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns given labels, true ones, and where neither is ignored; or raises."""
    ignore_class = checks.ignored_class(owner, ignore_class)
    given = integer_labels(owner, "labels", labels)
    true = integer_labels(owner, "true_labels", true_labels)
    if given.shape != true.shape:
        raise checks.invalid(
            owner,
            "true_labels",
            "of the shape of `labels`",
            f"true_labels.shape={true.shape}, labels.shape={given.shape}",
            "Pass both labels of the same positions.",
        )
    counted = counted_labels(owner, "labels", given, ignore_class, num_classes)
    counted &= counted_labels(owner, "true_labels", true, ignore_class, num_classes)
    return given, true, counted
