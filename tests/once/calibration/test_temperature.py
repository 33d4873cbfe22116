"""Temperature scaling, as a fit and as a function."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize, special

from keras_robust.calibration import Temperature, TemperatureScaling, temperature_scale

RNG = np.random.default_rng(5)
N, K, T = 2000, 4, 2.5
LOGITS = RNG.normal(scale=3, size=(N, K))
# Labels drawn from softmax(logits / T): T is about what the fit should find.
LABELS = (special.softmax(LOGITS / T, -1).cumsum(-1) < RNG.random((N, 1))).sum(-1)


def nll(labels, logits, temperature=1.0, weight=None):
    log_prob = special.log_softmax(np.asarray(logits, float) / temperature, axis=-1)
    taken = np.take_along_axis(log_prob, np.asarray(labels)[:, None], -1)[:, 0]
    return -np.average(taken, weights=weight)


def independent_temperature(labels, logits):
    """The minimum of the NLL on a dense grid of log T, refined by bisection."""
    grid = np.linspace(-8, 24, 321)
    values = [nll(labels, logits, np.exp(u)) for u in grid]
    best = int(np.argmin(values))
    # By its values a minimum is known to half their digits only; so, from here, by the
    # exact slope over 1/T.
    label = np.take_along_axis(logits, labels[:, None], -1)[:, 0]

    def slope(beta):
        prob = special.softmax(beta * logits, -1)
        return ((prob * logits).sum(-1) - label).mean()

    low, high = np.exp(-grid[best + 1]), np.exp(-grid[best - 1])
    return 1 / optimize.bisect(slope, low, high, xtol=1e-15, rtol=1e-14)


def fit(labels=LABELS, logits=LOGITS, **kwargs):
    return TemperatureScaling(from_logits=True).fit(labels, logits, **kwargs)


def test_the_temperature_is_that_of_a_dense_grid_and_a_bisection():
    scaling = fit()
    expected = independent_temperature(LABELS, LOGITS)
    np.testing.assert_allclose(scaling.temperature_, expected, rtol=1e-9)
    assert scaling.temperature_ == pytest.approx(T, rel=0.1)
    assert (scaling.converged_, scaling.at_bound_) == (True, False)
    assert scaling.num_iterations_ > 0
    np.testing.assert_allclose(scaling.nll_before_, nll(LABELS, LOGITS), rtol=1e-12)
    after = nll(LABELS, LOGITS, expected)
    np.testing.assert_allclose(scaling.nll_after_, after, rtol=1e-12)
    assert after < scaling.nll_before_ - 0.1


def test_two_levels_worked_by_hand():
    # Right in 3 of 4 rows at a distance of 4: the log-odds 4 / T are log 3.
    logits = [[4, 0], [0, 4], [4, 0], [0, 4]]
    expected = 4 / np.log(3)
    assert fit([0, 1, 0, 0], logits).temperature_ == pytest.approx(expected, rel=1e-12)
    single = [[-4], [4], [-4], [4]]
    assert fit([0, 1, 0, 0], single).temperature_ == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("factor", [20, 1 / 20, 1e4, 1e-4, 1e8])
def test_logits_times_a_constant_give_a_temperature_times_it(factor):
    scaling = fit(logits=LOGITS * factor)
    expected = independent_temperature(LABELS, LOGITS) * factor
    np.testing.assert_allclose(scaling.temperature_, expected, rtol=1e-9)
    assert scaling.converged_
    # netcal 1.4.0, which takes clipped probabilities, is right at 1/20 (0.124) but not
    # for large factors: 21.8 instead of 49.6 at 20, and 26.9 instead of 24,800 at 1e4.


def test_a_few_rows_with_huge_logits_do_not_hide_the_minimum():
    logits, labels = LOGITS.copy(), LABELS.copy()
    logits[:3] *= 1e5
    labels[:3] = logits[:3].argmax(-1)
    expected = independent_temperature(labels, logits)
    np.testing.assert_allclose(fit(labels, logits).temperature_, expected, rtol=1e-9)


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float16", 1e-3)])
def test_low_precision_logits_are_fitted_in_float64(dtype, rtol):
    rounded = LOGITS.astype(dtype)
    exact = fit(logits=rounded.astype("float64")).temperature_
    assert fit(logits=rounded).temperature_ == exact
    np.testing.assert_allclose(exact, fit().temperature_, rtol=rtol)
    huge = rounded * np.asarray(1000, dtype)
    assert np.isfinite(huge).all()
    wide = fit(logits=huge.astype("float64")).temperature_
    assert fit(logits=huge).temperature_ == wide


def test_bfloat16_logits_are_fitted():
    import ml_dtypes

    rounded = LOGITS.astype(ml_dtypes.bfloat16)
    same = fit(logits=rounded.astype("float64")).temperature_
    assert fit(logits=rounded).temperature_ == same


def test_weight_2_is_the_row_twice_and_weights_have_no_unit():
    times = np.arange(N) % 3
    twice = fit(LABELS.repeat(times), LOGITS.repeat(times, 0))
    for weight in (times, times * 1e-3):
        scaling = fit(sample_weight=weight)
        np.testing.assert_allclose(scaling.temperature_, twice.temperature_, rtol=1e-9)
        np.testing.assert_allclose(scaling.nll_after_, twice.nll_after_, rtol=1e-12)
    assert abs(twice.temperature_ / fit().temperature_ - 1) > 1e-3


def test_ignored_labels_are_left_out():
    keep = np.arange(N) % 3 > 0
    expected = fit(LABELS[keep], LOGITS[keep]).temperature_
    spoilt = np.where(keep[:, None], LOGITS, np.nan)
    assert fit(np.where(keep, LABELS, -100), spoilt).temperature_ == expected
    assert fit(logits=spoilt, sample_weight=keep).temperature_ == expected
    assert fit(ignore_class=2).temperature_ != fit().temperature_


def test_layouts_agree():
    expected = fit()
    shaped = LOGITS.reshape(20, 100, K)
    soft = np.eye(K)[LABELS]
    for y, z in [
        (LABELS[:, None], LOGITS),
        (soft, LOGITS),
        (LABELS.reshape(20, 100), shaped),
        (soft.reshape(20, 100, K), shaped),
        (LABELS, LOGITS + RNG.normal(size=(N, 1))),
    ]:
        found = fit(y, z)
        np.testing.assert_allclose(found.temperature_, expected.temperature_, 1e-9)
        assert found.transform(z).shape == z.shape
    prob = special.softmax(LOGITS, -1)
    by_prob = TemperatureScaling().fit(LABELS, prob)
    np.testing.assert_allclose(by_prob.temperature_, expected.temperature_, rtol=1e-9)
    np.testing.assert_allclose(
        by_prob.transform(prob), expected.transform(LOGITS), rtol=1e-9
    )


def test_soft_labels_of_the_model_itself_at_a_temperature_give_that_temperature():
    scaling = fit(special.softmax(LOGITS / 3, -1))
    np.testing.assert_allclose(scaling.temperature_, 3, rtol=1e-9)


def test_a_single_logit_is_the_two_class_problem():
    z = LOGITS[:, :1]
    both = np.concatenate([np.zeros_like(z), z], -1)
    y = (special.expit(z[:, 0] / 2) > RNG.random(N)).astype(int)
    one, two = fit(y, z), fit(y, both)
    assert one.temperature_ == two.temperature_
    np.testing.assert_allclose(one.transform(z), two.transform(both)[:, 1:])
    np.testing.assert_allclose(one.transform(z), special.expit(z / one.temperature_))
    assert one.transform(z).shape == z.shape


def test_logits_that_tell_nothing_stop_at_the_upper_bound_and_say_so():
    # Every row with every label: nothing is to be learnt, exactly.
    labels, logits = np.tile(np.arange(K), N), LOGITS.repeat(K, 0)
    with pytest.warns(UserWarning, match="still falls at the upper bound"):
        scaling = fit(labels, logits)
    assert (scaling.at_bound_, scaling.converged_) == (True, False)
    np.testing.assert_allclose(scaling.transform(LOGITS), 1 / K, rtol=0.2)
    np.testing.assert_allclose(scaling.nll_after_, np.log(K), rtol=1e-3)
    with pytest.warns(UserWarning, match="upper bound"):
        more = fit(labels, logits * 1e4)
    np.testing.assert_allclose(more.temperature_, scaling.temperature_ * 1e4)


@pytest.mark.parametrize("rows", [900, N])
def test_random_labels_stop_at_the_upper_bound_and_say_so(rows):
    # By chance, logits tell a little of random labels in half of all samples: the
    # minimum is then at a T of about sqrt(N) times their spread, beyond the bound.
    logits = LOGITS[:rows]
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(0, K, rows)
        with pytest.warns(UserWarning, match="upper bound"):
            scaling = fit(labels, logits)
        assert (scaling.at_bound_, scaling.converged_) == (True, False)
        assert scaling.transform(logits).max() < 0.4
        assert scaling.nll_after_ < np.log(K) + 0.02 < scaling.nll_before_


def test_a_weak_signal_in_many_labels_is_no_random_one():
    # Right in 52 % of a million coin flips: T = 4 / log(.52 / .48) = 50.
    scaling = fit([0, 0], [[4.0, 0.0], [0.0, 4.0]], sample_weight=[520_000, 480_000])
    assert scaling.converged_
    np.testing.assert_allclose(scaling.temperature_, 4 / np.log(52 / 48), rtol=1e-9)


def test_labels_that_are_all_right_stop_at_the_lower_bound_and_say_so():
    with pytest.warns(UserWarning, match="still falls at the lower bound"):
        scaling = fit(LOGITS.argmax(-1))
    assert (scaling.at_bound_, scaling.converged_) == (True, False)
    assert 0 < scaling.temperature_ < 1e-4
    prob = scaling.transform(LOGITS)
    np.testing.assert_array_equal(prob.argmax(-1), LOGITS.argmax(-1))
    np.testing.assert_allclose(prob.max(-1), 1)
    assert "at_bound=True" in repr(scaling)


def test_a_label_tied_for_the_top_is_right():
    logits = np.array([[0.3, 0.3, 0.3, -1.0], [0.1, -2.0, 0.1, 0.1]])
    for factor in (1, 7, 1e3):
        with pytest.warns(UserWarning, match="lower bound"):
            scaling = fit([1, 3], logits * factor)
        np.testing.assert_allclose(scaling.nll_after_, np.log(3))


def test_the_nll_of_a_calibrated_model_does_not_rise_by_rounding():
    rng = np.random.default_rng(0)
    for _ in range(100):
        logits = rng.normal(size=(5, 3)) * 10 ** rng.uniform(-1, 1)
        scaling = fit(special.softmax(logits, -1), logits)
        assert scaling.nll_after_ <= scaling.nll_before_
        assert scaling.temperature_ == pytest.approx(1, rel=1e-5)


def test_one_wrong_row_is_enough_for_a_minimum():
    labels = LOGITS.argmax(-1)
    labels[0] = LOGITS[0].argmin()
    scaling = fit(labels)
    assert scaling.converged_
    expected = independent_temperature(labels, LOGITS)
    np.testing.assert_allclose(scaling.temperature_, expected, rtol=1e-9)


def test_equal_logits_leave_everything_as_it_was():
    scaling = fit([0, 1, 1], np.full((3, 2), 7.0))
    assert (scaling.temperature_, scaling.converged_) == (1.0, True)
    assert scaling.nll_before_ == scaling.nll_after_ == pytest.approx(np.log(2))


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 5).flatmap(
        lambda k: st.integers(1, 8).flatmap(
            lambda n: st.tuples(
                hnp.arrays(float, (n, k), elements=st.floats(-1e5, 1e5)),
                hnp.arrays(int, n, elements=st.integers(0, k - 1)),
                hnp.arrays(float, n, elements=st.floats(0.01, 100)),
            )
        )
    )
)
def test_the_nll_never_rises_and_the_top_class_stays_on_top(data):
    logits, labels, weight = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaling = fit(labels, logits, sample_weight=weight)
    assert np.isfinite(scaling.temperature_)
    assert scaling.temperature_ > 0
    assert scaling.nll_after_ <= scaling.nll_before_
    before = nll(labels, logits, weight=weight)
    after = nll(labels, logits, scaling.temperature_, weight)
    assert after <= before * (1 + 1e-12) + 1e-12
    prob = scaling.transform(logits)
    np.testing.assert_allclose(prob.sum(-1), 1, rtol=1e-12)
    # Rounding may tie the top class with another, but nothing overtakes it.
    top = np.take_along_axis(prob, logits.argmax(-1)[:, None], -1)[:, 0]
    np.testing.assert_array_equal(top, prob.max(-1))


def test_the_calibration_error_may_rise():
    # What is not promised. Confidence .9 and right in 9 of 10; and of 2 rows at .55,
    # both wrong: T grows, and the many become under-confident.
    from keras_robust.calibration import bin_predictions

    logits = np.log([[0.9, 0.1]] * 40 + [[0.1, 0.9]] * 2)
    labels = np.array([0] * 36 + [1] * 4 + [0] * 2)
    scaling = fit(labels, logits)
    assert scaling.nll_after_ < scaling.nll_before_
    mixed = bin_predictions(labels[:40], special.softmax(logits[:40], -1))
    after = bin_predictions(labels[:40], scaling.transform(logits[:40]))
    assert mixed.ece() < 1e-12 < 0.02 < after.ece()


def test_probability_0_stays_0():
    prob = np.array([[0.7, 0.3, 0.0], [0.6, 0.3, 0.1], [0.1, 0.9, 0.0]])
    prob = prob.repeat(3, 0)
    labels = [0, 0, 1, 0, 0, 1, 1, 1, 0]
    scaling = TemperatureScaling().fit(labels, prob)
    assert scaling.temperature_ > 1
    out = scaling.transform(prob)
    np.testing.assert_array_equal(out == 0, prob == 0)
    odds = (0.7 / 0.3) ** (1 / scaling.temperature_)
    np.testing.assert_allclose(out[0, 0] / out[0, 1], odds)


def test_scale_gives_the_logits_of_transform():
    scaling = fit()
    np.testing.assert_allclose(scaling.scale(LOGITS), LOGITS / scaling.temperature_)
    prob = special.softmax(LOGITS, -1)
    by_prob = TemperatureScaling().fit(LABELS, prob)
    calibrated = special.softmax(by_prob.scale(prob), -1)
    np.testing.assert_allclose(calibrated, by_prob.transform(prob), rtol=1e-9)
    one = TemperatureScaling()
    one.fit([0, 1, 0, 0], [[0.2], [0.8], [0.2], [0.8]])
    p = np.array([[0.3]])
    np.testing.assert_allclose(special.expit(one.scale(p)), one.transform(p))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0, 1e300])
def test_temperature_scale_is_its_formula(temperature):
    expected = special.softmax(LOGITS / temperature, axis=-1)
    found = temperature_scale(LOGITS, temperature, from_logits=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    by_prob = temperature_scale(special.softmax(LOGITS, -1), 2.0)
    by_logits = temperature_scale(LOGITS, 2.0, from_logits=True)
    np.testing.assert_allclose(by_prob, by_logits, rtol=1e-9)
    far = temperature_scale([1e307, -1e307], 2.0, from_logits=True)
    assert far.tolist() == [1, 0]


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf])
def test_a_bad_temperature_is_an_error(bad):
    for make in (Temperature, lambda t: temperature_scale([[1, 2]], t)):
        with pytest.raises(ValueError, match="`temperature` must be finite and above"):
            make(bad)
    with pytest.raises(TypeError, match="`temperature` must be a real number"):
        Temperature("1.5")


@pytest.mark.parametrize(
    ("y", "z", "match"),
    [
        ([0, 1], [[1, 2]], "`y_true` must be of shape"),
        ([2], [[1, 2]], "`y_true` must be whole class ids"),
        ([0], [[np.nan, 2]], "`y_prob` must be free of NaN"),
        ([0], [[np.inf, 2]], "`y_prob` must be free of NaN"),
        ([0], [[-np.inf, 2]], "`y_prob` must be such that no label has probability 0"),
        ([-100], [[1, 2]], "`y_true` must be of at least one label that counts"),
        (np.zeros(0, int), np.zeros((0, 2)), "`y_true` must be of at least one"),
    ],
)
def test_bad_values_raise_and_name_the_argument(y, z, match):
    with pytest.raises(ValueError, match=match):
        fit(y, z)


def test_bad_use_is_an_error():
    for use in ("transform", "scale"):
        with pytest.raises(ValueError, match="`fit` must be called first"):
            getattr(TemperatureScaling(from_logits=True), use)([[1, 2]])
    with pytest.raises(ValueError, match="`fit` must be called first"):
        TemperatureScaling(from_logits=True).as_layer()
    with pytest.raises(TypeError, match="`from_logits` must be True or False"):
        TemperatureScaling(from_logits=1)
    for bad in (1.0, np.zeros((3, 0))):
        with pytest.raises(ValueError, match="`y_prob` must be of shape"):
            fit().transform(bad)
    with pytest.raises(ValueError, match="`y_prob` must be distributions"):
        temperature_scale([[0.9, 0.8]], 2.0)
    by_prob = TemperatureScaling()
    by_prob.fit([0, 0, 1], [[0.6, 0.4]] * 3)
    with pytest.raises(ValueError, match="`from_logits` must be True to make a layer"):
        by_prob.as_layer()


def test_the_representation_reports():
    assert (
        repr(TemperatureScaling(from_logits=True))
        == "TemperatureScaling(from_logits=True)"
    )
    text = repr(fit([0, 1, 0, 0], [[4, 0], [0, 4], [4, 0], [0, 4]]))
    # Before: (3 log(1 + e^-4) + log(1 + e^4)) / 4; after: the entropy of (3/4, 1/4).
    assert text.startswith(
        "TemperatureScaling(from_logits=True, nll_before=1.01815, nll_after=0.562335, "
        "temperature=3.64096, converged=True, at_bound=False, num_iterations="
    )
