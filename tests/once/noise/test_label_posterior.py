"""Soft targets from a model, the given label, and rows that were looked at again."""

import numpy as np
import pytest
from scipy import optimize, special

from keras_robust.noise import (
    LabelPosterior,
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


def test_each_kind_of_rows_has_a_matrix_and_weights_of_its_own():
    given, true, logits = rows(240)
    kind = np.where(np.arange(240) % 3 > 0, "upper", "lower")
    given = np.where((kind == "upper") & (true == 1), 2, given)  # a habit of one kind
    ignored = np.where(np.arange(240) % 7 == 3, -100, given)
    shaped = [x.reshape(40, 6, *x.shape[1:]) for x in (ignored, true, logits, kind)]
    made = LabelPosterior(from_logits=True)
    made.fit(*shaped[:3], by=shaped[3])
    soft = made.transform(shaped[0], shaped[2], by=shaped[3]).reshape(240, K)
    for name in ("lower", "upper"):
        here = (kind == name) & (ignored != -100)
        alone = LabelPosterior(from_logits=True).fit(
            given[here], true[here], logits[here]
        )
        assert made.model_weight_[name] == alone.model_weight_
        assert made.label_weight_[name] == alone.label_weight_
        np.testing.assert_array_equal(made.class_bias_[name], alone.class_bias_)
        np.testing.assert_array_equal(made.matrix_[name], alone.matrix_)
        np.testing.assert_array_equal(
            soft[here], alone.transform(given[here], logits[here])
        )
        assert f"{name}: matrix of 4 classes, model_weight=" in repr(made)
    assert (soft[ignored == -100] == -100).all()
    # Flat as well, and whatever the kind where nothing counts.
    flat = np.where(ignored == -100, "padding", kind)
    again = made.transform(shaped[0], shaped[2], by=flat).reshape(240, K)
    np.testing.assert_array_equal(again, soft)
    with pytest.raises(ValueError, match="read-only"):
        made.class_bias_["lower"] += 1
    assert made.matrix_["upper"][1, 2] > 0.5 > 0.2 > made.matrix_["lower"][1, 2]


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
            lambda: fitted(by=["a", "a", "b"], weight=[1, 1, 0]),
            ValueError,
            "`sample_weight` must be above 0 for some row of each kind.*only 0 for b",
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
        (
            lambda: fitted(by=["a", "b", "b"]).transform([0], FLAT, by=["c"]),
            ValueError,
            r"`by` must be one of \['a', 'b'\]. Received: c",
        ),
    ],
)
def test_bad_input_says_what_is_wrong(call, error, words):
    with pytest.raises(error, match=f"LabelPosterior: .*{words}"):
        call()


FLAT = np.full((1, K), 1 / K)


def fitted(true=(0, 1, 2), y_prob=None, by=None, weight=None):
    y_prob = np.tile(FLAT, (3, 1)) if y_prob is None else y_prob
    made, options = LabelPosterior(MATRIX), {"by": by, "sample_weight": weight}
    return made.fit([0, 1, 2], true, y_prob, **options)
