"""A report as text for the terminal."""

import math
import textwrap
from typing import Any

from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._report import accepting


def number(value: float) -> str:
    """Returns a number with the digits that matter for calibration."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.4g}"


def under_calibration(measured: MeasuredValue, is_error: bool) -> str:
    """Returns what a calibrated model would show: mean, and limit or range."""
    low, high = measured.null_lower, measured.null_upper
    if measured.num_resamples == 0 or low == high == measured.value:
        return ""  # not known, or fixed by the probabilities alone
    if is_error:
        return f"{number(measured.null_mean)}, 95 % < {number(high)}"
    return f"{number(low)} to {number(high)}"


def interval(measured: MeasuredValue) -> str:
    """Returns the interval of a value, or nothing where there is none."""
    if math.isnan(measured.lower):
        return ""
    return f"{number(measured.lower)} to {number(measured.upper)}"


def about_true_labels(report: Any) -> str:
    """Returns what to know of estimates for true labels, and what they cost in rows."""
    name = report.measures[0]  # the accuracy, or the rate of class 1
    rows = [report.entry(model, name)[1].effective_rows for model in report.models]
    known = [f"{number:,.0f}" for number in rows if not math.isnan(number)]
    told = (
        f" The {report.titles()[name]} is known as well as from {', '.join(known)} "
        "rows with true labels."
    )
    return (
        "Estimated for true labels from noisy ones: as right as the noise matrix."
        f"{told if known else ''}"
    )


def header(report: Any) -> str:
    """Returns one line with what the report was made from."""
    settings = report.settings
    weight = settings["weight"]
    weighted = "" if weight == settings["n"] else f" (total weight {weight:,.6g})"
    return (
        f"{settings['n']:,} predictions{weighted}, {settings['num_classes']} classes, "
        f"notion {settings['notion']!r}, {settings['num_resamples']} resamples"
        f"{', for true labels' if report.corrected else ''}"
    )


def table(report: Any) -> str:
    """Returns the report as an aligned table."""
    cells = [["", *report.models]]
    for name, title in report.titles().items():
        entries = [report.entry(model, name) for model in report.models]
        cells.append([title, *(_cell(*entry) for entry in entries)])
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in cells
    ]
    note = "Soft targets are not drawn by chance: no null values."
    if report.settings["num_resamples"]:
        note = (
            "[what a calibrated model with these probabilities would show: mean and "
            "95 % limit, or 95 % range]\n* outside it"
        )
    if report.corrected:
        note += f"\n(95 % interval of the value)\n{about_true_labels(report)}"
    return "\n".join(
        [
            f"Calibration of {header(report)}",
            *lines,
            note,
            *accepting.lines(report),
            *verdicts(report),
        ]
    )


def verdicts(report: Any) -> list[str]:
    """Returns the verdict on each model, in lines of a terminal's width."""
    several = len(report.models) > 1
    return [
        textwrap.fill(f"{model}: {words}" if several else words, 100)
        for model, words in report.verdicts.items()
    ]


def _cell(is_error: bool, measured: MeasuredValue) -> str:
    under = under_calibration(measured, is_error)
    value = number(measured.value).rjust(8) + ("*" if measured.outside else " ")
    between = interval(measured)
    value += f" ({between})" if between else ""
    return f"{value} [{under}]" if under else value.rstrip()
