"""Sentences that were looked at again, and what training makes of them."""

import dataclasses

import engine
import keras
import numpy as np
import pandas as pd
import pytest
from engine import RunConfig, _data, _kinds, trusted_difference
from engine._corpus import TAGS, Sentence
from engine._data import (
    TRUSTED,
    matrix_of,
    posterior_targets,
    splits_of,
    trusted_of,
    trusted_sentences,
)
from engine._encoded import IGNORED
from engine._encoder import Encoder, load_backbone
from engine._measures import trusted_rows_of
from engine._run import _mean_over_epochs, _targets, logits_by_halves, matrix_error
from engine._train import PartlyTrusted
from scipy.special import log_softmax
from tiny import QUICK, quick

from keras_robust import ForwardCorrection, noise
from keras_robust.calibration import choose_by_likelihood

K = len(TAGS)
CORRECTED = {"loss": "ForwardCorrection", "matrix_rule": "trusted"}


def splits(config, preset):
    encoder = Encoder(load_backbone(preset, config.dtype), config.trainable_layers)
    return splits_of(config, encoder, preset)


@pytest.fixture(scope="module")
def weak(preset):
    """Splits in which names are missed by an annotator."""
    return splits(quick(noise="weak", trusted_sentences=20), preset)


def test_trusted_sentences_are_drawn_by_the_seed_from_the_development_split(weak):
    dev = weak["dev"]
    config = quick(noise="weak", trusted_sentences=20)
    chosen = trusted_sentences(config, dev)
    assert len(set(chosen.tolist())) == 20
    taken = trusted_of(config, dev)
    np.testing.assert_array_equal(taken.encoded.lengths, dev.encoded.lengths[chosen])
    first = slice(dev.encoded.offsets[chosen[0]], None)
    length = taken.encoded.lengths[0]
    np.testing.assert_array_equal(taken.clean[:length], dev.clean[first][:length])
    np.testing.assert_array_equal(taken.given[:length], dev.given[first][:length])
    other = trusted_sentences(dataclasses.replace(config, seed=1), dev)
    assert set(other.tolist()) != set(chosen.tolist())


def test_the_matrix_is_counted_on_them(weak):
    config = quick(noise="weak", trusted_sentences=20, **CORRECTED)
    given, clean = trusted_of(config, weak["dev"]).pairs
    expected = noise.matrix_from_pairs(given, clean, K).matrix
    np.testing.assert_array_equal(matrix_of(config, weak), expected)
    omission = matrix_of(dataclasses.replace(config, matrix_rule="omission"), weak)
    missed = np.mean([g == 0 for g, c in zip(given, clean) if c != 0])
    np.testing.assert_allclose(omission, noise.omission_matrix(K, missed))
    true = dataclasses.replace(config, matrix_rule="true", trusted_sentences=0)
    given, clean = weak["train"].pairs
    whole = noise.matrix_from_pairs(given, clean, K).matrix
    np.testing.assert_array_equal(matrix_of(true, weak), whole)


def test_the_error_of_a_matrix_is_the_mean_distance_of_its_rows(weak):
    config, realised = quick(noise="weak"), weak["train"].matrix
    realised = np.where(np.isnan(realised), np.eye(K), realised)  # of I-LOC is none
    assert matrix_error(config, realised, weak) == 0
    realised[2] = np.eye(K)[5]  # from a distribution with no mass there
    missed = 1 / K
    assert matrix_error(config, realised, weak) == pytest.approx(missed)
    assert np.isnan(matrix_error(config, None, weak))


