"""What choosing says of the losses of the literature is what the rows say."""

import json
import re
from pathlib import Path

import engine
import pandas as pd

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "choosing.md").read_text()
ROWS = pd.read_csv(ROOT / "results" / "study_loss_comparison.csv")
ROWS = ROWS[ROWS["dropout"]]
AUTHORS = engine.loss_comparison(ROWS)
CHOSEN = engine.loss_comparison(ROWS, chosen=True)
LABELS = ["symmetric", "aggre", "random1", "worse"]
HEADS = {
    "CE": "cross entropy",
    "GammaCE, true rate": "`GammaCE`, true rate",
    "GammaCE, estimated rate": "`NoiseAwareGamma`",
    "truncated GCE": "truncated `GCE`",
    "label smoothing": "label smoothing",
}


def table():
    """Accuracy in percent and ECE, raw and after the temperature."""
    lines = [
        "| | digits, 40 % | aggre, 9 % | random1, 17 % | worse, 40 % |",
        "|---|---|---|---|---|",
    ]
    for loss in CHOSEN.loc["worse"].index:
        cells = []
        for labels in LABELS:
            row = CHOSEN.loc[(labels, loss)]
            said = f"{100 * row['accuracy']:.1f}, {row['ece']:.3f}"
            said += f", {row['ece_temperature']:.3f}"
            cells.append(f"**{said}**" if row["best"] else said)
        name = HEADS.get(loss, f"`{loss}`")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_table_is_that_of_the_committed_rows():
    assert table() in PAGE


def test_the_notebook_on_human_noise_prints_the_committed_rows():
    path = ROOT / "notebooks" / "study" / "08_human_noise.ipynb"
    cells = json.loads(path.read_text())["cells"]
    streams = [o.get("text", []) for c in cells for o in c.get("outputs", [])]
    printed = " ".join(line for text in streams for line in text)
    for (labels, loss), row in CHOSEN.iterrows():
        start = f"{labels} " if loss == "CE" else ""
        means = row[["accuracy", "ece", "ece_temperature"]].astype(float)
        said = " +".join(f"{mean:.4f}" for mean in means)
        assert re.search(rf"{start} *{loss} +{said}", printed), (labels, loss)


def test_five_seeds_of_everything_are_there():
    for found in (AUTHORS, CHOSEN):
        assert list(found.index.unique("labels")) == LABELS
        assert (found["seeds"] == 5).all()
    counts = ROWS.groupby("labels", sort=False)["rate"].mean()
    assert [f"{100 * rate:.0f}" for rate in counts] == ["40", "9", "17", "40"]


SAID = " ".join(PAGE.split())


def chosen_rows(labels, loss, column):
    """Of each seed, the row with the parameters that noisy labels choose."""
    rows = ROWS[(ROWS["labels"] == labels) & (ROWS["loss"] == loss)]
    best = rows.groupby("seed")["noisy_accuracy"].idxmax()
    return rows.loc[best, column].to_numpy()


def test_no_other_loss_is_better_in_both_than_the_best_of_ours():
    for found in (AUTHORS, CHOSEN):
        others = found[~found["ours"]]
        assert not others[["better", "better_temperature"]].to_numpy().any()
    assert "None is better in both accuracy and ECE than the bold one" in SAID


def test_what_is_said_of_sce_is_that_of_the_rows():
    quotes = []
    for labels in ("random1", "worse"):
        found = CHOSEN.loc[labels]
        assert found["accuracy"].idxmax() == "SCE"
        sce = 100 * found.loc["SCE"].filter(like="accuracy_").astype(float)
        quotes.append(f"{sce['accuracy_difference']:.1f} ± {sce['accuracy_half']:.1f}")
    assert "by {} and {} points".format(*quotes) in SAID
    for name in ("SGCE", "GammaCE, estimated rate"):
        for column, sign in (("accuracy", 1), ("ece_temperature", -1)):
            off = chosen_rows("worse", "SCE", column)
            off = sign * (off - chosen_rows("worse", name, column))
            assert engine.seeds_interval(off)[0] > 0
    assert "better in both than `SGCE` and `NoiseAwareGamma`" in SAID


def test_what_is_said_of_the_others_is_that_of_the_rows():
    digits, others = AUTHORS.loc["symmetric"], ["NCERCE", "truncated GCE"]
    quotes = [f"{digits.loc[name, 'ece']:.3f}" for name in [*others, "GCE"]]
    assert "({} and {}; `GCE(q=0.7)`: {})".format(*quotes) in SAID
    assert digits["best"]["GCE"]
    chosen = CHOSEN.loc["symmetric"]
    for found in (digits, chosen):
        off = found.loc[others, ["accuracy_difference", "accuracy_half"]]
        assert (off["accuracy_difference"].abs() < off["accuracy_half"]).all()
    for name in others:
        ece = digits.loc[name]
        assert ece["ece_difference"] + ece["ece_half"] < 0
    lost = CHOSEN.loc[LABELS[1:]].loc[(slice(None), others), "accuracy_difference"]
    least, most = f"{-100 * lost.max():.1f}", f"{-100 * lost.min():.1f}"
    assert f"On people's labels they lose {least} to {most} points" in SAID
    for found in (AUTHORS, CHOSEN):
        assert found.loc["aggre", "ece"].idxmin() == "CE"
