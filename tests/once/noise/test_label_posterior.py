"""Soft targets from a model, the given label, and rows that were looked at again."""

import numpy as np
import pytest
from scipy import optimize, special

from keras_robust.noise import LabelPosterior, flip_labels, omission_matrix

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
    ],
)
def test_bad_input_says_what_is_wrong(call, error, words):
    with pytest.raises(error, match=f"LabelPosterior: .*{words}"):
        call()


def fitted(true=(0, 1, 2), y_prob=None):
    y_prob = np.full((3, K), 1 / K) if y_prob is None else y_prob
    return LabelPosterior(MATRIX).fit([0, 1, 2], true, y_prob)
