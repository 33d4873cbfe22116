"""Thresholds above which predictions are accepted, and what they promise."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from keras_robust.calibration import AcceptanceThreshold
from keras_robust.calibration._deciding.bounds import (
    BettingTest,
    Terms,
    binomial_ranks,
)
from keras_robust.noise import omission_matrix, symmetric_matrix

K = 3


def calibrated(n, seed, sharpness=3.0):
    """Labels, and what a calibrated model says of them."""
    rng = np.random.default_rng(seed)
    scores = np.exp(sharpness * rng.normal(size=(n, K)))
    prob = scores / scores.sum(axis=-1, keepdims=True)
    return (prob.cumsum(-1) < rng.uniform(size=(n, 1))).sum(-1).clip(0, K - 1), prob


def noisy(y, matrix, seed):
    upper = matrix.cumsum(1)[y]
    draw = np.random.default_rng(seed).uniform(size=(len(y), 1))
    return (upper < draw).sum(-1).clip(0, K - 1)


def fitted(*arguments, how=(), **options):
    return AcceptanceThreshold(*arguments, **dict(how)).fit(*DATA, **options)


DATA = calibrated(1000, seed=0)
RIGHT = DATA[1].argmax(-1) == DATA[0]
SURE = DATA[1].max(-1)


def test_what_is_accepted_passes_the_exact_test_and_the_next_rank_does_not():
    found = fitted(0.95)
    order = np.argsort(-SURE)
    passed = {}
    for rank in binomial_ranks(len(SURE), 0.95, 1 - 0.95)[0]:
        hits = int(RIGHT[order[:rank]].sum())
        test = stats.binomtest(hits, int(rank), 0.95, alternative="greater")
        passed[rank] = test.pvalue <= 0.05
        if passed[rank]:
            interval = test.proportion_ci(0.9, method="exact")  # 5 % on either side
            lower = interval.low
        else:
            break
    assert list(passed.values()) == [True] * (len(passed) - 1) + [False]
    assert len(passed) > 3
    rank = list(passed)[-2]
    assert found.num_accepted_ == rank == found.accept(DATA[1]).sum()
    assert found.share_ == rank / 1000
    assert found.accuracy_ == pytest.approx(RIGHT[order[:rank]].mean())
    # The interval of both sides has the one at a level of 95 % as its lower end.
    one_sided = stats.binomtest(
        int(RIGHT[order[:rank]].sum()), int(rank), alternative="greater"
    )
    assert found.lower_ == pytest.approx(one_sided.proportion_ci(0.95, "exact").low)
    assert 0.95 <= found.lower_ <= lower + 1e-9
    # Midway between the last that is accepted and the first that is not.
    sure = SURE[order]
    assert found.threshold_ == pytest.approx((sure[rank - 1] + sure[rank]) / 2)


def test_ranks_begin_where_a_test_can_pass_and_each_allows_another_miss():
    for accuracy, error in [(0.9, 0.05), (0.95, 0.05), (0.99, 0.1)]:
        ranks, needed = binomial_ranks(5000, accuracy, error)
        assert ranks[0] == needed == math.ceil(math.log(error) / math.log(accuracy))
        for misses, rank in enumerate(ranks[:4]):
            allowed = stats.binom.cdf([misses, misses], [rank, rank - 1], 1 - accuracy)
            assert allowed[0] <= error < allowed[1]
        assert ranks[-1] == 5000
    # Of more rows than an integer of 32 bits counts, too.
    needed = binomial_ranks(10, 1 - 1e-10, 0.05)[1]
    assert needed == pytest.approx(math.log(20) * 1e10, rel=1e-6)


def test_with_noise_a_test_is_worth_it_where_right_rows_pass_more_often_than_not():
    ranks, needed = binomial_ranks(5000, 0.76, 0.05, 0.8)
    allowed = np.arange(5000)
    allowed = allowed[stats.binom.cdf(allowed, needed, 0.24) <= 0.05].max()
    assert 0.5 <= stats.binom.cdf(allowed, needed, 0.2) < 0.55
    allowed = np.arange(5000)
    allowed = allowed[stats.binom.cdf(allowed, ranks[0], 0.24) <= 0.05].max()
    assert 0.9 <= stats.binom.cdf(allowed, ranks[0], 0.2) < 0.92
    # Of fewer than the first, but as many as are needed, all are tested at once.
    few = binomial_ranks(needed, 0.76, 0.05, 0.8)[0]
    assert few.tolist() == [needed]
    assert not len(binomial_ranks(needed - 1, 0.76, 0.05, 0.8)[0])


def test_after_a_test_that_failed_there_is_no_other():
    # Only the surest row is wrong, which is one too many of the first 59.
    sure = np.linspace(0.99, 0.6, 1000)
    right = np.arange(1000) > 0
    with pytest.warns(UserWarning, match="accepts nothing"):
        found = AcceptanceThreshold(0.95, notion="positive").fit(
            right.astype(int), sure[:, None]
        )
    assert found.num_accepted_ == 0


def test_a_model_that_is_always_right_needs_59_rows_and_is_accepted_in_all():
    y, prob = np.zeros(59, int), np.tile([0.7, 0.2, 0.1], (59, 1))  # one class only
    found = AcceptanceThreshold().fit(y, prob)
    assert (found.threshold_, found.share_, found.accuracy_) == (0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"at least 59 rows for an accuracy of 0\.95"):
        AcceptanceThreshold().fit(y[1:], prob[1:])
    with pytest.raises(ValueError, match=r"at least 299 rows.* Received: 59 rows"):
        AcceptanceThreshold(0.99).fit(y, prob)


def test_equal_confidences_are_accepted_together():
    sure = SURE.round(1)
    found = AcceptanceThreshold(0.9, notion="positive").fit(
        RIGHT.astype(int), sure[:, None]
    )
    accepted = found.accept(sure[:, None])
    assert 0 < accepted.sum() == found.num_accepted_ < 1000
    assert sure[accepted].min() > sure[~accepted].max()


def test_single_precision_can_tell_what_is_accepted():
    below, last = np.float32(1 - 2**-23), np.float32(1 - 2**-24)
    y = np.r_[np.zeros(100, int), np.ones(100, int)]
    sure = np.repeat([last, below], 100)
    prob = np.stack([sure, 1 - sure], axis=1)
    found = AcceptanceThreshold(0.9).fit(y, prob)
    assert found.num_accepted_ == 100
    assert below < np.float32(found.threshold_) <= last
    assert found.accept(prob).tolist() == [True] * 100 + [False] * 100


def test_after_a_fit_that_failed_the_one_before_still_holds():
    found = fitted(0.9)
    before = repr(found)
    with pytest.raises(ValueError, match="at least 29 rows"):
        found.fit(DATA[0][:5], DATA[1][:5])
    assert repr(found) == before


def test_predictions_in_any_form_give_the_same():
    y, prob = DATA
    expected = fitted(0.9)
    same = {
        "logits": (y, np.log(prob) + 3.0, {"from_logits": True}),
        "classes first": (y, prob.T, {"axis": 0}),
        "one-hot": (np.eye(K)[y], prob, {}),
    }
    for name, (labels, scores, how) in same.items():
        found = AcceptanceThreshold(0.9, **how).fit(labels, scores)
        assert found.threshold_ == pytest.approx(expected.threshold_), name
        assert (found.accept(scores) == expected.accept(prob)).all(), name
    in_rows = AcceptanceThreshold(0.9).fit(y.reshape(10, 100), prob.reshape(10, 100, K))
    assert in_rows.threshold_ == expected.threshold_
    assert in_rows.accept(prob.reshape(10, 100, K)).shape == (10, 100)
    padded = np.r_[y, -100, -100], np.r_[prob, prob[:2]]
    assert AcceptanceThreshold(0.9).fit(*padded).threshold_ == expected.threshold_


def test_a_single_output_is_the_second_of_two():
    p = SURE[:, None]
    one = AcceptanceThreshold(0.9, notion="positive").fit(RIGHT.astype(int), p)
    two = AcceptanceThreshold(0.9, notion="positive").fit(
        RIGHT.astype(int), np.c_[1 - p, p]
    )
    assert one.threshold_ == two.threshold_ == fitted(0.9).threshold_
    assert (one.accept(p) == (one.threshold_ <= SURE)).all()


def test_a_weight_of_two_is_the_row_twice():
    weight = np.arange(1000) % 3
    y, prob = (np.repeat(x, weight, axis=0) for x in DATA)
    for matrix in (None, omission_matrix(K, 0.1)):
        found = fitted(0.8, how={"noise_matrix": matrix}, sample_weight=weight)
        twice = AcceptanceThreshold(0.8, noise_matrix=matrix).fit(y, prob)
        assert found.num_accepted_ == twice.num_accepted_ > 0
        assert found.threshold_ == twice.threshold_


def test_each_part_has_the_threshold_of_its_own_rows():
    part = np.array(["PER", "LOC"])[np.arange(1000) % 2]
    found = fitted(0.9, by=part)
    for value in ("PER", "LOC"):
        own = AcceptanceThreshold(0.9).fit(*(x[part == value] for x in DATA))
        for name in ("threshold_", "share_", "accuracy_", "lower_", "num_accepted_"):
            assert getattr(found, name)[value] == getattr(own, name)
        expected = own.accept(DATA[1][part == value])
        assert (found.accept(DATA[1], by=part)[part == value] == expected).all()
    assert found.threshold_["PER"] != found.threshold_["LOC"]
    for by, match in [
        (None, "one for each"),
        (part[:5], "one for each"),
        (["?"] * 1000, "one of"),
    ]:
        with pytest.raises(ValueError, match=f"`by` must be {match}"):
            found.accept(DATA[1], by=by)
    with pytest.raises(ValueError, match="`by` must be None to make a layer"):
        found.as_layer()
    with pytest.raises(ValueError, match="`by` must be None"):
        fitted(0.9).accept(DATA[1], by=part)


def test_parts_of_too_few_rows_accept_nothing_and_say_how_many_they_need():
    part = np.arange(1000) < 20
    with pytest.warns(
        UserWarning, match=r"True: accepts nothing: at least 29 are need"
    ):
        found = fitted(0.9, by=part)
    assert found.threshold_[True] == np.inf
    assert found.share_[False] > 0
    assert not found.accept(DATA[1], by=part)[part].any()


def test_where_no_threshold_is_shown_to_suffice_nothing_is_accepted():
    y, prob = DATA
    with pytest.warns(UserWarning, match="accepts nothing: no threshold is shown"):
        found = AcceptanceThreshold().fit((y + RIGHT) % K, prob)
    assert found.threshold_ == np.inf
    assert (found.share_, found.num_accepted_) == (0.0, 0)
    assert np.isnan([found.accuracy_, found.lower_]).all()
    assert not found.accept(prob).any()
    assert "accepts nothing" in repr(found)


def test_it_prints_what_it_accepts():
    assert repr(AcceptanceThreshold()) == (
        "AcceptanceThreshold(accuracy=0.95, confidence=0.95)"
    )
    found = fitted(0.9, how={"noise_matrix": np.eye(K), "confidence": 0.8})
    head, line = repr(found).splitlines()
    assert head == "AcceptanceThreshold(accuracy=0.9, confidence=0.8, noise_matrix=...)"
    assert line == (
        f"  accepts from {found.threshold_:.4f} on: {100 * found.share_:.1f} % of the "
        f"rows, {100 * found.accuracy_:.1f} % of them right (at least "
        f"{100 * found.lower_:.1f} %)"
    )


def test_with_symmetric_noise_it_is_the_exact_test_of_agreement():
    # A right row agrees with its label with the chance 0.9, a wrong one with 0.05: of
    # accuracy a, a share of 0.05 + 0.85 a.
    y, prob = calibrated(4000, seed=1)
    given = noisy(y, symmetric_matrix(K, 0.1), seed=2)
    found = AcceptanceThreshold(0.9, noise_matrix=symmetric_matrix(K, 0.1)).fit(
        given, prob
    )
    accepted = found.accept(prob)
    agree = int((prob.argmax(-1) == given)[accepted].sum())
    test = stats.binomtest(agree, int(accepted.sum()), alternative="greater")
    lower = test.proportion_ci(0.95, "exact").low
    assert found.lower_ == pytest.approx((lower - 0.05) / 0.85)
    assert found.accuracy_ == pytest.approx((agree / accepted.sum() - 0.05) / 0.85)
    assert 0.9 <= found.lower_ < found.accuracy_
    # Labels taken as they are would accept far less.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert AcceptanceThreshold(0.9).fit(given, prob).share_ < found.share_ / 2


def test_rows_of_a_group_are_worth_less_than_as_many_rows():
    sentence, shares = np.repeat(np.arange(600), 4), []
    for seed in range(5):
        once = calibrated(600, seed)
        y, prob = (np.repeat(x, 4, axis=0) for x in once)
        as_groups = AcceptanceThreshold(0.9).fit(y, prob, groups=sentence)
        as_rows = AcceptanceThreshold(0.9).fit(y, prob)
        own = AcceptanceThreshold(0.9).fit(*once)
        shares.append([as_groups.share_, own.share_, as_rows.share_])
        assert 0.9 <= as_groups.lower_ <= as_groups.accuracy_
        ignored = np.where(np.arange(3200) % 4 == 0, -100, 0)
        ignored[ignored == 0] = y
        padded = np.repeat(prob[:1], 3200, axis=0)
        padded[ignored != -100] = prob
        group = np.full(3200, -1)
        group[ignored != -100] = sentence
        again = AcceptanceThreshold(0.9).fit(ignored, padded, groups=group)
        assert again.threshold_ == as_groups.threshold_
    of_groups, of_own, of_rows = np.mean(shares, axis=0)
    assert 0 < of_groups < of_own < of_rows
    with pytest.raises(ValueError, match=r"at least \d+ groups like these.*20 groups"):
        AcceptanceThreshold(0.9).fit(y[:80], prob[:80], groups=sentence[:80])


def test_a_bet_never_loses_more_than_all_and_needs_evidence():
    rng = np.random.default_rng(0)
    unit = np.sort(rng.integers(0, 50, 200))
    wrong = Terms(np.zeros(200), np.zeros(200), unit)
    right = wrong._replace(value=np.ones(200))
    for terms, shown in [(wrong, False), (right, True)]:
        test = BettingTest(terms, 0.8, 0.05, np.random.default_rng(0))
        assert test.passes(200) is shown
    assert test.needed == pytest.approx(50, abs=49)
    assert 0.8 <= test.lower(200) < 1


COLUMNS = np.zeros((100, 10), int)
ROWS = {"y_true": DATA[0].reshape(10, 100), "y_prob": DATA[1].reshape(10, 100, K)}


@pytest.mark.parametrize(
    ("how", "options", "match"),
    [
        ({"accuracy": 1.0}, {}, r"`accuracy` must be in \(0, 1\)"),
        ({"accuracy": 0}, {}, r"`accuracy` must be in \(0, 1\)"),
        ({"confidence": 1}, {}, r"`confidence` must be in \(0, 1\)"),
        ({"confidence": np.nan}, {}, r"`confidence` must be in \(0, 1\)"),
        ({"noise_matrix": np.full((K, K), 1 / K)}, {}, "`noise_matrix` must be inver"),
        ({"noise_matrix": np.eye(2)}, {}, "`noise_matrix` must be of the 3 classes"),
        ({"notion": "positive"}, {}, "`notion` must be 'top_label'"),
        ({}, {"sample_weight": np.full(1000, 1.5)}, "`sample_weight` must be whole"),
        ({}, {"sample_weight": np.zeros(1000)}, "at least one label that counts"),
        ({}, {"groups": np.arange(5)}, "`groups` must be one for each of the 1000"),
        ({}, {"by": np.arange(5)}, "`by` must be one for each of the 1000 labels"),
        (
            {},
            {**ROWS, "groups": COLUMNS},
            r"one for each .* of their shape \(10, 100\)",
        ),
        ({}, {**ROWS, "by": COLUMNS}, r"one for each .* of their shape \(10, 100\)"),
        ({}, {"by": ["PER", None] * 500}, "`by` must be of names or of numbers, none"),
        ({}, {"by": [1.0, np.nan] * 500}, "`by` must be of names or of numbers, none"),
        ({}, {"y_true": np.full((1000, K), 1 / K)}, "one-hot to be tested"),
        ({}, {"y_prob": np.full((1000, K), np.nan)}, "`y_prob`"),
        ({}, {"y_true": DATA[0][:5], "y_prob": DATA[1][:5]}, "at least 59 rows"),
        (
            {"noise_matrix": omission_matrix(K, 0.4)},
            {"y_true": DATA[0][:200], "y_prob": DATA[1][:200]},
            r"at least [\d,]+ rows .* is likely to pass",
        ),
    ],
)
def test_what_no_guarantee_can_be_had_from_is_an_error(how, options, match):
    data = {"y_true": DATA[0], "y_prob": DATA[1]} | options
    with pytest.raises(ValueError, match=match):
        AcceptanceThreshold(**how).fit(**data)


def test_before_fit_there_is_no_decision():
    for call in (lambda t: t.accept(DATA[1]), lambda t: t.as_layer()):
        with pytest.raises(ValueError, match="`fit` must be called first"):
            call(AcceptanceThreshold())
    with pytest.raises(ValueError, match="`y_prob`"):
        fitted(0.9).accept(np.full((2, K), np.nan))
    with pytest.raises(ValueError, match="`y_prob` must be of the 3 classes of `fit`"):
        fitted(0.9).accept(np.full((2, 5), 0.2))
