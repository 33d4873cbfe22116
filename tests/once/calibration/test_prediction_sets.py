"""Prediction sets: they hold the true class as often as asked."""

import itertools
import math
import warnings

import numpy as np
import pytest

from keras_robust.calibration import PredictionSets
from keras_robust.calibration._deciding.set_threshold import rows_needed, threshold
from keras_robust.noise import omission_matrix, symmetric_matrix

RNG = np.random.default_rng(11)
N, K = 120, 4
PROB = RNG.dirichlet(np.full(K, 0.4), N)
LABELS = (PROB.cumsum(-1) < RNG.random((N, 1))).sum(-1)
NOISES = (symmetric_matrix(K, 0.3), omission_matrix(K, 0.4))


def by_definition(method, p, k, lambda_reg=0.0, k_reg=0):
    """The score of class k of one row."""
    if method == "lac":
        return 1 - p[k]
    likelier = [p[j] for j in range(len(p)) if (p[j], -j) > (p[k], -k)]
    penalty = max(0, len(likelier) + 1 - k_reg) if method == "raps" else 0
    return sum(likelier) + lambda_reg * penalty


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_a_class_is_in_the_set_if_its_score_is_among_the_lowest(method):
    how = {"lambda_reg": 0.05, "k_reg": 2}
    sets = PredictionSets(0.8, method=method, **how).fit(LABELS, PROB)
    own = sorted(by_definition(method, p, k, **how) for p, k in zip(PROB, LABELS))
    limit = own[math.ceil((N + 1) * 0.8) - 1]
    np.testing.assert_allclose(sets.threshold_, np.full(K, limit), rtol=1e-12)
    new = np.vstack([RNG.dirichlet(np.ones(K), 50), [[0.25] * 4, [0.4, 0.4, 0.2, 0]]])
    expected = [
        [by_definition(method, p, k, **how) <= limit for k in range(K)] for p in new
    ]
    found = sets.transform(new)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.mean() < 1
    if method != "lac":
        assert found.any(axis=1).all()


def left_out(labels, prob, member, **options):
    """The coverage of each group by the threshold of all others."""
    covered = []
    for one in np.unique(member):
        rest = member != one
        sets = PredictionSets(**options).fit(
            labels[rest], prob[rest], groups=member[rest]
        )
        in_set = sets.transform(prob[~rest])
        covered.append(in_set[np.arange(len(in_set)), labels[~rest]].mean())
    return np.array(covered)


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
@pytest.mark.parametrize("words", [1, 7])
def test_the_coverage_is_that_asked_for_over_all_orders_of_the_rows(method, words):
    # All orders of exchangeable rows are equally likely, so the coverage of the last
    # one, given which rows there are, is the mean over who is left out.
    # Groups of 1 to `words` rows: the mean over groups.
    rng = np.random.default_rng(5)
    member = np.repeat(np.arange(40), rng.integers(1, words + 1, 40))
    rows = rng.choice(N, len(member), replace=False) if words == 1 else member % N
    prob = PROB[rows] if words == 1 else rng.dirichlet(np.ones(K), len(member))
    labels = (
        LABELS[rows] if words == 1 else (member + rng.integers(2, size=len(member))) % K
    )
    for coverage in (0.5, 0.77, 0.9):
        mean = left_out(labels, prob, member, coverage=coverage, method=method).mean()
        assert mean >= coverage - 1e-12
        if method == "lac":  # whose scores are not equal
            assert mean <= coverage + 1 / 40 * (1 if words == 1 else 2)


def test_the_rows_of_a_group_count_1_together():
    # One group of 100 sure rows and nine of one row each: 0.8 * 11 = 8.8 of 10 groups.
    p = np.r_[np.full(100, 0.99), np.linspace(0.5, 0.9, 9)]
    prob, labels = np.stack([p, 1 - p], -1), np.zeros(109, int)
    member = np.r_[np.zeros(100, int), np.arange(1, 10)]
    limit = PredictionSets(0.8).fit(labels, prob, groups=member).threshold_[0]
    assert limit == pytest.approx(1 - p[101])  # the ninth of ten
    limit = PredictionSets(0.8).fit(labels, prob).threshold_[0]
    assert limit == pytest.approx(0.01)


