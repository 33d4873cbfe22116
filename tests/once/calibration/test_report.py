"""The calibration report: its numbers, its null values, and what it is written as."""

import json
import re
import warnings
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from keras_robust import calibration
from keras_robust.calibration import (
    CalibrationReport,
    MeasuredValue,
    calibration_report,
)
from keras_robust.noise import symmetric_matrix

RNG = np.random.default_rng(6)
LOGITS = RNG.normal(size=(400, 4)) * 2
PROB = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
# Drawn from the model's own probabilities: it is calibrated.
LABELS = (RNG.random((400, 1)) > np.cumsum(PROB, -1)).sum(-1)
SHARP = PROB**3 / (PROB**3).sum(-1, keepdims=True)
BOTH = calibration_report(LABELS, {"good": PROB, "sharp": SHARP}, num_resamples=300)


def expected_values(y, p, num_bins=15):
    equal = calibration.bin_predictions(y, p, num_bins=num_bins)
    mass = calibration.bin_predictions(y, p, num_bins=num_bins, binning="equal_mass")
    parts = calibration.brier_decomposition(y, p)
    by_class = [
        calibration.bin_predictions(
            (y == k).astype(int), p[:, k, None], notion="positive", num_bins=num_bins
        ).ece()
        for k in range(p.shape[-1])
    ]
    return {
        "accuracy": (p.argmax(-1) == y).mean(),
        "confidence": p.max(-1).mean(),
        "signed_gap": equal.signed_gap(),
        "ece": equal.ece(),
        "ece_equal_mass": mass.ece(),
        "ece_l2": equal.ece("l2"),
        "debiased_ece": equal.debiased_ece(),
        "mce": equal.mce(),
        "smooth_ece": calibration.smooth_ece(y, p),
        "classwise_ece": np.mean(by_class),
        "nll": calibration.negative_log_likelihood(y, p),
        "brier": calibration.brier_score(y, p),
        "brier_top_label": parts.brier,
        "miscalibration": parts.miscalibration,
        "discrimination": parts.discrimination,
        "uncertainty": parts.uncertainty,
        "aurc": calibration.area_under_risk_coverage(y, p),
    }


def test_every_measure_is_that_of_its_own_function():
    for model, prob in {"good": PROB, "sharp": SHARP}.items():
        expected = expected_values(LABELS, prob)
        assert BOTH.measures == tuple(expected)
        for name, value in expected.items():
            assert BOTH[model, name].value == pytest.approx(value, rel=1e-9), name
            assert value != 0 or name == "debiased_ece"


def test_the_null_values_of_a_calibrated_model_hold_its_values():
    # 16 measures, all from the same labels: some may be outside, most are not.
    p_values = [BOTH["good", name].p_value for name in BOTH.measures]
    assert np.mean(np.array(p_values) < 0.05) < 0.25
    for name in ("ece", "smooth_ece", "classwise_ece", "miscalibration"):
        measured = BOTH["good", name]
        assert 0.3 * measured.value < measured.null_mean < measured.null_upper
        assert measured.null_lower < measured.null_mean
        sharp = BOTH["sharp", name]
        assert sharp.value > sharp.null_upper
        assert sharp.p_value == pytest.approx(1 / 301)


def test_the_mean_confidence_is_fixed_and_no_matter_of_chance():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet(np.ones(3), 20_000)  # more rows than cells
        y = rng.integers(0, 3, len(p))
        found = calibration_report(y, p, num_resamples=9)["confidence"]
        assert found.null_lower == found.null_upper == found.value
        assert not found.outside


def test_over_confidence_is_seen_in_both_directions():
    # Accuracy below, and likelihood above what the probabilities promise: two-sided.
    assert BOTH["sharp", "accuracy"].value < BOTH["sharp", "accuracy"].null_lower
    assert BOTH["sharp", "nll"].value > BOTH["sharp", "nll"].null_upper
    total = BOTH["good", "miscalibration"].value - BOTH["good", "discrimination"].value
    total += BOTH["good", "uncertainty"].value
    assert BOTH["good", "brier_top_label"].value == pytest.approx(total)
    for name in ("accuracy", "nll", "signed_gap", "brier"):
        assert BOTH["sharp", name].p_value == pytest.approx(2 / 301)
    flat = PROB**0.3 / (PROB**0.3).sum(-1, keepdims=True)
    under = calibration_report(LABELS, flat, num_resamples=99)
    assert under["accuracy"].value > under["accuracy"].null_upper
    assert under["accuracy"].p_value == pytest.approx(2 / 100)


