"""What was measured, beside what it should be: a table of ratios and their bars.

    python benchmarks/bars.py

A ratio is the worst of those that its bar is for. A cross marks a bar that is missed.
"""

import sys
from typing import Any, NamedTuple

import pandas as pd
from timing import options

COLUMNS = {
    "JAX": ("jax", "jit"),
    "TensorFlow, XLA": ("tensorflow", "xla"),
    "TensorFlow, graph": ("tensorflow", "graph"),
    "PyTorch": ("torch", "eager"),
}
ONE_NUMBER = ["GCE(.6)", "GammaCE(.1)", "GammaCE(.1, b=.2)"]
OTHERS = ["GCE(.7, cutoff=.5)", "SCE(.1, 1)"]
SGCE, NCERCE = ["SGCE(.6, .1)"], ["NCERCE(1, 1)"]
ECE = ["ExpectedCalibrationError"]
ACCURACY = "SparseCategoricalAccuracy"
OF_SGCE, OF_ECE = (0.1, 0.1, 0.1, 0.15), (0.15, 0.1, 0.1, 0.25)
WIDE = ["8192 x 100", "2048 x 1000", "512 x 32000"]
TOKENS = "2048 x 384 x 32000"


class Bar(NamedTuple):
    """What a line of the table compares, and its bars, one for each of COLUMNS."""

    what: str
    question: str
    names: list[str]
    shapes: list[str]
    bars: tuple[float | None, ...]
    labels: str | None = None
    at_least: bool = False


