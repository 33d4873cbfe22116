"""What notebooks print is what the committed rows give; guides quote it rightly."""

import json
import re
from pathlib import Path

import engine
import numpy as np
import pandas as pd
from scipy import stats

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE
from keras_robust.noise import omission_matrix, pair_matrix, symmetric_matrix

ROOT = Path(__file__).parents[3]
CHOOSING = (ROOT / "docs" / "choosing.md").read_text().replace("\n", " ")


def rows(name):
    return pd.read_csv(ROOT / "results" / f"{name}.csv")


def printed(notebook):
    cells = json.loads((ROOT / "notebooks" / "study" / notebook).read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    streams = [o["text"] for o in outputs if o["output_type"] == "stream"]
    return "".join(line for text in streams for line in text)


def said(values, digits=3):
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def test_language_models():
    text = printed("06_gamma_language_models.ipynb")
    runs = rows("language_models")
    runs = runs[runs["kind"] != "test text"]
    columns = {"perplexity": 1, "temperature": 2, "accuracy": 3, "ece": 3}
    for (_, setting), own in runs.groupby(["kind", "setting"]):
        assert sorted(own["seed"]) == [0, 1, 2], setting
        for column, digits in columns.items():
            if own[column].max() < 1e4:  # the rows have six digits
                assert said(own[column], digits) in text, (setting, column)


def test_label_smoothing():
    text = printed("07_label_smoothing.ipynb")
    table = rows("label_smoothing").groupby(["data", "scaled", "smoothing"])
    columns = ["accuracy", "ece", "null_ece", "gap", "nll", "temperature"]
    assert table[columns].mean().round(3).to_string() in text
    table = rows("two_classes").groupby(["classes", "smoothing"])
    assert table[["accuracy", "ece", "gap", "nll"]].mean().round(3).to_string() in text
    ways = rows("distillation").groupby(["way", "smoothing"], sort=False)
    means = ways[["accuracy", "ece", "nll"]].mean().round(3).unstack(0)
    assert means.to_string() in text


def test_human_noise():
    text = " ".join(printed("08_human_noise.ipynb").split())
    runs = rows("human_noise")
    found = 0
    for cell, own in runs.groupby(["training", "stop", "noise", "loss"]):
        assert sorted(own["seed"]) == [0, 1, 2], cell
        training, stop, noise, loss = cell
        dice = noise in ("drawn", "uniform")
        if noise == "clean" or (dice and (training == "long") == (stop == "noisy dev")):
            continue  # clean labels leave one cell empty; the others are not printed
        measured = own[["accuracy", "ece", "gap", "memorised"]].agg(["mean", "std"])
        lines = re.findall(rf"(?<!\w){loss}((?: -?[0-9.]+ ± [0-9.]+){{4}})", text)
        lines = np.array([line.replace("±", "").split() for line in lines], "float64")
        off = np.abs(lines - measured.to_numpy().T.ravel()).max(axis=1)
        assert off.min() < 0.0006, cell
        found += 1
    assert found == 34 + 10 + 8 + 8


def test_half_precision():
    text = printed("05_losses_in_gradient_space.ipynb")
    runs = rows("half_precision")
    usual = runs[runs["positions"] == 128].groupby(["loss", "way"], sort=False)
    assert usual["accuracy"].mean().unstack().round(3).to_string() in text
    hard = runs[runs["positions"] > 128].groupby(
        ["loss", "way", "positions"], sort=False
    )
    assert hard["accuracy"].mean().unstack().round(3).to_string() in text


def test_which_loss_is_calibrated_on_what_noise_is_what_the_minimizers_say():
    truth = np.random.default_rng(0).dirichlet(np.full(9, 0.3), 2000)
    noises = [np.eye(9), *(symmetric_matrix(9, r) for r in (0.2, 0.4))]
    noises += [pair_matrix(9, 0.3), omission_matrix(9, 0.3)]

    def gap(loss, matrix):
        p = loss.minimizer(truth @ matrix)
        right = truth[np.arange(len(truth)), p.argmax(axis=1)]
        return f"{np.abs(p.max(axis=1) - right).mean():.3f}"

    def at_the_rate(matrix):
        wrong = (truth * (1 - matrix.diagonal())).sum(axis=1).mean()
        return GammaCE.from_noise_rate(9, wrong)

    losses = {
        "CE": lambda matrix: GCE(q=0.0),
        "label smoothing, $s = 0.1$": lambda matrix: SGCE(q=0.0, smoothing=0.1),
        "`GCE(q=0.6)`": lambda matrix: GCE(q=0.6),
        "`SGCE(q=0.6, smoothing=0.1)`": lambda matrix: SGCE(q=0.6, smoothing=0.1),
        "`SCE(alpha=0.1, beta=1.0)`": lambda matrix: SCE(alpha=0.1, beta=1.0),
        "`NCERCE(alpha=1.0, beta=1.0)`": lambda matrix: NCERCE(),
        "`GCE(q=0.7, cutoff=0.5)`": lambda matrix: GCE(q=0.7, cutoff=0.5),
        r"`GammaCE` at $\gamma^*$": at_the_rate,
        "`ForwardCorrection` with the matrix": ForwardCorrection,
    }
    text = (ROOT / "docs" / "theory.md").read_text()
    notebook = printed("05_losses_in_gradient_space.ipynb")
    for name, make in losses.items():
        cells = [gap(make(matrix), matrix) for matrix in noises]
        assert f"| {name} | {' | '.join(cells)} |\n" in text, name
        assert " ".join(cells) in re.sub(" +", " ", notebook), name


def test_choosing_quotes_human_noise():
    runs = rows("human_noise")
    chosen = runs[(runs["training"] == "usual") & (runs["stop"] == "noisy dev")]
    noises = ["aggre", "random1", "worse"]
    mean = chosen.groupby(["loss", "noise"])[["ece", "rate", "rate_true"]].mean()
    rates = [f"{100 * rate:.0f}" for rate in mean["rate"]["GammaCE"][noises]]
    assert "is estimated as {}, {} and {} %".format(*rates) in CHOOSING
    ece = mean["ece"]
    for loss, quote in (
        ("GammaCE", "of {} to {}"),
        ("CE", "cross entropy has {} to {}"),
    ):
        low, high = (f"{f(ece[loss][noises]):.3f}" for f in (min, max))
        assert quote.format(low, high) in CHOOSING
    assert f"(ECE {ece['forward', 'worse']:.3f})" in CHOOSING
    quote = f"({ece['forward', 'aggre']:.3f} against {ece['CE', 'aggre']:.3f})"
    assert quote in CHOOSING
    last = runs[(runs["training"] == "long") & (runs["stop"] == "last")]
    known = 100 * last.groupby(["noise", "loss"])["memorised"].mean()["worse"]
    quote = f"{known['CE']:.0f} % of them in twenty epochs with cross entropy, "
    assert quote + f"{known['GCE']:.0f} % with `GCE(q=0.6)`" in CHOOSING
    known = 100 * chosen.groupby(["noise", "loss"])["memorised"].mean()["worse"]
    quote = f"with dropout and eight epochs, {known['CE']:.0f} and {known['GCE']:.0f} %"
    assert quote in CHOOSING


def test_choosing_quotes_span_smoothing():
    runs = rows("study_runs")
    runs = runs[(runs["noise"] == "boundary") & (runs["smoothing"] == 0)]
    runs = runs.assign(along=runs["span_smoothing"].fillna(0) > 0)
    f1 = runs.set_index(["loss", "q", "along", "seed"])["test_f1"].sort_index()
    for loss, q, quote in (
        ("CE", 0.0, "{} points of F1 more with cross entropy"),
        ("GCE", 0.6, "and {} more with `GCE(q=0.6)`"),
    ):
        gained = 100 * (f1[loss, q, True] - f1[loss, q, False])
        assert len(gained) == 3
        assert quote.format(said(gained, 1)) in CHOOSING


def test_the_guide_to_calibration_quotes_what_noisy_labels_tell_of_drawn_noise():
    text = (ROOT / "docs" / "calibration.md").read_text()
    runs = rows("study_runs")
    drawn = runs[(runs["noise"] == "symmetric") & (runs["trusted_sentences"] == 100)]
    drawn = drawn[drawn["loss"] == "CE"].sort_values("noise_rate")
    assert drawn["noise_rate"].tolist() == [0.2, 0.4, 0.6]
    found, true = drawn["dev_ece_from_noisy"], drawn["dev_ece"]
    assert (abs(found - true) < 0.02).all()
    quote = "an ECE of {:.3f}, {:.3f} and {:.3f} where true labels give "
    quote += "{:.3f}, {:.3f} and {:.3f}"
    assert quote.format(*found, *true) in " ".join(text.split())


def test_a_floor_is_worth_no_more_than_stopping_early():
    said = " ".join(CHOOSING.split())
    floors = rows("study_loss_floor")
    cell = ["labels", "rate", "batch"]
    assert (floors.groupby([*cell, "way", "stop"])["seed"].nunique() >= 3).all()
    accuracy = floors.pivot_table("accuracy", [*cell, "seed"], ["way", "stop"])
    for stop in ("last", "best"):
        more = accuracy["floor", stop] - accuracy["CE", "best"]
        more = more.groupby(cell).agg(["mean", "sem", "size"])
        half = stats.t.ppf(0.975, more["size"] - 1) * more["sem"]
        assert (more["mean"] <= half).all()
    shown = accuracy[[("CE", "last"), ("floor", "last"), ("CE", "best")]]
    shown = shown.groupby(cell).mean()
    told = (
        "accuracy is {:.2f} without it, {:.2f} with it, and {:.2f} at cross entropy's"
    )
    assert told.format(*shown.loc["digits", 0.4, 256]) in said
    told = (
        "On photographs with 41 % from people, accuracy is {:.2f}, {:.2f} and {:.2f} ("
    )
    assert told.format(*shown.loc["worse", 0, 256]) in said
    people = floors[floors["labels"] == "worse"]
    assert f"{100 * people['rate_realised'].mean():.0f}" == "41"
    told = "on named entities with 60 %, F1 is {:.2f}, {:.2f} and {:.2f}."
    last, floor, best = f1_of_floors()
    assert told.format(last.mean(), floor.mean(), best.mean()) in said
    more = floor - best
    assert more.mean() <= stats.t.ppf(0.975, 2) * more.std() / np.sqrt(3)


def f1_of_floors():
    """F1 of cross entropy after ten epochs, with a floor, and at its best."""
    configs = engine.grid("memorisation") + engine.grid("memorisation_floor")
    configs = [config for config in configs if config.loss == "CE"]
    runs = engine.select_runs(rows("study_runs"), configs)
    runs = runs[["key", "seed", "loss_floor"]].fillna({"loss_floor": False})
    traces = rows("study_epochs").merge(runs, on="key")
    assert traces["key"].nunique() == 6
    plain, floor = (part for _, part in traces.groupby("loss_floor"))
    best = plain.loc[plain.groupby("key")["dev_noisy_accuracy"].idxmax()]
    ends = plain[plain["epoch"] == 10], floor[floor["epoch"] == 10], best
    return [part.set_index("seed")["test_f1"].sort_index() for part in ends]
