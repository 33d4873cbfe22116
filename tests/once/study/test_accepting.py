"""What is accepted of a run's test split, against numbers counted by hand."""

import engine
import numpy as np
import pandas as pd
import pytest
from engine._accepting import (
    acceptance_rows,
    entities_of,
    matrix_of_entities,
    risk_coverage_scores,
)
from engine._corpus import TAGS
from test_study_measures import entity_scores, split_of, tags
from tiny import quick

from keras_robust.noise import omission_matrix

OF_ONE = ["B-PER O", "B-LOC O"]  # each sentence has one entity


def scores_of(words, confidence):
    """Logits of words that are predicted with a confidence each."""
    p = np.asarray(confidence, "float64")[:, None]
    one = np.eye(9)[tags(words)]
    return np.log(one * p + (1 - one) * (1 - p) / 8).astype("float32")


def test_risk_and_coverage_of_words_and_of_entities():
    split = split_of("B-PER I-PER O", "B-LOC O")
    # Entities: PER, right, .8 (its least sure word); ORG for LOC, wrong, .4.
    logits = scores_of("B-PER I-PER O B-ORG O", [0.9, 0.8, 0.95, 0.4, 0.99])
    found = risk_coverage_scores(split, logits)
    assert found["entity_aurc"] == pytest.approx((0 + 1 / 2) / 2)
    assert found["aurc"] == pytest.approx(1 / 5 / 5)  # the last of five is wrong
    nothing = scores_of("O O O O O", [0.9] * 5)
    assert np.isnan(risk_coverage_scores(split, nothing)["entity_aurc"])


@pytest.fixture(scope="module")
def splits():
    # Sentences of an entity each; a third of the development labels are missed.
    rng = np.random.default_rng(0)
    sentences = [OF_ONE[k] for k in rng.integers(2, size=2000)]
    given = [s if rng.random() > 0.33 else "O O" for s in sentences]
    dev = split_of(*sentences, given=" ".join(given))
    test = split_of(*sentences)
    # The surer half of entities is right, of the other half one in three.
    sure = np.arange(2000) < 1000
    right = sure | (rng.random(2000) < 1 / 3)
    words = [s if r else "B-ORG O" for s, r in zip(sentences, right)]
    confidence = np.stack([np.where(sure, 0.95, 0.6), np.full(2000, 0.99)], -1).ravel()
    logits = scores_of(" ".join(words), confidence)
    return {"dev": dev, "test": test}, {"dev": logits, "test": logits}, right


def test_thresholds_accept_on_the_test_split_what_they_say(splits):
    parts, logits, _ = splits
    matrix = omission_matrix(len(TAGS), 0.33)
    rows = acceptance_rows(quick(), parts, logits, matrix)
    assert len(rows) == 2 * 3 * 2
    found = {(row["unit"], row["labels"], row["asked"]): row for row in rows}
    for asked in (0.9, 0.95):
        row = found["entity", "clean", asked]
        assert (row["share"], row["accuracy"]) == (0.5, 1.0)
        assert 0.6 < row["threshold"] <= 0.95 + 1e-6
        # As a third is missed, none looks right often enough: until that is undone.
        row = found["entity", "noisy", asked]
        assert row["share"] == 0
        assert row["threshold"] == np.inf
        assert np.isnan(row["accuracy"])
        assert found["word", "clean", asked]["share"] == pytest.approx(0.75)
        assert found["word", "clean", asked]["accuracy"] == 1.0
    assert found["entity", "undone", 0.9]["share"] == 0.5
    assert all(row["share"] >= 0 for row in rows)


def test_the_matrix_of_entities_is_how_often_they_look_right(splits):
    parts, logits, _ = splits
    dev = parts["dev"]
    clean, noisy = (entities_of(dev, logits["dev"], y) for y in (dev.clean, dev.given))
    whole = matrix_of_entities(quick(), dev, clean, noisy)
    seen = noisy.correct[clean.correct == 1].mean()
    assert whole[1, 1] == pytest.approx(seen, abs=0.01)
    assert whole[0, 1] < 0.02
    # In the sentences that were looked at again, there are fewer to count.
    some = matrix_of_entities(quick(trusted_sentences=100), dev, clean, noisy)
    assert some[1, 1] != whole[1, 1]
    assert some[1, 1] == pytest.approx(seen, abs=0.15)


def test_where_no_entity_is_found_there_is_no_threshold():
    split = split_of("B-PER O", "O O")
    logits = scores_of("O O O O", [0.9] * 4)
    parts, both = {"dev": split, "test": split}, {"dev": logits, "test": logits}
    rows = acceptance_rows(quick(), parts, both, np.eye(len(TAGS)))
    of_entities = [row for row in rows if row["unit"] == "entity"]
    assert len(of_entities) == 6
    assert all(np.isnan(row["share"]) for row in of_entities)
    assert entity_scores(split, tags("O O O O"))["f1"] == 0


def test_thresholds_are_counted_that_keep_what_was_asked():
    nothing = float("nan")
    rows = [
        ("CE", 0.9, 0.5, 0.91),
        ("CE", 0.9, 0.3, 0.89),
        ("CE", 0.95, 0.0, nothing),
        ("CE", 0.95, nothing, nothing),
        ("SGCE", 0.9, 0.1, 0.9),
    ]
    table = pd.DataFrame(rows, columns=["loss", "asked", "share", "accuracy"])
    table = table.assign(unit="word", labels="clean")
    counts = engine.kept_thresholds(table, by=["loss"])
    assert counts.loc["CE", "word", "clean", 0.9].tolist() == [2, 2, 1, 0.4]
    assert counts.loc["CE", "word", "clean", 0.95].tolist() == [1, 0, 0, 0]
    assert counts.loc["SGCE", "word", "clean", 0.9].tolist() == [1, 1, 1, 0.1]
    counts = engine.kept_thresholds(table)
    assert counts.loc["word", "clean", 0.9].tolist()[:3] == [3, 3, 2]
