"""Vector scaling, Platt scaling and isotonic calibration."""

import pickle
import sys
import warnings

import keras
import numpy as np
import pytest
from scipy import optimize, special
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from keras_robust import GCE
from keras_robust.calibration import (
    AnalyticCalibration,
    IsotonicCalibration,
    PlattScaling,
    TemperatureScaling,
    VectorScaling,
    temperature_scale,
)
from keras_robust.noise import symmetric_matrix

RNG = np.random.default_rng(9)
N, K = 1500, 3
LOGITS = RNG.normal(scale=2, size=(N, K))
# A model over-confident in class 0 and wrong about how frequent class 2 is.
TRUE = special.log_softmax(LOGITS, -1) * [0.4, 0.9, 0.8] + [0.0, 0.2, -0.7]
LABELS = (special.softmax(TRUE, -1).cumsum(-1) < RNG.random((N, 1))).sum(-1)
Z = RNG.normal(scale=3, size=(N, 1))
Y = (RNG.random(N) < special.expit(0.5 * Z[:, 0] - 0.8)).astype(int)
ALL = [VectorScaling, PlattScaling, IsotonicCalibration]


def problem(cls):
    return (LABELS, LOGITS) if cls is VectorScaling else (Y, Z)


def nll(y, prob):
    return -np.log(np.take_along_axis(prob, y[:, None], -1)).mean()


def vector_nll(parameters, y, logits, l2=0.0):
    scale, bias = parameters.reshape(2, -1)
    log_prob = special.log_softmax(scale * special.log_softmax(logits, -1) + bias, -1)
    penalty = l2 * (((scale - 1) ** 2).sum() + (bias**2).sum())
    return -np.take_along_axis(log_prob, y[:, None], -1).mean() + penalty


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_vector_scaling_is_the_minimum_found_without_its_gradient(l2):
    scaling = VectorScaling(l2=l2, from_logits=True).fit(LABELS, LOGITS)
    found = optimize.minimize(
        vector_nll,
        np.repeat([1.0, 0.0], K),
        (LABELS, LOGITS, l2),
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-15, "maxfev": 20_000, "adaptive": True},
    )
    scale, bias = found.x.reshape(2, K)
    np.testing.assert_allclose(scaling.scale_, scale, rtol=1e-5)
    np.testing.assert_allclose(scaling.bias_, bias - bias.mean(), atol=1e-5)
    assert scaling.bias_.sum() == pytest.approx(0, abs=1e-12)
    assert scaling.converged_
    prob = scaling.transform(LOGITS)
    expected = special.log_softmax(LOGITS, -1) * scale + bias
    np.testing.assert_allclose(prob, special.softmax(expected, -1), rtol=1e-4)
    assert scaling.nll_after_ == pytest.approx(nll(LABELS, prob), rel=1e-12)
    assert scaling.nll_after_ < scaling.nll_before_ - 0.05
    if l2 == 0:
        temperature = TemperatureScaling(from_logits=True).fit(LABELS, LOGITS)
        assert scaling.nll_after_ < temperature.nll_after_ - 0.01
        np.testing.assert_allclose(scale, [0.4, 0.9, 0.8], atol=0.15)


@pytest.mark.parametrize("factor", [20, 1e4, 1e-2])
def test_platt_scaling_takes_logits_on_any_scale(factor):
    one, many = (
        PlattScaling(from_logits=True).fit(Y, Z),
        PlattScaling(from_logits=True).fit(Y, Z * factor),
    )
    np.testing.assert_allclose(many.scale_ * factor, one.scale_, rtol=1e-6)
    np.testing.assert_allclose(many.bias_, one.bias_, rtol=1e-6)
    assert many.converged_