def test_posterior_targets_are_those_of_the_sentences_looked_at_again(weak):
    config = quick(noise="weak", trusted_sentences=20)
    train, dev = weak["train"], weak["dev"]
    rng = np.random.default_rng(0)
    logits = {
        name: 2 * np.eye(K)[weak[name].pairs[1]]
        + rng.normal(size=(len(weak[name].words), K))
        for name in ("train", "dev")
    }
    targets = posterior_targets(config, weak, logits["train"], logits["dev"])
    assert (targets[train.clean == IGNORED] == IGNORED).all()
    given, clean = trusted_of(config, dev).pairs
    matrix = noise.matrix_from_pairs(given, clean, K).matrix
    expected = noise.LabelPosterior(matrix, from_logits=True)
    sentence = dev.sentence_of_words
    chosen = trusted_sentences(config, dev)
    rows = np.concatenate([np.flatnonzero(sentence == s) for s in chosen])
    expected.fit(given, clean, logits["dev"][rows])
    np.testing.assert_allclose(
        targets[train.words],
        expected.transform(train.pairs[0], logits["train"]),
        rtol=1e-6,
    )
    again = dataclasses.replace(config, targets="recounted")
    recounted = posterior_targets(again, weak, logits["train"], logits["dev"])
    counts = targets[train.words].T @ np.eye(K)[train.pairs[0]]
    matrix = counts / counts.sum(axis=1, keepdims=True)
    expected = noise.LabelPosterior(matrix, from_logits=True)
    expected.fit(given, clean, logits["dev"][rows])
    wanted = expected.transform(train.pairs[0], logits["train"])
    np.testing.assert_allclose(recounted[train.words], wanted, rtol=1e-4)
    assert np.abs(recounted - targets).max() > 0.01


def test_words_with_a_capital_have_a_matrix_of_their_own(weak, monkeypatch):
    config = quick(noise="weak", trusted_sentences=20, targets="by_kind")
    rng, corpus, capital, logits = np.random.default_rng(0), {}, {}, {}
    for name in ("train", "dev"):  # entities have one mostly
        sentence = weak[name].sentence_of_words
        often = np.where(weak[name].pairs[1] > 0, 0.8, 0.3)
        capital[name] = rng.random(len(sentence)) < often
        words = np.where(capital[name], "Rome", "rome")
        of_sentences = np.split(words, np.flatnonzero(np.diff(sentence)) + 1)
        corpus[name] = [Sentence(list(some), {}) for some in of_sentences]
        logits[name] = np.zeros((len(sentence), K))
    monkeypatch.setattr(_data, "read_corpus", lambda name: corpus)
    targets = posterior_targets(config, weak, logits["train"], logits["dev"])
    given, clean = trusted_of(config, weak["dev"]).pairs
    sentence = weak["dev"].sentence_of_words
    rows = [
        np.flatnonzero(sentence == s) for s in trusted_sentences(config, weak["dev"])
    ]
    seen = capital["dev"][np.concatenate(rows)]
    train = weak["train"]
    expected = noise.LabelPosterior(from_logits=True)
    expected.fit(given, clean, np.zeros((len(seen), K)), by=seen)
    given, even = train.pairs[0], np.zeros((len(train.words), K))
    wanted = expected.transform(given, even, by=capital["train"])
    np.testing.assert_allclose(targets[train.words], wanted, rtol=1e-5)
    plain = expected.fit(*trusted_of(config, weak["dev"]).pairs, even[: len(seen)])
    assert np.abs(plain.transform(given, even) - wanted).max() > 0.01


def test_kinds_are_measured_on_sentences_that_were_not_looked_at(
    preset, tmp_path, monkeypatch, weak
):
    options = {"annotators": ["weak"], "seeds": 1, "preset": preset}
    changes = {**QUICK, "trusted_sentences": 20, "warmup_epochs": 0}
    counts = np.bincount(weak["dev"].sentence_of_words)
    corpus = {"dev": [Sentence(["rome"] * count, {}) for count in counts]}
    monkeypatch.setattr(_data, "read_corpus", lambda name: corpus)
    rows = engine.run_kinds(tmp_path, **options, **changes).set_index(["kinds", "way"])
    config = RunConfig(noise="weak", targets="posterior", **changes)
    logits = logits_by_halves(config, preset)["dev"]
    dev = weak["dev"]
    looked_at = np.isin(dev.sentence_of_words, trusted_sentences(config, dev))
    assert rows["words"].tolist() == [(~looked_at).sum()] * 9
    given, clean = dev.pairs
    posterior = noise.LabelPosterior(from_logits=True)
    posterior.fit(given[looked_at], clean[looked_at], logits[looked_at])
    soft = posterior.transform(given, logits)[~looked_at]
    nll = -np.log(soft[np.arange(len(soft)), clean[~looked_at]]).mean()
    assert rows.loc["none", "one kind"]["nll"] == pytest.approx(nll, rel=1e-4)
    # No word here has a capital letter: as without kinds.
    for way in ("by", "each by itself"):
        assert rows.loc["capital", way]["nll"] == pytest.approx(nll, rel=1e-4)
    drawn = rows.loc["drawn"]["nll"]
    assert drawn["by"] < drawn["each by itself"]
    # What is there is not made again.
    monkeypatch.setattr(_kinds, "_rows", None)
    assert len(engine.run_kinds(tmp_path, **options, **changes)) == 9
    with pytest.raises(TypeError):  # of other settings nothing is there
        engine.run_kinds(tmp_path, **options, **{**changes, "trusted_sentences": 10})