@pytest.mark.parametrize("seed", range(4))
def test_a_star_marks_what_is_outside_what_is_printed(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((400, 1)) > np.cumsum(PROB, -1)).sum(-1)
    report = calibration_report(labels, PROB, num_resamples=40)
    lines = repr(report).splitlines()[2:-2]
    seen = set()
    for name, line in zip(report.measures, lines):
        if name == "confidence":
            continue
        measured, is_error = report[name], report.entry("model", name)[0]
        below = measured.value < measured.null_lower and not is_error
        outside = below or measured.value > measured.null_upper
        assert ("*" in line) == outside == measured.outside, line
        seen.add(outside)
    assert False in seen


def test_weights_that_are_no_repetitions_raise():
    tiny = np.full(400, 1 / 400)
    with pytest.raises(ValueError, match="`sample_weight` must be repetitions"):
        calibration_report(LABELS, PROB, sample_weight=tiny)
    with pytest.raises(ValueError, match="Multiply them by 400"):
        calibration.area_under_risk_coverage(LABELS, PROB, sample_weight=tiny)


def test_models_of_other_classes_or_of_one_name_raise():
    with pytest.raises(ValueError, match="of the same classes for every model"):
        calibration_report(LABELS % 2, {"a": PROB, "b": PROB[:, :1]})
    with pytest.raises(ValueError, match="of different names"):
        calibration_report(LABELS, {1: PROB, "1": PROB})


def test_names_with_dollars_are_names():
    report = calibration_report(LABELS, {"$x^{$": PROB}, num_resamples=2)
    assert "$x^{$" in report.to_html()
    display = calibration.ReliabilityComparison.from_predictions(
        LABELS, {"$x^{$": PROB}
    )
    display.figure_.canvas.draw()
    plt.close("all")


def test_the_null_of_the_likelihood_is_the_entropy():
    # Labels drawn from p cost the entropy of p on average.
    entropy = -(PROB * np.log(PROB)).sum(-1).mean()
    spread = (PROB * np.log(PROB) ** 2).sum(-1) - (PROB * np.log(PROB)).sum(-1) ** 2
    error = np.sqrt(spread.sum()) / 400 / np.sqrt(300)
    assert BOTH["good", "nll"].null_mean == pytest.approx(entropy, abs=4 * error)


def test_rows_and_bins_agree_on_the_null_of_the_ece():
    # Row by row and bin by bin: the latter is a little larger, by the spread of the
    # confidences within a bin.
    bins = BOTH.bins["good"]
    assert bins.ece() == BOTH["good", "ece"].value
    ratio = bins.null_ece(num_resamples=4000).null_mean / BOTH["good", "ece"].null_mean
    assert 0.97 < ratio < 1.06


def test_one_model_needs_no_name_and_several_do():
    one = calibration_report(LABELS, PROB, num_resamples=10)
    assert one.models == ("model",)
    assert one["ece"] == one["model", "ece"]
    with pytest.raises(KeyError, match="pass \\(model, measure\\)"):
        BOTH["ece"]
    with pytest.raises(KeyError, match="No \\('good', 'foo'\\)"):
        BOTH["good", "foo"]


def test_a_model_has_the_same_numbers_in_any_company():
    alone = calibration_report(LABELS, {"sharp": SHARP}, num_resamples=300)
    assert alone["sharp", "ece"] == BOTH["sharp", "ece"]


def test_logits_weights_and_ignored_rows():
    keep = np.arange(400) % 4 > 0
    expected = calibration_report(LABELS[keep], PROB[keep], num_resamples=5)
    for y, weight in [(np.where(keep, LABELS, -100), None), (LABELS, keep)]:
        report = calibration_report(
            y, LOGITS, from_logits=True, sample_weight=weight, num_resamples=5
        )
        assert report.settings["n"] == report.settings["weight"] == 300
        for name in expected.measures:
            value = expected[name].value
            assert report[name].value == pytest.approx(value, rel=1e-6), name
    weighted = calibration_report(
        LABELS, PROB, sample_weight=np.full(400, 2.0), num_resamples=5
    )
    assert weighted.settings["weight"] == 800
    assert "total weight 800" in repr(weighted)


