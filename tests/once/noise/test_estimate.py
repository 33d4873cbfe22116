"""Rates and matrices of noise, estimated from noisy labels and predictions."""

import copy
import csv
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from keras_robust.noise import (
    MatrixEstimate,
    RateEstimate,
    estimate_matrix,
    estimate_rate,
    flip_labels,
    gamma_from_noise_rate,
    matrix_from_pairs,
    omission_matrix,
    pair_matrix,
    symmetric_matrix,
)

METHODS = ["agreement", "anchor", "confident_joint"]
N = 20_000


def simulated(matrix, seed, majority=None, overlap=0.8):
    """True and given labels, and the noisy posterior of Gaussian classes."""
    k = len(matrix)
    rng = np.random.default_rng(seed)
    prior = np.full(k, 1 / k)
    if majority:
        prior = np.r_[majority, np.full(k - 1, (1 - majority) / (k - 1))]
    means = rng.normal(size=(k, 12))
    true = rng.choice(k, N, p=prior)
    x = means[true] + overlap * rng.normal(size=(N, 12))
    z = np.log(prior) - ((x[:, None] - means) ** 2).sum(-1) / (2 * overlap**2)
    clean = np.exp(z - z.max(-1, keepdims=True))
    clean /= clean.sum(-1, keepdims=True)
    given = flip_labels(true, matrix, seed=rng).labels
    return true, given, clean @ matrix


def sharpened(prob, power):
    odds = np.maximum(prob, 1e-12) ** power
    return odds / odds.sum(-1, keepdims=True)


# --- How close --------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("majority", [None, 0.83])
@pytest.mark.parametrize(
    ("num_classes", "rate"),
    [(2, 0.0), (2, 0.2), (2, 0.4), (3, 0.2), (3, 0.6)]
    + [(9, rate) for rate in (0.0, 0.2, 0.4, 0.6, 0.8)],
)
def test_agreement_is_close_whatever_the_model_s_confidence(
    rate, num_classes, majority, seed
):
    matrix = symmetric_matrix(num_classes, rate)
    true, given, noisy = simulated(matrix, seed, majority)
    # Of 5,000 labels a share has a standard deviation below .007; three of them, and
    # what the model gets wrong of its surest rows.
    for power in (0.3, 1.0, 3.0):
        found = estimate_rate(given, sharpened(noisy, power))
        assert found == pytest.approx(rate, abs=0.025)
    assert isinstance(found, float)
    assert found.num_rows >= 5000
    gamma_from_noise_rate(num_classes, found)  # always fits
    assert np.mean(noisy.argmax(-1) != true) < 0.12


def test_agreement_does_without_a_good_model():
    # 9 overlapping classes, a third of which the model gets wrong.
    true, given, noisy = simulated(symmetric_matrix(9, 0.4), 0, overlap=1.6)
    assert np.mean(noisy.argmax(-1) != true) > 0.25
    found = [estimate_rate(given, noisy, quantile=q) for q in (0.0, 0.5, 0.75, 0.95)]
    # With all rows every error counts; a surer quantile has fewer of them.
    assert found[0] > 0.52
    assert found == sorted(found, reverse=True)
    assert found[2] == estimate_rate(given, noisy)
    assert found[2] == pytest.approx(0.4, abs=0.065)
    assert found[3] == pytest.approx(0.4, abs=0.045)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("majority", [None, 0.83])
