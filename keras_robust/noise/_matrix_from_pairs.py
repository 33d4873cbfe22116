"""The transition matrix of rows that have both a given and a true label."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import paired_labels
from keras_robust._inputs.row_weights import spread_weights
from keras_robust.noise._matrix_estimate import MatrixEstimate
from keras_robust.noise._prior import matrix_of_counts


def matrix_from_pairs(
    labels: Any,
    true_labels: Any,
    num_classes: int,
    *,
    prior: Any = None,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
) -> MatrixEstimate:
    """Estimates the transition matrix from rows that were looked at again.

    A hundred rows are counted in a moment, and tell of noise what no model can read off
    the noisy labels: what annotators miss systematically. Choose them at random
    (`rows_to_check`), not among those that look wrong, or pass the weights that make up
    for the choice. The estimate is the posterior mean of each row of the matrix under a
    Dirichlet prior. By default that prior is learnt from the same pairs: from the
    rates at which all classes lose their labels, and how much they differ in it. So a
    class with three rows borrows from the others, and one with three hundred does not.
    How far it is off with how many rows: see `rows_to_check`.

    Args:
        labels: Given labels, integer class ids, an array of any shape.
        true_labels: Labels of the same positions that can be trusted, of its shape.
        num_classes: Number of classes K, at least 2.
        prior: Pseudo-counts of shape `(K, K)`, all at least 0, that are added to the
            counts; zeros give the shares alone. A class without any row then has no
            estimate, and raises. Defaults to None: learnt from the pairs.
        sample_weight: Weights of the shape of `labels`, at least 0, such as those of
            `rows_to_check`. Only their ratios matter. Defaults to None.
        ignore_class: Label of positions that are left out where either label has it, or
            None. Defaults to -100.

    Returns:
        A `MatrixEstimate`: the matrix, the counts, the prior, an interval for each
        entry.

    Raises:
        ValueError: If shapes do not fit, a label is no class, a weight is negative or
            NaN, or a class has neither rows nor a prior, or nothing is counted.
        TypeError: If labels are not integers.

    Examples:
        Of ten people in a hundred sentences, four were missed; of 90 words without a
        name, one was taken for a place:

        >>> import numpy as np
        >>> from keras_robust.noise import matrix_from_pairs
        >>> true = np.repeat([0, 1, 2], [90, 10, 2])
        >>> given = np.concatenate([[2], [0] * 89, [0] * 4, [1] * 6, [2, 2]])
        >>> estimate = matrix_from_pairs(given, true, 3)
        >>> estimate.counts.tolist()
        [[89.0, 0.0, 1.0], [4.0, 6.0, 0.0], [0.0, 0.0, 2.0]]
        >>> bool(0.1 < estimate.matrix[2, 0] < 0.4)  # places may be missed as well
        True

    Reference:
        Minka, "Estimating a Dirichlet distribution", 2000, for the evidence.
    """
    owner = "matrix_from_pairs"
    fix = "Pass the number of classes, such as 10."
    size = checks.integer(owner, "num_classes", num_classes, minimum=2, fix=fix)
    counts = pair_counts(owner, labels, true_labels, size, sample_weight, ignore_class)
    if prior is None and not counts.any():
        raise checks.invalid(
            owner,
            "labels",
            "of at least one position that counts",
            "none, or only ignored ones and weights of 0",
            "Look at some rows again, or pass a `prior`.",
        )
    return matrix_of_counts(owner, counts, prior)


def pair_counts(
    owner: str,
    labels: Any,
    true_labels: Any,
    num_classes: int,
    sample_weight: Any,
    ignore_class: int | None,
) -> np.ndarray:
    """Returns how many rows of each true class got each label, `(K, K)`."""
    given, true, counted = paired_labels(
        owner, labels, true_labels, ignore_class, num_classes
    )
    weight = spread_weights(owner, sample_weight, given.shape)[counted]
    place = true[counted].astype("int64") * num_classes + given[counted]
    size = num_classes**2
    sums = np.bincount(place, weight, size).reshape(num_classes, num_classes)
    squares = np.bincount(place, weight**2, size).reshape(num_classes, num_classes)
    # As many rows as would tell as much without weights (Kish 1965): of a class, the
    # square of the sum of weights over the sum of their squares.
    total, square = sums.sum(axis=1, keepdims=True), squares.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(square > 0, sums * total / square, 0.0)
