"""A run from configuration to rows, on a tiny encoder."""

import json
import os

import engine
import keras
import numpy as np
import pytest
from engine._corpus import TAGS, Sentence
from engine._data import splits_of
from engine._encoder import Encoder, load_backbone
from tiny import SIZES, keep_corpus, make_corpus, quick

from keras_robust import noise

BACKEND = keras.backend.backend()
ESTIMATED = quick(
    loss="GammaCE", gamma_rule="estimated_rate", noise_rate=0.3, trace=True
)
LINEAR = quick(loss="GammaCE", gamma_rule="linear", noise_rate=0.3, warmup_epochs=0)


@pytest.fixture(scope="module")
def result(preset):
    """A run of which the warm-up is not in the cache."""
    return engine.run(ESTIMATED)


@pytest.fixture(scope="module")
def linear(preset):
    return engine.run(LINEAR)


@pytest.fixture
def other_cache(preset, tmp_path, monkeypatch):
    """Another folder, in which there is nothing but the corpus."""
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(tmp_path))
    keep_corpus(preset, make_corpus())
    return tmp_path


def assert_same(result, other):
    assert set(result.row) == set(other.row)
    for name, value in result.row.items():
        if name != "seconds":
            np.testing.assert_equal(other.row[name], value, err_msg=name)
    for name in (
        "reliability",
        "losses",
        "epochs",
        "recalibration",
        "trusted",
        "acceptance",
    ):
        np.testing.assert_equal(getattr(other, name), getattr(result, name))


def test_the_same_configuration_gives_the_same_row(result, other_cache):
    assert_same(result, engine.run(ESTIMATED))


def test_a_run_from_a_kept_warmup_is_the_run_without(other_cache):
    config = quick(loss="GCE", q=0.6, noise_rate=0.3)
    alone = engine.run(config)
    assert not any(other_cache.glob("warmup-*"))
    for _ in range(2):
        assert_same(alone, engine.run(config, share_warmup=True))
        assert len(list(other_cache.glob("warmup-*"))) == 1


def test_a_row_is_flat_and_holds_the_configuration(result):
    row = result.row
    assert engine.RunConfig.from_row(row) == ESTIMATED
    assert all(isinstance(v, (str, int, float, type(None))) for v in row.values())
    assert row["key"] == ESTIMATED.key(encoder="tiny-bert", backend=BACKEND)
    assert row["encoder"] == "tiny-bert"
    assert row["keras_version"] == keras.__version__
    assert os.environ["KERAS_ROBUST_PRESET"] not in json.dumps(row)
    sizes = [row[f"{split}_sentences_used"] for split in ("train", "dev", "test")]
    assert sizes == list(SIZES.values())


def test_a_model_learns(result):
    # All O is right about 3 words in 5, and finds no entity.
    assert result.row["test_f1"] > 0.2
    assert result.row["test_accuracy"] > result.row["test_fraction_o"]


def test_gamma_is_that_of_the_estimated_rate(result):
    rate = result.row["estimated_rate"]
    assert abs(rate - result.row["dev_realised_rate"]) < 0.15
    # Gamma* = r / ((K - 1) (1 - r)).
    expected = rate / (8 * (1 - rate))
    np.testing.assert_allclose(result.row["gamma_used"], expected, rtol=1e-12)
    np.testing.assert_allclose(
        noise.gamma_from_noise_rate(9, rate), expected, rtol=1e-12
    )


def test_the_reliability_table_counts_every_word_once(result):
    for split in ("dev", "test"):
        bins = [row for row in result.reliability if row["split"] == split]
        count = np.array([row["count"] for row in bins])
        gap = np.array([row["accuracy"] - row["confidence"] for row in bins])
        assert count.sum() == result.row[f"{split}_words"]
        assert (count > 0).all()
        ece = np.sum(count * np.abs(gap)) / count.sum()
        np.testing.assert_allclose(ece, result.row[f"{split}_ece"], rtol=1e-5)
        accuracy = np.sum(count * [row["accuracy"] for row in bins]) / count.sum()
        np.testing.assert_allclose(accuracy, result.row[f"{split}_accuracy"], 1e-6)


