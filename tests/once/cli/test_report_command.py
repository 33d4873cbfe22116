"""The command `keras-robust report`: files in, one line of error or a page out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras_robust_cli
import numpy as np
import pandas as pd
import pytest

from keras_robust.calibration import calibration_report

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(60, 12))
PROB = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
LABELS = RNG.integers(0, 12, 60)
ECE = calibration_report(LABELS, PROB, num_resamples=2)["ece"].value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("p.npz", y_prob=PROB, y_true=LABELS, logits=LOGITS, w=np.ones(60))
    frame = pd.DataFrame(PROB, columns=[f"prob_{k}" for k in range(12)])
    frame.insert(0, "y_true", LABELS)
    frame["w"] = np.arange(60) % 2
    # Columns in an order of their own: prob_10 is class 10 all the same.
    frame[sorted(frame)].to_csv("p.csv", index=False)
    frame.to_parquet("p.parquet")
    frame[["y_true"]].to_csv("labels.csv", index=False)
    np.savez("n.npz", y_prob=PROB, y_true=LABELS, w=LABELS.astype(str))
    return tmp_path


def run(*arguments, capsys):
    """Returns exit code, standard output and standard error."""
    try:
        code = keras_robust_cli.main(["report", "--resamples", "5", *arguments])
    except SystemExit as exit_:
        code = exit_.code
    return code, *capsys.readouterr()


def ece_in(path, model=None):
    rows = json.loads(Path(path).read_text())["measures"]
    chosen = [r for r in rows if r["measure"] == "ece" and model in (None, r["model"])]
    return chosen[0]["value"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["p.npz"],
        ["p.csv"],
        ["p.parquet"],
        ["p.npz", "--prob-key", "logits", "--logits"],
        ["p.npz", "--labels", "labels.csv"],
        ["p.csv", "--labels", "p.npz"],
    ],
)
def test_every_format_gives_the_same_numbers(arguments, folder, capsys):
    code, out, err = run(*arguments, "--out", "r.json", capsys=capsys)
    assert (code, err) == (0, "")
    assert ece_in("r.json") == pytest.approx(ECE, rel=1e-9)
    assert f"{ECE:.4f}" in out
    assert "written: r.json" in out


def test_several_files_are_several_models(folder, capsys):
    np.savez("q.npz", y_prob=PROB[:, ::-1])
    code, out, _ = run("p.npz", "after=q.npz", "--out", "r.json", capsys=capsys)
    assert code == 0
    assert ece_in("r.json", "p") == pytest.approx(ECE)
    assert ece_in("r.json", "after") != pytest.approx(ECE, rel=0.01)
    assert out.splitlines()[1].split() == ["p", "after"]


def test_a_page_a_table_and_nothing_else_is_written(folder, capsys):
    before = set(folder.iterdir())
    outs = ["--out", "r.html", "--out", "r.csv", "--title", "Mine"]
    code, _, _ = run("p.csv", *outs, capsys=capsys)
    assert code == 0
    assert {p.name for p in set(folder.iterdir()) - before} == {"r.html", "r.csv"}
    assert "<title>Mine</title>" in Path("r.html").read_text()
    ece = pd.read_csv("r.csv").set_index("measure").loc["ece", "value"]
    assert ece == pytest.approx(ECE)


def test_class_names_are_those_of_the_columns(folder, capsys):
    names = list("lkjihgfedcba")
    frame = pd.DataFrame(PROB, columns=[f"p_{name}" for name in names])
    frame["species"] = [names[k] for k in LABELS]
    frame.to_csv("named.csv", index=False)
    how = ["--prob-prefix", "p_", "--label-column", "species"]
    code, _, err = run("named.csv", *how, "--out", "r.json", capsys=capsys)
    assert (code, err) == (0, "")
    assert ece_in("r.json") == pytest.approx(ECE)
    frame.loc[5, "species"] = "z"
    frame.to_csv("named.csv", index=False)
    code, _, err = run("named.csv", *how, capsys=capsys)
    assert code == 2
    assert "Received: 'z'." in err


def test_models_with_other_columns_are_not_compared(folder, capsys):
    frame = pd.DataFrame(PROB, columns=[f"prob_{name}" for name in "abcdefghijkl"])
    frame.to_csv("named.csv", index=False)
    code, _, err = run("p.csv", "named.csv", capsys=capsys)
    assert code == 2
    assert "named.csv: the columns of classes must be those of p.csv" in err


def test_the_shares_that_must_be_right_are_those_asked_for(folder, capsys):
    y = PROB.argmax(-1)  # right in every row
    np.savez("right.npz", y_prob=PROB, y_true=y)
    how = ["--accept-at", "0.5", "--accept-at", "0.9", "--out", "r.json"]
    code, out, _ = run("right.npz", *how, "--out", "r.csv", capsys=capsys)
    points = json.loads(Path("r.json").read_text())["operating_points"]
    assert code == 0
    assert [(p["accept_at"], p["share"]) for p in points] == [(0.5, 1.0), (0.9, 1.0)]
    assert "90 %         0.0000       100.0 %        100.0 %" in out
    frame = pd.read_csv("r.csv").set_index("measure")
    assert frame.loc["share_at_0.9", "value"] == 1.0
    _, out, _ = run("right.npz", capsys=capsys)
    assert "needs 299 rows" in out  # for 0.99, as by default
    code, _, err = run("right.npz", "--accept-at", "95", capsys=capsys)
    assert code == 2
    assert "report: `--accept-at` must be in (0, 1). Received: 95.0." in err


def test_options_reach_the_report(folder, capsys):
    how = ["--weight-column", "w", "--bins", "7", "--ignore-class", "3"]
    code, out, _ = run("p.csv", *how, "--out", "r.json", capsys=capsys)
    settings = json.loads(Path("r.json").read_text())["settings"]
    counted = (LABELS != 3) & (np.arange(60) % 2 == 1)
    assert code == 0
    assert settings["n"] == counted.sum()
    assert (settings["num_bins"], settings["num_resamples"]) == (7, 5)
    assert "7 bins" in out
    two = PROB[:, :1]
    np.savez("two.npz", y_prob=two, y_true=LABELS == 0)
    code, out, _ = run("two.npz", "--notion", "positive", capsys=capsys)
    assert code == 0
    assert "rate of class 1" in out


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["1", "-1"], [1, -1]),
        (["True", "False"], [True, False]),
        (["1.0", "0.0"], [1.0, 0.0]),
        (["pos", "0"], ["pos", "0"]),
        (["NA", "None"], ["NA", "None"]),
        (["1", "2"], [1, 2]),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_labels_are_compared_with_the_names_of_columns(
    names, labels, ending, folder, capsys
):
    # The first class is likelier in every row, and two rows of three are of it.
    frame = pd.DataFrame({f"prob_{n}": [p] * 3 for n, p in zip(names, (0.8, 0.2))})
    frame["y_true"] = [labels[0], labels[1], labels[0]]
    frame["w"] = 1.0
    if ending == "csv":
        frame.to_csv("n.csv", index=False)
    else:
        frame.to_parquet("n.parquet")
    code, _, err = run(f"n.{ending}", "--out", "r.json", capsys=capsys)
    assert (code, err) == (0, "")
    rows = json.loads(Path("r.json").read_text())["measures"]
    assert rows[0]["value"] == pytest.approx(2 / 3)


def test_one_column_is_the_probability_of_class_1(folder, capsys):
    frame = pd.DataFrame({"prob_1": [0.9, 0.2, 0.7], "y_true": [1, 0, 0]})
    frame.to_csv("one.csv", index=False)
    for how in ([], ["--notion", "positive"]):
        code, _, err = run("one.csv", *how, "--out", "r.json", capsys=capsys)
        assert (code, err) == (0, "")
        rows = json.loads(Path("r.json").read_text())["measures"]
        assert rows[0]["value"] == pytest.approx(1 / 3 if how else 2 / 3)


def test_the_labels_are_no_class_though_their_name_begins_as_one(folder, capsys):
    frame = pd.read_csv("p.csv").rename(columns={"y_true": "prob_label"})
    frame.to_csv("l.csv", index=False)
    how = ["--label-column", "prob_label"]
    code, _, _ = run("l.csv", *how, "--out", "r.json", capsys=capsys)
    assert code == 0
    assert ece_in("r.json") == pytest.approx(ECE)


def test_columns_of_one_name_are_refused(folder, capsys):
    (folder / "d.csv").write_text("prob_0,prob_0,y_true\n.5,.5,0\n")
    code, _, err = run("d.csv", capsys=capsys)
    assert code == 2
    assert "d.csv: this file cannot be read: there are two columns prob_0." in err


def test_float32_keeps_its_edges_in_every_format(folder, capsys):
    prob = np.array([[0.3, 0.7]], "float32")
    np.savez("e.npz", y_prob=prob, y_true=[1])
    frame = pd.DataFrame(prob, columns=["prob_0", "prob_1"]).assign(y_true=1)
    frame.to_parquet("e.parquet")
    for name in ("e.npz", "e.parquet"):
        code, _, _ = run(name, "--bins", "10", "--out", "r.json", capsys=capsys)
        assert code == 0
        counts = json.loads(Path("r.json").read_text())["bins"]["e"]["count"]
        assert counts[7] == 1


def test_if_one_output_cannot_be_written_none_is(folder, capsys):
    (folder / "dir.html").mkdir()
    before = sorted(folder.iterdir())
    outs = ["--out", "a.json", "--out", "dir.html"]
    code, _, err = run("p.csv", *outs, capsys=capsys)
    assert code == 2
    assert "dir.html" in err
    assert sorted(folder.iterdir()) == before


def test_a_file_that_cannot_be_read_is_named(folder, capsys):
    for name, content in {
        "utf16.csv": "prob_0,prob_1,y_true\n.5,.5,0\n".encode("utf-16"),
        "empty.csv": b"",
        "ragged.csv": b"prob_0,prob_1,y_true\n.5,.5,0\n.5,.5,0,1,2\n",
        "empty.npz": b"",
        "text.parquet": b"nothing",
    }.items():
        (folder / name).write_bytes(content)
        code, _, err = run("p.csv", name, capsys=capsys)
        assert code == 2
        assert name in err
        assert err.count("\n") == 1


def test_only_the_arrays_that_are_needed_are_read(folder, capsys):
    other = np.array([{"a": 1}], dtype=object)
    np.savez("o.npz", y_prob=PROB, y_true=LABELS, other=other)
    code, _, err = run("o.npz", "--out", "r.json", capsys=capsys)
    assert (code, err) == (0, "")


def spoil(frame, row, column, value):
    frame = frame.astype({column: object}) if isinstance(value, str) else frame
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (None, ["missing.csv"], "missing.csv: there is no such file"),
        (None, ["p.txt"], "must be a file ending in .npz, .csv or .parquet"),
        (None, ["p.csv", "--label-column", "y"], "the columns are prob_0, prob_1"),
        (None, ["p.csv", "--prob-prefix", "q_"], "the columns are prob_0, prob_1"),
        (None, ["p.npz", "--prob-key", "q"], "the arrays are y_prob, y_true"),
        (None, ["p.npz", "--prob-key", "logits"], "For logits pass --logits"),
        (None, ["p.npz", "--prob-key", "w"], "`y_true` must be 0 or 1, or the"),
        (None, ["p.csv", "--weight-column", "v"], "Say which column with --weight"),
        (None, ["p.csv", "p.npz"], "Write NAME=FILE"),
        (None, ["p.csv", "--bins", "0"], "`--bins` must be at least 1. Received: 0."),
        (None, ["p.csv", "--resamples", "0"], "`--resamples` must be at least 1"),
        (None, ["p.csv", "--seed", "-1"], "`--seed` must be at least 0. Received: -1."),
        (
            None,
            ["p.csv", "--ignore-class", "9" * 12],
            "`--ignore-class` must be an int",
        ),
        (None, ["n.npz", "--weight-column", "w"], "n.npz: `w` must be of numbers"),
        (None, ["p.csv", "--notion", "positive"], "`--notion` must be 'top_label'"),
        (None, ["p.csv", "--out", "r.txt"], "must be a file ending in .html"),
        (None, ["p.csv", "--out", "no/r.html"], "Create no first"),
        (None, ["p.csv", "--out", "p.csv"], "`--out` must be no input file"),
        (lambda f: spoil(f, 4, "prob_3", np.nan), ["c.csv"], "the first row 4"),
        (lambda f: spoil(f, 4, "prob_3", "x"), ["c.csv"], "a column of numbers"),
        (lambda f: spoil(f, 4, "prob_3", 0.9), ["c.csv"], "the first row 4 with a sum"),
        (lambda f: spoil(f, 4, "prob_3", -0.9), ["c.csv"], "must be in [0, 1]"),
        (lambda f: spoil(f, 4, "y_true", np.nan), ["c.csv"], "nothing in row 4"),
        (lambda f: spoil(f, 4, "y_true", 12), ["c.csv"], "12 in row 4"),
        (
            lambda f: spoil(f, 4, "y_true", "x"),
            ["c.csv"],
            "names of the classes' columns",
        ),
        (lambda f: f.drop(columns="prob_3"), ["c.csv"], "Received: '3'."),
        (
            lambda f: f.rename(columns={"prob_3": "prob_2 "}),
            ["c.csv"],
            "Received: '3'.",
        ),
        (lambda f: f[["prob_0", "y_true"]], ["c.csv"], "must be prob_1"),
        (lambda f: f[:0], ["c.csv"], "a column of 0 rows"),
        (None, ["p.csv", "--prob-prefix", ""], "names of the classes' columns"),
        (
            lambda f: f[["y_true"]].rename(columns={"y_true": "prob_0;prob_1;y_true"}),
            ["c.csv"],
            "separated by commas",
        ),
        (
            lambda f: f[:50],
            ["c.csv", "--labels", "labels.csv"],
            "labels.csv: `rows` must be as many as in c.csv, 50",
        ),
    ],
)
def test_what_is_wrong_gets_one_line_and_code_2(
    change, arguments, message, folder, capsys
):
    if change is not None:
        change(pd.read_csv("p.csv")).to_csv("c.csv", index=False)
    outs = [] if "--out" in arguments else ["--out", "r.html"]
    before = {p: p.read_bytes() for p in folder.iterdir()}
    code, out, err = run(*arguments, *outs, capsys=capsys)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("keras-robust: error: ")
    assert message in err
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


def test_columns_keep_their_names_in_errors_though_arguments_are_called_so(
    folder, capsys
):
    frame = pd.read_csv("p.csv").rename(columns={"y_true": "seed"})
    spoil(frame, 4, "seed", np.nan).to_csv("from_logits=True.csv", index=False)
    how = ["from_logits=True.csv", "--label-column", "seed"]
    code, _, err = run(*how, capsys=capsys)
    assert code == 2
    assert "from_logits=True.csv: `seed` must be filled" in err


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_a_broken_file_is_told_as_such(content, folder, capsys):
    for name in ("b.npz", "b.parquet"):
        (folder / name).write_bytes(content)
        code, _, err = run(name, capsys=capsys)
        assert code == 2
        assert err.count("\n") == 1


def test_pickles_are_not_loaded(folder, capsys):
    np.savez("evil.npz", y_prob=np.array([{"a": 1}], dtype=object), y_true=[0])
    code, _, err = run("evil.npz", capsys=capsys)
    assert code == 2
    assert "an .npz file of numbers" in err


def test_arguments_that_argparse_refuses_have_code_2(capsys):
    assert run(capsys=capsys)[0] == 2
    assert run("p.csv", "--notion", "binary", capsys=capsys)[0] == 2


def test_the_installed_command_runs_whatever_the_backend(folder):
    # As a user would, without KERAS_BACKEND: Keras alone would ask for TensorFlow.
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    command = Path(sys.executable).parent / "keras-robust"
    done = subprocess.run(
        [command, "report", "p.csv", "--resamples", "5"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert f"{ECE:.4f}" in done.stdout


def test_without_any_backend_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(keras_robust_cli, "_BACKENDS", ())
    assert keras_robust_cli.main(["report", "p.csv"]) == 2
    assert "Keras needs one of jax, torch and tensorflow" in capsys.readouterr().err