def test_the_positive_notion_has_its_own_measures():
    y = (LABELS == 1).astype(int)
    report = calibration_report(y, PROB[:, 1:2], notion="positive", num_resamples=20)
    assert report.measures[0] == "event_rate"
    assert not {"accuracy", "classwise_ece", "aurc"} & set(report.measures)
    assert report["event_rate"].value == y.mean()
    bins = calibration.bin_predictions(y, PROB[:, 1:2], notion="positive")
    assert report["ece"].value == pytest.approx(bins.ece())
    assert "rate of class 1" in repr(report)
    assert "brier_top_label" not in report.measures
    assert report.plot().axes[0].get_ylabel() == "share of class 1"


def test_soft_labels_are_taken_as_they_are():
    soft = 0.8 * np.eye(4)[LABELS] + 0.05
    report = calibration_report(soft, PROB, num_resamples=5)
    score = calibration.brier_score(soft, PROB)
    assert report["brier"].value == pytest.approx(score)
    by_class = [
        calibration.bin_predictions(
            np.stack([1 - soft[:, k], soft[:, k]], -1),
            np.stack([1 - PROB[:, k], PROB[:, k]], -1),
            notion="positive",
        ).ece()
        for k in range(4)
    ]
    assert report["classwise_ece"].value == pytest.approx(np.mean(by_class))


def test_soft_labels_have_no_null_values():
    # Labels that are the predictions: a Brier score of 0, which no drawn label has.
    report = calibration_report(PROB, PROB, num_resamples=99)
    assert report["brier"].value == 0.0
    assert np.isnan(report["brier"].null_mean)
    assert not report["brier"].outside
    assert report.settings["num_resamples"] == 0
    assert "Soft targets are not drawn by chance" in repr(report)
    page = report.to_html()
    assert "nan" not in repr(report) + page
    assert "<!-- (if calibrated" not in page
    one_hot = calibration_report(np.eye(4)[LABELS], PROB, num_resamples=99)
    assert repr(one_hot) == repr(calibration_report(LABELS, PROB, num_resamples=99))


def test_the_frame_is_tidy():
    frame = BOTH.to_frame()
    assert list(frame.columns) == [
        *("model", "measure", "value", "null_mean", "null_lower", "null_upper"),
        *("p_value", "n", "num_bins"),
    ]
    assert len(frame) == 2 * len(BOTH.measures) + 2 * 3 * 4
    row = frame.set_index(["model", "measure"]).loc[("sharp", "ece")]
    measured = BOTH["sharp", "ece"]
    assert [row["value"], row["null_mean"], row["p_value"]] == [
        *(measured.value, measured.null_mean, measured.p_value)
    ]
    assert row["num_bins"] == 15
    assert row["n"] == 400
    smooth = frame[frame["measure"] == "smooth_ece"]
    assert smooth["num_bins"].isna().all()
    assert isinstance(frame, pd.DataFrame)


