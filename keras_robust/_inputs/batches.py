"""Labelled data in every form in which `fit` takes them, batch by batch."""

import itertools
import math
import sys
from collections.abc import Iterator
from typing import Any

import keras

from keras_robust._inputs import checks

# Data that do not tell their length may have no end. Nobody validates on more batches
# without saying so, and these are read in seconds where a batch takes a millisecond.
_MOST_BATCHES = 10_000


def check_data(
    owner: str, argument: str, data: Any, steps: int | None, *, again: bool = False
) -> None:
    """Raises if data are known to have no end, or, with `again`, to be read only once.

    For callbacks, which would otherwise find out after an epoch.
    """
    if isinstance(data, tuple):
        if steps is not None:
            raise checks.invalid(
                owner,
                "steps",
                "None for arrays",
                f"steps={steps}",
                "Pass the part of the arrays that counts.",
            )
        if data and _num_batches(data[0]) == math.inf:
            raise checks.invalid(
                owner,
                argument,
                "of arrays where labels are given apart",
                f"a {type(data[0]).__name__} that does not end",
                "Put the labels into the dataset, and pass `steps`.",
            )
        return
    if steps is None and _num_batches(data) == math.inf:
        raise _no_end(owner, f"steps=None, {argument} of type {type(data).__name__}")
    if steps is None and again and isinstance(data, Iterator):
        raise checks.invalid(
            owner,
            argument,
            "a dataset that can be read in each epoch",
            f"a {type(data).__name__} and steps=None",
            "Pass the `steps` to read each time if it has no end; else a list of its "
            "batches.",
        )


def labelled_batches(
    owner: str, argument: str, data: Any, steps: int | None
) -> Iterator[tuple[Any, Any, Any]]:
    """Yields inputs, labels and sample weights, or None, of data in any form."""
    check_data(owner, argument, data, steps)
    single = isinstance(data, tuple) or not hasattr(data, "__iter__")
    source = [data] if single else data
    most = _MOST_BATCHES if steps is None and _num_batches(source) is None else None
    for number, batch in enumerate(itertools.islice(source, steps)):
        if number == most:
            raise _no_end(owner, f"steps=None, and {most} batches without an end")
        parts = tuple(batch) if isinstance(batch, (list, tuple)) else (batch,)
        x, y, weight = (*parts, None, None, None)[:3]
        if y is None or len(parts) > 3:
            raise checks.invalid(
                owner,
                argument,
                "given with labels",
                f"a {type(data).__name__} without"
                if y is None
                else f"{len(parts)} parts",
                "Pass arrays x and y, or a dataset that yields (x, y) or "
                "(x, y, sample_weight) batches.",
            )
        if len(getattr(y, "shape", (1,))) == 0:
            raise checks.invalid(
                owner,
                argument,
                "a dataset of batches",
                "a single sample",
                "Batch it, as with `dataset.batch(32)`.",
            )
        yield x, y, weight


def _num_batches(data: Any) -> float | None:
    """Returns how many there are, infinity included, as far as data tell."""
    if isinstance(data, keras.utils.PyDataset):
        try:
            known = data.num_batches
        except NotImplementedError:  # Keras reads it for ever
            known = None
        return math.inf if known is None else known
    if hasattr(data, "cardinality"):  # a tf.data.Dataset
        known = int(data.cardinality())
        return {-1: math.inf, -2: None}.get(known, known)
    try:
        return len(data) if len(data) < sys.maxsize else math.inf  # as Grain repeats
    except (TypeError, NotImplementedError):
        return None


def _no_end(owner: str, received: str) -> ValueError:
    expected = "given for a dataset that does not end"
    fix = "Pass the number of batches to predict."
    return checks.invalid(owner, "steps", expected, received, fix)
