"""The transition matrix of rows that were looked at again, and which rows those are."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from keras_robust import ForwardCorrection
from keras_robust.noise import (
    MatrixEstimate,
    flip_labels,
    matrix_from_pairs,
    omission_matrix,
    rows_to_check,
)

K = 9
# As of words: most are no entity.
SHARE = np.array([0.83] + [0.17 / 8] * 8)


def drawn(matrix, size, seed):
    true = np.random.default_rng(seed).choice(K, size, p=SHARE)
    return flip_labels(true, matrix, seed=seed).labels, true


def uneven(seed, spread=0.5):
    """Omission at a rate of its own for each class, and a few inventions."""
    rates = 0.25 * np.random.default_rng(seed).uniform(1 - spread, 1 + spread, K)
    matrix = omission_matrix(K, rates)
    matrix[0] = [0.99] + [0.01 / 8] * 8
    return matrix


def test_omission_is_what_its_formula_says():
    matrix = omission_matrix(3, [0.1, 0.2, 0.9], background=1)
    assert matrix.tolist() == [[0.9, 0.1, 0], [0, 1, 0], [0, 0.9, pytest.approx(0.1)]]


def test_with_a_prior_of_its_own_rows_are_dirichlet_means_and_intervals():
    prior = np.arange(1.0, 10).reshape(3, 3)
    estimate = matrix_from_pairs([0, 0, 1, 2, -100], [0, 0, 0, 2, 1], 3, prior=prior)
    assert estimate.counts.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 1]]
    total = prior + estimate.counts
    np.testing.assert_allclose(estimate.matrix, total / total.sum(1, keepdims=True))
    low, high = estimate.interval(0.9)
    for i, j in np.ndindex(3, 3):
        entry = stats.beta(total[i, j], total[i].sum() - total[i, j])
        np.testing.assert_allclose([low[i, j], high[i, j]], entry.ppf([0.05, 0.95]))


def test_a_weight_of_2_counts_as_the_row_twice_and_only_ratios_matter():
    given, true = drawn(uneven(0), 400, 0)
    twice = np.arange(400) < 100
    prior = np.ones((K, K))
    weighted = matrix_from_pairs(
        given, true, K, prior=0 * prior + 1e-9, sample_weight=1.0 + twice
    )
    repeated = matrix_from_pairs(
        np.concatenate([given, given[twice]]),
        np.concatenate([true, true[twice]]),
        K,
        prior=0 * prior + 1e-9,
    )
    np.testing.assert_allclose(weighted.matrix, repeated.matrix, atol=1e-6)
    scaled = matrix_from_pairs(
        given, true, K, prior=prior, sample_weight=7 * (1.0 + twice)
    )
    again = matrix_from_pairs(given, true, K, prior=prior, sample_weight=1.0 + twice)
    np.testing.assert_allclose(scaled.matrix, again.matrix)
    # Uneven weights tell less than as many even ones.
    assert weighted.counts.sum() < 400


def test_classes_with_few_rows_borrow_from_the_others():
    better, covered = [], []
    for seed in range(12):
        matrix = uneven(seed)
        given, true = drawn(matrix, 500, 100 + seed)
        estimate = matrix_from_pairs(given, true, K)
        shares = estimate.counts / estimate.counts.sum(1, keepdims=True)
        off = np.abs(estimate.matrix - matrix).sum(1).mean()
        better.append(off < 0.8 * np.abs(shares - matrix).sum(1).mean())
        low, high = estimate.interval()
        covered.append(((low <= matrix) & (matrix <= high))[1:, 0].mean())
    assert np.mean(better) > 0.8
    assert 0.9 <= np.mean(covered) <= 1


def test_what_is_alike_in_all_classes_is_learnt_for_a_class_that_was_not_seen():
    given, true = drawn(omission_matrix(K, 0.3), 3000, 1)
    seen = true != 4
    estimate = matrix_from_pairs(given[seen], true[seen], K)
    assert estimate.counts[4].sum() == 0
    assert estimate.matrix[4, 0] == pytest.approx(0.3, abs=0.06)
    low, high = estimate.interval()
    assert low[4, 0] < 0.3 < high[4, 0]


def test_with_many_rows_the_shares_are_what_counts():
    given, true = drawn(uneven(3), 200_000, 3)
    estimate = matrix_from_pairs(given, true, K)
    shares = estimate.counts / estimate.counts.sum(1, keepdims=True)
    np.testing.assert_allclose(estimate.matrix, shares, atol=0.01)


def test_the_documented_errors_are_those_of_the_rows():
    path = Path(__file__).parents[3] / "results" / "noise_estimation.csv"
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "pairs"]
    means = [
        f"{np.mean(errors):.3f}"
        for noise in ("omission", "symmetric")
        for size in ("25", "100", "500")
        if (
            errors := [
                float(r["error"])
                for r in rows
                if r["noise"] == noise and r["rows"] == size
            ]
        )
    ]
    documented = " ".join(rows_to_check.__doc__.split())
    said = "{} on average with 25 rows, {} with 100 and {} with 500 where 30 % of the "
    said += "entities were missed, and by {}, {} and {} where 20 %"
    assert said.format(*means) in documented


def test_an_estimate_is_taken_for_its_matrix_and_cannot_be_changed():
    estimate = matrix_from_pairs([0, 0, 1, 1], [0, 0, 1, 0], 2)
    np.testing.assert_array_equal(ForwardCorrection(estimate).matrix, estimate.matrix)
    with pytest.raises(ValueError, match="read-only"):
        estimate.matrix[0, 0] = 1
    text = repr(estimate).splitlines()
    assert text[0].startswith("P(given label | true class)")
    assert [line.split()[0] for line in text[2:]] == ["0", "1"]
    assert f"{estimate.matrix[0, 1]:.3f} [" in text[2]
    assert "rows counted" in repr(MatrixEstimate(np.eye(20), np.eye(20), np.eye(20)))


@pytest.mark.parametrize(
    ("arguments", "how", "match"),
    [
        (([0, 1], [0], 2), {}, "`true_labels` must be of the shape of `labels`"),
        (([0, 2], [0, 1], 2), {}, "`labels` must be in"),
        (([-100], [0], 2), {}, "`labels` must be of at least one position"),
        (([0, 1], [0, 5], 2), {}, "`true_labels` must be in"),
        (([0, 1], [0, 1], 1), {}, "`num_classes` must be at least 2"),
        (([0, 1], [0, 1], 2), {"prior": [[1, 1]]}, "`prior` must be of shape"),
        (([0, 1], [0, 1], 2), {"prior": -np.eye(2)}, "`prior` must be finite and"),
        (([0], [0], 2), {"prior": np.zeros((2, 2))}, "`prior` must be above 0 for"),
        (([0, 1], [0, 1], 2), {"sample_weight": [1, -1]}, "`sample_weight` must be"),
    ],
)
def test_bad_pairs_are_an_error(arguments, how, match):
    with pytest.raises(ValueError, match=f"matrix_from_pairs: {match}"):
        matrix_from_pairs(*arguments, **how)


LABELS = np.array([[0, 0, 1, -100], [0, 2, 0, 0], [1, 1, 0, -100], [0, 0, 0, 0]])


@pytest.mark.parametrize("how", ["even", "stratify", "y_prob"])
def test_weights_make_up_for_the_choice(how):
    labels = np.repeat([0, 1, 2], [880, 100, 20])
    wrong = np.random.default_rng(0).random(1000) < np.where(labels == 1, 0.5, 0.1)
    doubt = np.where(wrong, 0.8, 0.1)  # a model that knows where labels are wrong
    prob = np.repeat(doubt[:, None] / 2, 3, axis=1)
    prob[np.arange(1000), labels] = 1 - doubt
    options = {"even": {}, "stratify": {"stratify": True}, "y_prob": {"y_prob": prob}}
    totals, found = [], []
    for seed in range(400):
        index, weight = rows_to_check(labels, 60, seed=seed, **options[how])
        assert len(set(index.tolist())) == 60
        totals.append([weight @ wrong[index], weight.sum()])
        found.append(wrong[index].sum())
    mean, error = np.mean(totals, 0), np.std(totals, 0) / 20
    assert (np.abs(mean - [wrong.sum(), 1000]) < 4 * error + 1e-9).all()
    if how == "y_prob":  # more of what is wrong is looked at
        assert np.mean(found) > 1.5 * 60 * wrong.mean()


def test_stratified_rows_have_every_label_alike():
    labels = np.repeat([0, 1, 2], [880, 100, 20])
    index, _ = rows_to_check(labels, 60, stratify=True, seed=1)
    assert np.bincount(labels[index]).tolist() == [20, 20, 20]


def test_groups_are_chosen_whole_and_ignored_positions_never():
    sentence = np.broadcast_to(np.arange(4)[:, None], LABELS.shape)
    index, weight = rows_to_check(LABELS, 2, groups=sentence, seed=0)
    chosen = set((index // 4).tolist())
    assert len(chosen) == 2
    expected = [i for i in range(16) if i // 4 in chosen and LABELS.flat[i] != -100]
    assert index.tolist() == expected
    assert (weight == 2).all()


@pytest.mark.parametrize(
    ("labels", "size", "how", "match"),
    [
        ([0, 1], 3, {}, "`size` must be at most the 2 rows"),
        ([0, 1], 0, {}, "`size` must be at least 1"),
        (LABELS, 5, {"groups": np.zeros_like(LABELS)}, "at most the 1 groups"),
        ([0, 1], 1, {"groups": [0]}, "`groups` must be of the shape"),
        ([0, 1], 1, {"stratify": True, "y_prob": np.eye(2)}, "`stratify` must be"),
    ],
)
def test_bad_choices_are_an_error(labels, size, how, match):
    with pytest.raises(ValueError, match=match):
        rows_to_check(labels, size, seed=0, **how)
