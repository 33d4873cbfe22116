"""A report as one HTML page with its figure inside."""

import io
import math
from html import escape
from typing import Any

from keras_robust._inputs import checks
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._display import artists
from keras_robust.calibration._display.display import ReliabilityDisplay
from keras_robust.calibration._report import text

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p { max-width: 46rem; } .facts { color: #555; margin-top: .25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ddd; }
tr:first-child th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #666; vertical-align: bottom; }
.null { color: #555; font-size: .85em; text-align: left; font-weight: 400; }
th[colspan] { text-align: center; border-bottom: 0; }
td.off { font-weight: 700; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
figcaption { max-width: 46rem; color: #333; }
details { margin: .5rem 0; } summary { cursor: pointer; }
"""

_HOW_TO_READ = """A measure of calibration is rarely 0, even for a calibrated model.
Beside each value stands what a perfectly calibrated model with the same probabilities
would show on as many rows: for errors the mean and the limit that 95 % of such models
stay below, for other measures the range of 95 % of them. Values outside it are
<b>bold with a star*</b>, for better or worse; the others are no evidence of
miscalibration. Read errors of calibration beside the accuracy: a useless model can be
calibrated."""

_CAPTION = """A blue bar ends at the accuracy of its bin; the hatched part reaches to
its mean confidence. Hatching above the bar is over-confidence, hatching inside the bar
under-confidence. Whiskers: 95 % interval of the bin's accuracy. White boxes round the
diagonal: where the bars of 95 % of calibrated models would end. Below: how many
predictions (the sum of their weights) each bin holds."""

_COLUMNS = 3


def page(report: Any, title: str) -> str:
    """Returns the whole page."""
    tables = "".join(_bins_table(name, bins) for name, bins in report.bins.items())
    facts = f"{text.header(report)}; keras_robust {report.settings['version']}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="facts">{escape(facts)}</p>
<h2>Measures</h2>
<p>{_HOW_TO_READ}</p>
{_of_true_labels(report)}<div class="scroll">{measures_table(report)}</div>
<h2>Reliability</h2>
<figure>
{_svg(report)}
<figcaption>{_CAPTION}</figcaption>
</figure>
<h2>Bins</h2>
{tables}
</body>
</html>
"""


def _of_true_labels(report: Any) -> str:
    if not report.corrected:
        return ""
    about = escape(text.about_true_labels(report))
    return f"<p>{about} In brackets: 95 % interval of the value.</p>\n"


def measures_table(report: Any) -> str:
    """Returns the measures as an HTML table."""
    heads = "".join(
        f'<th colspan="2" scope="colgroup">{escape(model)}</th>'
        for model in report.models
    )
    under = '<th>value</th><th class="null">if calibrated</th>' * len(report.models)
    body = ""
    for name, title in report.titles().items():
        entries = (report.entry(model, name) for model in report.models)
        cells = "".join(_cells(*entry) for entry in entries)
        # Bins of equal mass may be fewer in one model than in another.
        numbers = sorted({n for n in report.num_bins(name) if n is not None})
        bins = " to ".join(map(str, numbers))
        body += f"<tr><td>{escape(title)}</td><td>{bins}</td>{cells}</tr>\n"
    first = '<th rowspan="2">measure</th><th rowspan="2">bins</th>'
    return (
        f"<table><thead><tr>{first}{heads}</tr>"
        f"<tr>{under}</tr></thead>\n"
        f"<tbody>{body}</tbody></table>"
    )


def diagrams(report: Any) -> Any:
    """Returns a figure with a reliability diagram for each model."""
    checks.optional_module("CalibrationReport", "matplotlib")
    from matplotlib.figure import Figure

    columns = min(len(report.models), _COLUMNS)
    rows = math.ceil(len(report.models) / columns)
    figure = Figure(figsize=(4.4 * columns, 5 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    notion = report.settings["notion"]
    for ax, (name, bins) in zip(axes, report.bins.items()):
        _, ece = report.entry(name, "ece")
        display = ReliabilityDisplay(bins, ece=ece, notion=notion, name=name)
        display.plot(ax, legend=False)
    for ax in axes[len(report.models) :]:
        ax.remove()
    artists.legend(axes[0], own_figure=True)
    return figure


def _cells(is_error: bool, measured: MeasuredValue) -> str:
    off = measured.outside
    value = text.number(measured.value) + ("*" if off else "")
    between = text.interval(measured)
    value += f" ({between})" if between else ""
    under = text.under_calibration(measured, is_error)
    return (
        f"<td{' class=off' if off else ''}>{value}</td>"
        f'<td class="null">{escape(under)}</td>'
    )


def _svg(report: Any) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Neither random names nor a date: the same report gives the same page.
    with rc_context({"svg.hashsalt": "keras_robust"}):
        diagrams(report).savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    label = escape(f"Reliability diagrams of {', '.join(report.models)}", quote=True)
    return svg[svg.index("<svg") :].replace(
        "<svg", f'<svg role="img" aria-label="{label}"', 1
    )


def _bins_table(name: str, bins: Any) -> str:
    low, high = bins.accuracy_interval()
    heads = ("bin", "count", "mean confidence", "accuracy", "95 % interval")
    rows = [
        (
            f"{bins.edges[k]:.3f} to {bins.edges[k + 1]:.3f}",
            f"{bins.count[k]:,.6g}",
            f"{bins.confidence[k]:.4f}",
            f"{bins.accuracy[k]:.4f}",
            f"{low[k]:.4f} to {high[k]:.4f}",
        )
        for k in range(bins.num_bins)
        if bins.count[k] > 0
    ]
    body = "\n".join(_row(row, "td") for row in rows)
    return (
        f"<details><summary>{escape(name)}</summary><div class=scroll><table>"
        f"<thead>{_row(heads, 'th')}</thead>\n<tbody>{body}</tbody>"
        "</table></div></details>\n"
    )


def _row(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"
