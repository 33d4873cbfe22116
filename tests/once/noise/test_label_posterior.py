"""Soft targets from a model, the given label, and rows that were looked at again."""

import numpy as np
import pytest
from scipy import optimize, special

from keras_robust.noise import (
    LabelPosterior,
    _pool,
    flip_labels,
    matrix_from_pairs,
    omission_matrix,
)

K = 4
MATRIX = 0.05 + 0.8 * np.eye(K)


def rows(size=120, seed=0):
    """Given labels, true ones, and logits of a model that is too sure."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, K, size)
    given = flip_labels(true, MATRIX, seed=seed).labels
    logits = 4 * np.eye(K)[true] + 3 * rng.normal(size=(size, K))
    return given, true, logits


def posterior_of(theta, given, logits, matrix):
    """The formula, word by word."""
    a, b, *c = theta
    made = []
    for y, p in zip(given, special.softmax(logits, axis=-1)):
        parts = [p[t] ** a * matrix[t, y] ** b * np.exp(c[t]) for t in range(len(p))]
        made.append(np.array(parts) / np.sum(parts))
    return np.array(made)


def test_weights_are_the_likeliest_with_normal_priors_round_bayes():
    given, true, logits = rows()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(true))

    def lack(theta):
        q = posterior_of(theta, given, logits, MATRIX)
        nll = -np.log(q[np.arange(len(true)), true])
        off = np.subtract(theta, [1, 1, *[0] * K]) / [1, 1, *[0.5] * K]
        return nll @ (weight / weight.mean()) + np.square(off).sum() / 2

    start = [1.0, 1.0, *[0.0] * K]
    expected = optimize.minimize(lack, start, method="Powell", tol=1e-10).x
    made = LabelPosterior(MATRIX, from_logits=True).fit(
        given, true, logits, sample_weight=weight
    )
    theta = [made.model_weight_, made.label_weight_, *made.class_bias_]
    np.testing.assert_allclose(theta, expected, atol=1e-3)
    assert theta[0] < 0.8  # the model is too sure
    q = posterior_of(theta, given, logits, MATRIX)
    np.testing.assert_allclose(made.transform(given, logits), q, rtol=1e-5)


def test_without_evidence_it_is_bayes_rule():
    # A row of each class, all alike: the priors alone speak.
    flat = np.full((K, K), 1 / K)
    made = LabelPosterior(flat).fit([0] * K, range(K), flat)
    assert (made.model_weight_, made.label_weight_) == (1.0, 1.0)
    np.testing.assert_allclose(made.class_bias_, 0, atol=1e-9)


def test_soft_targets_are_nearer_to_the_truth_than_labels_and_model():
    rng = np.random.default_rng(1)
    true = (rng.random(4000) < 0.3).astype(int)
    matrix = omission_matrix(2, 0.4)
    given = flip_labels(true, matrix, seed=1).labels
    # The model has learnt what was missed: it shares half of the annotator's errors.
    believed = np.where(rng.random(4000) < 0.5, given, true)
    logits = 2.0 * np.eye(2)[believed] + rng.normal(size=(4000, 2))
    made = LabelPosterior(matrix, from_logits=True)
    made.fit(given[:200], true[:200], logits[:200])
    held = slice(200, None)

    def nll(prob):
        return -np.log(prob[held][np.arange(3800), true[held]]).mean()

    soft = made.transform(given, logits)
    bayes = posterior_of((1, 1, 0, 0), given, logits, matrix)
    assert nll(soft) < nll(special.softmax(logits, axis=-1)) - 0.05
    assert nll(soft) < nll(bayes) - 0.005
    assert made.model_weight_ < 0.8  # what both say counts less than twice


def test_what_tells_the_opposite_of_the_truth_gets_no_weight():
    given, true, logits = rows(400)
    wrong = 6.0 * np.eye(K)[(true + 1) % K]
    made = LabelPosterior(MATRIX, from_logits=True).fit((true + 1) % K, true, wrong)
    assert (made.model_weight_, made.label_weight_) == (0.0, 0.0)
    soft = made.transform(given, logits)
    np.testing.assert_allclose(soft, np.tile(soft[0], (400, 1)))


def test_ignored_positions_stay_and_do_not_count():
    given, true, logits = rows(60)
    left_out = np.arange(60) % 5 == 2
    kept = ~left_out
    marked = np.where(left_out, -100, given).reshape(12, 5)
    scores = np.where(left_out[:, None], np.nan, logits).reshape(12, 5, K)
    whole = LabelPosterior(MATRIX, from_logits=True).fit(
        marked, true.reshape(12, 5), scores
    )
    part = LabelPosterior(MATRIX, from_logits=True).fit(
        given[kept], true[kept], logits[kept]
    )
    assert repr(whole) == repr(part)
    soft = whole.transform(marked, scores)
    assert soft.shape == (12, 5, K)
    assert soft.dtype == np.float32
    assert (soft.reshape(-1, K)[left_out] == -100).all()
    np.testing.assert_allclose(soft.reshape(-1, K)[kept].sum(-1), 1, rtol=1e-6)


def test_a_class_that_the_matrix_rules_out_stays_ruled_out():
    matrix = np.eye(3)
    matrix[1] = [0.5, 0.5, 0.0]
    prob = np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    made = LabelPosterior(matrix).fit([0, 1, 2], [1, 1, 2], prob)
    soft = made.transform([0, 2], prob[:2])
    assert soft[0, 2] == 0
    assert soft[1].tolist() == [0, 0, 1]


def test_without_a_matrix_it_is_that_of_the_rows_of_fit():
    given, true, logits = rows()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(true))
    matrix = matrix_from_pairs(given, true, K, sample_weight=weight)
    options = {"sample_weight": weight}
    known = LabelPosterior(matrix, from_logits=True).fit(given, true, logits, **options)
    made = LabelPosterior(from_logits=True)
    assert repr(made) == "LabelPosterior(matrix counted by `fit`)"
    made.fit(given, true, logits, **options)
    np.testing.assert_array_equal(made.matrix_, matrix.matrix)
    assert repr(made) == repr(known)
    # Fitted anew, to other classes, nothing is left of before.
    made.fit(given % 3, true % 3, logits[:, :3])
    assert made.matrix_.shape == (3, 3)
    assert made.transform([0], [[1.0, 2.0, 3.0]]).shape == (1, 3)


def split(size=240):
    """Rows of two kinds: of "upper", a model too sure, and class 1 taken for 2."""
    given, true, logits = rows(size)
    upper = np.arange(size) % 3 > 0
    given = np.where(upper & (true == 1), 2, given)
    logits *= np.where(upper, 2, 0.5)[:, None]
    return given, true, logits, np.where(upper, "upper", "lower")


def test_each_kind_is_fitted_round_all_of_them_as_far_as_is_likeliest():
    given, true, logits, kind = split()
    whole = LabelPosterior(from_logits=True).fit(given, true, logits)
    centre = np.array([whole.model_weight_, whole.label_weight_, *whole.class_bias_])
    made = LabelPosterior(from_logits=True).fit(given, true, logits, by=kind)
    assert 0.5 < made.matrix_["upper"][1, 2] < 0.97 > 0.4 > made.matrix_["lower"][1, 2]

    def fit(name, scale):
        here = kind == name
        spread = scale * np.array([1, 1, *[0.5] * K])

        def lack(theta):
            q = posterior_of(theta, given[here], logits[here], made.matrix_[name])
            nll = -np.log(q[np.arange(here.sum()), true[here]]).sum()
            return nll + np.square((theta - centre) / spread).sum() / 2

        found = optimize.minimize(lack, centre, method="BFGS", tol=1e-8)
        curved = second_derivatives(lack, found.x)
        log_det = np.linalg.slogdet(spread[:, None] * curved * spread)[1]
        return found.x, -found.fun - log_det / 2

    scales = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2]
    fits = [[fit(name, scale) for name in ("lower", "upper")] for scale in scales]
    evidence = [sum(log for _, log in fit) for fit in fits]
    best = int(np.argmax(evidence))
    assert 0 < best < 5  # neither as far as may be, nor not at all
    for name, (theta, _) in zip(("lower", "upper"), fits[best]):
        own = [made.model_weight_[name], made.label_weight_[name]]
        np.testing.assert_allclose([*own, *made.class_bias_[name]], theta, atol=2e-3)
        here = kind == name
        np.testing.assert_allclose(
            made.transform(given, logits, by=kind)[here],
            posterior_of(theta, given[here], logits[here], made.matrix_[name]),
            atol=1e-3,
        )


def second_derivatives(function, at, step=1e-3):
    near = step * np.eye(len(at))
    return np.array(
        [
            [
                function(at + i + j)
                - function(at + i - j)
                - function(at - i + j)
                + function(at - i - j)
                for j in near
            ]
            for i in near
        ]
    ) / (4 * step**2)


def test_the_evidence_has_the_curvature_of_the_likelihood():
    given, true, logits, _ = split(60)
    weight = np.random.default_rng(2).uniform(0.5, 2, 60)
    log_prob = special.log_softmax(logits, axis=-1)
    sources = np.stack([log_prob, np.log(MATRIX.T)[given]], axis=-1)

    def nll(theta):
        q = posterior_of(theta, given, logits, MATRIX)
        return -(weight / weight.mean()) @ np.log(q[np.arange(60), true])

    theta, spread = np.array([0.6, 1.1, 0.3, 0, -0.4, 0.1]), 2 * np.r_[1, 1, [0.5] * K]
    curved = spread[:, None] * second_derivatives(nll, theta) * spread
    rows_of_test = _pool.Judged(log_prob, given, true, weight)
    found = _pool._log_volume(sources, rows_of_test, theta, 2.0)
    expected = -np.linalg.slogdet(np.eye(2 + K) + curved)[1] / 2
    assert found == pytest.approx(expected, rel=1e-4)


def test_kinds_that_tell_something_help_and_others_hardly_harm():
    known, judged = slice(0, 240), slice(240, 3000)
    given, true, logits, kind = split(3000)
    kinds = {
        "habit": kind,
        "chance": np.random.default_rng(1).integers(0, 30, 3000),
        "all alike": np.full(3000, 7),
    }

    def nll(by=None):
        made = LabelPosterior(from_logits=True)
        by = by if by is None else kinds[by]
        options = [{} if by is None else {"by": by[x]} for x in (known, judged)]
        made.fit(given[known], true[known], logits[known], **options[0])
        soft = made.transform(given[judged], logits[judged], **options[1])
        return -np.log(soft[np.arange(2760), true[judged]]).mean()

    assert nll("habit") < nll() - 0.05
    assert nll("chance") < nll() + 0.02
    assert nll("all alike") == nll()


def test_kinds_have_the_shape_of_labels_or_are_flat_and_their_own_results():
    given, true, logits, kind = split()
    ignored = np.where(np.arange(240) % 7 == 3, -100, given)
    shaped = [x.reshape(40, 6, *x.shape[1:]) for x in (ignored, true, logits, kind)]
    made = LabelPosterior(MATRIX, from_logits=True).fit(*shaped[:3], by=shaped[3])
    soft = made.transform(shaped[0], shaped[2], by=shaped[3]).reshape(240, K)
    assert (soft[ignored == -100] == -100).all()
    assert "lower: matrix of 4 classes, model_weight=" in repr(made)
    np.testing.assert_allclose(made.matrix_["lower"], MATRIX)  # passed, not counted
    # Flat as well, and whatever the kind where nothing counts.
    flat = np.where(ignored == -100, "padding", kind)
    again = made.transform(shaped[0], shaped[2], by=flat).reshape(240, K)
    np.testing.assert_array_equal(again, soft)
    with pytest.raises(ValueError, match="read-only"):
        made.class_bias_["lower"] += 1


def test_a_kind_without_rows_is_treated_as_all_are_with_a_warning():
    given, true, logits, kind = split()
    whole = LabelPosterior(from_logits=True).fit(given, true, logits)
    weight = np.where(kind == "upper", 1.0, 0.0)
    for options in ({"by": kind}, {"by": np.arange(240)}):
        made = LabelPosterior(from_logits=True).fit(given, true, logits, **options)
        with pytest.warns(UserWarning, match="no rows of the kinds new of `by`"):
            soft = made.transform(given[:2], logits[:2], by=["new"] * 2)
        np.testing.assert_array_equal(soft, whole.transform(given[:2], logits[:2]))
    made = LabelPosterior(from_logits=True)
    made.fit(given, true, logits, by=kind, sample_weight=weight)
    assert list(made.model_weight_) == ["upper"]
    with pytest.warns(UserWarning, match="no rows of the kinds lower of `by`"):
        made.transform(given, logits, by=kind)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: LabelPosterior(2 * MATRIX), ValueError, "`matrix` must be"),
        (lambda: fitted(true=[0, 1]), ValueError, "`true_labels` must be of the shape"),
        (lambda: fitted(true=[-100] * 3), ValueError, "of at least one position"),
        (lambda: fitted(true=[0, 1, 7]), ValueError, r"`true_labels` must be in \[0"),
        (lambda: fitted(true=[0.0, 1, 2]), TypeError, "`true_labels` must be integer"),
        (lambda: fitted(y_prob=np.eye(3)), ValueError, "`y_prob` must be of shape"),
        (
            lambda: fitted(y_prob=np.eye(K)[[1, 1, 2]]),
            ValueError,
            "1 rows whose true label has probability 0",
        ),
        (
            lambda: LabelPosterior(MATRIX).transform([0], [[0.25] * K]),
            ValueError,
            "`fit` must be called first",
        ),
        (
            lambda: (
                LabelPosterior(np.eye(K))
                .fit([0], [0], [[0.7, 0.1, 0.1, 0.1]])
                .transform([1], [[1.0, 0.0, 0.0, 0.0]])
            ),
            ValueError,
            "1 others, the first in row 0",
        ),
        (
            lambda: LabelPosterior().fit([0, 1], [0, 1], [0.3, 0.4]),
            ValueError,
            r"one more axis, of at least 2 classes.*pass \(1 - p, p\)",
        ),
        (
            lambda: fitted(by=np.ma.array([0, 1, 2])),
            TypeError,
            "`by` must be no masked",
        ),
        (lambda: fitted(by=[[1], [1, 2], 3]), ValueError, "`by` must be lists of the"),
        (
            lambda: fitted(by=np.array(["2026-01-01"] * 3, "datetime64[ns]")),
            ValueError,
            "`by` must be of names or of numbers.*convert dates",
        ),
        (
            lambda: fitted(by=["a", "b"]),
            ValueError,
            "`by` must be one for each of the 3",
        ),
        (lambda: fitted(by=["a", None, "b"]), ValueError, "none missing"),
        (
            lambda: fitted().transform([0], FLAT, by=["a"]),
            ValueError,
            "`by` must be No",
        ),
        (
            lambda: fitted(by=[0, 1, 1]).transform([0], FLAT),
            ValueError,
            "as for `fit`. Received: None. Pass for each",
        ),
    ],
)
def test_bad_input_says_what_is_wrong(call, error, words):
    with pytest.raises(error, match=f"LabelPosterior: .*{words}"):
        call()


FLAT = np.full((1, K), 1 / K)


def fitted(true=(0, 1, 2), y_prob=None, by=None):
    y_prob = np.tile(FLAT, (3, 1)) if y_prob is None else y_prob
    return LabelPosterior(MATRIX).fit([0, 1, 2], true, y_prob, by=by)
