"""What `keras-robust report` does: files in, a table on standard output, files out."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from keras_robust import _files
from keras_robust._cli.complaints import complaint, in_words
from keras_robust._cli.inputs import Inputs, read
from keras_robust._inputs import checks
from keras_robust.calibration import CalibrationReport, calibration_report

# As of `calibration_report`.
_ACCEPT_AT = (0.9, 0.95, 0.99)
_FORMATS = {
    ".html": lambda report, title: report.to_html(title=title),
    ".json": lambda report, title: report.to_json(),
    ".csv": lambda report, title: report.to_frame().to_csv(index=False),
}


def run(options: argparse.Namespace, fail: Callable[[str], int]) -> int:
    """Runs the command; returns 0, or what `fail` returns for a line of error."""
    inputs = None
    try:
        _check_outputs(options)
        inputs = read(options)
        report = _report(inputs, options)
        _write(report, options)
    # What users can put right; anything else is a bug and shows its traceback.
    except (OSError, ValueError, TypeError, ImportError, MemoryError) as error:
        return fail(in_words(error, inputs))
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("keras-robust: interrupted; nothing was written\n")
        return 130
    lines = [*inputs.notes, repr(report), *(f"written: {path}" for path in options.out)]
    if sys.stdout is not None:  # a shell may have closed it
        sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _report(inputs: Inputs, options: argparse.Namespace) -> CalibrationReport:
    return calibration_report(
        inputs.labels,
        inputs.scores,
        num_bins=options.bins,
        notion=inputs.notion,
        from_logits=options.logits,
        sample_weight=inputs.weight,
        ignore_class=options.ignore_class,
        axis=options.axis,
        accept_at=options.accept_at or _ACCEPT_AT,
        num_resamples=options.resamples,
        seed=options.seed,
    )


def _check_outputs(options: argparse.Namespace) -> None:
    inputs = [*options.predictions, options.labels]
    inputs += [argument.partition("=")[2] for argument in options.predictions]
    for path in map(Path, options.out):
        expected = None
        if path.suffix not in _FORMATS:
            fix = "The ending chooses the format."
            expected = "a file ending in " + ", ".join(_FORMATS)
        elif not path.parent.is_dir():
            expected, fix = "in a folder", f"Create {path.parent} first."
        elif path.is_dir():
            expected, fix = "no folder", "Name a file in it."
        elif any(path.resolve() == Path(file).resolve() for file in inputs if file):
            expected, fix = "no input file", "Choose another name."
        if expected:
            raise complaint("report", "--out", expected, str(path), fix)
    for name in (".html", ".csv"):  # before minutes of reading and measuring
        if any(Path(path).suffix == name for path in options.out):
            needed = {".html": "matplotlib", ".csv": "pandas"}[name]
            checks.optional_module("keras-robust report", needed)


def _write(report: CalibrationReport, options: argparse.Namespace) -> None:
    # Everything is made before anything is written.
    texts = {
        Path(path): _FORMATS[Path(path).suffix](report, options.title)
        for path in options.out
    }
    _files.write_all(texts)
