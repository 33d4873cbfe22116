"""README: its code runs, its links lead to files, its numbers are committed rows."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def results_table():
    """The README's table, made from results/quickstart.csv."""
    rows = pd.read_csv(ROOT / "results" / "quickstart.csv")
    losses = ["CE", "GCE", "SGCE", "GammaCE"]
    lines = ["| wrong labels | epochs | | " + " | ".join(losses) + " |"]
    lines.append("|---|---|---|" + "---|" * len(losses))
    for rate in (0.0, 0.4, 0.6):
        for epochs in sorted(rows["epochs"].unique()):
            for column, label in (("accuracy", "accuracy"), ("ece", "ECE")):
                run = rows[(rows["noise_rate"] == rate) & (rows["epochs"] == epochs)]
                by_loss = run.groupby("loss")[column]
                mean, std = by_loss.mean(), by_loss.std()
                cells = [f"{mean[name]:.3f} ± {std[name]:.3f}" for name in losses]
                head = f"| {rate:.0%} | {epochs} | {label} | "
                lines.append(head + " | ".join(cells) + " |")
    return "\n".join(lines)


def study_rows():
    """Of the study: what the README shows, by loss, with three epochs each."""
    rows = pd.read_csv(ROOT / "results" / "study_runs.csv")
    same = {"noise": "symmetric", "epochs": 3, "warmup_epochs": 1, "smoothing": 0.0}
    same |= {"gate": 0.0, "span_smoothing": 0.0, "train_sentences": 5000}
    for column, value in same.items():
        if column in rows:  # or no run has it yet
            rows = rows[rows[column].fillna(0) == value]
    gce = rows[rows["loss"] == "GCE"]
    return {
        "CE": rows[rows["loss"] == "CE"],
        "GCE, q = 0.6": gce[gce["q"] == 0.6],
        "GCE, q = 0.8": gce[gce["q"] == 0.8],
        "GammaCE, γ\\* estimated": rows[rows["gamma_rule"] == "estimated_rate"],
    }