@pytest.mark.parametrize("factor", [1, 20, 1 / 20, 1e-2, 1e-4, 1e4])
def test_vector_scaling_takes_logits_on_any_scale(factor):
    logits = LOGITS * factor
    scaling = VectorScaling(from_logits=True).fit(LABELS, logits)
    temperature = TemperatureScaling(from_logits=True).fit(LABELS, logits)
    assert scaling.converged_
    assert scaling.nll_after_ < temperature.nll_after_ < scaling.nll_before_
    # At the minimum the mean probability of each class is its frequency, and so are
    # the means of the log-probabilities, times probability and times label.
    prob, log_prob = scaling.transform(logits), special.log_softmax(logits, -1)
    off = prob - np.eye(K)[LABELS]
    np.testing.assert_allclose(off.mean(0), 0, atol=1e-6)
    centred = log_prob - log_prob.mean(0)
    moments = (off * centred).mean(0) / np.abs(centred).mean()
    np.testing.assert_allclose(moments, 0, atol=1e-6)


def test_vector_scaling_does_not_see_a_number_added_to_a_row():
    one = VectorScaling(from_logits=True).fit(LABELS, LOGITS)
    shifted = LOGITS + RNG.normal(size=(N, 1))
    np.testing.assert_allclose(
        VectorScaling(from_logits=True).fit(LABELS, shifted).scale_,
        one.scale_,
        rtol=1e-5,
    )
    by_prob = VectorScaling()
    by_prob.fit(LABELS, special.softmax(LOGITS, -1))
    np.testing.assert_allclose(by_prob.scale_, one.scale_, rtol=1e-5)


def test_platt_scaling_is_unpenalised_logistic_regression():
    # scikit-learn 1.9.1 is right here, also on logits times 1e4 and 1e-4.
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(Z, Y)
    scaling = PlattScaling(from_logits=True).fit(Y, Z)
    np.testing.assert_allclose(scaling.scale_, reference.coef_[0, 0], rtol=1e-5)
    np.testing.assert_allclose(scaling.bias_, reference.intercept_[0], rtol=1e-5)
    expected = reference.predict_proba(Z)[:, 1:]
    np.testing.assert_allclose(scaling.transform(Z), expected, rtol=1e-4)
    both = PlattScaling(from_logits=True).fit(
        Y, np.concatenate([np.zeros_like(Z), Z], -1)
    )
    np.testing.assert_allclose(both.scale_, scaling.scale_, rtol=1e-6)


class Scores(LogisticRegression):
    """A fitted classifier whose decision function is its input."""

    def decision_function(self, x):
        return x[:, 0]


def test_smoothed_platt_scaling_is_that_of_scikit_learn():
    # CalibratedClassifierCV smooths the targets as Platt does.
    classifier = Scores().fit(Z, Y)
    reference = CalibratedClassifierCV(
        FrozenEstimator(classifier), method="sigmoid", ensemble=False
    )
    reference.fit(Z[:40], Y[:40])
    scaling = PlattScaling(smoothed_targets=True, from_logits=True).fit(Y[:40], Z[:40])
    expected = reference.predict_proba(Z)[:, 1:]
    np.testing.assert_allclose(scaling.transform(Z), expected, rtol=1e-3)
    plain = PlattScaling(from_logits=True).fit(Y[:40], Z[:40])
    assert np.abs(plain.transform(Z) / expected - 1).max() > 0.02


def test_isotonic_calibration_of_two_classes_is_scikit_learns():
    p = special.expit(Z)
    reference = IsotonicRegression(out_of_bounds="clip").fit(p[:500, 0], Y[:500])
    scaling = IsotonicCalibration().fit(Y[:500], p[:500])
    expected = reference.predict(p[:, 0])
    np.testing.assert_allclose(scaling.transform(p)[:, 0], expected, rtol=1e-6)
    by_logits = IsotonicCalibration(from_logits=True).fit(Y[:500], Z[:500])
    np.testing.assert_allclose(by_logits.transform(Z)[:, 0], expected, rtol=1e-6)


