"""The part of a report's page on what to accept: its table and its curves."""

from html import escape
from typing import Any

from keras_robust.calibration._display import artists
from keras_robust.calibration._report import accepting


def section(report: Any, drawn: str) -> str:
    """Returns the part, with its curves drawn, or nothing where there is none."""
    found = {model: one for model, one in report.accepting.items() if one is not None}
    if not found:
        return ""
    several = len(report.models) > 1
    body = "".join(
        _row(model if several else "", accuracy, point)
        for model, one in found.items()
        for accuracy, point in one.points.items()
    )
    names = ["model"] * several + accepting.heads(report.settings["notion"])
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return f"""<h2>What to accept</h2>
<p>{_HOW_TO_READ[report.settings["notion"]]}</p>
<div class="scroll" tabindex="0" role="region" aria-label="What to accept">
<table class="accepting"><thead><tr>{head}</tr></thead>
<tbody>{body}</tbody></table></div>
<figure>
<div class="diagrams">
{drawn}
</div>
<figcaption>{_CAPTION}</figcaption>
</figure>
"""


def _row(model: str, accuracy: float, point: Any) -> str:
    first, *rest = accepting.cells(accuracy, point)
    named = f'<td class="of">{escape(model)}</td>' if model else ""
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
    return f'<tr>{named}<th scope="row">{first}</th>{cells}</tr>\n'


_PROMISE = """Of all predictions like these, not only of these rows, at least so many
are right from there on, with a probability of 95&nbsp;%. <i>At least</i> is the lower
bound of the share that is."""
_HOW_TO_READ = {
    "top_label": f"""How sure the model must be for a prediction to be accepted without
a look, if so many of those accepted have to be right. {_PROMISE}""",
    "positive": f"""How probable class 1 must be for a row to be taken for it, if so
many of those taken have to be right. {_PROMISE}""",
}
_CAPTION = """The line is how often what is accepted is wrong, if the surest part of the
rows is accepted; it should rise from left to right. The band is where that of 95&nbsp;%
of calibrated models with the same confidences would lie: above it the model is
over-confident there. Points: the thresholds of the table."""


def curve(ax: Any, one: accepting.Accepting, notion: str, name: str) -> None:
    """Draws a risk-coverage curve with its chance band and operating points."""
    ax.fill_between(
        one.coverage,
        one.low,
        one.high,
        color=artists.GREY,
        alpha=0.25,
        linewidth=0,
        label="95 % of calibrated models",
    )
    ax.plot(one.coverage, one.risk, color=artists.BLUE, linewidth=1.6)
    points = [point for point in one.points.values() if point.num_accepted]
    ax.plot(
        [point.share for point in points],
        [1 - point.accuracy for point in points],
        "o",
        color=artists.VERMILLION,
        label="thresholds",
    )
    wrong = "wrong" if notion == "top_label" else "not of class 1"
    ax.set(xlabel="share of rows accepted", ylabel=f"share {wrong}", xlim=(0, 1))
    ax.set_title(name, parse_math=False)
    bottom = min(0.0, float(one.risk.min()))
    ax.set_ylim(bottom, 1.1 * max(one.risk.max(), one.high[-1], 0.01))
    ax.legend(frameon=False, loc="upper left")


def in_words(model: str, one: accepting.Accepting) -> str:
    """Returns what the curve of a model shows, with its numbers."""
    step = max(1, len(one.coverage) // 10)
    shown = zip(one.coverage[::-step][::-1], one.risk[::-step][::-1])
    points = "; ".join(f"{share:.2f}, {risk:.3f}" for share, risk in shown)
    return (
        f"Risk-coverage curve of {model}. Share accepted and share of it that is "
        f"wrong: {points}."
    )
