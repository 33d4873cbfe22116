"""Transition matrices of people who labelled the same rows, without true labels."""

import warnings
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import counted_labels, integer_labels
from keras_robust._inputs.matrices import checked_num_classes
from keras_robust.noise._annotator_matrices import AnnotatorMatrices
from keras_robust.noise._prior import matrix_of_counts, shared_prior

_NO_VOTE = -1
# Of expectation and maximization; they stop sooner, once they gain nothing.
_MOST_ROUNDS = 1000


def matrix_from_annotators(
    votes: Any,
    num_classes: int,
    *,
    given: str | int = "majority",
    ignore_class: int | None = -100,
) -> AnnotatorMatrices:
    """Estimates transition matrices of annotators who labelled the same rows.

    Use it where several people labelled (some of) the rows and nobody knows the truth.
    By Dawid and Skene: each annotator has a transition matrix, the true classes are
    those under which all votes are likeliest, and annotators err independently of one
    another, given the true class. Expectation and maximization take turns, from the
    majority on (crowd-kit's `DawidSkene`). What most annotators get wrong alike, such
    as names that all of them miss, is taken for the truth: no votes tell of it, only
    rows that were looked at again (`matrix_from_pairs`).

    The matrices are posterior means after the expected counts. Classes and annotators
    with few votes borrow: those of one annotator from all annotators together, as much
    as annotators differ; a class that hardly anybody votes for, from the other classes,
    as in `matrix_from_pairs`. Warnings name annotators without votes and such classes.

    It takes three people at a row to tell who is wrong. With two, the model fits what
    it likes; there is a warning.

    Args:
        votes: Integer class ids of shape `(..., annotators)`, -1 or `ignore_class`
            where somebody did not label a row.
        num_classes: Number of classes K, at least 2.
        given: Which label the matrix `given` is about: `"majority"`, the class with
            most votes (several that have as many count in equal parts), or the index of
            an annotator. Defaults to `"majority"`.
        ignore_class: Another vote that is none, or None. Defaults to -100.

    Returns:
        An `AnnotatorMatrices`: `given`, `annotators`, `soft_labels`. A matrix's
        intervals take the expected counts for counts: they do not know how unsure the
        true classes are.

    Raises:
        ValueError: If a vote is no class, there are fewer than two annotators, no row
            has two votes, or `given` is no annotator.
        TypeError: If votes are not integers.
        ImportError: If crowd-kit is missing; the extra `noise` brings it.

    Examples:
        Three people, the last of whom mistakes every third 1 for a 2:

        >>> import numpy as np
        >>> from keras_robust.noise import matrix_from_annotators
        >>> true = np.resize([0, 1, 2], 900)
        >>> votes = np.stack([true, true, true], axis=1)
        >>> votes[1::9, 2] = 2
        >>> found = matrix_from_annotators(votes, 3)
        >>> found.annotators[2].matrix.round(2).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.67, 0.33], [0.0, 0.0, 1.0]]
        >>> found.soft_labels[1].round(2).tolist()
        [0.0, 1.0, 0.0]

    Reference:
        Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using
        the EM Algorithm", 1979; Ustalov et al., "Learning from Crowds with Crowd-Kit",
        2024.
    """
    owner = "matrix_from_annotators"
    size = checked_num_classes(owner, num_classes)
    cast = _checked_votes(owner, votes, size, ignore_class)
    shape, cast = cast.shape[:-1], cast.reshape(-1, cast.shape[-1])
    column = _checked_given(owner, given, cast.shape[1])
    row, annotator = np.nonzero(cast != _NO_VOTE)
    vote = cast[row, annotator]
    tally = np.zeros((len(cast), size))
    np.add.at(tally, (row, vote), 1.0)
    _check_enough(owner, tally.sum(axis=1))
    truth = _true_classes(owner, row, annotator, vote, tally.shape)
    counts = np.zeros((cast.shape[1], size, size))
    np.add.at(counts.swapaxes(1, 2), (annotator, vote), truth[row])
    _warn_of_unknown(owner, counts)
    pooled = matrix_of_counts(owner, counts.sum(axis=0), None)
    prior = shared_prior(counts, pooled.matrix)
    annotators = tuple(matrix_of_counts(owner, one, prior) for one in counts)
    if column is None:
        made = matrix_of_counts(owner, truth.T @ _majority(tally), None)
    else:
        made = annotators[column]
    return AnnotatorMatrices(made, annotators, truth.reshape(*shape, size))