def test_an_anchor_is_right_for_a_calibrated_model_alone(rate, majority):
    matrix = symmetric_matrix(9, rate)
    _, given, noisy = simulated(matrix, 0, majority)
    assert estimate_rate(given, noisy, method="anchor") == pytest.approx(rate, abs=1e-3)
    if rate:
        shy = estimate_rate(given, sharpened(noisy, 0.5), method="anchor")
        assert shy > rate + 0.1


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_the_confident_joint_is_close_for_a_good_model(rate):
    _, given, noisy = simulated(symmetric_matrix(9, rate), 0, overlap=0.6)
    found = estimate_rate(given, noisy, method="confident_joint")
    assert found == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize(
    ("data", "method", "quantile", "size", "mean", "most"),
    [
        ("simulated", "agreement", "0.75", 192, 0.012, 0.053),
        ("simulated", "anchor", "0.97", 192, 0.113, 0.428),
        ("simulated", "confident_joint", "", 192, 0.040, 0.211),
        ("digits", "agreement", "0.75", 54, 0.020, 0.065),
    ],
)
def test_the_documented_errors_are_those_of_the_rows(
    data, method, quantile, size, mean, most
):
    path = Path(__file__).parents[3] / "results" / "noise_estimation.csv"
    wanted = ("rate", "symmetric", data, method, quantile)
    names = ("quantity", "noise", "data", "method", "quantile")
    with path.open() as file:
        rows = [r for r in csv.DictReader(file) if tuple(r[n] for n in names) == wanted]
    assert len(rows) == size
    errors = np.abs([float(row["error"]) for row in rows if row["error"]])
    assert errors.mean() == pytest.approx(mean, abs=6e-4)
    assert errors.max() == pytest.approx(most, abs=6e-4)
    documented = " ".join(estimate_rate.__doc__.split())
    assert all(f"{x:.3f}" in documented for x in (most, mean) if data == "simulated")


def test_the_callback_ends_near_the_truth_on_digits_and_words():
    path = Path(__file__).parents[3] / "results" / "noise_estimation.csv"
    with path.open() as file:
        made = [r for r in csv.DictReader(file) if r["method"] == "NoiseAwareGamma"]
    assert len(made) == 2 * 3 * 4 * 5  # data, sizes, rates, seeds
    off = np.array([abs(float(r["error"])) for r in made])
    clean = np.array([float(r["estimate"]) for r in made if float(r["rate"]) == 0])
    digits = np.array([float(r["error"]) for r in made if r["data"] == "digits"])
    noisy = digits[[float(r["rate"]) > 0 for r in made if r["data"] == "digits"]]
    guide = Path(__file__).parents[3] / "docs" / "choosing.md"
    said = " ".join(guide.read_text().split())
    assert f"within 0.05 of the truth in {np.sum(off <= 0.05)} of 120" in said
    assert f"at most {clean.max():.3f} on clean labels" in said
    assert f"{-noisy.mean():.2f} too low on digits" in said


UNEVEN = np.array([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.0, 0.25, 0.75]])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("matrix", [UNEVEN, pair_matrix(3, 0.3)])
def test_a_matrix_is_given_by_true_class_in_rows(method, matrix):
    _, given, noisy = simulated(matrix, 0, overlap=0.6)
    found = estimate_matrix(given, noisy, method=method)
    # Transposed, these would be off by .2 and more.
    np.testing.assert_allclose(found, matrix, atol=0.04)
    np.testing.assert_allclose(found.matrix.sum(1), 1, rtol=1e-12)
    assert isinstance(found, MatrixEstimate)


def test_a_class_that_is_most_of_the_rows_is_not_all_that_is_looked_at():
    # Entities missed by 40 %, no word is taken for one: of all rows 7 % are wrong, and
    # none of the surest quarter, which are words of no entity.
    matrix = omission_matrix(5, 0.4)
    true, given, noisy = simulated(matrix, 0, majority=0.83, overlap=0.6)
    found = estimate_rate(given, noisy)
    top = noisy.max(-1)
    assert (given == true)[top >= np.quantile(top, 0.75)].all()
    assert found == pytest.approx((given != true).mean(), abs=0.02)
    alone = np.tile([0.9, 0.025, 0.025, 0.025, 0.025], (N, 1))
    with pytest.warns(UserWarning, match="estimate_rate: .* every row as class 0"):
        assert estimate_rate(given, alone).num_classes == 1


def test_a_rate_has_the_error_and_the_interval_of_its_rows():
    rate = RateEstimate(0.2, num_rows=50, num_classes=3)
    beta = stats.beta(10.5, 40.5)
    assert rate.standard_error == pytest.approx(beta.std())
    assert rate.interval(0.8) == pytest.approx(beta.ppf([0.1, 0.9]))
    none = RateEstimate(0.0, num_rows=50, num_classes=3)
    assert none.interval() == (0, pytest.approx(stats.beta(0.5, 50.5).ppf(0.975)))
    assert none.standard_error > 0.005
    for copied in (copy.deepcopy(rate), pickle.loads(pickle.dumps(rate))):
        assert (copied, copied.num_rows, copied.num_classes) == (0.2, 50, 3)
    assert json.dumps([rate]) == "[0.2]"
    assert gamma_from_noise_rate(3, rate) == gamma_from_noise_rate(3, 0.2)
    with pytest.raises(ValueError, match=r"`level` must be in \(0, 1\)"):
        rate.interval(1)


