"""Class-conditional label noise."""

from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks
from keras_robust.noise._matrices import checked_matrix
from keras_robust.noise._noisy_labels import NoisyLabels


def flip_labels(
    labels: Any,
    matrix: Any,
    *,
    seed: int | np.random.Generator,
    ignore_class: int | None = -100,
) -> NoisyLabels:
    """Draws a noisy label for each label, from the row of its class in `matrix`.

    Args:
        labels: Integer class ids, an array of any shape. It is not modified.
        matrix: Transition matrix of shape `(K, K)`, T[i, j] = P(given j | true i),
            such as `symmetric_matrix(K, 0.2)`.
        seed: Integer seed or `numpy.random.Generator`. The same seed gives the same
            labels.
        ignore_class: Label of positions that are never touched, or None. Defaults to
            -100.

    Returns:
        A `NoisyLabels`, which unpacks as `labels, matrix`: the noisy labels, in the
        shape and dtype of `labels`, and the realised transition matrix. Its `rate` is
        the share of labels that changed.

    Raises:
        ValueError: If a label is outside [0, K), or `matrix` no transition matrix.
        TypeError: If labels are not integers, or there is no seed.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.noise import flip_labels, symmetric_matrix
        >>> labels = np.repeat([0, 1, 2, -100], 1000)
        >>> noisy, realised = flip_labels(labels, symmetric_matrix(3, 0.3), seed=0)
        >>> bool((noisy[3000:] == -100).all()), realised.shape
        (True, (3, 3))
    """
    owner = "flip_labels"
    matrix = checked_matrix(owner, matrix)
    labels = integer_labels(owner, "labels", labels)
    rng = checks.generator(owner, seed)
    ignore_class = checks.ignored_class(owner, ignore_class)
    counted = counted_labels(owner, "labels", labels, ignore_class, len(matrix))
    noisy = labels.copy()
    for true_class, row in enumerate(matrix):
        where = counted & (labels == true_class)
        noisy[where] = rng.choice(len(row), size=int(where.sum()), p=row)
    true, given = labels[counted].astype("int64"), noisy[counted].astype("int64")
    return NoisyLabels.compare(noisy, true, given, len(matrix))


def integer_labels(owner: str, argument: str, labels: Any) -> np.ndarray:
    """Returns labels as an integer array, or raises."""
    array = arrays.numeric(owner, argument, labels)
    if array.size == 0:
        return array.astype("int64") if array.dtype.kind not in "iu" else array
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"{owner}: `{argument}` must be integer class ids. Received: an array of "
            f"dtype {array.dtype}. Convert them with `.astype('int64')`, or one-hot "
            "labels with `.argmax(-1)`."
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
