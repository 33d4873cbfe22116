"""The guide to decisions: its code runs, its numbers are those of the rows."""

import re
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from scipy import special

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "deciding.md").read_text()
ROWS = pd.read_csv(ROOT / "results" / "acceptance.csv")
NAMES = {
    "clean": "true",
    "symmetric": "symmetric",
    "omission": "omission",
    "grouped": "true, in groups of about 5",
}
BOUNDS = ["binomial", "betting", "Hoeffding-Bentkus", "empirical Bernstein"]


def percent(share):
    return "" if np.isnan(share) else f"{100 * share:.1f} %"


def noise_table():
    """What noise costs, and how often the target is missed."""
    rows = ROWS[(ROWS["accuracy"] == 0.9) & ROWS["rows"].isin([1000, 5000])]
    rows = rows[(rows["part"] != "widths") & (rows["model"] != "dip")]
    rows = rows.astype({"labels": pd.CategoricalDtype(list(NAMES), ordered=True)})
    lines = [
        "| labels | 1,000 rows | 5,000 rows | sets | missed | in the worst setting |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for (kind, rate), part in rows.groupby(
        ["labels", "rate"], dropna=False, observed=True
    ):
        name = NAMES[kind] if np.isnan(rate) else f"{NAMES[kind]} noise of {rate:g}"
        means = part.groupby("rows")[["share", "oracle"]].mean()
        cost = (means["share"] / means["oracle"]).to_list()
        missed = np.average(part["missed"], weights=part["sets"])
        cells = [name, *map(percent, cost), f"{part['sets'].sum():,}"]
        cells += [percent(missed), percent(part["missed"].max())]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def width_table():
    """How far below the accuracy each bound is, of 1,000 rows."""
    rows = ROWS[(ROWS["part"] == "widths") & (ROWS["rows"] == 1000)]
    rows = rows.fillna({"rate": 0})
    lines = [f"| 1,000 rows, labels | {' | '.join(BOUNDS)} |", "|---|---|---|---|---|"]
    for (kind, rate), part in rows.groupby(["labels", "rate"]):
        width = part.set_index("bound")["width"].reindex(BOUNDS)
        cells = ["" if np.isnan(x) else f"{x:.3f}" for x in width]
        name = NAMES[kind] if kind == "clean" else f"{NAMES[kind]} noise of {rate:g}"
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def of_sequences():
    """What our ranks accept of what could be, every rank, and three starts."""
    rows = ROWS[ROWS["part"] == "sequences"]
    means = rows.groupby("sequence")[["share", "oracle"]].mean()
    names = ["those of the package", "every rank", "three starts"]
    return (means["share"] / means["oracle"])[names].to_list()


def test_the_tables_are_those_of_the_committed_rows():
    assert noise_table() in PAGE
    assert width_table() in PAGE
    clean = ROWS[ROWS["part"] == "clean"]
    text = " ".join(PAGE.split())
    assert f"simulations {100 * clean['naive_missed'].mean():.0f} % of such" in text
    mean, most = clean["missed"].mean(), clean["missed"].max()
    assert f"miss it in {percent(mean)} of the cases on average" in text
    assert f"and in {percent(most)} of the worst setting" in text
    dip = clean[clean["model"] == "dip"]["missed"].max()
    ours, every, three = of_sequences()
    assert ours > every > three
    assert f"these ranks accept {percent(ours)} of 1,000 rows, testing" in text
    assert f"rank {percent(every)}, and beginning" in text
    assert f"third of δ each {percent(three)}." in text
    assert f"surest 2 % is wrong, at most {percent(dip)} miss the target" in text


def test_no_setting_misses_its_target_more_often_than_promised():
    rows = ROWS[ROWS["part"].isin(["clean", "noisy"])]
    assert len(rows) == 84 + 120
    assert (rows["missed"] <= 0.05).all()
    assert set(rows["confidence"]) == {0.95}
    assert (rows[rows["bound"] == "binomial"]["sets"] == 10_000).all()
    few, many = rows[rows["bound"] == "betting"].groupby("rows")["sets"].first()
    assert f"betting {few:,} and {many:,} sets" in " ".join(PAGE.split())
    assert (rows["naive_missed"].dropna() > 0.2).all()


def test_the_bound_that_is_taken_is_the_narrowest():
    rows = ROWS[ROWS["part"] == "widths"].fillna({"rate": 0})
    for _, part in rows.groupby(["labels", "rate", "rows"]):
        width = part.set_index("bound")["width"]
        assert width.idxmin() == ("binomial" if "binomial" in width else "betting")


def test_the_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(10)])
    model.layers[0].set_weights([12 * np.eye(10), np.zeros(10)])
    x = rng.normal(size=(4000, 10)).astype("float32")
    prob = special.softmax(model.predict(x, verbose=0).astype("float64"), -1)
    y = (prob.cumsum(-1) < rng.random((4000, 1))).sum(-1).clip(0, 9)
    noisy = np.where(rng.random(4000) < 0.2 * 10 / 9, rng.integers(0, 10, 4000), y)
    names = {"y_dev": y, "prob_dev": prob, "prob_new": prob[:50], "x_new": x[:50]}
    names |= {"y_noisy": noisy, "keras": keras, "model": model}
    own = PAGE[: PAGE.index("## Prediction sets")]
    for block in re.findall(r"```python\n(.*?)```", own, re.DOTALL):
        exec(compile(block, "deciding.md", "exec"), names)
    assert capsys.readouterr().out.startswith("AcceptanceThreshold(accuracy=0.95, conf")
    assert 0 < names["accepted"].sum() < 50
    assert names["answer"]["accepted"].tolist() == names["accepted"].tolist()
    assert 0 < names["threshold"].share_ < 1  # of noisy labels
    for needed, accuracy in [(29, 0.9), (59, 0.95), (299, 0.99)]:
        assert f"{needed} for {100 * accuracy:.0f} %" in PAGE
        assert accuracy**needed <= 0.05 < accuracy ** (needed - 1)
