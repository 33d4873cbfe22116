"""The figures of a report: for the reader, and in words for who does not see them."""

import io
import math
import re
from collections.abc import Callable
from html import escape
from typing import Any

from keras_robust._inputs import checks
from keras_robust.calibration._display import artists
from keras_robust.calibration._display.display import ReliabilityDisplay
from keras_robust.calibration._report import accepting_page, text

_COLUMNS = 3


def diagrams(report: Any, models: tuple[str, ...] | None = None) -> Any:
    """Returns a figure with a reliability diagram for each model, or for some."""
    checks.optional_module("CalibrationReport", "matplotlib")
    from matplotlib.figure import Figure

    models = report.models if models is None else models
    columns = min(len(models), _COLUMNS)
    rows = math.ceil(len(models) / columns)
    figure = Figure(figsize=(4.4 * columns, 5 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    notion = report.settings["notion"]
    for ax, name in zip(axes, models):
        _, ece = report.entry(name, "ece")
        bins = report.bins[name]
        display = ReliabilityDisplay(bins, ece=ece, notion=notion, name=name)
        display.plot(ax, legend=False)
    for ax in axes[len(models) :]:
        ax.remove()
    artists.legend(axes[0], own_figure=True)
    return figure


def svg(report: Any, model: str) -> str:
    """Returns the diagram of a model as an <svg> for a page that holds others."""
    return _as_svg(report, model, "m", diagrams, in_words)


def curves_svg(report: Any, model: str) -> str:
    """Returns the risk-coverage curve of a model as an <svg>, if it has one."""
    one = report.accepting[model]
    if one is None:
        return ""

    def drawn(report: Any, models: tuple[str, ...]) -> Any:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.4, 3.6), layout="constrained")
        accepting_page.curve(figure.subplots(), one, report.settings["notion"], model)
        return figure

    return _as_svg(
        report, model, "c", drawn, lambda _, name: accepting_page.in_words(name, one)
    )


def _as_svg(
    report: Any,
    model: str,
    prefix: str,
    draw: Callable[[Any, tuple[str, ...]], Any],
    words: Callable[[Any, str], str],
) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Neither random names nor a date: the same report gives the same page.
    with rc_context({"svg.hashsalt": "keras_robust"}):
        figure = draw(report, (model,))
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    # An id may be there once on a page.
    own = f"{prefix}{report.models.index(model)}-"
    drawn = re.sub(r'((?:\bid="|url\(#|href="#))', rf"\g<1>{own}", drawn)
    label = escape(words(report, model), quote=True)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def in_words(report: Any, model: str) -> str:
    """Returns what the diagram of a model shows, with its numbers."""
    x, y = artists.AXES[report.settings["notion"]]
    bins, (_, ece) = report.bins[model], report.entry(model, "ece")
    null = "" if math.isnan(ece.null_mean) else f" (if calibrated {ece.null_mean:.3f})"
    points = "; ".join(
        f"{bins.confidence[k]:.2f}, {bins.accuracy[k]:.2f}, {bins.count[k]:,.6g}"
        for k in range(bins.num_bins)
        if bins.count[k] > 0
    )
    return (
        f"Reliability diagram of {model}: ECE {text.number(ece.value)}{null}, largest "
        f"gap {text.number(bins.mce())}. Mean {x}, {y} and count of each bin: {points}."
    )
