"""Noise of token labels: valid in, valid out, and each error by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_robust.noise import corrupt_spans

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
# John Smith lives in New York City . | Acme Ann
SENTENCES = [np.array([1, 2, 0, 0, 3, 4, 4, 0]), np.array([5, 1])]


def spans(labels):
    """Entities as (start, end, type), and a failure if the labels are not IOB2."""
    found = []
    for i, label in enumerate(labels):
        prefix, _, kind = TAGS[label].partition("-")
        if prefix == "B":
            found.append((i, i + 1, kind))
        elif prefix == "I":
            assert found
            assert found[-1][1:] == (i, kind), "I- continues no entity"
            found[-1] = (found[-1][0], i + 1, kind)
    return found


def many(seeds=200, **rates):
    return [corrupt_spans(SENTENCES, TAGS, **rates, seed=s) for s in range(seeds)]


def test_without_noise_nothing_changes():
    noisy = corrupt_spans(SENTENCES, TAGS, seed=0)
    assert [a.tolist() for a in noisy.labels] == [a.tolist() for a in SENTENCES]
    assert noisy.rate == 0


def test_dropping_removes_whole_entities():
    (noisy,) = many(1, drop=1.0)
    assert all((labels == 0).all() for labels in noisy.labels)
    kept = [len(spans(n.labels[0])) for n in many(drop=0.5)]
    assert np.mean(kept) == pytest.approx(1.0, abs=0.25)
    for n in many(50, drop=0.5):
        assert set(spans(n.labels[0])) <= set(spans(SENTENCES[0]))


def test_retyping_changes_the_type_and_nothing_else():
    for noisy in many(50, retype=1.0):
        for before, after in zip(SENTENCES, noisy.labels):
            old, new = spans(before), spans(after)
            assert [s[:2] for s in old] == [s[:2] for s in new]
            assert all(a[2] != b[2] for a, b in zip(old, new))
    seen = {spans(n.labels[0])[0][2] for n in many(50, retype=1.0)}
    assert seen == {"LOC", "ORG"}


def test_shifting_moves_one_end_by_one_token():
    seen = set()
    for noisy in many(shift=1.0):
        old, new = spans(SENTENCES[0]), spans(noisy.labels[0])
        for (s0, e0, t0), (s1, e1, t1) in zip(old, new):
            assert abs(s0 - s1) + abs(e0 - e1) == 1
            assert t0 == t1
        seen.add(new[0])
        # Two entities of one token fill this sentence: no move is possible.
        assert noisy.labels[1].tolist() == [5, 1]
    # (0, 2) may lose either end or grow to the right, never to the left.
    assert seen == {(1, 2, "PER"), (0, 1, "PER"), (0, 3, "PER")}


def test_inventing_adds_entities_and_touches_no_other():
    for noisy in many(50, invent=0.5):
        for before, after in zip(SENTENCES, noisy.labels):
            assert set(spans(before)) <= set(spans(after))
    (full,) = many(1, invent=1.0)
    assert (full.labels[0] != 0).all()
    lengths = {e - s for n in many(invent=0.3) for s, e, _ in spans(n.labels[0])[1:]}
    assert lengths == {1, 2, 3}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rates=st.tuples(*[st.sampled_from([0.0, 0.3, 1.0])] * 4),
)
def test_what_comes_out_is_valid_iob2_of_the_same_length(seed, rates):
    rng = np.random.default_rng(seed)
    sentence, previous = [], 0
    for _ in range(rng.integers(0, 15)):
        options = [0, 1, 3, 5] + ([(previous + 1) // 2 * 2] if previous else [])
        previous = int(rng.choice(options))
        sentence.append(previous)
    names = ("drop", "retype", "shift", "invent")
    noisy = corrupt_spans([sentence], TAGS, **dict(zip(names, rates)), seed=seed)
    assert len(noisy.labels[0]) == len(sentence)
    spans(noisy.labels[0])


def test_no_sequences_and_ragged_arrays_come_back_as_they_came():
    assert corrupt_spans([], TAGS, seed=0).labels == []
    for empty in (np.zeros((0, 5), int), np.zeros((2, 0), int)):
        assert corrupt_spans(empty, TAGS, seed=0).labels.shape == empty.shape
    ragged = np.array([np.array([1, 2]), np.array([0])], dtype=object)
    noisy = corrupt_spans(ragged, TAGS, drop=1.0, seed=0)
    assert [labels.tolist() for labels in noisy.labels] == [[0, 0], [0]]


def test_ignored_positions_stay_and_do_not_break_an_entity():
    # Word pieces: the second piece of a word is ignored.
    padded = np.array([[1, -100, 2, 0, -100, -100], [3, -100, -100, -100, -100, -100]])
    before = padded.copy()
    noisy = corrupt_spans(padded, TAGS, retype=1.0, shift=1.0, seed=0)
    assert isinstance(noisy.labels, np.ndarray)
    assert noisy.labels.shape == padded.shape
    assert ((noisy.labels == -100) == (padded == -100)).all()
    for row in noisy.labels:
        spans(row[row != -100])
    assert (padded == before).all()


def test_the_realised_matrix_and_rate_are_those_of_the_tokens():
    clean = np.tile(SENTENCES[0], (300, 1))
    noisy, realised = corrupt_spans(clean, TAGS, drop=0.4, invent=0.1, seed=1)
    for i in range(len(TAGS)):
        given_labels = noisy[clean == i]
        if len(given_labels):
            counts = np.bincount(given_labels, minlength=len(TAGS))
            np.testing.assert_allclose(realised[i], counts / counts.sum())
        else:
            assert np.isnan(realised[i]).all()
    again = corrupt_spans(clean, TAGS, drop=0.4, invent=0.1, seed=1)
    assert again.rate == np.mean(noisy != clean)
    assert (again.labels == noisy).all()


@pytest.mark.parametrize(
    ("sequences", "tags", "match"),
    [
        ([[0, 2]], TAGS, "I-PER at token 1 of sequence 0"),
        ([[0], [1, 4]], TAGS, "I-LOC at token 1 of sequence 1"),
        ([[1, 0, 2]], TAGS, "valid IOB2"),
        ([[9]], TAGS, r"`sequences` must be in \[0, 7\)"),
        ([[0]], ["O", "B-PER"], "`tags` must be"),
        ([[0]], ["B-PER", "I-PER"], "`tags` must be"),
        ([[0]], ["O", "O", "B-PER", "I-PER"], "`tags` must be"),
    ],
)
def test_bad_sequences_and_tags_raise(sequences, tags, match):
    with pytest.raises(ValueError, match=match):
        corrupt_spans(sequences, tags, seed=0)


@pytest.mark.parametrize("rate", ["drop", "retype", "shift", "invent"])
def test_bad_probabilities_raise(rate):
    with pytest.raises(ValueError, match=f"corrupt_spans: `{rate}` must be in"):
        corrupt_spans([[0]], TAGS, **{rate: 1.5}, seed=0)