def test_kinds_of_words():
    words = ["The", "NATO", "1990s", "U2", "mid", "."]
    kinds = _kinds._kinds(words, np.array([0, 0, 0, 1, 1, 1]))
    assert kinds["shape"].tolist() == (
        ["capital", "upper", "digit", "digit", "lower", "other"]
    )
    assert kinds["shape, place"][[0, 1, 3]].tolist() == (
        ["capital, first", "upper", "digit, first"]
    )
    assert kinds["capital"].tolist() == [True, True, False, True, False, False]


def test_trusted_sentences_join_the_training_sentences_with_their_truth(weak):
    config = quick(noise="weak", trusted_sentences=20)
    train, trusted = weak["train"], trusted_of(config, weak["dev"])
    size = len(train.clean)
    both = train.with_trusted(trusted, TRUSTED)
    assert len(both.encoded) == len(train.encoded) + 20
    np.testing.assert_array_equal(both.targets[:size], train.targets)
    added = both.targets[size:]
    known = trusted.clean != IGNORED
    np.testing.assert_array_equal(added[known], trusted.clean[known] + TRUSTED)
    assert (added[~known] == IGNORED).all()
    hidden = trusted.hidden[trusted.origin]
    np.testing.assert_array_equal(both.hidden[both.origin[size:]], hidden)
    soft = np.zeros((size, K), "float32")
    rows = dataclasses.replace(train, targets=soft).with_trusted(trusted, 0).targets
    np.testing.assert_array_equal(
        rows[size:][known], np.eye(K, dtype="float32")[trusted.clean[known]]
    )
    assert (rows[size:][~known] == IGNORED).all()


def test_trusted_labels_cost_cross_entropy_and_the_others_are_corrected():
    rng = np.random.default_rng(0)
    matrix = rng.dirichlet(np.ones(K), K)
    logits = rng.normal(size=(2, 4, K)).astype("float32")
    labels = np.array([[3, TRUSTED + 3, IGNORED, 0], [TRUSTED, 8, 1, IGNORED]])
    loss = PartlyTrusted(ForwardCorrection(matrix, from_logits=True))
    found = keras.ops.convert_to_numpy(loss(labels, logits))
    log_p = log_softmax(logits.astype("float64"), axis=-1)
    noisy = np.log(np.exp(log_p) @ matrix)
    costs = [
        -(log_p[at][y - TRUSTED] if y >= TRUSTED else noisy[at][y])
        for at, y in np.ndenumerate(labels)
        if y != IGNORED
    ]
    assert found == pytest.approx(np.mean(costs), rel=1e-5)


def test_omission_takes_entities_for_o_and_nothing_else(preset):
    train = splits(quick(noise="omission", noise_rate=0.4), preset)["train"]
    given, clean = train.pairs
    assert (given[clean == 0] == 0).all()
    entities = clean > 0
    assert set(given[entities & (given != clean)]) == {0}
    n = entities.sum()
    missed = np.mean(given[entities] == 0)
    assert abs(missed - 0.4) < 4 * np.sqrt(0.24 / n)


