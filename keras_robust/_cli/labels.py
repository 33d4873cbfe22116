"""Labels of files as class ids."""

import argparse
from typing import Any

import numpy as np

from keras_robust._cli.complaints import complaint, named
from keras_robust._cli.scores import Columns

_OPTION = "--label-column"


def read(
    table: Any,
    classes: list[str] | None,
    models: dict[str, Any],
    columns: dict[str, Columns],
    options: argparse.Namespace,
) -> np.ndarray:
    """Returns the labels of a file as class ids."""
    name, ignore = options.label_column, options.ignore_class
    if options.predicted:
        return _of_right(table, next(iter(models.values())), options)
    first = next(iter(columns.values()))
    if options.positive:
        prefix = options.prob_prefix
        label = options.positive_label
        if label is None and first.title.startswith(prefix):
            label = first.title.removeprefix(prefix)
        return _of_positive(table, name, label, options)
    if options.class_ids or classes is None or _are_numbered(classes):
        labels = table.values(name, _OPTION)
        if labels.dtype.kind in "biuf":
            return labels
        if options.class_ids or classes is None:
            fix = "Columns named for their classes can have labels of text."
            received = f"labels such as {str(labels.flat[0])!r}"
            raise complaint(table.path, name, "class ids", received, fix)
    return _places(table, name, classes, ignore)


def _are_numbered(classes: list[str]) -> bool:
    return classes == ["1"] or classes == [*map(str, range(len(classes)))]


def _places(table: Any, name: str, classes: list[str], ignore: int) -> np.ndarray:
    """Returns labels as places among `classes`, the names of the columns.

    They are compared as they are written: 1 of columns -1 and 1 is the second, and True
    of columns True and False the first.
    """
    texts = table.text(name, _OPTION).tolist()
    ids = {str(ignore): ignore}
    ids |= {label: place for place, label in enumerate(classes)}
    unknown = sorted(set(texts) - set(ids))
    if not unknown:
        return np.array([ids[text] for text in texts])
    fix = "Labels are compared with the names as they are written."
    if any(text.strip() in ids for text in unknown):
        fix += " These differ by blanks: take them away."
    elif all(text.isdigit() and int(text) < len(classes) for text in unknown):
        fix += f" If they are places among {named(classes)}, pass --class-ids."
    received = ", ".join(map(repr, unknown[:12])) + (", ..." if unknown[12:] else "")
    expected = f"names of the classes' columns, {named(classes)}"
    raise complaint(table.path, name, expected, received, fix)


def _of_right(table: Any, model: Any, options: argparse.Namespace) -> np.ndarray:
    """Returns whether what is predicted is the label, 1 or 0."""
    name, predicted, ignore = (
        options.label_column,
        options.predicted,
        options.ignore_class,
    )
    given, guess = table.values(name, _OPTION), model.values(predicted, "--predicted")
    if not all(x.dtype.kind in "biuf" for x in (given, guess)):
        given, guess = table.text(name, _OPTION), model.text(predicted, "--predicted")
        ignore = str(ignore)
    ignored = given == ignore
    labels, guesses = (set(x[~ignored].tolist()) for x in (given, guess))
    # Written otherwise than the labels, every prediction would be wrong.
    strange = sorted(guesses - labels)
    known = {str(label).strip().casefold() for label in labels}
    alike = [x for x in strange if str(x).strip().casefold() in known]
    if alike or (labels and not labels & guesses):
        expected = f"written as the labels are, {named(sorted(labels))}"
        fix = "They are compared as they are written."
        received = ", ".join(map(repr, (alike or strange)[:12]))
        raise complaint(model.path, predicted, expected, received, fix)
    return np.where(ignored, options.ignore_class, (given == guess).astype("int64"))


def _of_positive(
    table: Any, name: str, label: str | None, options: argparse.Namespace
) -> np.ndarray:
    values = table.values(name, _OPTION)
    texts = values.astype(str) if table.kind == "array" else table.text(name, _OPTION)
    ignored = texts == str(options.ignore_class)
    known = sorted(set(texts[~ignored]))
    if label in known and len(known) <= 2:
        return np.where(ignored, options.ignore_class, (texts == label).astype("int64"))
    if options.positive_label is None and values.dtype.kind in "biuf":
        return values
    expected = "of two labels"
    if label is not None:
        expected += f", {label!r} for class 1 and one other"
    fix = "Say what class 1 is called with --positive-label."
    received = ", ".join(map(repr, known[:12]))
    raise complaint(table.path, name, expected, received, fix)