def _checked_votes(
    owner: str, votes: Any, num_classes: int, ignore_class: int | None
) -> np.ndarray:
    """Returns votes as int64 with -1 for none; the last axis is the annotators."""
    ignore_class = checks.ignored_class(owner, ignore_class)
    cast = integer_labels(owner, "votes", votes).astype("int64")
    if cast.ndim < 2 or cast.shape[-1] < 2:
        raise checks.invalid(
            owner,
            "votes",
            "of shape (..., annotators), with at least two annotators",
            f"votes.shape={cast.shape}",
            "A single label of each row does not tell how it is wrong: see "
            "`matrix_from_pairs`.",
        )
    if ignore_class is not None:
        cast = np.where(cast == ignore_class, _NO_VOTE, cast)
    counted_labels(owner, "votes", cast, _NO_VOTE, num_classes)
    return cast


def _checked_given(owner: str, given: Any, num_annotators: int) -> int | None:
    if isinstance(given, str) and given == "majority":
        return None
    fix = 'Pass "majority" or the index of an annotator in the last axis of `votes`.'
    if isinstance(given, str):
        raise checks.invalid(owner, "given", "an annotator", f"{given=}", fix)
    column = checks.integer(owner, "given", given, minimum=0, fix=fix)
    if column >= num_annotators:
        expected = f"in [0, {num_annotators})"
        raise checks.invalid(owner, "given", expected, f"given={column}", fix)
    return column


def _check_enough(owner: str, num_votes: np.ndarray) -> None:
    most = num_votes.max(initial=0)
    if most < 2:
        raise checks.invalid(
            owner,
            "votes",
            "such that some row has two votes",
            "at most one vote in each row",
            "Only where people labelled the same rows do their votes tell of errors.",
        )
    if most < 3:
        warnings.warn(
            f"{owner}: no row has more than two votes. Where two people disagree, "
            "nobody tells who is wrong: the matrices are hardly more than a guess.",
            stacklevel=3,
        )


def _true_classes(
    owner: str,
    row: np.ndarray,
    annotator: np.ndarray,
    vote: np.ndarray,
    shape: tuple[int, int],
) -> np.ndarray:
    """Returns P(true class | votes) of each row, by Dawid and Skene."""
    aggregation = checks.optional_module(
        owner, "crowdkit.aggregation", package="crowd-kit", extra="noise"
    )
    pandas = checks.optional_module(owner, "pandas", extra="noise")
    frame = pandas.DataFrame({"task": row, "worker": annotator, "label": vote})
    fitted = aggregation.DawidSkene(n_iter=_MOST_ROUNDS).fit(frame)
    # Columns are the classes that somebody voted for, rows those with votes.
    frequent = fitted.priors_.reindex(range(shape[1]), fill_value=0.0)
    truth = np.tile(frequent.to_numpy("float64"), (shape[0], 1))
    known = fitted.probas_.reindex(columns=range(shape[1]), fill_value=0.0)
    truth[known.index.to_numpy()] = known.to_numpy("float64")
    return truth / truth.sum(axis=1, keepdims=True)


def _majority(tally: np.ndarray) -> np.ndarray:
    """Returns the class with most votes of each row, one-hot; ties in equal parts."""
    most = (tally == tally.max(axis=1, keepdims=True)) & (tally > 0)
    return most / np.maximum(most.sum(axis=1, keepdims=True), 1)


def _warn_of_unknown(owner: str, counts: np.ndarray) -> None:
    idle = np.flatnonzero(counts.sum(axis=(1, 2)) == 0)
    if idle.size:
        warnings.warn(
            f"{owner}: annotators {idle.tolist()} have no votes: their matrices are "
            "what the others are like.",
            stacklevel=3,
        )
    rare = np.flatnonzero(counts.sum(axis=(0, 2)) < 1)
    if rare.size:
        warnings.warn(
            f"{owner}: no row is likely to be of class {rare.tolist()}. Nothing is "
            "known of how these classes are labelled: their rows of the matrices are "
            "borrowed from the other classes.",
            stacklevel=3,
        )