def test_intervals_of_rates_hold_the_truth_as_often_as_they_say():
    held = []
    for seed in range(200):
        true = np.random.default_rng(seed).integers(0, 4, 400)
        given = flip_labels(true, symmetric_matrix(4, 0.3), seed=seed).labels
        low, high = estimate_rate(given, np.eye(4)[true] * 0.96 + 0.01).interval(0.9)
        held.append(low <= 0.3 <= high)
    assert np.mean(held) == pytest.approx(0.9, abs=0.06)


def test_rare_classes_have_rows_of_their_own():
    # Entities missed by half: the row of every entity class is about its own rows.
    matrix = np.eye(5)
    matrix[1:, 0], matrix[1:, 1:] = 0.4, 0.6 * np.eye(4)
    _, given, noisy = simulated(matrix, 0, majority=0.83, overlap=0.6)
    found = estimate_matrix(given, noisy)
    np.testing.assert_allclose(found, matrix, atol=0.06)


# --- By hand ----------------------------------------------------------------------

# Class 0 is predicted four times, the surest of 0.9 and 0.8; class 1 twice.
PROB = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.35, 0.65], [0, 1]])
GIVEN = np.array([0, 1, 1, 1, 0, 1])


def test_agreement_counts_labels_of_the_surest_rows():
    # Predicted as 0 are .6 .7 .8 .9, as 1 .65 1. The surest are rows 0 and 5, which
    # agree. A quantile is a value that is there: three quarters of the former are up to
    # .8, of the latter up to 1, so row 1 counts as well, which does not agree.
    many = (np.tile(GIVEN, 500), np.tile(PROB, (500, 1)))
    found = estimate_rate(*many, quantile=1.0)
    assert (found, found.num_rows, found.num_classes) == (0, 1000, 2)
    found = estimate_rate(*many)
    assert (found, found.num_rows) == (pytest.approx(1 / 3), 1500)
    # From .7 and .65 on, two of five agree: of two classes, fewer than by chance.
    with pytest.raises(ValueError, match="more than by chance"):
        estimate_rate(*many, quantile=0.5)
    # Of all predicted as 0, from .7 on: labels 0, 1, 1. As 1, .65 on: labels 0, 1.
    found = estimate_matrix(GIVEN, PROB, prior=np.zeros((2, 2)))
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3], [0.5, 0.5]])
    assert found.counts.tolist() == [[1, 2], [1, 1]]
    found = estimate_matrix(GIVEN, PROB, quantile=1.0, prior=np.full((2, 2), 0.5))
    np.testing.assert_allclose(found, [[0.75, 0.25], [0.25, 0.75]])


def test_what_is_learnt_for_a_prior_is_that_of_pairs():
    _, given, noisy = simulated(UNEVEN, 0)
    sure = np.zeros(N, bool)
    top, predicted = noisy.max(-1), noisy.argmax(-1)
    for label in range(3):
        mine = predicted == label
        sure |= mine & (top >= np.quantile(top[mine], 0.5, method="lower"))
    expected = matrix_from_pairs(given[sure], predicted[sure], 3)
    found = estimate_matrix(given, noisy)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.prior, expected.prior)
    np.testing.assert_allclose(found, expected)


def test_an_anchor_is_the_mean_prediction_of_the_surest_rows():
    found = estimate_matrix(GIVEN, PROB, method="anchor", quantile=0.5)
    # (.9 + .8 + .7) / 3, (.65 + 1) / 2; counts of three rows and of two.
    np.testing.assert_allclose(found, [[0.8, 0.2], [0.175, 0.825]])
    np.testing.assert_allclose(found.counts.sum(1), [3, 2])
    many = (np.tile(GIVEN, 500), np.tile(PROB, (500, 1)))
    found = estimate_rate(*many, method="anchor", quantile=0.6)
    assert found == pytest.approx(1 - (0.8 + 0.9 + 1) / 3)


