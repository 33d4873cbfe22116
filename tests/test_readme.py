"""README: its code runs, its links lead to files, its numbers are committed rows."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
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