def as_if_by_chance(labels, prob, matrix):
    """Each row with every label that it could be given, as often as it would be."""
    given = np.tile(np.arange(K), len(labels))
    weight = (K * matrix[labels]).ravel()
    return given, np.repeat(prob, K, axis=0), weight


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("matrix", NOISES)
@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_noisy_labels_that_are_as_frequent_as_the_matrix_says_tell_the_true_threshold(
    matrix, method, per_class
):
    how = {"coverage": 0.7, "method": method, "per_class": per_class}
    given, prob, weight = as_if_by_chance(LABELS, PROB, matrix)
    clean = PredictionSets(**how).fit(LABELS, PROB, sample_weight=np.full(N, K))
    noisy = PredictionSets(noise_matrix=matrix, **how)
    noisy.fit(given, prob, sample_weight=weight)
    np.testing.assert_allclose(noisy.threshold_, clean.threshold_, rtol=1e-12)
    ignored = PredictionSets(**how).fit(given, prob, sample_weight=weight)
    assert (ignored.threshold_ > clean.threshold_ + 0.01).any()
    assert np.all(noisy.slack_ > 0)
    assert not np.any(clean.slack_)
    # What is measured, too.
    new = slice(0, 40)
    given, prob, weight = as_if_by_chance(LABELS[new], PROB[new], matrix)
    expected = clean.evaluate(LABELS[new], PROB[new], sample_weight=np.full(40, K))
    found = noisy.evaluate(given, prob, sample_weight=weight)
    for name in ("count", "coverage", "mean_size", "empty", "single"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
        np.testing.assert_allclose(
            found.by_class[name], expected.by_class[name], atol=1e-9, err_msg=name
        )


def test_the_last_score_counts_at_which_the_estimate_rises_to_the_target():
    scores, mass = np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.5, -1.0, 1.0, 0.5])
    # The sums are 1.5, 0.5, 1.5 and 2.
    for target, expected in [(0.4, 0.1), (1.4, 0.3), (1.5, 0.3), (2.0, 0.4)]:
        assert threshold(scores, mass, target) == expected
    assert threshold(scores, mass, 2.1) == math.inf
    # Equal scores come in together, in whichever order: 0.5, then 1.5 and 2.
    scores[:2] = 0.1
    for masses in (mass, mass[[1, 0, 2, 3]]):
        assert threshold(scores, masses, 0.5) == 0.1
        assert threshold(scores, masses, 0.6) == 0.3


def test_of_equal_classes_the_first_is_the_likelier():
    sets = PredictionSets(0.5, method="aps")
    sets.fit([24] * 9, np.full((9, 50), 0.02))
    assert (
        sets.transform(np.full((1, 50), 0.02))[0].tolist() == [True] * 25 + [False] * 25
    )


@pytest.mark.parametrize("matrix", NOISES)
def test_noisy_labels_cover_the_true_ones_on_average_and_on_the_safe_side(matrix):
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.full(K, 0.4), 20_000)
    true = (prob.cumsum(-1) < rng.random((len(prob), 1))).sum(-1)
    covered = {False: [], True: []}
    for _ in range(150):
        rows = rng.integers(len(prob), size=1000)
        given = (matrix[true[rows]].cumsum(-1) < rng.random((1000, 1))).sum(-1)
        for conservative, found in covered.items():
            sets = PredictionSets(0.8, noise_matrix=matrix, conservative=conservative)
            limit = sets.fit(given, prob[rows]).threshold_[0]
            found.append(np.mean(1 - prob[np.arange(len(true)), true] <= limit))
            slack = 0.0 if conservative else sets.slack_
            assert sets.slack_ == slack
    mean, error = np.mean(covered[False]), np.std(covered[False]) / math.sqrt(150)
    assert 0.8 - 3 * error < mean < 0.8 + 4 * error
    # Asking for the slack moves the whole coverage up by it.
    moved = np.mean(covered[True]) - mean
    widths = np.linalg.inv(matrix).clip(max=0).sum(1).min()
    slack = (1 - 2 * widths) * math.sqrt(math.pi / 8000)
    assert moved == pytest.approx(slack, rel=0.2)


def test_each_class_has_the_threshold_of_its_own_rows():
    sets = PredictionSets(0.8, per_class=True).fit(LABELS, PROB)
    for k in range(K):
        own = np.sort(1 - PROB[k == LABELS, k])
        rank = math.ceil((len(own) + 1) * 0.8)
        assert sets.threshold_[k] == pytest.approx(own[rank - 1])
    measured = sets.evaluate(LABELS, PROB)
    assert (measured.by_class["coverage"] >= 0.8).all()