def test_isotonic_calibration_of_more_classes_is_one_against_the_rest():
    prob = special.softmax(LOGITS, -1)
    scaling = IsotonicCalibration(from_logits=True).fit(LABELS[:300], LOGITS[:300])
    mapped = np.stack(
        [
            IsotonicRegression(out_of_bounds="clip")
            .fit(prob[:300, k], LABELS[:300] == k)
            .predict(prob[:, k])
            for k in range(K)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(
        scaling.transform(LOGITS), mapped / mapped.sum(-1, keepdims=True), atol=1e-9
    )
    # Each class is worthless here below .5: a row with none above has all 0.
    prob = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    scaling = IsotonicCalibration().fit([0, 1, 2], prob)
    rows = scaling.transform([[0.1, 0.1, 0.8], [0.0, 0.1, 0.9]])
    np.testing.assert_allclose(rows, [[0, 0, 1], [0, 0, 1]], atol=1e-12)
    scaling.steps_ = [(np.array([0.6, 0.8]), np.array([0.0, 1.0]))] * 3
    even = scaling.transform([[0.5, 0.3, 0.2]])
    np.testing.assert_allclose(even, [[1 / 3] * 3])


@pytest.mark.parametrize("cls", ALL)
def test_the_nll_never_rises(cls):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(2, 60))
        y, z = problem(cls)
        rows = rng.integers(0, N, size)
        scale = 10 ** rng.uniform(-2, 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # with few labels, often no minimum
            fitted = cls(from_logits=True).fit(y[rows], z[rows] * scale)
        assert fitted.nll_after_ <= fitted.nll_before_
        prob = fitted.transform(z[rows] * scale)
        both = prob if prob.shape[-1] > 1 else np.concatenate([1 - prob, prob], -1)
        np.testing.assert_allclose(both.sum(-1), 1, rtol=1e-9)


@pytest.mark.parametrize("cls", ALL)
def test_weight_2_is_the_row_twice_and_ignored_rows_are_left_out(cls):
    y, z = problem(cls)
    times = np.arange(N) % 3
    expected = cls(from_logits=True).fit(y.repeat(times), z.repeat(times, 0))
    ignored = np.where(times == 0, -100, y)
    spoilt = np.where(times[:, None] == 0, np.nan, z)
    for fitted in (
        cls(from_logits=True).fit(y, z, sample_weight=times),
        cls(from_logits=True).fit(ignored, spoilt, sample_weight=times),
    ):
        np.testing.assert_allclose(
            fitted.transform(z), expected.transform(z), rtol=1e-4, atol=1e-9
        )
        assert fitted.nll_after_ == pytest.approx(expected.nll_after_, rel=1e-9)
    assert (
        np.abs(
            cls(from_logits=True).fit(y, z).transform(z) - expected.transform(z)
        ).max()
        > 1e-3
    )


def test_weights_count_in_the_smoothed_targets_of_platt():
    y, z = Y[:30], Z[:30]
    twice = PlattScaling(smoothed_targets=True, from_logits=True).fit(
        y.repeat(2), z.repeat(2, 0)
    )
    weighted = PlattScaling(smoothed_targets=True, from_logits=True)
    weighted.fit(y, z, sample_weight=np.full(30, 2))
    np.testing.assert_allclose(weighted.scale_, twice.scale_, rtol=1e-6)
    once = PlattScaling(smoothed_targets=True, from_logits=True).fit(y, z)
    assert abs(once.scale_ / twice.scale_ - 1) > 1e-3


@pytest.mark.parametrize("cls", ALL)
def test_shapes_are_kept(cls):
    y, z = problem(cls)
    shaped = z.reshape(3, -1, z.shape[-1])
    fitted = cls(from_logits=True).fit(y.reshape(3, -1), shaped)
    flat = cls(from_logits=True).fit(y, z)
    assert fitted.transform(shaped).shape == shaped.shape
    np.testing.assert_allclose(
        fitted.transform(shaped).reshape(z.shape), flat.transform(z)
    )
    one = fitted.transform(z[0])
    np.testing.assert_allclose(one, flat.transform(z)[0])
    soft = np.eye(max(z.shape[-1], 2))[y] if z.shape[-1] > 1 else y[:, None]
    np.testing.assert_allclose(
        cls(from_logits=True).fit(soft, z).transform(z), flat.transform(z)
    )


def test_where_the_nll_has_no_minimum_a_warning_says_why():
    for cls, fix in ((VectorScaling, "l2=1e-3"), (PlattScaling, "smoothed_targets")):
        right = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
        with pytest.warns(UserWarning, match=f"the fit is right in every row.*{fix}"):
            fitted = cls(from_logits=True).fit([0, 1, 0], right)
        assert not fitted.converged_
        assert np.isfinite(fitted.transform(right)).all()
        with pytest.warns(UserWarning, match=f"no label is of class 1.*{fix}"):
            fitted = cls(from_logits=True).fit([0, 0, 0], right)
        assert not fitted.converged_
    assert VectorScaling(l2=1e-3, from_logits=True).fit([0, 0, 0], right).converged_
    assert (
        PlattScaling(smoothed_targets=True, from_logits=True)
        .fit([0, 1, 0], right)
        .converged_
    )


@pytest.mark.parametrize("cls", ALL)
def test_bad_use_is_an_error(cls):
    y, z = problem(cls)
    with pytest.raises(ValueError, match=f"{cls.__name__}: `fit` must be called first"):
        cls(from_logits=True).transform(z)
    with pytest.raises(ValueError, match="`y_prob` must be free of NaN"):
        cls(from_logits=True).fit(y, z * np.nan)
    with pytest.raises(ValueError, match="`y_true` must be whole class ids"):
        cls(from_logits=True).fit(y + 5.5, np.tile(z[:, :1], 2))
    fitted = cls(from_logits=True).fit(y, z)
    other = np.zeros((2, 5))
    with pytest.raises(ValueError, match="`y_prob` must be of"):
        fitted.transform(other)
    assert f"{cls.__name__}(from_logits=True, nll_before=" in repr(fitted)


def test_platt_scaling_is_for_two_classes():
    with pytest.raises(ValueError, match=r"two classes.*3 classes.*VectorScaling"):
        PlattScaling(from_logits=True).fit(LABELS, LOGITS)


def test_probabilities_of_0_have_no_logits():
    prob = [[1.0, 0.0], [0.4, 0.6], [0.7, 0.3]]
    for cls in (VectorScaling, PlattScaling):
        with pytest.raises(ValueError, match="`y_prob` must be of finite logits"):
            cls().fit([0, 1, 1], prob)
    isotonic = IsotonicCalibration().fit([0, 1, 1], prob)
    assert isotonic.transform(prob)[0].tolist() == [1, 0]


@pytest.mark.parametrize("bad", [-1, np.inf, np.nan])
def test_a_bad_l2_is_an_error(bad):
    with pytest.raises(ValueError, match="VectorScaling: `l2` must be finite and at"):
        VectorScaling(l2=bad, from_logits=True)


def test_without_scikit_learn_isotonic_calibration_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
    with pytest.raises(ImportError, match=r"pip install scikit-learn, or in a clone"):
        IsotonicCalibration(from_logits=True).fit(Y, Z)


@pytest.mark.parametrize("recalibration", [TemperatureScaling, VectorScaling])
def test_probabilities_taken_for_logits_are_noticed(recalibration):
    prob = special.softmax(LOGITS, -1)
    name = recalibration.__name__
    with pytest.warns(UserWarning, match=f"{name}: `from_logits` is True, and"):
        recalibration(from_logits=True).fit(LABELS, prob)
    recalibration().fit(LABELS, prob)


def test_a_temperature_is_for_the_classes_that_it_was_fitted_to():
    scaling = TemperatureScaling(from_logits=True).fit(LABELS, LOGITS)
    with pytest.raises(ValueError, match="`y_prob` must be of the 3 classes"):
        scaling.transform(LOGITS[:, :2])
    with pytest.raises(ValueError, match="`y_prob` must be free of NaN"):
        scaling.scale(LOGITS * np.nan)


def test_sigmoids_taken_for_logits_are_noticed():
    rng = np.random.default_rng(2)
    prob = rng.random((500, 1))
    labels = (rng.random(500) < prob[:, 0]).astype(int)
    with pytest.warns(
        UserWarning, match="PlattScaling: `from_logits` is True.* pass from_logits"
    ):
        PlattScaling(from_logits=True).fit(labels, prob)
    PlattScaling().fit(labels, prob)
    PlattScaling(from_logits=True).fit(labels, np.log(prob / (1 - prob)))


def test_a_fit_that_fails_leaves_the_fit_before_it():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(50, 1))
    scaling = PlattScaling(from_logits=True).fit(
        (rng.random(50) < 0.5).astype(int), logits
    )
    before = scaling.transform(logits)
    with pytest.raises(ValueError, match="two classes"):
        scaling.fit(rng.integers(0, 3, 50), rng.normal(size=(50, 3)))
    np.testing.assert_array_equal(scaling.transform(logits), before)


def test_isotonic_calibration_takes_probabilities_of_0_and_1():
    # Of 4 rows at 0 one is of class 1, of those at 0.5 two, of those at 1 three.
    prob = np.repeat([0.0, 0.5, 1.0], 4)[:, None]
    labels = [1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0]
    isotonic = IsotonicCalibration().fit(labels, prob)
    found = isotonic.transform([[0.0], [0.5], [1.0]])[:, 0]
    np.testing.assert_allclose(found, [0.25, 0.5, 0.75])
    assert isotonic.nll_before_ == np.inf
    share = np.array([0.25, 0.5, 0.75])
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share)).mean()
    assert isotonic.nll_after_ == pytest.approx(entropy)
    for cls in (TemperatureScaling, PlattScaling):  # they cannot, and say what can
        with pytest.raises(ValueError, match=r"a forest, take IsotonicCalibration\.$"):
            cls().fit(labels, prob)


