"""What several people's labels of the same rows tell of each of them."""

import sys

import numpy as np
import pytest

from keras_robust.noise import (
    _matrix_from_annotators,
    flip_labels,
    matrix_from_annotators,
    matrix_from_pairs,
    omission_matrix,
    symmetric_matrix,
)

K, ROWS = 3, 1500
PEOPLE = [symmetric_matrix(K, 0.1), symmetric_matrix(K, 0.4), omission_matrix(K, 0.3)]
PEOPLE += [symmetric_matrix(K, 0.2)]
TRUE = np.random.default_rng(0).choice(K, ROWS, p=[0.5, 0.3, 0.2])


def drawn(missing=0.3, people=PEOPLE):
    votes = [flip_labels(TRUE, one, seed=i).labels for i, one in enumerate(people)]
    votes = np.stack(votes, axis=1)
    votes[np.random.default_rng(1).random(votes.shape) < missing] = -1
    return votes


def by_definition(votes, rounds):
    """Dawid and Skene's equations 2.3 to 2.5 in loops, from the shares of votes on."""
    cast = [[(a, v) for a, v in enumerate(row) if v >= 0] for row in votes]
    soft = np.array([[sum(v == k for _, v in row) for k in range(K)] for row in cast])
    soft = soft / soft.sum(1, keepdims=True)
    for _ in range(rounds):
        share = soft.mean(0)
        errors = np.full((votes.shape[1], K, K), 1e-15)
        for row, probability in zip(cast, soft):
            for a, v in row:
                errors[a, :, v] += probability
        errors /= errors.sum(-1, keepdims=True)
        soft = np.array(
            [share * np.prod([errors[a, :, v] for a, v in row], 0) for row in cast]
        )
        soft /= soft.sum(1, keepdims=True)
    return soft


def test_soft_labels_are_those_of_dawid_and_skene_and_counts_follow(monkeypatch):
    # Both after so many rounds: the end is a matter of patience.
    monkeypatch.setattr(_matrix_from_annotators, "_MOST_ROUNDS", 5)
    votes = drawn()[:300]
    votes = votes[(votes >= 0).any(1)]
    found = matrix_from_annotators(votes, K)
    soft = by_definition(votes, rounds=5)
    np.testing.assert_allclose(found.soft_labels, soft, atol=1e-6)
    for a, estimate in enumerate(found.annotators):
        given = votes[:, a]
        counts = [[soft[given == j, i].sum() for j in range(K)] for i in range(K)]
        np.testing.assert_allclose(estimate.counts, counts, atol=1e-4)
    # The majority's, ties in equal parts.
    tally = np.array([[np.sum(row == k) for k in range(K)] for row in votes])
    most = tally == tally.max(1, keepdims=True)
    expected = soft.T @ (most / most.sum(1, keepdims=True))
    np.testing.assert_allclose(found.given.counts, expected, atol=1e-4)


def test_each_annotator_s_matrix_is_found_without_the_truth():
    found = matrix_from_annotators(drawn(), K)
    for estimate, matrix in zip(found.annotators, PEOPLE):
        np.testing.assert_allclose(estimate.matrix, matrix, atol=0.07)
    majority = np.array([np.bincount(row[row >= 0], minlength=K) for row in drawn()])
    right = found.soft_labels.argmax(1) == TRUE
    assert (
        right.mean() > (majority.argmax(1) == TRUE).mean()
    )  # the good ones count more
    column = matrix_from_annotators(drawn(), K, given=2)
    np.testing.assert_array_equal(column.given.matrix, found.annotators[2].matrix)
    wrong = 1 - np.mean(np.diag(found.given.matrix)[TRUE])
    assert wrong == pytest.approx(0.11, abs=0.03)