def test_json_is_strict_and_complete(tmp_path):
    text = BOTH.to_json(tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text() == text
    content = json.loads(text, parse_constant=lambda c: pytest.fail(f"not JSON: {c}"))
    assert len(content["measures"]) == 2 * len(BOTH.measures)
    assert content["settings"]["num_classes"] == 4
    counts = BOTH.bins["good"].count
    assert content["bins"]["good"]["count"] == counts.tolist()
    assert content["bins"]["good"]["accuracy"][0] == "NaN"  # an empty bin


def test_an_infinite_likelihood_is_told_everywhere():
    prob = np.array([[0.0, 1.0], [0.3, 0.7]])
    report = calibration_report([0, 1], prob, num_resamples=99)
    assert report["nll"].value == np.inf
    rows = json.loads(report.to_json())["measures"]
    assert next(r for r in rows if r["measure"] == "nll")["value"] == "Infinity"
    assert "inf*" in repr(report)
    assert "inf*" in report.to_html()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_diagrams_of_the_page_give_the_null_value_of_its_table(seed):
    models = {"good": PROB, "sharp": SHARP}
    report = calibration_report(LABELS, models, num_resamples=20, seed=seed)
    page = report.to_html()
    # Matplotlib draws text as paths, each line after a comment that holds it.
    drawn = [
        line
        for line in re.findall("<!-- (.*?) -->", page)
        if "ECE" in line or "if" in line
    ]
    expected = []
    for model, bins in report.bins.items():
        ece = report[model, "ece"]
        assert f"{ece.null_mean:.4f}, 95 % &lt; {ece.null_upper:.4f}" in page
        expected += [f"ECE {ece.value:.3f}", f"(if calibrated {ece.null_mean:.3f})"]
        # Twenty draws tell the report's null from one drawn anew.
        assert abs(bins.null_ece().null_mean / ece.null_mean - 1) > 0.002
    assert sorted(drawn) == sorted(expected)


class Tags(HTMLParser):
    VOID = ("meta", "br", "path", "use", "rect", "image", "line", "link")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_one_whole_file_with_its_figure(tmp_path):
    names = {"<script>alert(1)</script>": PROB, "b & c": SHARP}
    report = calibration_report(LABELS, names, num_resamples=20)
    text = report.to_html(tmp_path / "r.html", title="Mine & yours")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == text
    page = Tags()
    page.feed(text)
    assert page.open == []
    tags = [tag for tag, _ in page.seen]
    assert "svg" in tags
    assert "script" not in tags
    assert "Mine & yours" in page.text
    assert f"{report['b & c', 'ece'].value:.4f}" in page.text
    assert len(page.text.split("if calibrated")) > 2
    for title, bins in (("smooth ECE", ""), ("ECE, bins of equal mass", "15")):
        assert re.search(
            f'<th scope="row">{title}<span class="what">[^<]+</span></th>'
            f'<td class="bins">{bins}</td>',
            text,
        )
    # Nothing from elsewhere.
    links = [
        v for _, attrs in page.seen for k, v in attrs.items() if k in ("src", "href")
    ]
    assert not [link for link in links if link and not link.startswith("#")]
    assert report.to_html(title="Mine & yours") == text
    assert not plt.get_fignums()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("old")
    with pytest.raises(FileNotFoundError):
        BOTH.to_html(tmp_path / "missing" / "r.html")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_the_repr_is_a_table_and_notebooks_get_html():
    lines = repr(BOTH).splitlines()
    assert lines[0] == (
        "Calibration of 400 predictions, 4 classes, notion 'top_label', 300 resamples"
    )
    assert lines[1].split() == ["good", "sharp"]
    ece = next(line for line in lines if line.startswith("ECE, 15 bins"))
    measured = BOTH["sharp", "ece"]
    mean, upper = measured.null_mean, measured.null_upper
    assert f"{measured.value:.4f}* [{mean:.4f}, 95 % < {upper:.4f}]" in ece
    assert max(map(len, lines)) < 120
    assert BOTH._repr_html_().startswith("<table")


def test_the_figure_has_a_diagram_for_each_model():
    figure = BOTH.plot()
    figure.canvas.draw()
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["good", "sharp"]
    four = calibration_report(LABELS, dict.fromkeys("abcd", PROB), num_resamples=2)
    assert sum(bool(ax.get_title()) for ax in four.plot().axes) == 4


@pytest.mark.parametrize(
    ("y", "p", "match"),
    [
        (LABELS, PROB * 0.9, r"`y_prob` must be distributions, with rows summing to 1"),
        (LABELS, {"a": PROB, "b": PROB + np.nan}, r"`y_prob\['b'\]` must be in"),
        (LABELS[:3], PROB, "`y_true` must be of shape"),
        (np.full(400, -100), PROB, "`y_true` must be not empty"),
        (LABELS, {}, "`y_prob` must be not empty"),
        (LABELS, LOGITS, "For logits pass from_logits=True"),
    ],
)
def test_bad_input_raises(y, p, match):
    with pytest.raises(ValueError, match=match):
        calibration_report(y, p)


def test_the_report_is_what_its_type_says():
    assert isinstance(BOTH, CalibrationReport)
    assert isinstance(BOTH["good", "ece"], MeasuredValue)


def test_a_verdict_in_words_says_what_chance_and_a_temperature_explain():
    good, sharp = BOTH.verdicts["good"], BOTH.verdicts["sharp"]
    assert good.startswith("No evidence of miscalibration: chance explains what is")
    gap, ece = BOTH["sharp", "signed_gap"].value, BOTH["sharp", "ece"]
    assert sharp.startswith(f"Over-confident by {gap:.3f} on average, more than chance")
    assert f"95 % of calibrated models are below {ece.null_upper:.3f}" in sharp
    # The sharp one is the good one at a temperature of 1/3.
    found = float(re.search(r"A temperature of ([\d.]+) would mend it", sharp)[1])
    assert found == pytest.approx(3, rel=0.15)
    flat = PROB**0.4 / (PROB**0.4).sum(-1, keepdims=True)
    verdict = calibration_report(LABELS, flat, num_resamples=50).verdicts["model"]
    assert verdict.startswith("Under-confident by ")
    # Far off both ways, and a little on average: the gap is not what is wrong.
    many = np.random.default_rng(0)
    p = np.where(many.random(40_000) < 0.5, 0.6, 0.9)
    y = (many.random(40_000) < np.where(p == 0.6, 0.42, 0.99)).astype(int)
    how = {"notion": "positive", "num_resamples": 50}
    found = calibration_report(y, p[:, None], **how)
    assert found["signed_gap"].outside
    assert abs(found["signed_gap"].value) < found["ece"].value / 2
    assert found.verdicts["model"].startswith("Off by ")
    # One class is too likely in every row, which no temperature mends.
    shifted = (PROB + 0.6 * np.eye(4)[0]) / 1.6
    verdict = calibration_report(LABELS, shifted, num_resamples=50).verdicts["model"]
    assert "would mend it: the ECE" not in verdict
    soft = 0.8 * np.eye(4)[LABELS] + 0.05
    verdict = calibration_report(soft, PROB).verdicts["model"]
    assert verdict.endswith("how much of it is chance, soft targets do not tell.")
    y, p = (LABELS == 1).astype(int), SHARP[:, 1:2]
    how = {"notion": "positive", "num_resamples": 50}
    assert "Off by 0." in calibration_report(y, p, **how).verdicts["model"]
    verdict = calibration_report(y, p * 0.3, **how).verdicts["model"]
    assert verdict.startswith("Probabilities of class 1 are too low by 0.")
    words = " ".join(repr(BOTH).split())
    assert f"good: {good}" in words
    assert f"sharp: {sharp}" in words
    page = BOTH.to_html()
    assert f"<p><b>sharp</b>: {sharp}</p>" in page
    assert page.index(sharp) < page.index("<h2>Measures")
    assert json.loads(BOTH.to_json())["verdicts"] == BOTH.verdicts


def test_the_page_is_read_on_a_phone_on_paper_and_by_ear():
    page = Tags()
    text = BOTH.to_html()
    page.feed(text)
    by_tag = {}
    for tag, attrs in page.seen:
        by_tag.setdefault(tag, []).append(attrs)
    rows = [a for a in by_tag["th"] if a.get("scope") == "row"]
    bins = sum(int((table.count > 0).sum()) for table in BOTH.bins.values())
    assert len(rows) == len(BOTH.measures) + bins + 2 * 3
    # Whatever may scroll can be reached by keys, and has a name.
    scrolling = [a for a in by_tag["div"] if a.get("class") == "scroll"]
    assert len(scrolling) == 4
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolling)
    assert all("open" in a for a in by_tag["details"])
    assert "@media print" in text
    # A figure for each model, with its numbers in words, and no id twice.
    labels = [a["aria-label"] for a in by_tag["svg"]]
    assert len(labels) == 4
    for model, label in zip(BOTH.models, labels):
        table = BOTH.bins[model]
        assert f"Reliability diagram of {model}: ECE {table.ece():.4f}" in label
        for k in np.flatnonzero(table.count > 0):
            point = f"{table.confidence[k]:.2f}, {table.accuracy[k]:.2f}, "
            assert point + f"{table.count[k]:g}" in label
    for model, label in zip(BOTH.models, labels[2:]):
        assert f"Risk-coverage curve of {model}. Share accepted" in label
        wrong = 1 - BOTH[model, "accuracy"].value
        assert label.endswith(f"1.00, {wrong:.3f}.")
    ids = [a["id"] for _, a in page.seen if "id" in a]
    assert len(set(ids)) == len(ids)
    targets = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    assert targets <= set(ids)