def test_classes_on_another_axis_are_recalibrated_alike():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, (3, 3, 3))
    logits = np.eye(3)[labels] + rng.normal(size=(3, 3, 3, 3))  # N = K = H = W
    first = np.moveaxis(logits, -1, 1)
    for cls in (TemperatureScaling, VectorScaling, IsotonicCalibration):
        last = cls(from_logits=True).fit(labels, logits)
        moved = cls(from_logits=True, axis=1).fit(labels, first)
        assert moved.nll_after_ == pytest.approx(last.nll_after_)
        expected = np.moveaxis(last.transform(logits), -1, 1)
        np.testing.assert_allclose(moved.transform(first), expected)
        assert "axis=1" in repr(moved)
    one = PlattScaling(from_logits=True, axis=0).fit(labels % 2, logits[None, ..., 0])
    assert one.transform(logits[None, ..., 0]).shape == (1, 3, 3, 3)
    assert TemperatureScaling(from_logits=True, axis=1).fit(labels, first).as_layer()
    with pytest.raises(ValueError, match="VectorScaling: `axis` must be -1 to make a"):
        VectorScaling(from_logits=True, axis=1).fit(labels, first).as_layer()
    with pytest.raises(ValueError, match="`axis` must be one of the 4 axes of `y_pr"):
        TemperatureScaling(axis=4).fit(labels, first)
    scaled = temperature_scale(first, 2.0, from_logits=True, axis=1)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)


def test_smoothed_targets_want_weights_that_are_repetitions():
    labels, logits = [0, 1, 1, 0], [[-1.0], [1.0], [-0.5], [0.5]]
    scaling = PlattScaling(from_logits=True, smoothed_targets=True)
    with pytest.raises(ValueError, match="PlattScaling: `sample_weight` must be repet"):
        scaling.fit(labels, logits, sample_weight=np.full(4, 0.25))


def test_every_recalibrator_comes_through_pickle_as_it_is():
    fitted = [cls(from_logits=True).fit(*problem(cls)) for cls in ALL]
    prob = special.softmax(LOGITS, -1)
    for recalibration, y_prob in (
        *((one, problem(type(one))[1]) for one in fitted),
        (TemperatureScaling(from_logits=True).fit(LABELS, LOGITS), LOGITS),
        (AnalyticCalibration(GCE(q=0.7), symmetric_matrix(K, 0.1)), prob),
        (AnalyticCalibration(keras.losses.CategoricalCrossentropy()), prob),
    ):
        again = pickle.loads(pickle.dumps(recalibration))
        assert repr(again) == repr(recalibration)
        expected = recalibration.transform(y_prob)
        np.testing.assert_array_equal(again.transform(y_prob), expected)
