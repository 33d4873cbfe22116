"""README: one screen, its code runs, its numbers are committed rows, links lead on."""

import re
from pathlib import Path

import keras
import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_code_runs_and_prints_numbers(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The code sets it, and Keras is there already: this puts it back afterwards.
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
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
    assert Path("report.html").read_text().count("<svg") == 2
    assert f"{len(names['report'].measures)} measures" in README


def test_it_fits_one_screen():
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 900
    assert len([line for line in BLOCKS[0].splitlines() if line]) <= 15


def test_the_backend_is_chosen_before_keras_is_imported():
    chosen, imported = 'os.environ["KERAS_BACKEND"] = ', "import keras\n"
    assert BLOCKS[0].index(chosen) < BLOCKS[0].index(imported)


def test_both_commands_are_named_and_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for command in ("quickstart", "test", "docs"):
        assert re.search(rf"\bmake {command}\b", README)
        assert re.search(rf"^{command}:", makefile, re.M)


def test_its_numbers_are_those_of_the_committed_rows():
    rows = pd.read_csv(ROOT / "results" / "digits.csv")
    rows = rows[(rows["noise_rate"] == 0.4) & (rows["epochs"] == 10)]
    mean = rows.groupby("loss")[["ece", "accuracy"]].mean()
    said = " ".join(README.split())
    ce, gce = mean.loc["CE"], mean.loc["GCE"]
    assert f"(ECE) of {ce['ece']:.3f}, GCE of {gce['ece']:.3f}" in said
    quote = f"accuracy of {ce['accuracy']:.3f}, GCE of {gce['accuracy']:.3f}"
    assert quote in said


def test_links_lead_to_files():
    pages = [str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")]
    assert len(pages) > 1
    for name in ("README.md", "CONTRIBUTING.md", *pages):
        path = ROOT / name
        for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{name}: {target}"