def test_the_confident_joint_is_that_of_its_formula():
    # Northcutt et al., eq. 2 and 3, in loops: count label i where the confidence in j
    # is at least the mean one of rows labelled j; then scale to the labels' counts.
    _, given, noisy = simulated(UNEVEN, 1, overlap=1.0)
    threshold = [noisy[given == j, j].mean() for j in range(3)]
    joint = np.zeros((3, 3))
    for label, row in zip(given, noisy):
        confident = [j for j in range(3) if row[j] >= threshold[j]]
        if confident:
            joint[label, max(confident, key=lambda j: row[j])] += 1
    counted = joint.sum(0)
    joint *= (np.bincount(given) / joint.sum(1))[:, None]
    expected = joint.T / joint.T.sum(1, keepdims=True)
    how = {"method": "confident_joint", "prior": np.zeros((3, 3))}
    found = estimate_matrix(given, noisy, **how)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # it rounds counts
    np.testing.assert_allclose(found.counts.sum(1), counted)  # not all rows
    rate = estimate_rate(given, noisy, method="confident_joint")
    assert rate == pytest.approx(1 - np.trace(joint) / joint.sum(), abs=1e-3)


# --- What goes in -----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("function", [estimate_rate, estimate_matrix])
def test_shapes_logits_and_ignored_positions_change_nothing(function, method):
    _, given, noisy = simulated(symmetric_matrix(3, 0.3), 2)
    expected = function(given, noisy, method=method)
    logits = np.log(noisy) + np.random.default_rng(0).normal(size=(N, 1))
    shaped = (given.reshape(50, -1), noisy.reshape(50, -1, 3))
    spoilt = np.concatenate([noisy, np.full((7, 3), np.nan)])
    marked = np.concatenate([given, np.full(7, -100)])
    void = np.concatenate([given, np.full(7, 255)]).astype("uint8")
    for labels, prob, options in [
        (*shaped, {}),
        (given[:, None], noisy, {}),
        (np.eye(3, dtype=int)[given], noisy, {}),
        (given, logits, {"from_logits": True}),
        (marked, spoilt, {}),
        (void, spoilt, {"ignore_class": 255}),
        (given.tolist(), noisy.tolist(), {}),
    ]:
        found = function(labels, prob, method=method, **options)
        # The prior's search ends where rounding has no say in it up to 1e-6 or so.
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("function", [estimate_rate, estimate_matrix])
def test_a_single_output_is_the_second_of_two_classes(function):
    _, given, noisy = simulated(symmetric_matrix(2, 0.2), 3)
    expected = function(given, noisy)
    np.testing.assert_allclose(function(given, noisy[:, 1:]), expected)
    logits = np.log(noisy[:, 1:]) - np.log(noisy[:, :1])
    np.testing.assert_allclose(function(given, logits, from_logits=True), expected)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_are_not_modified(method):
    _, given, noisy = simulated(symmetric_matrix(3, 0.3), 2)
    before = given.copy(), noisy.copy()
    estimate_matrix(given, noisy, method=method)
    assert (given == before[0]).all()
    assert (noisy == before[1]).all()


# --- What it refuses --------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_labels_that_tell_nothing_are_an_error(method):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, N)
    untrained = 1e-3 * rng.normal(size=(N, 4))
    with pytest.raises(
        ValueError, match=r"estimate_rate: `y_prob` must be of a model th"
    ):
        estimate_rate(labels, untrained, from_logits=True, method=method)


# Class 3 is as likely in every row: as likely as on average, but another is likelier.
NEVER_THREE = (
    np.array([0, 1, 2, 3] * 50),
    np.tile(0.6 * np.eye(4)[[0, 1, 2, 0]] + 0.1, (50, 1)),
)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_is_never_predicted_has_the_row_of_the_prior(method):
    with pytest.warns(UserWarning, match=r"estimate_matrix: .* no row as class \[3\]"):
        found = estimate_matrix(*NEVER_THREE, method=method)
    assert found.counts.any(1).tolist() == [True, True, True, False]
    np.testing.assert_allclose(found.matrix[3], found.prior[3] / found.prior[3].sum())
    own = np.arange(16.0).reshape(4, 4)
    with pytest.warns(UserWarning, match="borrowed from the other"):
        found = estimate_matrix(*NEVER_THREE, method=method, prior=own)
    np.testing.assert_allclose(found.matrix[3], own[3] / own[3].sum())
    with (
        pytest.warns(UserWarning, match="no row as class"),
        pytest.raises(ValueError, match="estimate_matrix: `prior` must be above 0"),
    ):
        estimate_matrix(*NEVER_THREE, method=method, prior=0 * own)


