"""How often prediction sets hold the true class: the rows, and how they are made."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[3]
ROWS = pd.read_csv(ROOT / "results" / "prediction_sets.csv")
PARTS = ("clean", "noisy", "groups", "per_class")


def test_a_short_run_writes_its_rows_and_only_its_own_anew(tmp_path):
    out = tmp_path / "rows.csv"
    old = [{"part": part, "coverage": 2.0} for part in ("clean", "groups")]
    pd.DataFrame(old).to_csv(out, index=False)
    script = ROOT / "benchmarks" / "prediction_sets.py"
    command = [sys.executable, script, "--short", "--out", out]
    subprocess.run([*command, *PARTS[:2]], capture_output=True, check=True)
    rows = pd.read_csv(out)
    assert (rows[rows["part"] == "groups"]["coverage"] == 2).all()
    made = rows[rows["part"] != "groups"]
    assert set(made["part"]) == set(PARTS[:2])
    assert (made["coverage"] < 1).all()
    assert set(made.columns) <= set(ROWS.columns)
    # With few calibration sets of few rows already, it is about what was asked for.
    assert abs(made["coverage"].mean() - 0.9) < 0.05


def part(name):
    return ROWS[ROWS["part"] == name]


def test_clean_labels_are_covered_as_often_as_the_theory_says():
    rows = part("clean")
    assert len(rows) == 3 * 3 * 3 * 4
    off = (rows["coverage"] - rows["exact_coverage"]) / rows["standard_error"]
    # Equal scores, the likeliest classes' by aps and raps, can only raise it.
    assert (off > -4).all()
    lac = off[rows["method"] == "lac"]
    assert (lac.abs() < 4).all()
    assert (rows["inside"][rows["method"] == "lac"] > 0.94).all()


def test_true_labels_are_covered_by_sets_of_noisy_ones():
    rows = part("noisy")
    assert len(rows) == (1 + 3 + 3) * 4 * (6 + 2)
    # Never below what was asked for, up to the simulation's error: far less than the
    # theory's worst case.
    assert (rows["coverage"] > 0.9 - 4 * rows["standard_error"]).all()
    assert (rows["coverage"] > 0.9 - 0.1 * rows["slack"]).all()
    sure = rows.dropna(subset="conservative_coverage")
    assert (sure["conservative_coverage"] > 0.9).all()
    assert len(sure) > 100


def test_sentences_are_covered_where_groups_are_given():
    rows = part("groups")
    assert (rows["coverage"] > 0.9 - 4 * rows["standard_error"]).all()
    assert (rows["naive_coverage"] < 0.9).all()


def test_each_class_is_covered_by_a_threshold_of_its_own():
    rows = part("per_class")
    assert (rows["least"] > 0.898).all()


def test_the_table_of_the_guide_is_that_of_the_rows():
    page = "".join(p.read_text() for p in sorted((ROOT / "docs").glob("deciding*.md")))
    chosen = ROWS.query(
        "num_classes == 9 and model == 'over-confident' and method == 'lac' "
        "and rows == 1000"
    ).sort_values(["noise", "rate"], ascending=[False, True], na_position="first")
    assert len(chosen) == 7
    for _, row in chosen.iterrows():
        clean = row["part"] == "clean"
        name = "true" if clean else f"{row['noise']}, {row['rate']:.0%}"
        cells = [
            f"{row['coverage']:.3f}",
            f"{row['scatter']:.3f}",
            f"{row['size']:.2f}",
        ]
        for way in ("naive", "conservative"):
            coverage, size = row[f"{way}_coverage"], row[f"{way}_size"]
            cells += ["", ""] if clean else [f"{coverage:.3f}", f"{size:.2f}"]
        line = f"| {name} | " + " | ".join(cells) + " |\n"
        assert line.replace("%", " %").replace("|  |", "| |") in page, line
    text = " ".join(page.split())
    noisy, sure = part("noisy"), part("noisy").dropna(subset="conservative_coverage")
    low, high = noisy["coverage"].min(), noisy["coverage"].max()
    assert f"Over all {len(noisy)} settings with noise" in text
    assert f"mean coverage was between {low:.3f} and {high:.3f}" in text
    assert noisy.loc[noisy["coverage"].idxmax(), "rows"] == 50
    least = sure["conservative_coverage"].min()
    assert f"{len(sure)} had rows enough, it was at least {least:.3f}" in text
    words = part("groups").set_index("rows").loc[200]
    shares = words["coverage"], words["naive_coverage"]
    with_groups, without = (f"{100 * share:.1f} %" for share in shares)
    assert f"{with_groups} with `groups`, {without} without" in text
