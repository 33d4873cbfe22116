"""A report as one HTML page with its figures inside."""

from html import escape
from typing import Any

from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._display import artists
from keras_robust.calibration._report import accepting_page, figures, text
from keras_robust.calibration._report.words import HOW_TO_READ, WHAT_IT_IS, caption

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p, .verdict { max-width: 46rem; } .facts { color: #555; margin-top: .25rem; }
.verdict { border-left: .3rem solid #0072B2; padding-left: .8rem; font-size: 1.1rem; }
.verdict p { margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
thead, td { overflow-wrap: normal; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid #ddd; }
td, thead th { white-space: nowrap; }
thead th { border-bottom: 2px solid #666; vertical-align: bottom; }
th[scope=row], .accepting .of, thead tr:first-child th:first-child { text-align: left; }
.measures th[scope=row] { font-weight: 400; max-width: 26rem; }
.what { display: block; color: #555; font-size: .85em; }
.null { color: #555; font-size: .85em; text-align: left; font-weight: 400; }
th[colspan] { text-align: center; border-bottom: 0; }
td.off { font-weight: 700; }
figure { margin: 1rem 0; }
.diagrams { display: flex; flex-wrap: wrap; gap: 1rem; }
.diagrams svg { width: 20rem; max-width: 100%; height: auto; flex: 0 1 auto; }
figcaption { max-width: 46rem; color: #333; }
details { margin: .5rem 0; } summary { cursor: pointer; }
@media (max-width: 48rem) {
  .measures thead, .measures .bins { display: none; }
  .measures, .measures tbody, .measures tr, .measures th { display: block; }
  .measures td { display: inline-block; border: 0; padding: 0 .5rem .2rem 0;
    white-space: normal; }
  .measures td[data-model]::before { content: attr(data-model) " "; color: #555;
    font-weight: 400; }
  .measures td.null:not(:empty)::before { content: "if calibrated "; }
  .measures tr { border-bottom: 1px solid #ddd; padding: .3rem 0; }
  .measures th[scope=row] { border: 0; padding: 0; max-width: none; }
}
@media (max-width: 30rem) { .table-of-bins, .accepting { font-size: .75rem; }
  .table-of-bins th, .table-of-bins td, .accepting th, .accepting td {
    padding-right: .4rem; white-space: normal; } }
@media print {
  body { font-size: 10pt; max-width: none; margin: 0; padding: 0; }
  .scroll { overflow: visible; } .null { white-space: normal; }
  tr, figure svg, .verdict { break-inside: avoid; } h2, summary { break-after: avoid; }
  thead { display: table-header-group; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""


def page(report: Any, title: str) -> str:
    """Returns the whole page."""
    tables = "".join(_bins_table(report, name) for name in report.models)
    drawn = "\n".join(figures.svg(report, name) for name in report.models)
    curves = "\n".join(figures.curves_svg(report, name) for name in report.models)
    notion = report.settings["notion"]
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
<main>
<h1>{escape(title)}</h1>
<p class="facts">{escape(facts)}</p>
<div class="verdict">{verdicts(report)}</div>
<h2>Measures</h2>
<p>{HOW_TO_READ[notion]}</p>
{_of_true_labels(report)}<div class="scroll" tabindex="0" role="region" \
aria-label="Measures">{measures_table(report, explained=True)}</div>
<h2>Reliability</h2>
<figure>
<div class="diagrams">
{drawn}
</div>
<figcaption>{caption(notion)}</figcaption>
</figure>
{accepting_page.section(report, curves)}<h2>Bins</h2>
{tables}
</main>
</body>
</html>
"""


def verdicts(report: Any) -> str:
    """Returns what the report says of each model, as paragraphs."""
    several = len(report.models) > 1
    return "".join(
        f"<p>{f'<b>{escape(model)}</b>: ' if several else ''}{escape(words)}</p>"
        for model, words in report.verdicts.items()
    )


def _of_true_labels(report: Any) -> str:
    if not report.corrected:
        return ""
    about = escape(text.about_true_labels(report))
    return f"<p>{about} In brackets: 95 % interval of the value.</p>\n"


def measures_table(report: Any, *, explained: bool = False) -> str:
    """Returns the measures as an HTML table, with a line on each if `explained`."""
    heads = "".join(
        f'<th colspan="2" scope="colgroup">{escape(model)}</th>'
        for model in report.models
    )
    under = (
        '<th scope="col">value</th><th scope="col" class="null">if calibrated</th>'
    ) * len(report.models)
    body = ""
    several = len(report.models) > 1
    for name, title in report.titles().items():
        cells = "".join(
            _cells(*report.entry(model, name), model if several else "")
            for model in report.models
        )
        # Bins of equal mass may be fewer in one model than in another.
        numbers = sorted({n for n in report.num_bins(name) if n is not None})
        bins = " to ".join(map(str, numbers))
        what = escape(WHAT_IT_IS[name]) if explained else ""
        what = f'<span class="what">{what}</span>' if what else ""
        body += (
            f'<tr><th scope="row">{escape(title)}{what}</th>'
            f'<td class="bins">{bins}</td>{cells}</tr>\n'
        )
    first = '<th rowspan="2" scope="col">measure</th>'
    first += '<th rowspan="2" scope="col" class="bins">bins</th>'
    return (
        f'<table class="measures"><thead><tr>{first}{heads}</tr>'
        f"<tr>{under}</tr></thead>\n"
        f"<tbody>{body}</tbody></table>"
    )


def _cells(is_error: bool, measured: MeasuredValue, model: str) -> str:
    off = measured.outside
    value = text.number(measured.value) + ("*" if off else "")
    between = text.interval(measured)
    value += f" ({between})" if between else ""
    under = text.under_calibration(measured, is_error)
    named = f' data-model="{escape(model, quote=True)}"' if model else ""
    return (
        f"<td{' class=off' if off else ''}{named}>{value}</td>"
        f'<td class="null">{escape(under)}</td>'
    )


def _bins_table(report: Any, name: str) -> str:
    bins = report.bins[name]
    low, high = bins.accuracy_interval()
    x, y = artists.AXES[report.settings["notion"]]
    heads = ("bin", "count", f"mean {x}", y, "95 % interval")
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
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td>{cell}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    label = escape(f"Bins of {name}", quote=True)
    # Open, so that a printed page has them.
    return (
        f"<details open><summary>{escape(name)}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="table-of-bins"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div></details>\n"
    )
