"""Class-conditional label noise."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import counted_labels, integer_labels
from keras_robust._inputs.matrices import transition_matrix
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
    matrix = transition_matrix(owner, "matrix", matrix)
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
