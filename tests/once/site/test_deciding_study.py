"""What the page on decisions says of the study is what its rows say."""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "deciding.md").read_text()
TEXT = " ".join(PAGE.split())
RUNS = pd.read_csv(ROOT / "results" / "study_risk_coverage.csv")
KEPT = pd.read_csv(ROOT / "results" / "study_acceptance.csv")
LOSSES = ["cross entropy", "GCE", "SGCE", "SpanSmoothing", "GammaCE"]
LABELS = {
    "clean": "true ones",
    "noisy": "noisy ones",
    "undone": "noisy ones, with the matrix",
}


def loss_of(run):
    if run["span_smoothing"] > 0:
        return "SpanSmoothing"
    return {"CE": "cross entropy"}.get(run["loss"], run["loss"])


def risk_table():
    """Area under the risk-coverage curve, of entities and of words, in percent."""
    drawn = RUNS[RUNS["noise"] == "symmetric"].copy()
    drawn["loss"] = drawn.apply(loss_of, axis=1)
    lines = [f"| noise | {' | '.join(LOSSES)} |", "|---|" + "---|" * len(LOSSES)]
    for rate, part in drawn.groupby("noise_rate"):
        means = part.groupby("loss")[["test_entity_aurc", "test_aurc"]].mean()
        cells = [
            f"{100 * entity:.1f} / {100 * word:.2f}"
            for entity, word in means.loc[LOSSES].itertuples(index=False)
        ]
        lines.append(f"| {rate:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kept_table():
    """How many of the thresholds that accept anything keep their word."""
    found = KEPT.dropna(subset=["share"]).merge(RUNS[["key", "noise"]], on="key")
    drawn = found["noise"] == "symmetric"
    lines = ["| held-out labels | of | asked | drawn noise: kept | people's: kept |"]
    lines.append("|---|---|---|---|---|")
    for unit, units in {"entity": "entities", "word": "words"}.items():
        for labels, name in LABELS.items():
            for asked in (0.9, 0.95):
                cell = (found["unit"] == unit) & (found["labels"] == labels)
                cell &= found["asked"] == asked
                cells = [name, units, f"{100 * asked:.0f} %"]
                for part in (found[cell & drawn], found[cell & ~drawn]):
                    some = part[part["share"] > 0]
                    kept = (some["accuracy"] >= asked).sum()
                    cells.append(f"{kept} of {len(some)}")
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@pytest.mark.parametrize("table", [risk_table, kept_table])
def test_the_tables_are_those_of_the_rows(table):
    assert table() in PAGE


def test_the_rows_are_those_of_the_grid():
    assert set(KEPT["key"]) == set(RUNS["key"])
    assert RUNS["key"].is_unique
    drawn = RUNS[RUNS["noise"] == "symmetric"]
    assert len(drawn.groupby(["noise_rate", "loss", "span_smoothing"])) == 15
    assert RUNS[RUNS["noise"] != "symmetric"]["noise"].nunique() == 6


def test_what_the_page_says_of_thresholds_that_miss():
    found = KEPT.dropna(subset=["accuracy"]).merge(RUNS[["key", "noise"]], on="key")
    clean = found[found["labels"] == "clean"]
    most = 100 * (clean["asked"] - clean["accuracy"]).max()
    assert f"true labels miss at times, by up to {most:.1f} points" in TEXT
    people = found[(found["noise"] != "symmetric") & (found["unit"] == "entity")]
    worst = people[people["labels"] == "noisy"]["accuracy"].min()
    assert f"as few as {100 * worst:.0f} % right where 90 % were asked" in TEXT