def test_a_class_of_too_few_rows_is_in_every_set_and_a_warning_says_so():
    labels = np.r_[np.zeros(20, int), np.ones(20, int), [2, 2, 2]]
    prob = np.tile([0.6, 0.3, 0.1, 0.0], (43, 1))
    sets = PredictionSets(0.9, per_class=True)
    with pytest.warns(
        UserWarning, match=r"at least 9 rows. .*classes 2 \(3\), 3 \(0\)"
    ):
        sets.fit(labels, prob)
    assert sets.threshold_[2:].tolist() == [math.inf] * 2
    assert sets.transform([[1.0, 0.0, 0.0, 0.0]])[0, 2:].all()
    # One class alone: then no other is ever left out.
    with pytest.warns(UserWarning, match=r"classes 1 \(0\), 2 \(0\), 3 \(0\)"):
        sets.fit(np.zeros(20, int), prob[:20])
    assert PredictionSets(0.9).fit(np.zeros(20, int), prob[:20]).threshold_[3] == 0.4


def test_weights_are_repetitions_and_ignored_labels_are_left_out():
    rng = np.random.default_rng(2)
    weight = rng.integers(0, 4, N)
    labels = np.where(rng.random(N) < 0.2, -100, LABELS)
    keep = labels != -100
    expected = PredictionSets().fit(
        np.repeat(labels[keep], weight[keep]),
        np.repeat(PROB[keep], weight[keep], axis=0),
    )
    found = PredictionSets().fit(labels, PROB, sample_weight=weight)
    assert found.threshold_.tolist() == expected.threshold_.tolist()
    assert found.threshold_[0] != PredictionSets().fit(LABELS, PROB).threshold_[0]


def test_axis_logits_one_hot_and_a_single_sigmoid_are_as_in_bin_predictions():
    expected = PredictionSets(0.7).fit(LABELS, PROB)
    with np.errstate(divide="ignore"):
        logits = np.log(PROB) + 3
    images = np.moveaxis(PROB.reshape(6, 20, K), -1, 1)
    for sets, y, x in [
        (PredictionSets(0.7, from_logits=True), LABELS, logits),
        (PredictionSets(0.7), np.eye(K)[LABELS], PROB),
        (PredictionSets(0.7, axis=1), LABELS.reshape(6, 20), images),
    ]:
        sets.fit(y, x)
        np.testing.assert_allclose(sets.threshold_, expected.threshold_, rtol=1e-9)
        found = sets.transform(x)
        assert found.shape == x.shape
        found = np.moveaxis(found, sets.axis, -1).reshape(N, K)
        np.testing.assert_array_equal(found, expected.transform(PROB))
    p = PROB[:, :1]
    both = PredictionSets(0.7).fit(LABELS > 1, np.hstack([1 - p, p]))
    one = PredictionSets(0.7).fit(LABELS > 1, p)
    assert one.transform(p).shape == (N, 2)
    np.testing.assert_array_equal(
        one.transform(p), both.transform(np.hstack([1 - p, p]))
    )


def test_of_soft_labels_a_class_is_drawn():
    # Two rows in three of class 0: the same as three rows with those labels.
    soft = np.tile([2 / 3, 1 / 3, 0, 0], (30, 1))
    hard = np.tile([0, 0, 1], 30)
    prob = np.repeat(PROB[:30], 3, axis=0)
    expected = PredictionSets(0.6).fit(hard, prob).threshold_
    found = PredictionSets(0.6).fit(soft, PROB[:30], sample_weight=np.full(30, 3))
    np.testing.assert_allclose(found.threshold_, expected)


@pytest.mark.parametrize("method", ["aps", "raps"])
def test_with_a_seed_the_coverage_is_exact_where_the_model_is_often_right(method):
    rng = np.random.default_rng(3)
    prob = np.tile([0.7, 0.2, 0.1], (2000, 1))
    labels = (rng.random(2000) > 0.95).astype(int)  # right in 95 %
    plain = PredictionSets(0.8, method=method).fit(labels[:1000], prob[:1000])
    drawn = PredictionSets(0.8, method=method, seed=0)
    drawn.fit(labels[:1000], prob[:1000])
    coverage = [s.evaluate(labels[1000:], prob[1000:]).coverage for s in (plain, drawn)]
    assert coverage[0] == pytest.approx(0.95, abs=0.02)
    assert coverage[1] == pytest.approx(0.8, abs=0.04)
    # Anew in every call, so that batches of one row are as good.
    rows = [drawn.transform(prob[:1])[0, 0] for _ in range(400)]
    assert np.mean(rows) == pytest.approx(0.8 / 0.95, abs=0.08)
    again = [
        PredictionSets(0.8, method=method, seed=7).fit(labels, prob).transform(prob)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*again)


