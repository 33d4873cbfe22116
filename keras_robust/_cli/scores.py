"""Which columns or arrays hold the scores, and whether they are what they are said."""

import argparse
from typing import Any, NamedTuple

import numpy as np

from keras_robust._cli.complaints import complaint, named
from keras_robust._inputs.scores import PERCENTAGES, PROBABILITIES, likeness

# A hundred classes rounded to two digits are off by so much at most.
_ROUNDING = 0.5
_SINGLE = ("prob", "y_prob", "proba", "probability", "score", "y_score")


class Columns(NamedTuple):
    """Where the scores of a file are.

    Attributes:
        names: Of the columns, or of the one array.
        classes: What the columns' classes are called, or None.
        option: What names them.
        title: What an error calls them.
        positive: Whether it is one column about class 1.
    """

    names: list[str]
    classes: list[str] | None
    option: str
    title: str
    positive: bool = False


def find(table: Any, options: argparse.Namespace) -> Columns:
    """Returns where the scores are, or raises."""
    for option in ("positive", "confidence"):
        name = getattr(options, option)
        if name:
            return Columns([name], None, f"--{option}", name, positive=True)
    if table.kind == "array":
        return Columns([options.prob_key], None, "--prob-key", options.prob_key)
    prefix = options.prob_prefix
    others = {options.label_column, options.weight_column, options.id_column}
    names = [n for n in table.names if n.startswith(prefix) and n not in others]
    if not names:
        received = f"{prefix!r}; the columns are {named(table.names)}"
        fix = "Name one column for each class, such as prob_0, prob_1."
        if len(table.all_names) == 1:
            fix = (
                "If this is more than one column, say what is between them with --sep."
            )
        single = [name for name in table.names if name in _SINGLE]
        if single:
            fix = (
                f"If {single[0]} is the probability of class 1: --positive {single[0]}"
            )
        expected = "the beginning of the classes' columns"
        raise complaint(table.path, "--prob-prefix", expected, received, fix)
    classes = [name.removeprefix(prefix) for name in names]
    if sorted(classes) == sorted(map(str, range(len(classes)))):
        classes.sort(key=int)  # as text, 10 would come before 2
    if len(classes) == 1 and classes != ["1"]:
        fix = (
            f"For one column pass --positive {names[0]!r}; for more, give each class "
            "one, separated by commas (see --sep). The columns are "
            f"{named(table.names)}."
        )
        expected = f"{prefix}1, the probability of class 1, if it is the only one"
        raise complaint(table.path, names[0], expected, names[0], fix)
    title = named([prefix + name for name in classes])
    return Columns([prefix + name for name in classes], classes, "--prob-prefix", title)


def same_classes(columns: dict[str, Columns], models: dict[str, Any]) -> Any:
    """Returns the names of the classes, which all models with names must share."""
    known = {name: c.classes for name, c in columns.items() if c.classes is not None}
    for name, classes in known.items():
        first, expected = next(iter(known.items()))
        if classes != expected:
            raise ValueError(
                f"{models[name].path}: the columns of classes must be those of "
                f"{models[first].path}, in the same order. Received: {named(classes)}. "
                f"Expected: {named(expected)}."
            )
    return next(iter(known.values()), None)


def read(
    table: Any, columns: Columns, options: argparse.Namespace, notes: list[str]
) -> tuple[np.ndarray, str]:
    """Returns scores (..., K), and what to do if they turn out to be bad."""
    parts = [table.numbers(name, columns.option) for name in columns.names]
    scores = parts[0] if table.kind == "array" else np.stack(parts, axis=-1)
    if scores.ndim == 1:  # one output in each row
        scores = scores[:, None]
    if scores.dtype.kind not in "biuf":
        received, fix = f"dtype {scores.dtype}", "Write numbers."
        raise complaint(table.path, columns.title, "of numbers", received, fix)
    if options.percent:
        scores = scores / 100
    if options.normalize:
        scores = _normalized(table.path, columns.title, scores, options.axis, notes)
    rows = np.moveaxis(scores, options.axis, -1) if scores.ndim > 1 else scores
    rows = rows.reshape(-1, rows.shape[-1])
    single = rows.shape[-1] == 1
    rows = rows[np.isfinite(rows).all(axis=-1)]
    kind = likeness(rows, single=single)
    if options.logits and kind:
        raise _no_logits(table.path, columns.title, kind)
    return scores, _advice(rows, kind, single)


def _normalized(
    path: str, title: str, scores: np.ndarray, axis: int, notes: list[str]
) -> np.ndarray:
    sums = scores.sum(axis=axis, keepdims=True, dtype="float64")
    off = np.abs(sums - 1)
    largest = float(np.nanmax(off, initial=0.0))
    row = int(np.unravel_index(np.nanargmax(off), off.shape)[0]) if off.size else 0
    if scores.shape[axis] == 1 or largest > _ROUNDING:
        expected = "rounded probabilities of every class, with --normalize"
        received = f"a sum of {float(sums.ravel()[row] if off.size else 0):.6g}"
        fix = "For percentages pass --percent; for logits --logits alone."
        raise complaint(path, title, expected, f"{received} in row {row}", fix)
    notes.append(
        f"normalized: {path}: rows divided by their sums, which were off by up to "
        f"{largest:.3g} (row {row})"
    )
    return scores / sums


def _no_logits(path: str, title: str, kind: str) -> ValueError:
    flag = {PROBABILITIES: "leave --logits out", PERCENTAGES: "pass --percent instead"}
    received = f"numbers that look like {kind} in every row"
    fix = (
        f"If they are {kind}, {flag[kind]}; if they are logits all the same, write "
        "their softmax (of one column, the sigmoid) and leave --logits out."
    )
    return complaint(path, title, "logits, with --logits", received, fix)


def _advice(rows: np.ndarray, kind: str | None, single: bool) -> str:
    drop = "Rows without a prediction can be left out with --drop-missing."
    if not rows.size:
        return drop
    low, high = float(rows.min()), float(rows.max())
    if kind == PERCENTAGES:
        are = "lie in [0, 100]" if single else "sum to 100"
        return f"The rows {are}: for percentages pass --percent."
    if single and low >= 0 and 1 < high <= 100:
        return "For percentages pass --percent; if they are logits, --logits."
    if low < 0 or high > 1:
        return "For logits pass --logits; every row needs a number for each class."
    if single or (np.abs(rows.sum(axis=-1) - 1) <= 0.01).all():
        return drop
    return (
        "For rounded numbers pass --normalize; every class needs its column. "
        "Independent labels are reported one at a time, with --positive."
    )