def test_it_says_from_which_confidence_on_so_many_are_right():
    models = {"good": PROB, "sharp": SHARP}
    report = calibration_report(
        LABELS, models, accept_at=(0.99, 0.7), num_resamples=20, seed=1
    )
    text, page, frame = repr(report), Tags(), report.to_frame()
    page.feed(report.to_html())
    rows = report.operating_points()
    assert [(r["model"], r["accept_at"]) for r in rows] == [
        *(("good", 0.7), ("good", 0.99), ("sharp", 0.7), ("sharp", 0.99))
    ]
    measures = frame.set_index(["model", "measure"])["value"]
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one accepts nothing
            own = calibration.AcceptanceThreshold(row["accept_at"])
            own.fit(LABELS, models[row["model"]])
        for name in ("threshold", "share", "accuracy", "lower", "num_accepted"):
            np.testing.assert_equal(row[name], getattr(own, f"{name}_"))
        at = f"_at_{row['accept_at']:g}"
        found = [
            measures[row["model"], name + at]
            for name in ("threshold", "share", "accuracy", "accuracy_bound")
        ]
        np.testing.assert_equal(
            found, [row[name] for name in ("threshold", "share", "accuracy", "lower")]
        )
        written = [f"{100 * row['accept_at']:g} %", "none", "0.0 %"]
        if row["num_accepted"]:
            shares = (row["share"], row["accuracy"], row["lower"])
            written[1:] = [f"{row['threshold']:.4f}"]
            written += [f"{100 * share:.1f} %" for share in shares]
        assert re.search(rf"^{row['model']} +{' +'.join(written)}$", text, re.M)
        assert "".join(written) in page.text
    assert {row["num_accepted"] > 0 for row in rows} == {True, False}
    content = json.loads(report.to_json())["operating_points"]
    assert [r["share"] for r in content] == [r["share"] for r in rows]
    few = calibration_report(LABELS[:99], PROB[:99], num_resamples=2)
    assert re.search(r"^99 % +none +needs 299 rows$", repr(few), re.M)
    assert few.operating_points()[-1]["needed"] == 299