def test_the_loss_curve_has_ten_points_an_epoch(result):
    epochs = [row["epoch"] for row in result.losses]
    np.testing.assert_allclose(epochs, np.arange(1, 21) / 10, rtol=1e-9)
    losses = [row["loss"] for row in result.losses]
    assert all(0 < loss < 5 for loss in losses)
    assert np.mean(losses[5:10]) < np.mean(losses[:5])


def test_each_recalibration_has_a_row(result, linear):
    rows = {row["method"]: row for row in result.recalibration}
    fitted = {"temperature_clean", "temperature_noisy"}
    assert set(rows) == {*fitted, "analytic", "analytic_matrix"}
    assert all(0 <= row["ece"] <= row["mce"] <= 1 for row in rows.values())
    assert rows["temperature_clean"]["temperature"] > 0
    # At gamma = 1, where the linear rule ends, nothing tells the posterior.
    assert {row["method"] for row in linear.recalibration} == fitted


def test_a_result_is_strict_json_and_is_read_back(result, linear):
    for made in (result, linear):
        text = made.to_json()
        json.loads(text, parse_constant=pytest.fail)
        again = engine.RunResult.from_json(text)
        assert again.to_json() == text
        assert again.row["test_f1"] == made.row["test_f1"]
        assert again.reliability == made.reliability
    assert np.isnan(linear.row["estimated_rate"])
    assert engine.RunResult.from_json(linear.to_json()).row["estimated_rate"] is None


def test_the_linear_rule_goes_from_cross_entropy_to_one(linear):
    assert linear.row["gamma_used"] == 1.0
    # In the last epoch the loss is 1 - p, which is below 1, as -log(p) was not.
    losses = [row["loss"] for row in linear.losses]
    assert min(losses[:10]) > 1 > max(losses[10:])


def test_a_traced_run_is_measured_after_its_first_epochs(result, linear):
    assert linear.epochs == []
    assert [row["epoch"] for row in result.epochs] == [1, 2]
    last = result.epochs[-1]
    measured = {k: v for k, v in last.items() if k in result.row}
    assert len(measured) > 20
    for name, value in measured.items():
        np.testing.assert_equal(result.row[name], value, err_msg=name)
    for row in result.epochs:
        assert 0 <= row["memorised"] + row["resisted"] <= 1
        assert 0 < row["dev_noisy_accuracy"] < row["dev_accuracy"]


def test_the_whole_encoder_is_trained(preset):
    config = quick(trainable_layers=None, epochs=1, learning_rate=0.005)
    row = engine.run(config).row
    assert row["trainable_layers"] is None
    assert row["test_accuracy"] > 0.4


def test_real_noise_is_learnt_from(preset):
    config = quick(
        noise="weak",
        loss="SGCE",
        q=0.5,
        smoothing=0.1,
        warmup_epochs=0,
        epochs=1,
        dtype="mixed_bfloat16",
    )
    row = engine.run(config).row
    train = make_corpus(annotated=True)["train"]
    wrong = [
        given != true
        for sentence in train
        for given, true in zip(sentence.tags["weak"], sentence.tags["clean"])
    ]
    np.testing.assert_allclose(row["train_realised_rate"], np.mean(wrong), 1e-12)
    assert 0 < row["dev_realised_rate"] < 1
    assert np.isfinite(row["test_nll"])
    # Names are given as such or as O, nothing as a name that is none.
    assert 0.6 < row["predicted_confidence"] < 1


def splits(config, preset):
    encoder = Encoder(load_backbone(preset, config.dtype), config.trainable_layers)
    return splits_of(config, encoder, preset)


def test_sentences_are_drawn_by_the_seed_and_development_sentences_are_not(preset):
    options = {"train_sentences": 50, "dev_sentences": 20, "test_sentences": 30}
    first = splits(quick(**options, noise_rate=0.5), preset)
    second = splits(quick(**options, noise_rate=0.5, seed=1), preset)
    sizes = {name: len(split.encoded) for name, split in first.items()}
    assert sizes == {"train": 50, "dev": 20, "test": 30}

    def same(name):
        return np.array_equal(
            first[name].encoded.token_ids, second[name].encoded.token_ids
        )

    assert same("dev")
    assert same("test")
    assert not same("train")
    # The same sentences have other noise.
    assert (first["dev"].given != second["dev"].given).any()
    np.testing.assert_array_equal(first["test"].given, first["test"].clean)