def test_a_class_that_is_never_predicted_borrows_what_the_others_are_like():
    # Entities missed by 30 %; the model knows all but the last of them.
    matrix = omission_matrix(5, 0.3)
    _, given, noisy = simulated(matrix, 0, overlap=0.6)
    four = noisy * np.array([1, 1, 1, 1, 0])
    known = given != 4
    with pytest.warns(UserWarning, match=r"class \[4\]"):
        found = estimate_matrix(
            given[known], four[known] / four[known].sum(-1)[:, None]
        )
    assert found.matrix[4, 0] == pytest.approx(0.3, abs=0.1)
    low, high = found.interval()
    assert low[4, 0] < 0.3 < high[4, 0]


def test_a_class_of_which_nothing_is_known_is_an_error():
    _, given, noisy = simulated(symmetric_matrix(4, 0.2), 0)
    fewer = np.where(given == 3, -100, given)
    for function in (estimate_rate, estimate_matrix):
        with pytest.raises(ValueError, match=r"no label of class \[3\]"):
            function(fewer, noisy, method="confident_joint")
    with pytest.raises(ValueError, match=r"at most one row of class \[3\]"):
        estimate_rate(*NEVER_THREE, method="confident_joint")
    only = np.tile([0.4, 0.3, 0.3], (9, 1))
    with pytest.raises(ValueError, match=r"two classes are .* class \[0\] alone"):
        estimate_matrix(np.arange(9) % 3, only)
    found = estimate_matrix(fewer, noisy, prior=np.zeros((4, 4)))
    assert found.matrix[:, 3].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("function", [estimate_rate, estimate_matrix])
@pytest.mark.parametrize(
    ("labels", "prob", "options", "error", "match"),
    [
        ([0, 1], [[0.5, 0.5]], {}, ValueError, r"`labels` must be of shape \(1,\)"),
        ([0, 1], [0.5, 0.5], {}, ValueError, "`y_prob` must be of shape"),
        ([0, 2], [[0.5, 0.5]] * 2, {}, ValueError, r"`labels` must be .* in \[0, 2\)"),
        ([0.0], [[0.5, 0.5]], {}, TypeError, "integer class ids"),
        ([0], [[0.5, 0.9]], {}, ValueError, "`y_prob` must be distributions"),
        ([0], [[0.5, 0.53]], {}, ValueError, "`y_prob` must be distributions"),
        (
            [0],
            [[np.nan, 1]],
            {},
            ValueError,
            r"`y_prob` must be in \[0, 1\], with no NaN",
        ),
        ([0], [[np.nan, 1]], {"from_logits": True}, ValueError, "free of NaN"),
        ([-100], [[0.5, 0.5]], {}, ValueError, "at least one position"),
        ([], np.zeros((0, 3)), {}, ValueError, "at least one position"),
        ([0], [[1, 0]], {"method": "guess"}, ValueError, "`method` must be one of"),
        ([0], [[1, 0]], {"quantile": 1.1}, ValueError, r"`quantile` must be in \[0, 1"),
        ([0], [[1, 0]], {"quantile": "a"}, TypeError, "`quantile` must be a real"),
        ([0], [[1, 0]], {"from_logits": 1}, TypeError, "`from_logits` must be"),
        (
            [0],
            [[1, 0]],
            {"method": "confident_joint", "quantile": 0.5},
            ValueError,
            "`quantile` must be None",
        ),
    ],
)
def test_bad_arguments_raise(function, labels, prob, options, error, match):
    with pytest.raises(error, match=rf"{function.__name__}: .*{match}|{match}"):
        function(labels, prob, **options)


def test_only_the_confident_joint_needs_cleanlab(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.count", None)
    _, given, noisy = simulated(symmetric_matrix(3, 0.2), 0)
    assert estimate_rate(given, noisy) > 0
    for function in (estimate_rate, estimate_matrix):
        with pytest.raises(ImportError, match=r"cleanlab: pip .*'\.\[noise\]'"):
            function(given, noisy, method="confident_joint")