def test_the_measures_are_those_counted_by_hand():
    # The threshold is .5: classes of a probability of at least .5 are in.
    sets = PredictionSets(0.5).fit([0] * 9, [[0.5, 0.3, 0.2]] * 9)
    prob = [[0.6, 0.3, 0.1], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]]
    found = sets.evaluate([0, 1, 1, 0], prob)
    assert (found.asked, found.count, found.coverage) == (0.5, 4.0, 0.5)
    assert (found.mean_size, found.empty, found.single) == (1.0, 0.25, 0.5)
    expected = {
        "count": [2, 2, 0],
        "coverage": [0.5, 0.5, np.nan],
        "mean_size": [1, 1, np.nan],
        "empty": [0, 0.5, np.nan],
        "single": [1, 0, np.nan],
    }
    assert list(expected) == list(found.by_class)
    for name, values in expected.items():
        np.testing.assert_array_equal(found.by_class[name], values, err_msg=name)
    frame = found.to_frame()
    assert frame.loc["all", "coverage"] == 0.5
    assert frame.loc[1, "empty"] == 0.5
    text = repr(found)
    assert "SetCoverage: 0.5 of 4 where 0.5 was asked for (by chance 0" in text
    assert "\nall           4    0.5000     1.0000  0.2500  0.5000\n" in text
    weighted = sets.evaluate([0, 1, 1, 0], prob, sample_weight=[3, 1, 1, 1])
    assert weighted.coverage == pytest.approx(4 / 6)
    assert math.isnan(weighted.null_lower)
    grouped = sets.evaluate([0, 1, 1, 0], prob, groups=[0, 1, 1, 1])
    assert grouped.count == pytest.approx(2)
    assert grouped.coverage == pytest.approx((1 + 1 / 3) / 2)


def test_the_band_is_where_the_coverage_of_new_rows_lies_in_95_of_100_cases():
    # Scores are uniform: the coverage is the threshold itself.
    rng = np.random.default_rng(8)
    sets = PredictionSets(0.8).fit(np.zeros(30, int), np.full((30, 2), 0.5))
    measured = sets.evaluate(np.zeros(200, int), np.full((200, 2), 0.5))
    limits = np.sort(rng.random((20_000, 30)))[:, math.ceil(31 * 0.8) - 1]
    found = rng.binomial(200, limits) / 200
    inside = (found >= measured.null_lower) & (found <= measured.null_upper)
    assert 0.945 < inside.mean() < 0.965
    one = PredictionSets(0.8).fit(np.zeros(30, int), np.full((30, 1), 0.5))
    band = one.evaluate(np.zeros((200, 1), int), np.full((200, 1), 0.5))
    assert (band.null_lower, band.null_upper) == (
        measured.null_lower,
        measured.null_upper,
    )
    soft = sets.evaluate(np.full((200, 2), 0.5), np.full((200, 2), 0.5))
    assert np.isnan(soft.null_lower)


@pytest.mark.parametrize("coverage", [0.6, 0.9, 0.95, 0.99])
def test_the_error_says_how_many_rows_it_takes(coverage):
    needed = next(n for n in itertools.count(1) if coverage * (n + 1) <= n + 1e-9)
    assert rows_needed(coverage) == needed
    enough = PredictionSets(coverage)
    enough.fit(np.zeros(needed, int), np.full((needed, 2), 0.5))
    few = needed - 1
    with pytest.raises(ValueError, match=f"at least {needed} rows that count, for cov"):
        enough.fit(np.zeros(few, int), np.full((few, 2), 0.5))
    with pytest.raises(ValueError, match=f"at least {needed} groups that count"):
        enough.fit(np.zeros(99, int), np.full((99, 2), 0.5), groups=np.arange(99) % few)
    with pytest.raises(ValueError, match=f"at least {needed} rows of some class"):
        PredictionSets(coverage, per_class=True).fit(
            np.arange(2 * few) % 2, np.full((2 * few, 2), 0.5)
        )


