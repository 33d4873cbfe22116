"""The site: a stub for each public name, a place for each page, code that runs."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_digits

from keras_robust import GCE, NCERCE, SCE, SGCE, GammaCE
from keras_robust.metrics import MultilabelCalibrationError
from keras_robust.noise import (
    flip_labels,
    gamma_from_noise_rate,
    omission_matrix,
    symmetric_matrix,
)

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PACKAGES = ["losses", "metrics", "noise", "callbacks", "calibration"]


def code_of(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_every_public_name_has_one_stub_and_every_stub_a_name():
    stubs = [
        name
        for page in (DOCS / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
    ]
    public = [
        f"{package}.{name}"
        for package in [*(f"keras_robust.{name}" for name in PACKAGES), "engine"]
        for name in importlib.import_module(package).__all__
    ]
    assert sorted(stubs) == sorted(public)


def test_the_names_at_the_top_are_those_of_the_packages():
    # Or they would need stubs of their own.
    top = importlib.import_module("keras_robust")
    for name in set(top.__all__) - set(PACKAGES):
        assert getattr(top, name).__module__.split(".")[1] in PACKAGES


def test_every_page_and_notebook_has_its_place_in_the_navigation():
    placed = re.findall(
        r": (\S+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), re.M
    )
    assert (DOCS / "notebooks").resolve() == ROOT / "notebooks"
    there = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    # `rglob` does not follow the link.
    there += [str(p.relative_to(ROOT)) for p in (ROOT / "notebooks").glob("*/*.ipynb")]
    assert sorted(placed) == sorted(there)


def test_the_site_needs_nothing_from_other_sites():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    scripts = config["extra_javascript"]
    assert "javascripts/formulas.js" in scripts
    for file in (*scripts, *config["extra_css"]):
        assert (DOCS / file).is_file(), file  # no address elsewhere
    assert config["theme"]["font"] is False
    for file in DOCS.rglob("*.[cjm][sd]*"):
        outside = r"@import|src=[\"']?https?:|url\([\"']?https?:"
        assert not re.search(outside, file.read_text()), file


def test_the_map_of_contributing_is_short_and_leads_to_files():
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| open |\n|---|---|\n")[1]
    rows = table.split("\n\n")[0].splitlines()
    assert len(rows) < 19
    for row in rows:
        source = ""
        for path in re.findall(r"`([\w/<>.]*[/.][\w/.]*)`", row):
            pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
            found = [*(ROOT / "keras_robust").glob(pattern), *ROOT.glob(pattern)]
            assert found, path
            source += "".join(file.read_text() for file in found if file.is_file())
        for name in re.findall(r"`([a-z]+_[a-z_]+)`", row):
            assert re.search(rf"\bdef {name}\b", source), name


def test_notebooks_have_no_links_that_the_site_would_break():
    # It moves each notebook into a folder of its own and leaves links as they are.
    notebooks = sorted((DOCS / "notebooks").glob("*/*.ipynb"))
    assert notebooks
    for notebook in notebooks:
        for cell in json.loads(notebook.read_text())["cells"]:
            if cell["cell_type"] == "markdown":
                targets = re.findall(r"\]\(([^)]+)\)", "".join(cell["source"]))
                assert all(t.startswith(("https://", "#")) for t in targets), targets


def test_the_start_page_runs_the_readmes_first_code():
    readme = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert code_of("index.md") == readme[:1]


def test_the_confidences_that_theory_gives_are_those_of_the_minimizers():
    rates = (0.2, 0.4, 0.6)
    losses = {
        "CE": lambda rate: GCE(q=0.0),
        "`GCE(q=0.6)`": lambda rate: GCE(q=0.6),
        "`GCE(q=0.8)`": lambda rate: GCE(q=0.8),
        "`SGCE(q=0.6, smoothing=0.1)`": lambda rate: SGCE(q=0.6, smoothing=0.1),
        "`SCE(alpha=0.1, beta=1.0)`": lambda rate: SCE(alpha=0.1, beta=1.0),
        "`NCERCE(alpha=1.0, beta=1.0)`": lambda rate: NCERCE(),
        "`GCE(q=0.7, cutoff=0.5)`": lambda rate: GCE(q=0.7, cutoff=0.5),
        r"`GammaCE` at $\gamma^*$": lambda rate: GammaCE(
            gamma=gamma_from_noise_rate(9, rate)
        ),
    }
    text = (DOCS / "theory.md").read_text()
    for name, make in losses.items():
        # A word that is sure: its noisy posterior is a row of the matrix.
        sure = [make(r).minimizer(symmetric_matrix(9, r)[:1]).max() for r in rates]
        assert f"| {name} | " + " | ".join(f"{c:.3f}" for c in sure) + " |\n" in text


def test_the_code_of_the_guide_to_the_losses_runs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0)
    model = keras.Sequential([keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit(x, y, epochs=20, verbose=0)
    names = {"model": model, "x": x, "y": y, "x_dev": x[:100], "y_dev": y[:100]}
    names |= {"held_out": x, "given_labels": y, "num_classes": 3}
    blocks = code_of("choosing.md")
    assert len(blocks) == 5
    for code in blocks:
        exec(
            compile(code.replace("epochs=5", "epochs=2"), "choosing.md", "exec"), names
        )
    assert 0.0 <= names["rate"] <= 1.0
    assert np.shape(names["matrix"]) == (3, 3)
    assert names["model"].loss.q == pytest.approx(0.6)  # after the warm-up


def test_the_code_of_the_pitfalls_runs():
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 9, (40, 4)), rng.integers(0, 3, (40, 4))
    y[:, 3] = -100
    model = keras.Sequential([keras.layers.Embedding(9, 5), keras.layers.Dense(3)])
    model.compile("adam", GCE(from_logits=True))
    features = rng.normal(size=(40, 6)).astype("float32")
    names = {"model": model, "x": x, "y": y, "np": np, "keras": keras, "GCE": GCE}
    names |= {"features": features, "several": (features[:, :2] > 0).astype("int32")}
    names |= {"MultilabelCalibrationError": MultilabelCalibrationError, "num_labels": 2}
    blocks = code_of("keras-pitfalls.md")
    assert len(blocks) == 3
    for code in blocks:
        exec(compile(code, "keras-pitfalls.md", "exec"), names)
    assert (names["weight"][:, :3] == np.array([0.2, 1.0, 2.0])[y[:, :3]]).all()
    trained, several = names["model"], names["several"]
    found = trained.evaluate(features, several[..., None], verbose=0, return_dict=True)
    p = keras.ops.sigmoid(trained.predict(features, verbose=0)[..., 0])
    p = keras.ops.convert_to_numpy(p)
    p_y = np.where(several == 1, p, 1 - p)
    assert found["loss"] == pytest.approx(np.mean((1 - p_y**0.5) / 0.5), rel=1e-4)
    assert found["multilabel_ece"] > 0


def test_the_recipe_for_labels_from_people_runs_and_helps():
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    # Two of five are taken for 0, from people who do not look closely.
    noisy = flip_labels(y[:1200], omission_matrix(10, 0.4), seed=0).labels

    def train(x, labels, loss):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
        )
        model.compile(keras.optimizers.Adam(0.01), loss)
        model.fit(x, labels, epochs=8, batch_size=64, verbose=0)
        return model

    names = {"x": x[:1200], "given": noisy, "num_classes": 10, "train": train}
    names["look_again"] = lambda index: y[index]
    for code in code_of("real-labels.md"):
        exec(compile(code, "real-labels.md", "exec"), names)
    rows = np.concatenate([names["first"], names["second"]])
    corrected = names["targets"].argmax(-1)
    assert (corrected != y[rows]).mean() < (noisy[rows] != y[rows]).mean() / 2
    assert names["choice"].best == "corrected"
    held, right = x[1200:], y[1200:]
    prob = names["model"].predict(held, verbose=0)
    plain = names["models"]["as given"].predict(held, verbose=0)
    assert (prob.argmax(-1) == right).mean() > (plain.argmax(-1) == right).mean()
    np.testing.assert_allclose(prob.sum(-1), 1, rtol=1e-5)


def test_the_table_of_benchmarks_is_that_of_the_committed_rows():
    code = "import bars, pandas as pd, sys; rows = pd.read_csv(sys.argv[1]); "
    code += "sys.stdout.write(bars.markdown(bars.table(rows)))"
    rows = ROOT / "results" / "benchmarks.csv"
    run = subprocess.run(
        [sys.executable, "-c", code, rows],
        cwd=ROOT / "benchmarks",
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout in (DOCS / "benchmarks.md").read_text()


REPRODUCTION = (DOCS / "reproduction.md").read_text()
NUMBER = ["claim", "article", "ours", "difference", "interval", "inside"]


def claims_of(about):
    rows = pd.read_csv(ROOT / "results" / f"study_claims_{about}.csv", dtype=str)
    return rows.fillna("")


@pytest.mark.parametrize("about", ["f1", "calibration"])
def test_every_claim_of_the_article_is_on_its_page_with_our_number(about):
    rows = claims_of(about)
    numbers = rows["inside"] != ""
    for part, told in ((rows[numbers], NUMBER), (rows[~numbers], NUMBER[:3])):
        columns = [*told, "verdict", "criterion"]
        assert set(part["seeds"]) <= {"3", ""}  # as the page says of all
        lines = part[columns].agg(" | ".join, axis=1)
        table = "".join(f"| {line} |\n" for line in lines)
        assert "\n|" + "---|" * len(columns) + "\n" + table in REPRODUCTION


@pytest.mark.parametrize("about", ["f1", "calibration"])
def test_the_page_counts_the_verdicts(about):
    count = claims_of(about)["verdict"].value_counts()
    said = f"{count['holds']} hold, {count['holds in part']} hold in part, "
    said += f"{count['does not hold']} do not"
    if "not tested" in count:
        said += f", {count['not tested']} not tested"
    assert f".ipynb): {said}.\n" in REPRODUCTION


def test_the_page_says_how_many_of_the_articles_numbers_lie_in_the_intervals():
    rows = pd.concat([claims_of("f1"), claims_of("calibration")])
    rows = rows[rows["inside"] != ""]
    inside, one_run = ((rows[c] == "yes").sum() for c in ("inside", "inside_one_run"))
    said = f"{inside} of its {len(rows)} numbers lie in the interval of our mean, "
    said += f"{one_run} in that of one further run"
    assert said in REPRODUCTION.replace("\n", " ")


@pytest.mark.parametrize(
    ("backend", "mode", "said"),
    [
        ("jax", "jit", "0.21 (JAX)"),
        ("tensorflow", "xla", "0.39 (XLA)"),
        ("tensorflow", "graph", "0.65 (graph)"),
        ("torch", "eager", "0.78 (PyTorch)"),
    ],
)
def test_what_the_page_says_of_updates_with_their_result(backend, mode, said):
    rows = pd.read_csv(ROOT / "results" / "benchmarks.csv").set_index("question")
    here = rows.loc["metrics"].query(
        "backend == @backend and mode == @mode and name == 'ExpectedCalibrationError'"
        " and shape == '1000000 x 10' and labels == 'update and result'"
    )
    assert said.startswith(f"{here['ratio'].item():.2f}")
    assert said in (DOCS / "benchmarks.md").read_text()


def test_what_the_page_says_of_chunks():
    rows = pd.read_csv(ROOT / "results" / "benchmarks.csv")
    ratios = rows[rows["question"] == "chunks"].groupby("name")["ratio"]
    more = ratios.get_group("65 rows") - 1
    less = 1 - ratios.get_group("262 rows")
    text = " ".join((DOCS / "benchmarks.md").read_text().split())
    assert (
        f"half as many take {100 * more.min():.0f} to {100 * more.max():.0f} %" in text
    )
    assert (
        f"twice as many save {100 * less.min():.0f} to {100 * less.max():.0f} %" in text
    )
