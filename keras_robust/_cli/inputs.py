"""From files to labels, scores and weights whose rows belong together."""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_robust._cli import labels as label_columns
from keras_robust._cli import scores as score_columns
from keras_robust._cli.complaints import complaint, named
from keras_robust._cli.rows import (
    agreed,
    check_lengths,
    check_order,
    joined,
    without_missing,
)
from keras_robust._cli.tables import Arrays, Frame, ending_of, open_table


class Inputs(NamedTuple):
    """What a report is made from.

    Attributes:
        labels: Class ids, or soft targets from an array.
        scores: Probabilities or logits of each model.
        weight: Sample weights, or None.
        notion: What confidences are about.
        places: File and column of `"y_true"`, `"sample_weight"` and each model.
        advice: What to do about bad scores of a model.
        notes: What was done to the data, for whoever reads the report.
    """

    labels: np.ndarray
    scores: dict[str, np.ndarray]
    weight: np.ndarray | None
    notion: str
    places: dict[str, tuple[str, str]]
    advice: dict[str, str]
    notes: list[str]


def read(options: argparse.Namespace) -> Inputs:
    """Reads the files of a command, or raises an error about one of them."""
    _check_together(options)
    models = _open_models(options)
    tables = list(models.values())
    if options.labels:
        # Its columns are those asked for: none of them is to be left out.
        how = (options.sep, options.decimal, [])
        tables.append(open_table(options.labels, *how))
    columns = {
        name: score_columns.find(table, options) for name, table in models.items()
    }
    classes = score_columns.same_classes(columns, models)
    wanted = {id(t): [*columns[n].names] for n, t in models.items()}
    for table in tables:
        names = (options.label_column, options.weight_column, options.predicted)
        wanted.setdefault(id(table), []).extend(n for n in names if n in table.names)
    notes = []
    if options.id_column:
        joined(tables, options.id_column)
    else:
        check_order(tables, {name for names in wanted.values() for name in names})
    if options.drop_missing:
        notes += without_missing(tables, [wanted[id(t)] for t in tables])
    scores, places, advice = {}, {}, {}
    for name, table in models.items():
        found = score_columns.read(table, columns[name], options, notes)
        scores[name], advice[name] = found
        places[name] = (table.path, columns[name].title)
    # The file that was named for its labels goes first, then the predictions' own.
    homes = [*tables[len(models) :], *models.values()]
    check_lengths(tables, [wanted[id(t)] for t in tables])
    labels, home = agreed(
        homes,
        options.label_column,
        "--label-column",
        lambda table: label_columns.read(table, classes, models, columns, options),
    )
    places["y_true"] = (home.path, options.label_column)
    weight = None
    if options.weight_column:
        weight, home = agreed(
            homes,
            options.weight_column,
            "--weight-column",
            lambda table: table.numbers(options.weight_column, "--weight-column"),
        )
        places["sample_weight"] = (home.path, options.weight_column)
    notion = options.notion or ("positive" if options.confidence else "top_label")
    if options.confidence:
        notes.append("class 1 is 'the prediction is right': its rate is the accuracy")
    return Inputs(labels, scores, weight, notion, places, advice, notes)


def _open_models(options: argparse.Namespace) -> dict[str, Arrays | Frame]:
    paths = dict(_named(argument) for argument in options.predictions)
    if len(paths) < len(options.predictions):
        raise ValueError(
            "PREDICTIONS must have different names. Received: "
            f"{' '.join(options.predictions)}. Write NAME=FILE."
        )
    how = (options.sep, options.decimal, options.leave_out)
    tables = {name: open_table(path, *how) for name, path in paths.items()}
    for name in options.leave_out:
        if not any(name in table.all_names for table in tables.values()):
            names = named(next(iter(tables.values())).all_names)
            expected, fix = "a column of a file", "Look how it is written."
            received = f"{name!r}; the columns are {names}"
            raise complaint("report", "--leave-out", expected, received, fix)
    return tables


def _named(argument: str) -> tuple[str, str]:
    name, separator, path = argument.partition("=")
    if separator and not Path(argument).exists():
        return name, path
    return Path(argument).name.removesuffix(_as_written(argument)), argument


def _as_written(path: str) -> str:
    size = len(ending_of(path))
    return path[len(path) - size :] if size else ""


def _check_together(options: argparse.Namespace) -> None:
    """Raises where options say different things of the same numbers."""
    single = options.positive or options.confidence
    for one, other in (
        ("logits", "percent"),
        ("logits", "normalize"),
        ("positive", "confidence"),
        ("positive", "predicted"),
        ("logits", "confidence"),
    ):
        if getattr(options, one) and getattr(options, other):
            raise ValueError(f"--{one} and --{other} do not go together.")
    if options.normalize and single:
        raise ValueError(
            "--normalize is for a column of each class, not for one alone."
        )
    if options.predicted and not options.confidence:
        raise ValueError("--predicted needs --confidence, the column beside it.")
    if options.positive_label is not None and not options.positive:
        raise ValueError("--positive-label needs --positive.")
    if options.confidence and options.notion == "top_label":
        raise ValueError("--confidence is of one class only: leave --notion out.")
    if options.confidence and len(options.predictions) > 1:
        raise ValueError(
            "--confidence takes one file: what is right differs from model to model. "
            "Make a report for each."
        )