def test_on_the_safe_side_it_takes_more_rows_and_says_how_many():
    how = {"noise_matrix": symmetric_matrix(2, 0.2), "conservative": True}
    # R = 5/3: the least n with .9 (n + 1) + 5/3 sqrt(pi n / 8) <= n.
    width = 5 / 3
    needed = next(
        n
        for n in range(1, 10_000)
        if 0.9 * (n + 1) + width * math.sqrt(math.pi * n / 8) <= n
    )
    assert needed > 100
    labels = np.arange(needed) % 5 // 4
    PredictionSets(0.9, **how).fit(labels, np.full((needed, 2), 0.5))
    with pytest.raises(ValueError, match=f"of at least {needed} rows that count"):
        PredictionSets(0.9, **how).fit(labels[1:], np.full((needed - 1, 2), 0.5))
    # Of a class: .9 (n_k + 1) + 4/3 sqrt(pi n / 8) <= n_k, of n rows in all; what a
    # row adds lies between -.9 * 4/3 and .1 * 4/3, or -.1 * 1/3 and .9 * 1/3.
    labels = np.arange(2000) % 5 // 4
    width = 0.9 * 4 / 3 + 0.9 / 3
    least = math.ceil((0.9 + width * math.sqrt(math.pi * 2000 / 8)) / 0.1)
    with pytest.warns(UserWarning, match=rf"at least {least} rows. Of .* classes 1 \("):
        PredictionSets(0.9, per_class=True, **how).fit(labels, np.full((2000, 2), 0.5))


ONES = np.full((20, 2), 0.5)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"coverage": 0}, r"`coverage` must be in \(0, 1\). Received: coverage=0"),
        ({"coverage": 1.0}, r"`coverage` must be in \(0, 1\)"),
        ({"coverage": float("nan")}, r"`coverage` must be in \(0, 1\)"),
        ({"method": "top_k"}, "`method` must be one of 'lac', 'aps', 'raps'"),
        ({"lambda_reg": -1}, "`lambda_reg` must be finite and at least 0"),
        ({"k_reg": -1}, "`k_reg` must be at least 0"),
        ({"seed": 0}, "`seed` must be None for method='lac'"),
        ({"noise_matrix": [[0.5, 0.5], [0.5, 0.5]]}, "`noise_matrix` must be invert"),
    ],
)
def test_settings_that_cannot_be_are_an_error(how, match):
    with pytest.raises(ValueError, match=f"PredictionSets: {match}"):
        PredictionSets(**how)


@pytest.mark.parametrize(
    ("y", "prob", "how", "match"),
    [
        ([0] * 19, ONES, {}, "`y_true` must be of shape"),
        ([0] * 20, ONES * np.nan, {}, "`y_prob` must be in .*, with no NaN"),
        ([0] * 20, ONES / 2, {}, "`y_prob` must be .*1"),
        ([2] * 20, ONES, {}, "`y_true` must be whole class ids"),
        ([0] * 20, ONES, {"sample_weight": [0.1] * 20}, "must be repetitions of rows"),
        (
            [0] * 20,
            ONES,
            {"groups": [0] * 19},
            "`groups` must be one for each of the 20",
        ),
        ([-100] * 20, ONES, {}, "of at least 9 rows that count"),
        (np.zeros(0, int), ONES[:0], {}, "of at least 9 rows that count"),
    ],
)
def test_bad_input_is_an_error(y, prob, how, match):
    with pytest.raises(ValueError, match=f"PredictionSets: .*{match}"):
        PredictionSets().fit(y, prob, **how)


def test_a_matrix_of_other_classes_and_sets_of_other_classes_are_an_error():
    with pytest.raises(ValueError, match="of the 2 classes of the predictions"):
        PredictionSets(noise_matrix=np.eye(3)).fit([0] * 20, ONES)
    sets = PredictionSets().fit([0] * 20, ONES)
    with pytest.raises(ValueError, match="`y_prob` must be of the 2 classes of `fit`"):
        sets.transform([[0.2, 0.3, 0.5]])
    with pytest.raises(ValueError, match="with no NaN"):
        sets.transform([[np.nan, 0.5]])
    with pytest.raises(ValueError, match="`y_true` must be of at least one row"):
        sets.evaluate([-100], ONES[:1])


def test_what_is_not_fitted_says_so():
    for call in (
        lambda sets: sets.transform(ONES),
        lambda sets: sets.evaluate([0] * 20, ONES),
        lambda sets: sets.as_layer(),
    ):
        with pytest.raises(ValueError, match="`fit` must be called first"):
            call(PredictionSets())
    assert repr(PredictionSets(0.8)) == "PredictionSets(coverage=0.8, method='lac')"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sets = PredictionSets(0.5, noise_matrix=symmetric_matrix(2, 0.1))
        assert "threshold=0.5, slack=0.17" in repr(sets.fit([0, 1] * 10, ONES))