def test_votes_may_have_any_shape_and_other_marks():
    votes = drawn()
    expected = matrix_from_annotators(votes, K)
    shaped = matrix_from_annotators(votes.reshape(5, -1, 4), K)
    assert shaped.soft_labels.shape == (5, ROWS // 5, K)
    marked = np.where(votes < 0, 255, votes).astype("uint8")
    for found in (shaped, matrix_from_annotators(marked, K, ignore_class=255)):
        np.testing.assert_allclose(
            found.soft_labels.reshape(-1, K), expected.soft_labels
        )
        np.testing.assert_allclose(found.given, expected.given)


def test_a_row_without_votes_has_the_shares_of_the_classes():
    votes = drawn(missing=0)
    votes[:10] = -1
    soft = matrix_from_annotators(votes, K).soft_labels
    np.testing.assert_allclose(soft[:10], np.tile(soft[10:].mean(0), (10, 1)))


def test_annotators_with_few_votes_borrow_from_the_others():
    people = [symmetric_matrix(K, 0.25)] * 8
    votes = drawn(0, people)
    votes[4:, 6], votes[:, 7] = -1, -1  # four votes, none
    with pytest.warns(UserWarning, match=r"annotators \[7\] have no votes"):
        found = matrix_from_annotators(votes, K)
    for few in found.annotators[6:]:
        np.testing.assert_allclose(few.matrix, people[0], atol=0.08)
    alone = matrix_from_pairs(votes[:4, 6], TRUE[:4], K, prior=np.full((K, K), 1e-9))
    off = np.abs(alone.matrix - people[0]).max()
    assert np.abs(found.annotators[6].matrix - people[0]).max() < off / 2
    low, high = found.annotators[6].interval()
    assert ((low < people[0]) & (people[0] < high)).all()


def test_a_class_without_votes_is_named_and_borrows():
    with pytest.warns(UserWarning, match=r"no row is likely to be of class \[3\]"):
        found = matrix_from_annotators(drawn(), K + 1)
    for estimate in (found.given, *found.annotators):
        assert np.isfinite(estimate.matrix).all()
        np.testing.assert_allclose(estimate.matrix.sum(1), 1)
        assert estimate.matrix[3].argmax() == 3
    assert (found.soft_labels[:, 3] == 0).all()


def test_two_votes_a_row_are_said_to_be_too_few():
    with pytest.warns(UserWarning, match="no row has more than two votes"):
        matrix_from_annotators(drawn()[:, :2], K)


def test_a_result_can_be_read_and_not_be_changed():
    found = matrix_from_annotators(drawn(), K)
    lines = repr(found).splitlines()
    assert lines[0] == f"AnnotatorMatrices of {ROWS} rows, 3 classes"
    assert lines[2].split()[0] == "given"
    assert lines[4].split()[:3] == ["annotator", "1", str((drawn()[:, 1] >= 0).sum())]
    assert float(lines[4].split()[3][:-1]) == pytest.approx(40, abs=4)
    with pytest.raises(ValueError, match="read-only"):
        found.soft_labels[0] = 0


@pytest.mark.parametrize(
    ("votes", "how", "error", "match"),
    [
        ([0, 1], {}, ValueError, "`votes` must be of shape"),
        ([[0], [1]], {}, ValueError, "at least two annotators"),
        ([[0, 3]], {}, ValueError, r"`votes` must be in \[0, 3\)"),
        ([[0, -2]], {}, ValueError, r"`votes` must be in \[0, 3\)"),
        ([[0.0, 1.0]], {}, TypeError, "integer class ids"),
        ([[0, -1], [-100, 1]], {}, ValueError, "some row has two votes"),
        ([[0, 1]], {"given": 2}, ValueError, r"`given` must be in \[0, 2\)"),
        ([[0, 1]], {"given": "first"}, ValueError, "`given` must be an annotator"),
        (np.zeros((0, 3), int), {}, ValueError, "some row has two votes"),
    ],
)
def test_bad_votes_are_an_error(votes, how, error, match):
    with pytest.raises(error, match=f"matrix_from_annotators: .*{match}"):
        matrix_from_annotators(votes, K, **how)


def test_without_crowd_kit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "crowdkit.aggregation", None)
    with pytest.raises(ImportError, match=r"crowd-kit: pip .*'\.\[noise\]'"):
        matrix_from_annotators(drawn(), K)