def test_each_sentence_has_the_likelihood_of_the_choice(weak):
    config = quick(noise="weak", trusted_sentences=20)
    dev = weak["dev"]
    logits = np.random.default_rng(0).normal(size=(len(dev.words), K))
    logits += 2 * np.eye(K)[dev.clean[dev.words]]
    assert trusted_rows_of(quick(), dev, logits) == []
    found = trusted_rows_of(config, dev, logits)
    sentence = dev.sentence_of_words
    chosen = trusted_sentences(config, dev)
    parts = [np.flatnonzero(sentence == s) for s in chosen]
    rows = np.concatenate(parts)
    order = np.repeat(np.arange(20), [len(part) for part in parts])
    labels = dev.clean[dev.words][rows]
    expected = choose_by_likelihood(
        labels, {"run": logits[rows]}, from_logits=True, groups=order
    )
    assert [row["sentence"] for row in found] == chosen.tolist()
    assert [row["words"] for row in found] == [len(part) for part in parts]
    assert sum(row["entities"] for row in found) == np.sum(labels > 0)
    total = sum(row["nll"] for row in found)
    assert total / len(rows) == pytest.approx(expected.nll["run"])
    own = expected.row_nll["run"][order == 3].sum()
    assert found[3]["nll"] == pytest.approx(own)
    # Two models are compared as the choice compares them.
    other = logits + np.random.default_rng(1).normal(size=logits.shape)
    table = pd.DataFrame(
        [{"key": "one", **row} for row in found]
        + [{"key": "other", **row} for row in trusted_rows_of(config, dev, other)]
    )
    both = choose_by_likelihood(
        labels,
        {"one": logits[rows], "other": other[rows]},
        from_logits=True,
        groups=order,
    )
    assert trusted_difference(table, "other", "one") == pytest.approx(
        (both.difference["other"], both.standard_error["other"])
    )
    with pytest.raises(ValueError, match="20 sentences of one, 0 of two"):
        trusted_difference(table, "one", "two")


def temperatures(result):
    return {row["method"]: row["temperature"] for row in result.recalibration}


def test_runs_learn_from_them_and_a_training_is_made_once(preset):
    for options in (
        CORRECTED,
        {**CORRECTED, "train_on_trusted": True, "q": 0.3},
        {"targets": "posterior", "train_on_trusted": True},
        {**CORRECTED, "targets": "posterior"},
        {"targets": "relabelled"},
    ):
        config = quick(noise="crowd", trusted_sentences=24, **options)
        result = engine.run(config, share_warmup=True)
        assert result.row["test_accuracy"] > 0.5
        assert 0 < result.row["trusted_nll"] < 3
        corrected = config.matrix_rule != "none" and config.targets == "given"
        assert np.isfinite(result.row["matrix_error"]) == corrected
        found = temperatures(result)
        assert "temperature_trusted" in found
        if config.train_on_trusted:  # they calibrate the model that does not know them
            apart = dataclasses.replace(config, train_on_trusted=False)
            without = temperatures(engine.run(apart, share_warmup=True))
            assert found["temperature_apart"] == without["temperature_trusted"]
            assert found["temperature_apart"] != found["temperature_trusted"]
    # With fewer to measure it by, the same model: nothing is trained again.
    started = engine.run(quick(noise="crowd", trusted_sentences=24), share_warmup=True)
    again = engine.run(quick(noise="crowd", trusted_sentences=12), share_warmup=True)
    assert again.row["key"] != started.row["key"]
    assert again.row["test_nll"] == started.row["test_nll"]
    assert again.row["trusted_nll"] != started.row["trusted_nll"]


def test_relabelling_is_of_words_given_as_o_that_epochs_say_are_entities(preset):
    config = quick(noise="crowd", targets="relabelled", epochs=2)
    train = splits(config, preset)["train"]
    given = train.pairs[0]
    found = _targets(config, preset, share=False)[train.words]
    changed = found != given
    assert 0 < changed.sum() < 0.1 * len(given)
    assert (given[changed] == 0).all()
    prob = _mean_over_epochs(config.plain(), preset)["train"]
    np.testing.assert_allclose(prob.sum(axis=1), 1)
    np.testing.assert_array_equal(changed, (given == 0) & (prob.argmax(axis=1) != 0))
    np.testing.assert_array_equal(found[changed], prob.argmax(axis=1)[changed])


def test_the_estimated_matrix_needs_no_truth(preset):
    config = quick(
        noise="omission",
        noise_rate=0.3,
        loss="ForwardCorrection",
        matrix_rule="estimated",
        epochs=4,
        warmup_epochs=3,
    )
    row = engine.run(config).row
    assert row["matrix_error"] < 0.3
    assert row["test_accuracy"] > 0.5


def test_labels_that_cleanlab_finds_wrong_are_left_out(preset):
    config = quick(noise_rate=0.3, drop_issues=True, epochs=3)
    train = splits(config, preset)["train"]
    given, clean = train.pairs
    left_out = _targets(config, preset, share=False)[train.words] == IGNORED
    wrong = given != clean
    # Drawn at random, they would be wrong as often as all labels are.
    assert wrong[left_out].mean() > wrong.mean() + 0.3
    assert engine.run(config).row["test_accuracy"] > 0.5