def test_symmetric_noise_has_its_rate_and_reaches_every_other_tag(preset):
    train = splits(quick(noise_rate=0.4), preset)["train"]
    n = len(train.words)
    assert abs(train.rate - 0.4) < 4 * np.sqrt(0.24 / n)
    assert (train.given[train.clean == -100] == -100).all()
    given = train.given[train.words][train.clean[train.words] == 0]
    assert set(given) == set(range(9))


def test_pair_noise_gives_the_next_tag(preset):
    train = splits(quick(noise="pair", noise_rate=0.4), preset)["train"]
    clean, given = train.clean[train.words], train.given[train.words]
    wrong = given != clean
    assert abs(wrong.mean() - 0.4) < 4 * np.sqrt(0.24 / len(clean))
    np.testing.assert_array_equal(given[wrong], (clean[wrong] + 1) % 9)


def test_boundary_noise_moves_the_ends_of_entities(preset):
    train = splits(quick(noise="boundary", noise_rate=1.0), preset)["train"]
    clean, given = train.clean[train.words], train.given[train.words]
    wrong = given != clean
    assert 0.05 < train.rate < 0.6
    # What was outside comes in, what was inside goes out, or what comes after a
    # beginning becomes one; types stay.
    types = {(TAGS[a][2:], TAGS[b][2:]) for a, b in zip(clean[wrong], given[wrong])}
    assert all("" in pair or len(set(pair)) == 1 for pair in types)
    assert any("" in pair for pair in types)
    again = splits(quick(noise="boundary", noise_rate=1.0), preset)["train"]
    np.testing.assert_array_equal(again.given, train.given)
    assert (train.targets == train.given).all()


def test_training_targets_are_smoothed_over_neighbouring_words(preset):
    config = quick(noise_rate=0.3, span_smoothing=0.4)
    made = splits(config, preset)
    train = made["train"]
    begin = 0
    for length in train.encoded.lengths:
        given = train.given[begin : begin + length]
        where = np.flatnonzero(given != -100)
        for i, position in enumerate(where):
            expected = np.zeros(9)
            neighbours = [j for j in (i - 1, i + 1) if 0 <= j < len(where)]
            expected[given[position]] = 1 - 0.2 * len(neighbours)
            for j in neighbours:
                expected[given[where[j]]] += 0.2
            got = train.targets[begin + position]
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
        begin += length
    assert (train.targets[train.given == -100] == -100).all()
    # What is measured is measured with labels.
    assert made["dev"].targets.ndim == made["test"].targets.ndim == 1


def test_a_run_learns_from_smoothed_boundaries(preset):
    options = {"noise": "boundary", "noise_rate": 0.5, "span_smoothing": 0.3}
    row = engine.run(quick(**options, loss="GCE", q=0.6, epochs=2)).row
    assert row["span_smoothing"] == 0.3
    assert 0 < row["train_realised_rate"] < 0.5
    assert row["test_accuracy"] > 0.3
    assert np.isfinite(row["test_nll"])


def test_the_noise_of_a_run_does_not_depend_on_its_loss(preset):
    plain = splits(quick(noise_rate=0.4), preset)
    other = splits(quick(noise_rate=0.4, loss="GCE", q=0.7), preset)
    for name in ("train", "dev"):
        np.testing.assert_array_equal(plain[name].given, other[name].given)


def test_a_sentence_longer_than_the_encoder_takes_raises(preset, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(tmp_path))
    long = Sentence(["saw"] * 31, {"clean": [0] * 31})
    keep_corpus(preset, {**make_corpus(), "dev": [long]})
    with pytest.raises(ValueError, match="word pieces, the encoder takes 32"):
        engine.run(ESTIMATED)


def test_more_layers_than_the_encoder_has_are_refused(preset):
    with pytest.raises(ValueError, match="`trainable_layers` must be at most 2"):
        engine.run(quick(trainable_layers=3))
