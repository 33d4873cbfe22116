"""Arguments, errors and files of `keras-robust report`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from keras_robust import __version__, _files
from keras_robust._cli.tables import class_ids, open_table
from keras_robust._inputs import checks
from keras_robust._inputs.options import NOTIONS
from keras_robust.calibration import CalibrationReport, calibration_report

_DESCRIPTION = """Measure the calibration of predictions made by any framework.

PREDICTIONS is an .npz file with an array of probabilities, or a .csv or .parquet file
with a column for each class. Several files are several models for the same labels, or
one before and after recalibration."""

_EPILOG = """examples:
  keras-robust report test.npz --out report.html
  keras-robust report before=raw.npz after=scaled.npz --labels labels.csv --out r.html
  keras-robust report test.csv --prob-prefix p_ --label-column species --out report.html

The exit code is 0, or 2 if something is wrong with the arguments or the data; then
nothing is written."""

# What the arguments of `calibration_report` are called here, and how to fix them here,
# where the function's own advice is about Python.
_OPTIONS = {
    "y_true": "--label-column",
    "num_bins": "--bins",
    "num_resamples": "--resamples",
    "sample_weight": "--weight-column",
    "ignore_class": "--ignore-class",
    "notion": "--notion",
    "seed": "--seed",
}
_FIXES = {
    "y_true": "Every row of predictions needs a label; --ignore-class leaves rows out.",
    "y_prob": "For logits pass --logits; every row needs a number for each class.",
    "notion": "It is about class 1 of two: leave it out for more.",
}

_FORMATS = {
    ".html": lambda report, title: report.to_html(title=title),
    ".json": lambda report, title: report.to_json(),
    ".csv": lambda report, title: report.to_frame().to_csv(index=False),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 after one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        report = _report(options)
        _write(report, options)
    # What users can put right; anything else is a bug and shows its traceback.
    except (OSError, ValueError, TypeError, ImportError, MemoryError) as error:
        message = " ".join(_message(error).split())
        sys.stderr.write(f"keras-robust: error: {message}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("keras-robust: interrupted; nothing was written\n")
        return 130
    sys.stdout.write(f"{report!r}\n")
    for path in options.out:
        sys.stdout.write(f"written: {path}\n")
    return 0


def _message(error: BaseException) -> str:
    if not isinstance(error, checks.ArgumentError):
        return str(error) or type(error).__name__
    if error.owner != "calibration_report":  # about a file or an option, as it is
        return str(error)
    # Of several models, `y_prob['name']` is the one.
    argument = error.argument.partition("[")[0]
    return str(
        checks.ArgumentError(
            "report",
            _OPTIONS.get(argument, error.argument),
            error.expected,
            error.received.removeprefix(f"{argument}="),
            _FIXES.get(argument, error.fix),
        )
    )


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "keras-robust", description="Tools of keras_robust."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser(
        "report",
        help="measure the calibration of predictions",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=raw,
    )
    add = report.add_argument
    add("predictions", nargs="+", metavar="PREDICTIONS", help="[NAME=]FILE")
    add("--labels", metavar="FILE", help="file with the labels, if it is another one")
    add(
        "--out",
        action="append",
        default=[],
        metavar="FILE",
        help="write an .html page, .json or .csv; may be given several times",
    )
    add("--logits", action="store_true", help="the numbers are logits")
    add("--prob-key", default="y_prob", help="array in .npz (default: y_prob)")
    add("--prob-prefix", default="prob_", help="columns of classes (default: prob_)")
    add("--label-column", default="y_true", help="labels (default: y_true)")
    add("--weight-column", help="sample weights (default: none)")
    add("--bins", type=int, default=15, help="number of bins (default: 15)")
    add("--notion", choices=NOTIONS, default="top_label", help="default: top_label")
    add("--ignore-class", type=int, default=-100, help="label left out (default: -100)")
    add("--resamples", type=int, default=500, help="for null values (default: 500)")
    add("--seed", type=int, default=0, help="of the resamples (default: 0)")
    add("--title", default="Calibration report", help="of the page")
    return parser


def _report(options: argparse.Namespace) -> CalibrationReport:
    paths = dict(_named(argument) for argument in options.predictions)
    if len(paths) < len(options.predictions):
        raise ValueError(
            "PREDICTIONS must have different names. Received: "
            f"{' '.join(options.predictions)}. Write NAME=FILE."
        )
    _check_outputs(options.out, [*paths.values(), options.labels])
    others = {options.label_column, options.weight_column} - {None}
    tables = {name: open_table(path) for name, path in paths.items()}
    scores = {
        name: table.scores(options.prob_key, options.prob_prefix, others)
        for name, table in tables.items()
    }
    classes = _same_classes(tables)
    home = next(iter(tables.values()))
    if options.labels:
        home = open_table(options.labels)
    labels = class_ids(home, options.label_column, classes, options.ignore_class)
    weight = None
    if options.weight_column:
        weight = home.column(options.weight_column, "--weight-column")
    return calibration_report(
        labels,
        scores,
        num_bins=options.bins,
        notion=options.notion,
        from_logits=options.logits,
        sample_weight=weight,
        ignore_class=options.ignore_class,
        num_resamples=options.resamples,
        seed=options.seed,
    )


def _same_classes(tables: dict[str, Any]) -> list[str] | None:
    """Returns the names of the classes, which all models with names must share."""
    named = {name: t.classes for name, t in tables.items() if t.classes is not None}
    for name, classes in named.items():
        first, expected = next(iter(named.items()))
        if classes != expected:
            raise ValueError(
                f"{name}: the columns of classes must be those of {first}, in the same "
                f"order. Received: {', '.join(classes)}. Expected: "
                f"{', '.join(expected)}."
            )
    return next(iter(named.values()), None)


def _named(argument: str) -> tuple[str, str]:
    name, separator, path = argument.partition("=")
    if separator and not Path(argument).exists():
        return name, path
    return Path(argument).stem, argument


def _check_outputs(out: list[str], inputs: list[Any]) -> None:
    for path in map(Path, out):
        if path.suffix not in _FORMATS:
            fix = "The ending chooses the format."
            expected = "a file ending in " + ", ".join(_FORMATS)
            raise checks.invalid("report", "--out", expected, str(path), fix)
        if not path.parent.is_dir():
            fix = f"Create {path.parent} first."
            raise checks.invalid("report", "--out", "in a folder", str(path), fix)
        if path.is_dir():
            fix = "Name a file in it."
            raise checks.invalid("report", "--out", "no folder", str(path), fix)
        if any(path.resolve() == Path(file).resolve() for file in inputs if file):
            fix = "Choose another name."
            raise checks.invalid("report", "--out", "no input file", str(path), fix)


def _write(report: CalibrationReport, options: argparse.Namespace) -> None:
    # Everything is made before anything is written.
    texts = {
        Path(path): _FORMATS[Path(path).suffix](report, options.title)
        for path in options.out
    }
    _files.write_all(texts)