BARS = [
    Bar(
        "GCE, GammaCE, gated; K ≥ 100",
        "losses",
        ONE_NUMBER,
        WIDE,
        (0.55, 0.57, 0.53, 0.7),
        "all",
    ),
    Bar(
        "the same, K = 9",
        "losses",
        ONE_NUMBER,
        ["16384 x 9"],
        (0.8, 1.0, 0.86, 0.35),
        "all",
    ),
    Bar("SGCE, K ≥ 1000", "losses", SGCE, WIDE[1:], (0.9, 0.9, 0.8, 0.95), "all"),
    Bar("SGCE, K = 100", "losses", SGCE, WIDE[:1], (0.8, 0.96, 0.8, 1.08), "all"),
    Bar("SGCE, K = 9", "losses", SGCE, ["16384 x 9"], (1.3, 1.35, 1.1, 0.48), "all"),
    Bar(
        "GCE with a cutoff, SCE; K ≥ 100",
        "other losses",
        OTHERS,
        WIDE,
        (0.55, 0.57, 0.53, 0.7),
    ),
    Bar(
        "the same, K = 9",
        "other losses",
        OTHERS,
        ["16384 x 9"],
        (0.8, 1.0, 0.86, 0.35),
    ),
    Bar("NCERCE, K ≥ 1000", "other losses", NCERCE, WIDE[1:], (0.9, 0.9, 0.8, 0.95)),
    Bar("NCERCE, K = 100", "other losses", NCERCE, WIDE[:1], (0.8, 0.96, 0.8, 1.08)),
    Bar("NCERCE, K = 9", "other losses", NCERCE, ["16384 x 9"], (1.3, 1.35, 1.1, 0.48)),
    Bar(
        "the article's SGCE over ours, K ≥ 100",
        "article",
        SGCE,
        WIDE,
        (None, None, None, 16.0),
        "all",
        True,
    ),
    Bar(
        "the same, K = 9",
        "article",
        SGCE,
        ["16384 x 9"],
        (None, None, None, 5.3),
        "all",
        True,
    ),
    Bar(
        "ForwardCorrection of omission, over GammaCE",
        "forward correction",
        ["ForwardCorrection(omission)"],
        ["16384 x 9", *WIDE[:2]],
        (1.1, 1.1, 1.1, 1.1),
        "all",
    ),
    Bar(
        "memory: GCE, SCE, K = 32000",
        "memory",
        ONE_NUMBER + OTHERS,
        WIDE[2:],
        (0.35, 0.55, 1.05, 0.37),
    ),
    Bar(
        "memory: SGCE, NCERCE, K = 32000",
        "memory",
        SGCE + NCERCE,
        WIDE[2:],
        (0.7, 1.1, 3.3, 0.37),
    ),
    Bar(
        "ECE update, 10⁶ × 10, over torchmetrics",
        "metrics",
        ECE,
        ["1000000 x 10"],
        (0.25, 0.25, 0.5, 0.7),
        "update",
    ),
    Bar(
        "ECE update, 10⁵ × 1000, over torchmetrics",
        "metrics",
        ECE,
        ["100000 x 1000"],
        (0.1, 0.12, 0.15, 0.13),
        "update",
    ),
    Bar(
        "fused_linear, 2048 × 384 × 32000",
        "large vocabulary",
        ["fused GammaCE(1e-7)"],
        [TOKENS],
        (0.94, 1.25, 1.06, 0.98),
    ),
    Bar(
        "memory: the same",
        "large vocabulary memory",
        ["fused GammaCE(1e-7)"],
        [TOKENS],
        (0.16, 0.23, 0.35, 0.19),
    ),
]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the ratios beside their bars, as text: BARS, and what they leave out."""
    lines = [_line(rows, bar) for bar in BARS]
    lines += [_among_labels(rows, kind) for kind in ("30 % ignored", "weighted")]
    lines.append(_in_fit(rows, "SGCE over cross entropy", SGCE[0], OF_SGCE))
    lines.append(_in_fit(rows, "an ECE over the accuracy", ECE[0], OF_ECE))
    lines.append(_first_fit(rows))
    one, number = "operations of value and gradient", "of GCE, GammaCE, gated, SCE"
    few, more, same = ONE_NUMBER + OTHERS, SGCE + NCERCE, "the same of SGCE, NCERCE"
    lines += [
        _operations(rows, few, "meta", 45, f"{one} {number}; no CPU, any size"),
        _operations(rows, more, "meta", 55, same),
        _operations(rows, few, "cpu", 45, f"{one} {number}; CPU, 128 × 10"),
        _operations(rows, more, "cpu", 55, same),
        _operations(rows, ECE, "cpu", 35, "operations of an ECE update, 128 × 10"),
    ]
    return pd.DataFrame(lines).set_index("")


def _line(rows: pd.DataFrame, bar: Bar) -> dict[str, str]:
    line = {"": bar.what}
    for (column, place), limit in zip(COLUMNS.items(), bar.bars):
        found = _ratios(_at(rows, *place), bar)
        worst = (found.min() if bar.at_least else found.max()) if len(found) else None
        line[column] = _said(worst, limit, bar.at_least)
    return line


def _ratios(rows: pd.DataFrame, bar: Bar) -> pd.Series:
    article = bar.question == "article"
    here = rows[rows["question"] == ("losses" if article else bar.question)]
    here = here[here["shape"].isin(bar.shapes)]
    if bar.labels:
        here = here[here["labels"] == bar.labels]
    ours = here[here["name"].isin(bar.names)].set_index("shape")["ratio"]
    if not article:
        return ours
    theirs = here[here["name"] == "article's SGCE"].set_index("shape")["ratio"]
    return (theirs / ours).dropna()


def _among_labels(rows: pd.DataFrame, kind: str) -> dict[str, str]:
    line = {"": f"losses, {kind}, over the same with all, median"}
    for column, place in COLUMNS.items():
        here = _named(_at(rows, *place), "losses", ONE_NUMBER + SGCE)
        here = here[here["labels"] == kind]
        found = here["over_all"].median() if "over_all" in here else None
        line[column] = _said(found, 1.1)
    return line


def _in_fit(rows: pd.DataFrame, what: str, name: str, limits: Any) -> dict[str, str]:
    line = {"": f"step of a small model, {what}"}
    for (column, place), limit in zip(COLUMNS.items(), limits):
        found = _named(_at(rows, *place), "fit step", [name])["ratio"]
        line[column] = _more(
            found.iloc[0] - 1 if len(found) else None, limit, "{:+.0%}"
        )
    return line


def _first_fit(rows: pd.DataFrame) -> dict[str, str]:
    line = {"": "first `fit` with an ECE, over one with the accuracy"}
    for (column, place), limit in zip(COLUMNS.items(), (0.3, 0.2, 0.2, None)):
        here = _at(rows, *place)
        found = _named(here, "first fit", ECE)["median_s"]
        before = _named(here, "first fit", [ACCURACY])["median_s"]
        more = found.iloc[0] - before.iloc[0] if len(found) else None
        line[column] = _more(more, limit, "{:+.2f} s")
    return line


def _operations(
    rows: pd.DataFrame, names: list[str], device: str, limit: int, what: str
) -> dict[str, str]:
    line = dict.fromkeys(["", *COLUMNS], "–")
    line[""] = what
    here = _named(rows, "operations", names)
    found = here[here["mode"] == device]
    if len(found):
        line["PyTorch"] = _more(found["operations"].max(), limit, "{:.0f}")
    return line


def _named(rows: pd.DataFrame, question: str, names: list[str]) -> pd.DataFrame:
    return rows[(rows["question"] == question) & rows["name"].isin(names)]


def _at(rows: pd.DataFrame, backend: str, mode: str) -> pd.DataFrame:
    return rows[(rows["backend"] == backend) & (rows["mode"] == mode)]


def _said(ratio: float | None, limit: float | None, at_least: bool = False) -> str:
    if ratio is None or pd.isna(ratio):
        return "–"
    if limit is None:
        return f"{ratio:.2f}"
    sign, fine = ("≥", ratio >= limit) if at_least else ("≤", ratio <= limit)
    return _mark(f"{ratio:.2f} ({sign} {limit:.2f})", fine)


def _more(found: float | None, limit: float | None, form: str) -> str:
    if found is None or pd.isna(found):
        return "–"
    if limit is None:
        return form.format(found)
    return _mark(f"{form.format(found)} (≤ {form.format(limit)})", found <= limit)


def _mark(text: str, fine: bool) -> str:
    return text if fine else f"{text} ✗"


def markdown(made: pd.DataFrame) -> str:
    """Returns the table as Markdown."""
    head = ["", *made.columns]
    lines = [head, ["---"] * len(head)]
    lines += [[what, *cells] for what, *cells in made.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown(table(pd.read_csv(options(__doc__).out))))
