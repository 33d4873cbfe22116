"""The command `keras-robust`: its arguments, a backend for Keras; then it hands over.

A module of its own, because importing `keras_robust` imports Keras: that takes seconds,
which `--help` need not, and Keras with its default backend fails where only another one
is installed.
"""

import argparse
import importlib.util
import os
import sys
from typing import Any

# Quickest to import first; the command computes with NumPy only.
_BACKENDS = ("jax", "torch", "tensorflow")
# Those of `keras_robust._inputs.options`, which cannot be imported yet.
NOTIONS = ("top_label", "positive")

_DESCRIPTION = """Measure the calibration of predictions made by any framework.

PREDICTIONS is an .npz file with an array of probabilities, or a .csv, .tsv (also .gz)
or .parquet file with a column for each class. Several files are several models for the
same labels, or one before and after recalibration. Rows are counted from 0."""

_EPILOG = """examples:
  keras-robust report test.npz --out report.html
  keras-robust report before=raw.npz after=scaled.npz --labels labels.csv --out r.html
  keras-robust report test.csv --prob-prefix p_ --label-column species --out report.html
  keras-robust report test.csv --positive prob_yes --notion positive
  keras-robust report answers.csv --confidence confidence --label-column right

The exit code is 0, or 2 if something is wrong with the arguments or the data; then
nothing is written."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Names in the data may not exist in the terminal's encoding.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has what they wanted, as `head` has; so that closing is quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a program that the signal ends
    except OSError as error:  # the disk that standard output goes to is full, say
        return fail(f"standard output cannot be written: {error}")
    return code


def fail(message: str) -> int:
    """Says in one line what is wrong; returns the exit code."""
    line = f"keras-robust: error: {' '.join(message.split())}\n"
    if sys.stderr is not None:
        sys.stderr.write(line)
    return 2


def _run(arguments: list[str] | None) -> int:
    try:
        options = parser().parse_args(arguments)
    except SystemExit as exit_:  # after help, or a line about the arguments
        if exit_.code and not isinstance(exit_.code, int):
            return fail(str(exit_.code))
        return exit_.code or 0
    if not _choose_backend():
        return fail(
            "Keras needs one of jax, torch and tensorflow, and none is installed. "
            "Install one: pip install jax"
        )
    try:
        from keras_robust._cli.main import run
    except Exception as error:  # whatever a broken installation raises
        backend = os.environ["KERAS_BACKEND"]
        return fail(
            f"Keras cannot be imported with KERAS_BACKEND={backend}: "
            f"{type(error).__name__}: {error}"
        )
    return run(options, fail)


def _choose_backend() -> bool:
    """Sets KERAS_BACKEND to one that is installed; returns whether there is one.

    The user's, if it is; else another one, as nothing here depends on it. Not what
    Keras's configuration file says, where Keras writes "tensorflow" if there is none.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    named = os.environ.get("KERAS_BACKEND")
    names = [named] if named in _BACKENDS else []
    for name in (*names, *_BACKENDS):
        if importlib.util.find_spec(name) is not None:
            os.environ["KERAS_BACKEND"] = name
            return True
    return False


class _Version(argparse.Action):
    def __call__(self, *arguments: Any) -> None:
        import importlib.metadata

        sys.stdout.write(f"{importlib.metadata.version('keras-robust')}\n")
        sys.exit(0)


def parser() -> argparse.ArgumentParser:
    """Returns what reads the arguments."""
    top = argparse.ArgumentParser("keras-robust", description="Tools of keras_robust.")
    top.add_argument("--version", action=_Version, nargs=0, help="show the version")
    report = top.add_subparsers(dest="command", required=True).add_parser(
        "report",
        help="measure the calibration of predictions",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = report.add_argument
    add("predictions", nargs="+", metavar="PREDICTIONS", help="[NAME=]FILE")
    add(
        "--out",
        action="append",
        default=[],
        metavar="FILE",
        help="write an .html page, .json or .csv; may be given several times",
    )
    add("--title", default="Calibration report", help="of the page")
    add = report.add_argument_group("labels and rows").add_argument
    add("--labels", metavar="FILE", help="file with the labels, if it is another one")
    add("--label-column", default="y_true", metavar="NAME", help="default: y_true")
    add(
        "--class-ids",
        action="store_true",
        help="labels are places 0, 1, ... among the columns of classes, not names",
    )
    add("--ignore-class", type=int, default=-100, metavar="ID", help="default: -100")
    add("--weight-column", metavar="NAME", help="sample weights (default: none)")
    add("--id-column", metavar="NAME", help="joins the rows of several files by it")
    add(
        "--drop-missing",
        action="store_true",
        help="leave out rows in which something is missing, and say how many",
    )
    add = report.add_argument_group("predictions").add_argument
    add("--prob-key", default="y_prob", metavar="NAME", help="array in .npz: y_prob")
    add("--axis", type=int, default=-1, help="of the classes in an array (default: -1)")
    add("--prob-prefix", default="prob_", metavar="TEXT", help="of columns: prob_")
    add(
        "--leave-out",
        action="append",
        default=[],
        metavar="NAME",
        help="a column to take no notice of; may be given several times",
    )
    add("--positive", metavar="NAME", help="the one column: the probability of class 1")
    add(
        "--positive-label",
        metavar="LABEL",
        help="what class 1 is called among the labels, with --positive",
    )
    add(
        "--confidence",
        metavar="NAME",
        help="column of confidences: in the class of --predicted, or in a prediction "
        "that the label says to be right (1) or wrong (0)",
    )
    add("--predicted", metavar="NAME", help="column of predicted classes")
    add("--logits", action="store_true", help="the numbers are logits")
    add("--percent", action="store_true", help="the numbers are percentages")
    add(
        "--normalize",
        action="store_true",
        help="divide rows of rounded probabilities by their sums",
    )
    add = report.add_argument_group("text files").add_argument
    add("--sep", metavar="CHARACTER", help="between columns: a comma, in .tsv a tab")
    add("--decimal", default=".", metavar="CHARACTER", help="default: .")
    add = report.add_argument_group("measures").add_argument
    add("--notion", choices=NOTIONS, help="default: top_label")
    add("--bins", type=int, default=15, help="number of bins (default: 15)")
    add("--resamples", type=int, default=500, help="for null values (default: 500)")
    add(
        "--accept-at",
        action="append",
        type=float,
        metavar="SHARE",
        help="find the threshold from which on so many predictions are right, such as "
        "0.95; may be given several times (default: 0.9, 0.95, 0.99)",
    )
    add("--seed", type=int, default=0, help="of the resamples (default: 0)")
    return top


if __name__ == "__main__":
    sys.exit(main())