def test_without_accuracies_or_repetitions_nothing_is_said_of_accepting():
    soft = 0.9 * np.eye(4)[LABELS] + 0.025
    for labels, how in [
        (LABELS, {"accept_at": None}),
        (LABELS, {"sample_weight": np.full(400, 1.5)}),
        (soft, {}),
    ]:
        report = calibration_report(labels, PROB, num_resamples=2, **how)
        assert report.operating_points() == []
        assert "to be right" not in repr(report) + report.to_html()
    for wrong in (95, (0.9, 1.0), np.nan):
        with pytest.raises(ValueError, match=r"`accept_at` must be in \(0, 1\)"):
            calibration_report(LABELS, PROB, accept_at=wrong)


@pytest.mark.parametrize("matrix", [None, symmetric_matrix(4, 0.2)])
def test_the_band_of_the_curve_is_where_calibrated_models_are(matrix):
    rng, inside, risks = np.random.default_rng(0), [], []
    noise = np.eye(4) if matrix is None else matrix
    for _ in range(40):
        labels = (PROB.cumsum(1) < rng.random((400, 1))).sum(1).clip(0, 3)
        given = (noise.cumsum(1)[labels] < rng.random((400, 1))).sum(1).clip(0, 3)
        report = calibration_report(
            given, PROB, noise_matrix=matrix, accept_at=0.8, num_resamples=1
        )
        one = report.accepting["model"]
        inside.append((one.low <= one.risk) & (one.risk <= one.high))
        risks.append(one.risk)
        wrong = one.risk[-1]
        assert wrong == pytest.approx(1 - report["accuracy"].value)
        assert one.coverage[-1] == 1
    assert 0.88 < np.mean(np.array(inside)[:, 20:]) < 0.99
    middle = ((one.low + one.high) / 2)[20:]
    np.testing.assert_allclose(np.mean(risks, axis=0)[20:], middle, atol=0.03)


def test_the_page_of_the_positive_notion_speaks_of_class_1():
    y = (LABELS == 1).astype(int)
    report = calibration_report(y, PROB[:, 1:2], notion="positive", num_resamples=20)
    page = Tags()
    page.feed(report.to_html())
    words = " ".join(page.text.split())
    assert "A blue bar ends at the share of class 1 in its bin" in words
    assert "mean probability of class 1share of class 1" in words
    assert "accuracy" not in words.split("Measures", 1)[1].replace("calibrated", "")