def study_table():
    """The README's table of the study, made from results/study_runs.csv."""
    losses = study_rows()
    lines = ["| wrong labels | | " + " | ".join(losses) + " |"]
    lines.append("|---|---|" + "---|" * len(losses))
    for rate in (0.0, 0.2, 0.4, 0.6):
        for column, label in (("test_f1", "F1"), ("test_ece", "ECE")):
            runs = [
                rows[rows["noise_rate"] == rate][column] for rows in losses.values()
            ]
            cells = [f"{run.mean():.3f} ± {run.std():.3f}" for run in runs]
            lines.append(f"| {rate:.0%} | {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_code_runs_and_prints_numbers(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    training, report = BLOCKS  # the second uses what the first has made
    exec(compile(training, "README.md", "exec"), names)
    values = dict(re.findall(r"'(\w+)': ([0-9.]+)", capsys.readouterr().out))
    assert float(values["accuracy"]) > 0.8
    assert float(values["ece"]) < 0.2
    exec(compile(report, "README.md", "exec"), names)
    printed = re.search(
        r"ECE, 15 bins of equal width +([0-9.]+)", capsys.readouterr().out
    )
    assert float(printed[1]) == pytest.approx(float(values["ece"]), abs=1e-4)
    assert Path("report.html").read_text().count("<svg") == 1
    guide = (ROOT / "docs" / "calibration.md").read_text()
    names |= {"x_test": names["x"][1297:] / 16, "y_test": names["y"][1297:]}
    for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(compile(code, "calibration.md", "exec"), names)
    assert f"{len(names['report'].measures)} measures" in README


def test_the_backend_is_named_because_keras_assumes_tensorflow():
    assert "export KERAS_BACKEND=" in README


def test_there_is_code():
    assert BLOCKS
    assert len(BLOCKS[0].splitlines()) <= 16


def test_the_table_is_that_of_the_committed_rows():
    assert results_table() in README


def test_the_table_of_the_study_is_that_of_the_committed_rows():
    assert study_table() in README


def test_what_is_said_of_memorising_is_that_of_the_committed_rows():
    rows = pd.read_csv(ROOT / "results" / "study_runs.csv")
    rows = rows[(rows["train_sentences"] == 2500) & (rows["noise_rate"] == 0.6)]
    assert (rows.groupby("loss")["seed"].nunique() == 3).all()
    f1 = rows.groupby("loss")["test_f1"]
    for loss in ("CE", "GCE", "GammaCE"):
        assert f"{f1.mean()[loss]:.3f} ± {f1.std()[loss]:.3f}" in README
    epochs = pd.read_csv(ROOT / "results" / "study_epochs.csv")
    last = epochs[epochs["epoch"] == 10].set_index("key")
    memorised = last["memorised"].reindex(rows[rows["loss"] == "CE"]["key"]).mean()
    assert f"memorises {100 * memorised:.0f} % of" in README.replace("\n", " ")


def test_what_went_against_us_is_in_the_committed_rows():
    losses = study_rows()
    worst = losses["GammaCE, γ\\* estimated"].groupby("noise_rate")
    worst = worst["test_mce_min_count_100"].mean()
    noisy = worst[worst.index.isin([0.2, 0.4, 0.6])]
    said = README.replace("\n", " ")
    assert "off by 0.09 to 0.11 at 20 to 60 % wrong labels" in said
    assert [f"{noisy.min():.2f}", f"{noisy.max():.2f}"] == ["0.09", "0.11"]
    clean = losses["CE"][losses["CE"]["noise_rate"] == 0]["test_mce_min_count_100"]
    assert f"(cross entropy on clean labels: {clean.mean():.2f})" in said


def test_what_is_said_of_photographs_is_that_of_the_committed_rows():
    rows = pd.read_csv(ROOT / "results" / "human_noise.csv")
    runs = rows.groupby(["training", "stop", "noise", "loss"])
    assert (runs["seed"].nunique() == 3).all()
    usual = runs["ece"].mean()["usual", "noisy dev"]
    said = README.replace("\n", " ")
    for loss in ("CE", "GammaCE", "GCE"):
        ece = [usual[noise, loss] for noise in ("aggre", "random1", "worse")]
        assert "{:.3f}, {:.3f} and {:.3f}".format(*ece) in said
    accuracy = runs["accuracy"].mean()["usual", "noisy dev"]
    for noise in ("aggre", "random1", "worse"):
        for loss in ("GCE", "GammaCE"):
            assert accuracy[noise, loss] < accuracy[noise, "CE"]
    lasting = rows[(rows["training"] == "long") & (rows["stop"] == "last")]
    lasting = lasting.set_index(["noise", "loss", "seed"])["accuracy"].sort_index()
    for noise in ("worse", "uniform"):
        gained = 100 * (lasting[noise, "GCE"] - lasting[noise, "CE"])
        assert f"{gained.mean():.1f} ± {gained.std():.1f}" in said


def test_the_rows_of_the_study_say_how_they_were_made():
    for rows in study_rows().values():
        for rate in (0.0, 0.2, 0.4, 0.6):
            found = rows[rows["noise_rate"] == rate]
            assert sorted(found["seed"]) == [0, 1, 2]
        assert f"Keras {rows['keras_version'].unique().item()}" in README
        assert set(rows["backend"]) == {"torch"}
        assert set(rows["test_sentences_used"]) == {3453}


def test_the_rows_say_how_they_were_made():
    rows = pd.read_csv(ROOT / "results" / "quickstart.csv")
    assert set(rows["seed"]) == set(range(5))
    assert f"{rows['backend'].unique().item().upper()}, Keras " in README
    assert f"Keras {rows['keras'].unique().item()}" in README
    assert (rows.groupby(["loss", "noise_rate", "epochs"]).size() == 5).all()


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_other_backends_agree_within_two_standard_deviations(backend):
    groups = ["noise_rate", "epochs", "loss"]
    ours = pd.read_csv(ROOT / "results" / "quickstart.csv").groupby(groups)
    rows = pd.read_csv(ROOT / "results" / f"quickstart_{backend}.csv")
    assert set(rows["backend"]) == {backend}
    theirs = rows.groupby(groups)
    assert (theirs.size() == 5).all()
    for column in ("accuracy", "ece"):
        off = (ours[column].mean() - theirs[column].mean()).abs()
        spread = (ours[column].var() + theirs[column].var()) ** 0.5
        assert (off < 2 * spread).all()


def test_links_lead_to_files():
    pages = [str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")]
    assert len(pages) > 1
    for name in ("README.md", "CONTRIBUTING.md", *pages):
        path = ROOT / name
        for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{name}: {target}"
