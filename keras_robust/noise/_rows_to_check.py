"""Which rows to look at again, and the weights that make up for the choice."""

from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import integer_labels
from keras_robust.noise._rows import read_rows


class RowsToCheck(NamedTuple):
    """Positions that were chosen to be looked at again. Made by `rows_to_check`.

    Attributes:
        index: Where they are: int64 array of shape `(M,)`, places in `labels.ravel()`,
            ascending.
        weight: Float64 array of shape `(M,)`: one over the probability with which each
            was chosen, to be passed on as `sample_weight`.

    Examples:
        >>> from keras_robust.noise import rows_to_check
        >>> chosen = rows_to_check([0, 0, 1, 1], 2, seed=0)
        >>> len(chosen.index), chosen.weight.tolist()
        (2, [2.0, 2.0])
    """

    index: np.ndarray
    weight: np.ndarray


def chosen(
    score: np.ndarray, size: int, rng: np.random.Generator, stratum: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `size` places drawn with probabilities that go with `score`, and these.

    Systematic sampling (Madow 1949) of shuffled rows: exactly `size` places, each with
    the probability size * score / sum(score). Where that is above 1 the place is
    chosen for sure, and the others share what is left. Rows of one `stratum` stay
    together, so that each has its share of places to within one.
    """
    probability = np.zeros(len(score))
    sure = np.zeros(len(score), bool)
    while True:
        left = size - sure.sum()
        rest = np.where(sure, 0.0, score)
        probability = np.where(sure, 1.0, left * rest / max(rest.sum(), 1e-300))
        more = ~sure & (probability >= 1)
        if not more.any():
            break
        sure |= more
    order = rng.permutation(len(score))
    order = order[np.argsort(stratum[order], kind="stable")]
    edges = np.concatenate([[0.0], probability[order].cumsum()])
    edges[-1] = size  # rounding must not lose the last one
    ticks = rng.random() + np.arange(size)
    places = order[np.searchsorted(edges, ticks, side="right") - 1]
    places.sort()
    return places, probability[places]


def rows_to_check(
    labels: Any,
    size: int,
    *,
    seed: int | np.random.Generator,
    stratify: bool = False,
    y_prob: Any = None,
    from_logits: bool = False,
    groups: Any = None,
    ignore_class: int | None = -100,
) -> RowsToCheck:
    """Chooses rows whose labels somebody should look at again.

    The first step with labels of unknown quality: `matrix_from_pairs` tells from these
    rows how the labels are wrong. How many are enough: with a hundred rows of a class
    an entry of the matrix is known to within 0.1, with four hundred to within 0.05. In
    simulations of nine classes, one of them 83 % of the rows, entries of that matrix
    were off by 0.007 on average with 25 rows, 0.006 with 100 and 0.002 with 500 where
    30 % of the entities were missed, and by 0.031, 0.016 and 0.008 where 20 % of the
    labels were replaced by any other (rows of the matrix weighted by how frequent the
    class is; `benchmarks/noise_estimation.py`).

    Rows are drawn at random, evenly by default. With `stratify=True` every given label
    has the same share of them, so that rare classes are seen; with `y_prob` half of
    them are drawn evenly and half where a model disagrees with the label, so that more
    errors are found. Both are made up for by the weights. Looking only at rows that
    seem wrong would make the noise look worse than it is.

    Args:
        labels: Given labels, integer class ids, an array of any shape.
        size: Number of rows, or of whole groups, at least 1 and at most all of them.
        seed: Integer seed or `numpy.random.Generator`.
        stratify: Whether each given label should have the same chance. Defaults to
            False.
        y_prob: Out-of-sample probabilities of shape `(*labels.shape, K)`, or logits
            with `from_logits=True`, to draw more rows where a model disagrees. Defaults
            to None.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        groups: What is looked at as a whole, such as the sentence of each word: an
            array of integers of the shape of `labels`. Defaults to None: each row by
            itself.
        ignore_class: Label of positions that are never chosen, or None. Defaults to
            -100.

    Returns:
        A `RowsToCheck`, which unpacks as `index, weight`.

    Raises:
        ValueError: If shapes do not fit, `size` is more than there are, or `stratify`
            and `y_prob` are both given.
        TypeError: If labels or groups are not integers.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.noise import rows_to_check
        >>> labels = np.repeat([0, 1], [90, 10])
        >>> index, weight = rows_to_check(labels, 20, stratify=True, seed=0)
        >>> np.bincount(labels[index]).tolist(), weight[[0, -1]].round(6).tolist()
        ([10, 10], [9.0, 1.0])

    Reference:
        Madow, "On the theory of systematic sampling, II", 1949, for the drawing;
        Horvitz and Thompson, 1952, for the weights.
    """
    owner = "rows_to_check"
    ignore_class = checks.ignored_class(owner, ignore_class)
    rng = checks.generator(owner, seed)
    labels = integer_labels(owner, "labels", labels)
    counted = np.ones(labels.shape, bool)
    if ignore_class is not None:
        counted = labels != ignore_class
    places = np.flatnonzero(counted)
    given = labels.ravel()[places]
    if checks.flag(owner, "stratify", stratify) and y_prob is not None:
        raise checks.invalid(
            owner,
            "stratify",
            "False where `y_prob` is given",
            "both",
            "Rows are drawn by one of them.",
        )
    if stratify:
        _, label, count = np.unique(given, return_inverse=True, return_counts=True)
        score = 1 / count[label]
    elif y_prob is not None:
        score = _disagreement(owner, labels, y_prob, from_logits, ignore_class)
    else:
        score = np.ones(len(places))
    stratum = np.zeros(len(places), int)
    if groups is None:
        member = np.arange(len(places))
        stratum = given if stratify else stratum
    else:
        member = _members(owner, groups, labels.shape)[places]
        _, member = np.unique(member, return_inverse=True)
        score = np.bincount(member, score)
        stratum = np.zeros(len(score), int)
        if not stratify and y_prob is None:
            score = np.ones(len(score))  # groups, not rows, are drawn evenly
    fix = "Pass how many there is time for, such as 100."
    size = checks.integer(owner, "size", size, minimum=1, fix=fix)
    if size > len(score):
        what = "rows" if groups is None else "groups"
        raise checks.invalid(
            owner, "size", f"at most the {len(score)} {what} there are", f"{size=}", fix
        )
    drawn, probability = chosen(score, size, rng, stratum)
    weight = np.zeros(len(score))
    weight[drawn] = 1 / probability
    keep = weight[member] > 0
    return RowsToCheck(places[keep], weight[member][keep])


def _disagreement(
    owner: str, labels: Any, y_prob: Any, from_logits: bool, ignore_class: int | None
) -> np.ndarray:
    # Half of the rows by how unlikely the model finds the label, half evenly: no row is
    # without a chance, so no weight is large.
    rows = read_rows(
        owner, labels, y_prob, from_logits=from_logits, ignore_class=ignore_class
    )
    doubt = 1 - rows.prob[np.arange(len(rows.given)), rows.given]
    mean = doubt.mean()
    return 1 + (doubt / mean if mean > 0 else 0.0)


def _members(owner: str, groups: Any, shape: tuple) -> np.ndarray:
    member = integer_labels(owner, "groups", groups)
    if member.shape != shape:
        raise checks.invalid(
            owner,
            "groups",
            "of the shape of `labels`",
            f"groups.shape={member.shape}, labels.shape={shape}",
            "For labels of shape (sentences, words) pass "
            "np.broadcast_to(np.arange(len(labels))[:, None], labels.shape).",
        )
    return member.ravel()
