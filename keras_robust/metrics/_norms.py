"""Norms of the gaps between confidence and accuracy, and means over columns."""

from typing import Any

from keras import ops


def norm_of_gaps(norm: str, count: Any, confidence: Any, correct: Any) -> Any:
    """Returns each column's norm, shape (columns,), from sums (columns, num_bins).

    0 for a column in which nothing was seen.
    """
    of_sums = ops.abs(correct - confidence)
    if norm == "l1":
        return ops.sum(of_sums, axis=-1) / _or_one(ops.sum(count, axis=-1))
    gaps = of_sums / _or_one(count)
    if norm == "max":
        return ops.max(ops.where(count > 0, gaps, ops.zeros_like(gaps)), axis=-1)
    share = count / _or_one(ops.sum(count, axis=-1, keepdims=True))
    return ops.sqrt(ops.sum(share * ops.square(gaps), axis=-1))


def norm_of_errors(norm: str, errors: Any) -> Any:
    """Returns the same norm over the columns' errors, each of the same weight."""
    if norm == "max":
        return ops.max(errors)
    if norm == "l2":
        return ops.sqrt(ops.mean(ops.square(errors)))
    return ops.mean(errors)


def mean_over_seen(errors: Any, count: Any) -> Any:
    """Returns the mean of the columns' errors, without columns that saw nothing."""
    seen = ops.cast(ops.sum(count, axis=-1) > 0, errors.dtype)
    return ops.sum(seen * errors) / _or_one(ops.sum(seen))


def _or_one(x: Any) -> Any:
    return ops.where(x == 0, ops.ones_like(x), x)
