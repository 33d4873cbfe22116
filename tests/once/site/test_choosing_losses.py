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


def test_one_other_loss_is_better_in_both_than_the_best_of_ours_and_recommended():
    assert not AUTHORS["better"].any()
    assert "At the authors' parameters nothing beats it so" in SAID
    assert CHOSEN.index[CHOSEN["better"]].tolist() == [("random1", "SCE")]
    assert not pd.concat([AUTHORS, CHOSEN])["better_temperature"].any()
    row = CHOSEN.loc[("random1", "SCE")]
    points = 100 * row["accuracy_difference"], 100 * row["accuracy_half"]
    assert "(+{:.1f} ± {:.1f} points, an ECE".format(*points) in SAID
    off = -row["ece_difference"], row["ece_half"]
    assert "lower by {:.3f} ± {:.3f})".format(*off) in SAID
    own = ROWS[(ROWS["labels"] == "random1") & (ROWS["loss"] == "SCE")]
    mean = own.groupby("parameters")["noisy_accuracy"].mean()
    assert mean.idxmax() == "alpha=1, beta=1"


def test_what_is_said_of_the_confidence_is_that_of_the_rows():
    ece = CHOSEN["ece"].unstack("loss")
    least, most = ece["SCE"].min(), ece["SCE"].max()
    assert f"its ECE is {least:.2f} to {most:.2f} without" in SAID
    people = ["random1", "worse"]
    assert (ece.idxmin(axis=1)[people] == "GammaCE, estimated rate").all()
    aware = ece.loc[people, "GammaCE, estimated rate"]
    assert "({:.3f} and {:.3f})".format(*aware) in SAID
    accuracy = 100 * CHOSEN["accuracy"].unstack("loss")
    less = (accuracy["SCE"] - accuracy["GammaCE, estimated rate"])[people]
    assert f"and {less.min():.1f} to {less.max():.1f} points less accurate" in SAID


def test_what_is_said_of_the_others_is_that_of_the_rows():
    others, digits = ["NCERCE", "truncated GCE"], CHOSEN.loc["symmetric"]
    assert digits["best"]["SGCE"]
    quotes = [f"{digits.loc[name, 'ece']:.3f}" for name in [*others, "SGCE"]]
    assert "({} and {}; `SGCE`: {})".format(*quotes) in SAID
    for name in others:
        row = digits.loc[name]
        assert abs(row["accuracy_difference"]) < row["accuracy_half"]
        assert row["ece_difference"] + row["ece_half"] < 0
    said = []
    for found in (CHOSEN, AUTHORS):
        lost = found.loc[LABELS[1:]].loc[(slice(None), others), "accuracy_difference"]
        said += [f"{-100 * lost.max():.1f}", f"{-100 * lost.min():.1f}"]
        assert found.loc["aggre", "ece"].idxmin() == "CE"
    quote = "lose {} to {} points ({} to {} at their authors' parameters)"
    assert quote.format(*said) in SAID
