"""Rows of several files that belong together, and the columns that files may have."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import keras_robust_cli
import numpy as np
import pandas as pd
import pytest

from keras_robust._inputs.options import NOTIONS

RNG = np.random.default_rng(0)
PROB = RNG.dirichlet(np.ones(3), 90)
LABELS = (PROB.cumsum(1) > RNG.random((90, 1))).argmax(1)
ACCURACY = (PROB.argmax(1) == LABELS).mean()
ORDER = RNG.permutation(90)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", y_prob=PROB, y_true=LABELS, w=1.0 + LABELS)
    np.savez("b.npz", y_prob=PROB[ORDER], y_true=LABELS[ORDER], w=1.0 + LABELS[ORDER])
    a = frame(PROB, LABELS)
    a.to_csv("a.csv", index=False)
    a.loc[ORDER].to_csv("b.csv", index=False)


def frame(prob, labels, names=(0, 1, 2)):
    columns = [f"prob_{name}" for name in names]
    return pd.DataFrame(prob, columns=columns).assign(
        y_true=labels, id=[f"row {k}" for k in range(len(labels))]
    )


def run(arguments, capsys):
    """Returns exit code, output and error of a report, and its rows."""
    Path("r.json").unlink(missing_ok=True)
    how = ["--resamples", "2", "--out", "r.json"]
    code = keras_robust_cli.main(["report", *arguments.split(" "), *how])
    out, err = capsys.readouterr()
    rows = json.loads(Path("r.json").read_text())["measures"] if code == 0 else []
    return code, out, err, {(r["model"], r["measure"]): r for r in rows}


def refused(arguments, capsys):
    code, out, err, _ = run(arguments, capsys)
    assert (code, out) == (2, ""), out
    assert err.startswith("keras-robust: error: ")
    assert err.count("\n") == 1
    return err


def accepted(arguments, capsys):
    code, out, err, rows = run(arguments, capsys)
    assert (code, err) == (0, "")
    return out, rows


def test_labels_and_weights_of_several_files_agree_row_by_row(capsys):
    differ = np.flatnonzero(LABELS[ORDER] != LABELS)
    for files in (
        "a.npz b.npz",
        "x=a.csv y=b.csv --leave-out id",
        "a.csv b.npz",
        "a.csv --labels b.npz",
    ):
        err = refused(files, capsys)
        first = f"{len(differ)} rows that differ, the first row {differ[0]}: "
        given = f"{LABELS[ORDER][differ[0]]}, for {LABELS[differ[0]]} there"
        if "--labels" in files:
            given = f"{LABELS[differ[0]]}, for {LABELS[ORDER][differ[0]]} there"
        assert first + given in err
        assert "join them by --id-column" in err
    np.savez("c.npz", y_prob=PROB, y_true=LABELS, w=1.0 + LABELS[ORDER])
    assert "c.npz: `w` must be that of a.npz" in refused(
        "a.npz c.npz --weight-column w", capsys
    )
    np.savez("d.npz", y_prob=PROB, y_true=LABELS)
    _, rows = accepted("a.npz d.npz", capsys)
    for model in "ad":
        assert rows[model, "accuracy"]["value"] == pytest.approx(ACCURACY)
    # They are shown as they are written.
    for name, labels in (("n.csv", LABELS), ("m.csv", LABELS[ORDER])):
        frame(
            PROB, np.array(["cat", "dog", "owl"])[labels], ["cat", "dog", "owl"]
        ).to_csv(name, index=False)
    names = [
        np.array(["'cat'", "'dog'", "'owl'"])[x[differ[0]]]
        for x in (LABELS[ORDER], LABELS)
    ]
    assert f": {names[0]}, for {names[1]} there" in refused("n.csv m.csv", capsys)
    # Other labels on purpose, and labels that only the second file has.
    accepted("a.csv --labels b.npz --leave-out y_true", capsys)
    np.savez("e.npz", y_prob=PROB)
    _, rows = accepted("e.npz a.npz", capsys)
    assert rows["e", "accuracy"]["value"] == pytest.approx(ACCURACY)


def test_an_id_joins_rows_of_another_order(capsys):
    pd.read_csv("a.csv")[["id", "y_true"]].iloc[::-1].to_csv("l.csv", index=False)
    for files in ("a.csv b.csv", "b.csv a.csv", "a.csv b.csv --labels l.csv"):
        _, rows = accepted(f"{files} --id-column id", capsys)
        for model in "ab":
            assert rows[model, "accuracy"]["value"] == pytest.approx(ACCURACY)
    short = pd.read_csv("b.csv")
    short[:-1].to_csv("c.csv", index=False)
    assert "c.csv: `id` must be the ids of a.csv. Received: no row" in refused(
        "a.csv c.csv --id-column id", capsys
    )
    short.assign(id=["row 7", *short["id"][1:-1], "row 7"]).to_csv("c.csv", index=False)
    assert "'row 7' in two rows" in refused("a.csv c.csv --id-column id", capsys)


def test_files_of_other_lengths_and_ragged_headers_are_refused(capsys):
    pd.read_csv("a.csv")[:80].to_csv("c.csv", index=False)
    err = refused("a.csv c.csv", capsys)
    assert "c.csv: `rows` must be as many as in a.csv, 90. Received: 80 rows." in err
    np.savez("c.npz", y_prob=PROB, y_true=LABELS[:80])
    assert "c.npz: `arrays` must be of one length" in refused("c.npz", capsys)
    # As R's write.table: row names without a name.
    lines = Path("a.csv").read_text().splitlines()
    named = [lines[0], *(f"{k},{line}" for k, line in enumerate(lines[1:]))]
    Path("r.csv").write_text("\n".join(named))
    err = refused("r.csv", capsys)
    assert "the header names 5 columns and the rows have 6 values" in err
    assert "col.names=NA or row.names=FALSE" in err
    Path("r.csv").write_text("\n".join([lines[0], *(f"{x}," for x in lines[1:])]))
    assert "a comma stands at the end" in refused("r.csv", capsys)
    Path("r.csv").write_text("\n".join([*lines[:3], lines[3] + ",1", *lines[4:]]))
    assert "r.csv: this file cannot be read" in refused("r.csv", capsys)


def test_probabilities_are_no_logits_and_percentages_neither(capsys):
    err = refused("a.npz --logits", capsys)
    assert "a.npz: `y_prob` must be logits, with --logits" in err
    assert "leave --logits out; if they are logits all the same, write" in err
    frame(100 * PROB, LABELS).to_csv("p.csv", index=False)
    assert "pass --percent instead" in refused("p.csv --logits", capsys)
    assert "pass --percent instead" in refused(
        "p.csv --positive prob_1 --positive-label 1 --logits", capsys
    )
    err = refused("p.csv", capsys)
    assert "for percentages pass --percent" in err
    assert "--logits" not in err
    _, rows = accepted("p.csv --percent", capsys)
    assert rows["p", "accuracy"]["value"] == pytest.approx(ACCURACY)
    one = pd.DataFrame({"prob_1": 100 * PROB[:, 1], "y_true": LABELS == 1})
    one.to_csv("o.csv", index=False)
    assert "or percentages pass --percent" in refused("o.csv", capsys)
    accepted("o.csv --percent", capsys)


def test_rounded_rows_are_divided_by_their_sums_on_request(capsys):
    rounded = PROB.round(1)
    rounded[5] = [0.3, 0.3, 0.3]
    frame(rounded, LABELS).to_csv("c.csv", index=False)
    assert "For rounded numbers pass --normalize" in refused("c.csv", capsys)
    out, rows = accepted("c.csv --normalize", capsys)
    off = np.abs(rounded.sum(1) - 1)
    note = f"which were off by up to {off.max():.3g} (row {off.argmax()})"
    assert f"normalized: c.csv: rows divided by their sums, {note}" in out
    whole = rounded / rounded.sum(1, keepdims=True)
    assert rows["c", "confidence"]["value"] == pytest.approx(whole.max(1).mean())
    frame(100 * PROB, LABELS).to_csv("c.csv", index=False)
    assert "or percentages pass --percent" in refused("c.csv --normalize", capsys)
    assert "do not go together" in refused("c.csv --normalize --logits", capsys)


def test_rows_with_something_missing_are_left_out_on_request_and_counted(capsys):
    a, b = pd.read_csv("a.csv"), pd.read_csv("a.csv")
    a.loc[3, "prob_1"] = np.nan
    b.loc[[3, 7], "y_true"] = np.nan
    a.to_csv("c.csv", index=False)
    b.to_csv("d.csv", index=False)
    assert "--drop-missing" in refused("c.csv", capsys)
    out, rows = accepted("c.csv d.csv --drop-missing", capsys)
    assert "dropped: 2 of 90 rows, with something missing" in out
    keep = ~np.isin(np.arange(90), [3, 7])
    expected = (PROB.argmax(1) == LABELS)[keep].mean()
    for model in "cd":
        assert rows[model, "accuracy"]["value"] == pytest.approx(expected)
        assert rows[model, "accuracy"]["n"] == 88


@pytest.mark.parametrize("column", ["prob", "y_prob", "prob_yes"])
def test_one_column_may_have_any_name(column, capsys):
    p, right = PROB[:, 1], LABELS == 1
    table = pd.DataFrame({column: p, "y_true": np.where(right, "yes", "no")})
    table.to_csv("c.csv", index=False)
    assert "--positive" in refused("c.csv --label-column y_true", capsys)
    how = f"c.csv --positive {column} --notion positive"
    if column != "prob_yes":
        err = refused(how, capsys)
        assert "Received: 'no', 'yes'. Say what class 1 is called with --pos" in err
        assert "'y'" in refused(f"{how} --positive-label y", capsys)
        how += " --positive-label yes"
    _, rows = accepted(how, capsys)
    assert rows["c", "event_rate"]["value"] == pytest.approx(right.mean())
    table.assign(y_true=right.astype(int)).to_csv("c.csv", index=False)
    _, rows = accepted(f"c.csv --positive {column} --notion positive", capsys)
    assert rows["c", "event_rate"]["value"] == pytest.approx(right.mean())


def test_one_output_a_row_in_an_array_is_one_column(capsys):
    np.savez("o.npz", y_prob=[0.9, 0.9, 0.2, 0.2], y_true=[1, 1, 0, 1])
    _, rows = accepted("o.npz --notion positive", capsys)
    assert rows["o", "ece"]["value"] == pytest.approx(0.1 * 0.5 + 0.3 * 0.5)
    np.savez("o.npz", y_prob=[0.9, 0.9, 0.2, 0.2], y_true=[1, 1, -1, 1])
    assert "the first -1 in row 2" in refused("o.npz", capsys)


def test_class_and_confidence_are_enough(capsys):
    confidence, predicted = PROB.max(1), np.array(["x", "y", "z"])[PROB.argmax(1)]
    truth = np.array(["x", "y", "z"])[LABELS]
    table = {"conf": confidence, "pred": predicted, "y_true": truth}
    pd.DataFrame(table).to_csv("c.csv", index=False)
    out, rows = accepted("c.csv --confidence conf --predicted pred", capsys)
    ece = accepted("a.csv", capsys)[1]["a", "ece"]["value"]
    assert rows["c", "ece"]["value"] == pytest.approx(ece)
    assert "class 1 is 'the prediction is right': its rate is the accuracy" in out
    # As of a language model: a confidence, and right or wrong.
    pairs = {"conf": confidence, "right": (predicted == truth).astype(int)}
    pd.DataFrame(pairs).to_csv("d.csv", index=False)
    _, rows = accepted("d.csv --confidence conf --label-column right", capsys)
    assert rows["d", "ece"]["value"] == pytest.approx(ece)
    assert "takes one file" in refused("c.csv d.csv --confidence conf", capsys)
    assert "--predicted needs --confidence" in refused("c.csv --predicted x", capsys)


def test_text_files_of_every_kind_are_read(capsys):
    table = pd.read_csv("a.csv")
    table.to_csv("c.tsv", sep="\t", index=False)
    table.to_csv("c.csv.gz", index=False)
    with gzip.open("c.tsv.gz", "wt") as file:
        file.write(table.to_csv(sep="\t", index=False))
    table.to_csv("c.csv", sep=";", decimal=",", index=False)
    for how in ("c.tsv", "c.csv.gz", "c.tsv.gz", "c.csv --sep ; --decimal ,"):
        _, rows = accepted(how, capsys)
        assert rows["c", "accuracy"]["value"] == pytest.approx(ACCURACY), how
    err = refused("c.csv --sep ;", capsys)
    assert "For decimal commas pass --decimal ," in err
    assert "Is the separator another one (--sep)?" in refused("c.csv", capsys)


def test_ids_may_stand_beside_named_columns_and_other_columns_be_left_out(capsys):
    table = frame(PROB, LABELS, "xyz").assign(prob_total=1.0)
    table.to_csv("c.csv", index=False)
    assert "If they are places among x, y, z" in refused(
        "c.csv --leave-out prob_total", capsys
    )
    _, rows = accepted("c.csv --leave-out prob_total --class-ids", capsys)
    assert rows["c", "accuracy"]["value"] == pytest.approx(ACCURACY)
    assert "--leave-out" in refused("c.csv --leave-out total", capsys)


def test_blanks_can_be_seen(capsys):
    Path("c.csv").write_text("prob_cat,prob_dog,y_true\n0.9,0.1, cat\n0.2,0.8,dog\n")
    err = refused("c.csv", capsys)
    assert "Received: ' cat'. " in err
    assert "differ by blanks" in err
    Path("c.csv").write_text("prob_cat, prob_dog, y_true\n0.9, 0.1, cat\n")
    assert "' prob_dog'" in refused("c.csv", capsys)


def test_arrays_may_have_their_classes_on_another_axis(capsys):
    prob = PROB.reshape(10, 9, 3)
    np.savez("c.npz", y_prob=np.moveaxis(prob, -1, 1), y_true=LABELS.reshape(10, 9))
    _, rows = accepted("c.npz --axis 1", capsys)
    assert rows["c", "accuracy"]["value"] == pytest.approx(ACCURACY)


COMMAND = [sys.executable, "-m", "keras_robust_cli", "report"]


def shell(command, **environment):
    return subprocess.run(
        command, capture_output=True, env={**os.environ, **environment}, check=False
    )


def test_help_imports_no_keras():
    code = (
        "import sys, keras_robust_cli as c\n"
        "assert c.main(['report', '--help']) == 0\n"
        "assert not {'keras', 'keras_robust', 'numpy'} & set(sys.modules)\n"
    )
    assert shell([sys.executable, "-c", code]).returncode == 0
    assert NOTIONS == keras_robust_cli.NOTIONS


def test_a_backend_that_is_not_there_an_encoding_and_a_pipe_end_quietly():
    Path("modèle.csv").write_bytes(Path("a.csv").read_bytes())
    how = ["--resamples", "2"]
    run = shell(
        [*COMMAND, "modèle.csv", "a.csv", *how],
        KERAS_BACKEND="theano",
        PYTHONIOENCODING="ascii",
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert b"mod\\xe8le" in run.stdout
    line = " ".join([*COMMAND, "a.csv", *how])
    run = shell(["bash", "-c", f"{line} | true; exit ${{PIPESTATUS[0]}}"])
    assert run.returncode in (0, 141)
    assert run.stderr == b""
    if Path("/dev/full").exists():
        run = shell(["bash", "-c", f"{line} > /dev/full"])
        assert run.returncode == 2
        assert run.stderr.count(b"\n") == 1
        assert b"standard output cannot be written" in run.stderr


def test_a_backend_that_cannot_be_imported_is_told_in_a_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "keras_robust._cli.main", None)
    assert keras_robust_cli.main(["report", "a.csv"]) == 2
    err = capsys.readouterr().err
    assert "Keras cannot be imported with KERAS_BACKEND=" in err
    assert err.count("\n") == 1


def test_rows_whose_ids_are_in_another_order_are_not_paired_one_by_one(capsys):
    a, b = pd.read_csv("a.csv"), pd.read_csv("b.csv").drop(columns="y_true")
    b.to_csv("b.csv", index=False)
    np.savez("a.npz", y_prob=PROB, y_true=LABELS, id=np.arange(90), x=np.eye(90))
    np.savez("b.npz", y_prob=PROB[ORDER], id=ORDER, x=np.eye(90))
    a[["id", "y_true"]].loc[ORDER].to_csv("labels.csv", index=False)
    a.drop(columns="y_true").to_csv("c.csv", index=False)
    for files in ("a.csv b.csv", "a.npz b.npz", "c.csv --labels labels.csv"):
        err = refused(files, capsys)
        assert "`id` must be in the order of" in err, files
        assert "Join the rows with --id-column id" in err
        model = files[0]
        _, rows = accepted(f"{files} --id-column id", capsys)
        assert rows[model, "accuracy"]["value"] == pytest.approx(ACCURACY)
    # Each has ids, all the same: nothing says that rows belong to others.
    accepted("a.csv b.csv --leave-out id", capsys)
    a.assign(id=0).to_csv("a.csv", index=False)
    accepted("a.csv b.csv", capsys)


def test_labels_are_shown_as_they_are_written_and_options_are_named(capsys):
    names = np.array(["cat", "dog", "owl"])
    np.savez("c.npz", y_prob=PROB, y_true=names[LABELS])
    assert "labels such as 'cat'" in refused("c.npz", capsys).replace(
        repr(str(names[LABELS][0])), "'cat'"
    )
    frame(PROB, names[LABELS], names).to_csv("c.csv", index=False)
    err = refused("c.csv x=a.npz", capsys)
    assert "Received: '0', '1', '2'. " in err
    np.savez("c.npz", y_prob=PROB[:, 1], y_true=np.where(LABELS == 1, 1, -1))
    assert "--positive-label" in refused("c.npz", capsys)
    accepted("c.npz --positive y_prob --positive-label 1", capsys)
    pd.read_csv("a.csv").set_index("y_true").to_csv("c.csv", sep=";")
    assert "what is between them with --sep" in refused("c.csv", capsys)


def test_what_is_predicted_is_written_as_the_labels_are(capsys):
    right = PROB.argmax(1) == LABELS
    names = np.array(["Cat", "dog", "owl"])
    table = pd.DataFrame({"conf": PROB.max(1), "y_true": names[LABELS]})
    how = "c.csv --confidence conf --predicted pred"
    for guess in (
        np.char.lower(names)[PROB.argmax(1)],
        np.array(["Cat", "dog ", "owl"])[PROB.argmax(1)],
        PROB.argmax(1),
    ):
        table.assign(pred=guess).to_csv("c.csv", index=False)
        err = refused(how, capsys)
        assert "c.csv: `pred` must be written as the labels are, Cat, dog, owl" in err
    # Numbers are compared as numbers, and a file of its own may have the labels.
    table.assign(y_true=LABELS, pred=1.0 * PROB.argmax(1)).to_csv("c.csv", index=False)
    _, rows = accepted(how, capsys)
    assert rows["c", "event_rate"]["value"] == pytest.approx(right.mean())
    pd.DataFrame({"y_true": LABELS}).to_csv("labels.csv", index=False)
    table.drop(columns="y_true").assign(pred=PROB.argmax(1)).to_csv("c.csv")
    _, rows = accepted(f"{how} --labels labels.csv", capsys)
    assert rows["c", "event_rate"]["value"] == pytest.approx(right.mean())
