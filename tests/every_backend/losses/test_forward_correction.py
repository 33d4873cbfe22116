"""Forward correction: its formula, its oracle, its minimizer, what it refuses."""

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy, value_and_grad
from scipy import optimize

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE
from keras_robust.calibration import AnalyticCalibration
from keras_robust.noise import (
    gamma_from_noise_rate,
    omission_matrix,
    pair_matrix,
    symmetric_matrix,
)

K = 5
RNG = np.random.default_rng(5)
LOGITS = RNG.normal(scale=3, size=(40, K)).astype("float32")
LABELS = RNG.integers(0, K, 40)
PROB = reference.softmax(LOGITS)
# Uneven, with zeros, no row or column like another.
UNEVEN = np.array(
    [
        [0.9, 0.1, 0.0, 0.0, 0.0],
        [0.0, 0.6, 0.4, 0.0, 0.0],
        [0.2, 0.0, 0.5, 0.3, 0.0],
        [0.0, 0.0, 0.1, 0.8, 0.1],
        [0.25, 0.15, 0.0, 0.0, 0.6],
    ]
)
# Wrong labels drawn alike, whatever the true class: (Tᵀp)_y = β_y + (1 - B) p_y.
BETA = np.array([0.3, 0.0, 0.1, 1e-9, 0.05])
DRAWN = {
    "symmetric": symmetric_matrix(K, 0.4),
    "omission": omission_matrix(K, 0.3, background=2),
    "uneven": (1 - BETA.sum()) * np.eye(K) + BETA,
    "nearly chance": 1e-6 * np.eye(K) + (1 - 1e-6) * BETA / BETA.sum(),
    "none": np.eye(K),
}
MATRICES = {"any": UNEVEN, **DRAWN}
BASES = [
    None,
    GCE(q=0.7),
    GCE(q=1.0),
    SGCE(q=0.6, smoothing=0.2),
    SGCE(q=0.5, smoothing=0.0),
    GammaCE(gamma=0.1),
    GammaCE(gamma=0.2, b=0.3),
]


def label(base):
    return "CE" if base is None else "-".join(map(str, base.get_config().values()))[:16]


def of_logits(base):
    """The same loss for logits; None, which is cross entropy, stays."""
    return base and type(base).from_config({**base.get_config(), "from_logits": True})


def by_formula(base, p, y):
    """The base's cost in wide floats, given what is said of the labels."""
    p_y = np.take_along_axis(p, y[:, None], -1)[:, 0]
    if base is None:
        return -np.log(p_y)
    if isinstance(base, GammaCE):
        if base.b:
            return [reference.gated_integral(float(x), base.gamma, base.b) for x in p_y]
        return reference.gamma_ce(p_y, base.gamma)
    if isinstance(base, SGCE):
        return reference.sgce(p, y, base.q, base.smoothing)
    if isinstance(base, SCE):
        return reference.sce(p, y, base.alpha, base.beta)
    if isinstance(base, NCERCE):
        return reference.ncerce(p, y, base.alpha, base.beta)
    return reference.gce(np.maximum(p_y, base.cutoff), base.q)


MORE = [GCE(q=3.0, cutoff=0.1), SCE(alpha=0.5), NCERCE(alpha=2.0)]


@pytest.mark.parametrize(
    ("base", "noise"),
    [(base, noise) for base in BASES for noise in MATRICES]
    + [(base, noise) for base in MORE for noise in ("any", "uneven")],
    ids=lambda x: x if isinstance(x, str) else label(x),
)
def test_it_is_the_base_of_the_noisy_predictions(base, noise):
    matrix = MATRICES[noise]
    loss = ForwardCorrection(
        matrix, of_logits(base), from_logits=True, reduction="none"
    )
    expected = np.asarray(by_formula(base, PROB @ matrix, LABELS), "float64")
    change = np.abs(expected - np.asarray(by_formula(base, PROB, LABELS))).max()
    assert change > 0.1 or noise == "none"
    np.testing.assert_allclose(to_numpy(loss(LABELS, LOGITS)), expected, 1e-5, 2e-7)


def test_a_class_that_is_ruled_out_has_no_gradient_whatever_the_base():
    # Nothing else is given its label, so that this one cannot be given either.
    matrix = [[1.0, 0.0, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]]
    z = np.array([[-1.0, 1.0, -np.inf], [-1.0, 2.0, -np.inf]], "float32")
    for base in (
        NCERCE(from_logits=True),
        SGCE(from_logits=True),
        GCE(from_logits=True),
    ):
        loss = ForwardCorrection(matrix, base)
        for labels in ([0, 1], [0, 2]):
            value, grad = value_and_grad(lambda z, f=loss, y=labels: f(y, z), z)
            assert np.isfinite(value)
            assert np.isfinite(grad).all(), label(base)
            assert (grad[:, 2] == 0).all()


@pytest.mark.parametrize("noise", ["any", "uneven"])
@pytest.mark.parametrize("base", BASES, ids=label)
def test_probabilities_are_taken_as_they_are(base, noise):
    # Not made to sum to 1, on which the logarithm for logits relies.
    half = (PROB / 2).astype("float32")
    loss = ForwardCorrection(MATRICES[noise], base, reduction="none")
    expected = np.asarray(by_formula(base, half @ MATRICES[noise], LABELS), "float64")
    np.testing.assert_allclose(to_numpy(loss(LABELS, half)), expected, 1e-5)


@pytest.mark.parametrize("base", BASES, ids=label)
def test_a_batch_of_no_rows_costs_nothing(base):
    loss = ForwardCorrection(UNEVEN, of_logits(base), from_logits=True)
    assert float(loss(LABELS[:0], LOGITS[:0])) == 0


@pytest.mark.parametrize("noise", ["any", "uneven"])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("base", BASES, ids=label)
def test_gradients_are_finite_differences_in_float64(float64, base, from_logits, noise):
    read = of_logits(base) if from_logits else base
    loss = ForwardCorrection(
        MATRICES[noise], read, from_logits=from_logits, dtype="float64"
    )
    x = np.asarray(LOGITS if from_logits else 0.5 * PROB + 0.5 / K, "float64")[:5]
    _, grad = value_and_grad(lambda z: loss(LABELS[:5], z), x, dtype="float64")
    rows = type(loss).from_config({**loss.get_config(), "reduction": "none"})

    def costs(x):
        return to_numpy(rows(np.repeat(LABELS[:5], x.shape[1]), x))

    expected = reference.slopes(costs, x) / len(x)
    np.testing.assert_allclose(grad, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("noise", DRAWN)
def test_where_labels_are_drawn_alike_extreme_logits_cost_what_they_should(
    noise, dtype
):
    # By the definition in wide floats: for q = Tᵀp, the slope of -log q_y by z_k is
    # -p_k (T_ky - q_y) / q_y, and T_ky - q_y = sum_i p_i (T_ky - T_iy).
    matrix = DRAWN[noise].astype(reference.WIDE)
    spread = [z * (2 * np.eye(K) - 1) for z in (5e3, 40.0, 8.0, 1.0)]
    z = np.concatenate([*spread, 1e4 * np.eye(K), -1e4 * np.ones((1, K))])
    rtol = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2}[dtype]
    p = reference.softmax(z)
    how = {"from_logits": True, "dtype": dtype, "reduction": "none"}
    loss = ForwardCorrection(DRAWN[noise], **how)
    for y in range(K):
        q = p @ matrix[:, y]
        slopes = -p * (p @ np.subtract.outer(matrix[:, y], matrix[:, y]).T) / q[:, None]
        labels = [y] * len(z)
        costs = to_numpy(loss(labels, keras.ops.convert_to_tensor(z, dtype=dtype)))
        np.testing.assert_allclose(costs, -np.log(q).astype(float), rtol, 1e-7)
        _, grad = value_and_grad(
            lambda z, labels=labels: keras.ops.sum(loss(labels, z)), z, dtype=dtype
        )
        np.testing.assert_allclose(grad, slopes.astype(float), rtol, 2e-7)


@pytest.mark.parametrize("base", BASES, ids=label)
@pytest.mark.parametrize("noise", DRAWN)
def test_the_short_way_ends_where_the_general_one_does(noise, base):
    short, general = (
        ForwardCorrection(DRAWN[noise], of_logits(base), from_logits=True)
        for _ in range(2)
    )
    assert short._drawn is not None
    general._drawn = None
    ours = value_and_grad(lambda z: short(LABELS, z), LOGITS)
    theirs = value_and_grad(lambda z: general(LABELS, z), LOGITS)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-8)


def test_where_a_label_says_what_is_not_true_it_is_as_anywhere():
    # 1 - B = -.2: a class is given its own label less often than any other.
    matrix = symmetric_matrix(K, 0.96)
    loss = ForwardCorrection(matrix, from_logits=True, reduction="none")
    noisy = (PROB @ matrix)[np.arange(40), LABELS]
    expected = -np.log(noisy).astype("float64")
    np.testing.assert_allclose(to_numpy(loss(LABELS, LOGITS)), expected, 1e-5)


def test_a_matrix_cannot_be_exchanged():
    loss = ForwardCorrection(UNEVEN)
    with pytest.raises(AttributeError, match="matrix"):
        loss.matrix = np.eye(K)


@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.2, 0.6, 0.79])
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_for_symmetric_noise_cross_entropy_becomes_gamma_ce(rate, scale):
    # (Tᵀp)_y = r/(K-1) + (1 - r - r/(K-1)) p_y = (1 - r) (γ + (1 - γ) p_y), with
    # γ = r/((K-1)(1-r)), so -log of it is -log(1 - r) + (1 - γ) GammaCE.
    gamma = gamma_from_noise_rate(K, rate)
    corrected = ForwardCorrection(symmetric_matrix(K, rate), from_logits=True)
    oracle = GammaCE(gamma=gamma, from_logits=True)
    z = scale * LOGITS
    value, grad = value_and_grad(lambda z: corrected(LABELS, z), z)
    other, slope = value_and_grad(lambda z: oracle(LABELS, z), z)
    expected = (1 - gamma) * other - np.log1p(-rate)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(grad, (1 - gamma) * slope, rtol=2e-5, atol=1e-9)
    assert np.abs(grad).max() > 1e-4


@pytest.mark.parametrize("base", BASES, ids=label)
def test_without_noise_it_is_its_base(base):
    corrected = ForwardCorrection(np.eye(K), of_logits(base), from_logits=True)
    bare = of_logits(base) or GCE(q=0.0, from_logits=True)
    ours = value_and_grad(lambda z: corrected(LABELS, z), LOGITS)
    theirs = value_and_grad(lambda z: bare(LABELS, z), LOGITS)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("base", [None, SGCE(q=0.0, smoothing=0.1)], ids=label)
def test_a_label_that_only_unlikely_classes_are_given_costs_what_it_should(base, soft):
    # Class 0 is never labelled 2. With p = (1, e^-200, e^-300) label 2 has the
    # probability .3 e^-200 + .7 e^-300, far below what float32 holds.
    matrix = pair_matrix(3, 0.3)
    z = np.array([[0.0, -200.0, -300.0]])
    loss = ForwardCorrection(matrix, of_logits(base), from_logits=True)
    target = np.array([[0, 0, 1.0]], "float32") if soft else [2]
    value, grad = value_and_grad(lambda z: loss(target, z), z)
    hard = 200 - np.log(0.3)
    # Smoothing weighs labels 0 and 1 by .05, of probabilities .7 and .3.
    expected = 0.9 * hard - 0.05 * (np.log(0.7) + np.log(0.3)) if base else hard
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    pull = 0.9 if base else 1.0
    np.testing.assert_allclose(grad, [[pull, -pull, 0]], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("base", BASES, ids=label)
def test_with_zeros_in_the_matrix_extreme_logits_are_finite(base, dtype):
    loss = ForwardCorrection(UNEVEN, of_logits(base), from_logits=True, dtype=dtype)
    z = 1e4 * np.concatenate([2 * np.eye(K) - 1, -np.ones((1, K)), np.eye(K)])
    for y in range(K):
        value, grad = value_and_grad(lambda z, y=y: loss([y] * 11, z), z, dtype=dtype)
        assert np.isfinite(value)
        assert np.isfinite(grad).all()
    prob = np.eye(K, dtype="float32")
    given_prob = ForwardCorrection(UNEVEN, base)
    for y in range(K):
        value, grad = value_and_grad(lambda p, y=y: given_prob([y] * K, p), prob)
        assert np.isfinite(value)
        assert np.isfinite(grad).all()


def test_a_label_that_the_logits_rule_out_costs_as_in_cross_entropy():
    # Only classes 0 and 1 are given label 1 here, and both are impossible.
    matrix = pair_matrix(3, 0.3)
    z = np.array([[-np.inf, -np.inf, 0.0]], "float32")
    loss = ForwardCorrection(matrix, from_logits=True)
    assert float(loss([1], z)) == np.inf
    np.testing.assert_allclose(float(loss([0], z)), -np.log(0.3), rtol=1e-6)
    gce = ForwardCorrection(matrix, GCE(q=0.5, from_logits=True))
    np.testing.assert_allclose(float(gce([1], z)), 2.0, rtol=1e-6)
    # Where 0 is what is drawn, 0 for 2 costs -log .3, and 1 for 2 cannot be.
    omission = ForwardCorrection(omission_matrix(3, 0.3), from_logits=True)
    assert float(omission([1], z)) == np.inf
    value, grad = value_and_grad(lambda z: omission([0], z), z)
    np.testing.assert_allclose(value, -np.log(0.3), rtol=1e-6)
    np.testing.assert_array_equal(grad, 0)


def test_an_impossible_class_leaves_the_others_to_explain_the_label():
    z = LOGITS.copy()
    z[:, 2] = -np.inf
    loss = ForwardCorrection(UNEVEN, from_logits=True)
    value, grad = value_and_grad(lambda z: loss(LABELS, z), z)
    p_y = (reference.softmax(z) @ UNEVEN)[np.arange(40), LABELS]
    np.testing.assert_allclose(value, -np.log(p_y).mean(), rtol=1e-5)
    assert np.isfinite(grad).all()
    assert (grad[:, 2] == 0).all()


# --- What it makes a model believe ------------------------------------------------

POSTERIORS = np.concatenate(
    [RNG.dirichlet(np.full(K, a), 4) for a in (20.0, 1.0, 0.3)]
    + [np.eye(K)[:1], 0.9 * np.eye(K)[3:4] + 0.1 / K]
)


def expected_loss(base, posterior, p):
    costs = [by_formula(base, p[None], np.array([y]))[0] for y in range(K)]
    return float(posterior @ np.asarray(costs, "float64"))


@pytest.mark.parametrize("base", BASES, ids=label)
def test_the_minimizer_has_the_least_expected_loss(base):
    loss = ForwardCorrection(UNEVEN, base)
    found = loss.minimizer(POSTERIORS)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-12)
    rng = np.random.default_rng(0)
    for posterior, p in zip(POSTERIORS, found):
        least = expected_loss(base, posterior, np.maximum(p @ UNEVEN, 1e-15))
        others = [*np.eye(K), *rng.dirichlet(np.full(K, 0.5), 20)]
        for step in (1e-3, 0.3):
            for other in others:
                near = ((1 - step) * p + step * other) @ UNEVEN
                near = np.maximum(near, 1e-15)
                assert expected_loss(base, posterior, near) > least - 1e-6


def test_the_minimizer_is_the_one_found_numerically():
    loss = ForwardCorrection(UNEVEN, GCE(q=0.5))
    for posterior in POSTERIORS[4:8]:
        found = optimize.minimize(
            lambda p, t=posterior: t @ ((1 - np.sqrt(p @ UNEVEN)) / 0.5),
            np.full(K, 1 / K),
            method="SLSQP",
            bounds=[(1e-9, 1)] * K,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        np.testing.assert_allclose(loss.minimizer(posterior), found.x, atol=1e-4)


@pytest.mark.parametrize(
    "base",
    [None, GCE(q=0.0), GammaCE(gamma=0.0), SGCE(q=0.0, smoothing=0.0)],
    ids=label,
)
def test_corrected_cross_entropy_believes_the_clean_posterior(base):
    loss = ForwardCorrection(UNEVEN, base)
    noisy = POSTERIORS @ UNEVEN
    np.testing.assert_allclose(loss.minimizer(noisy), POSTERIORS, atol=1e-9)
    np.testing.assert_allclose(loss.posterior(POSTERIORS), noisy, atol=1e-12)
    shaped = loss.minimizer(noisy.reshape(2, 7, K))
    np.testing.assert_allclose(shaped, POSTERIORS.reshape(2, 7, K), atol=1e-9)


@pytest.mark.parametrize(
    "base",
    [GCE(q=0.3), SGCE(q=0.3, smoothing=0.1), GammaCE(gamma=0.1, b=0.2), SCE(1.0)],
    ids=label,
)
def test_the_posterior_is_the_inverse_of_the_minimizer(base):
    # From posteriors whose minimizer the matrix can make, so that nothing is lost.
    loss = ForwardCorrection(UNEVEN, base)
    clean = 0.8 * POSTERIORS + 0.2 / K
    noisy = base.posterior(clean @ UNEVEN)
    np.testing.assert_allclose(loss.minimizer(noisy), clean, atol=1e-9)
    np.testing.assert_allclose(loss.posterior(clean), noisy, atol=1e-9)
    logits = np.log(clean) + 3.0
    np.testing.assert_allclose(loss.posterior(logits, from_logits=True), noisy)


def test_a_matrix_that_mixes_two_classes_still_has_a_minimizer():
    # Classes 0 and 1 are labelled alike: what they share stays, how is arbitrary. No p
    # makes these labels; the nearest in squares has another loss than the best.
    matrix = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    posterior = np.array([0.5, 0.02, 0.48])
    p = ForwardCorrection(matrix).minimizer(posterior)
    share = np.linspace(0, 1, 100_001)[:, None]
    loss = -np.log((1 - share) * matrix[0] + share * matrix[2]) @ posterior
    np.testing.assert_allclose(p[2], share[loss.argmin(), 0], atol=1e-3)
    assert (p >= 0).all()


def test_a_posterior_that_the_base_loses_is_an_error():
    with pytest.raises(ValueError, match="GCE: `q` must be below 1"):
        ForwardCorrection(UNEVEN, GCE(q=1.0)).posterior(POSTERIORS)


def test_analytic_calibration_leaves_corrected_cross_entropy_as_it_is():
    loss = ForwardCorrection(UNEVEN, from_logits=True)
    found = AnalyticCalibration(loss, UNEVEN).transform(POSTERIORS[:12])
    np.testing.assert_allclose(found, POSTERIORS[:12], atol=1e-9)


# --- Arguments and configuration --------------------------------------------------


def test_the_base_says_how_labels_and_predictions_are_read(float64):
    how = {"from_logits": True, "ignore_class": 1, "axis": 0}
    base = GCE(q=0.4, **how, reduction="sum", dtype="float64")
    loss = ForwardCorrection(UNEVEN, base)
    config = loss.get_config()
    expected = {**how, "reduction": "sum", "dtype": "float64"}
    assert {name: config[name] for name in expected} == expected
    counted = LABELS != 1
    p_y = (PROB @ UNEVEN)[np.arange(40), LABELS][counted]
    total = ((1 - p_y**0.4) / 0.4).sum()
    np.testing.assert_allclose(float(loss(LABELS, LOGITS.T)), total, rtol=1e-5)
    for said in ({}, how):
        assert ForwardCorrection(UNEVEN, base, **said).get_config() == config


def test_a_base_without_an_ignored_label_leaves_none_out():
    base = GCE(q=0.4, ignore_class=None)
    assert ForwardCorrection(UNEVEN, base).ignore_class is None
    ignored, prob = np.full(40, -100), PROB.astype("float32")
    assert np.isnan(float(ForwardCorrection(UNEVEN, base)(ignored, prob)))
    assert float(ForwardCorrection(UNEVEN, GCE(q=0.4))(ignored, prob)) == 0


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("from_logits", True),
        ("ignore_class", 0),
        ("ignore_class", None),
        ("axis", 1),
    ],
)
def test_a_contradiction_of_the_base_raises(argument, value):
    match = f"ForwardCorrection: `{argument}` must be that of `base`"
    with pytest.raises(ValueError, match=match):
        ForwardCorrection(UNEVEN, GCE(q=0.4), **{argument: value})
    base = GCE(q=0.4, **{argument: value})
    default = GCE().get_config()[argument]
    with pytest.raises(ValueError, match=match):
        ForwardCorrection(UNEVEN, base, **{argument: default})


def test_what_comes_out_is_that_of_the_base_unless_said_otherwise():
    base = GCE(q=0.4, reduction="none", dtype="float64")
    loss = ForwardCorrection(UNEVEN, base, reduction="sum", dtype="float16")
    assert (loss.reduction, loss.dtype) == ("sum", "float16")
    assert ForwardCorrection(UNEVEN, base, reduction=None).reduction in (None, "none")
    bare = ForwardCorrection(UNEVEN)
    assert (bare.reduction, bare.dtype) == ("sum_over_batch_size", "float32")
    assert bare.ignore_class == bare.base.ignore_class == -100


def test_one_output_is_two_classes():
    matrix = [[0.9, 0.1], [0.3, 0.7]]
    loss = ForwardCorrection(matrix, from_logits=True)
    # p = (.5, .5), so the labels have .6 and .4.
    np.testing.assert_allclose(float(loss([1], [[0.0]])), -np.log(0.4), rtol=1e-6)
    np.testing.assert_allclose(float(loss([0], [[0.0]])), -np.log(0.6), rtol=1e-6)


@pytest.mark.parametrize("base", BASES, ids=label)
def test_a_configuration_holds_matrix_and_base_in_plain_python(base):
    loss = ForwardCorrection(UNEVEN.astype("float32"), base, name="mine")
    config = loss.get_config()
    names = {"from_logits", "ignore_class", "axis", "reduction", "name", "dtype"}
    assert set(config) == {"matrix", "base", *names}
    assert type(config["matrix"]) is list
    assert {type(x) for row in config["matrix"] for x in row} == {float}
    prob = PROB.astype("float32")
    expected = float(loss(LABELS, prob))
    for copy in [
        ForwardCorrection.from_config(config),
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(loss), safe_mode=True
        ),
    ]:
        assert float(copy(LABELS, prob)) == expected
        assert copy.get_config() == config
        assert type(copy.base) is type(base or GCE())
        np.testing.assert_array_equal(copy.matrix, loss.matrix)


@pytest.mark.parametrize(
    ("matrix", "base", "error", "match"),
    [
        (np.eye(1), None, ValueError, "`matrix` must be square"),
        (np.ones(3), None, ValueError, "`matrix` must be square"),
        ([[0.5, 0.6], [0.5, 0.5]], None, ValueError, "rows summing to 1"),
        ([[np.nan, 1.0], [0, 1]], None, ValueError, "of probabilities"),
        ([[1, 0], [1, 0]], None, ValueError, r"nothing but zeros in column \[1\]"),
        (GCE(), UNEVEN, TypeError, "`matrix` must be a transition matrix.*first"),
        (UNEVEN, GCE, TypeError, "`base` must be a GCE, SGCE, GammaCE"),
        (UNEVEN, "gce", TypeError, "`base` must be"),
        (UNEVEN, keras.losses.MeanSquaredError(), TypeError, "`base` must be"),
        (UNEVEN, ForwardCorrection(UNEVEN), TypeError, "`base` must be"),
    ],
)
def test_bad_arguments_raise(matrix, base, error, match):
    with pytest.raises(error, match=f"ForwardCorrection: {match}|{match}"):
        ForwardCorrection(matrix, base)


def test_another_number_of_classes_raises():
    loss = ForwardCorrection(UNEVEN, from_logits=True)
    for classes in (1, 4, 6):
        with pytest.raises(ValueError, match="`y_pred` must be of the 5 classes"):
            loss([0], np.zeros((1, classes), "float32"))
    with pytest.raises(ValueError, match="`posterior` must be of the 5 classes"):
        loss.minimizer([0.5, 0.5])
    with pytest.raises(ValueError, match="`y_prob` must be of the 5 classes"):
        loss.posterior([0.5, 0.5])


def test_a_configuration_may_leave_out_what_has_a_default():
    matrix = [[0.9, 0.1], [0.2, 0.8]]
    loss = ForwardCorrection.from_config({"matrix": matrix})
    assert loss.base.get_config() == GCE(q=0.0).get_config()


def test_the_smoothing_of_the_base_may_change():
    matrix = symmetric_matrix(3, 0.3)
    base = SGCE(q=0.5, smoothing=0.0, from_logits=True)
    loss = ForwardCorrection(matrix, base)
    logits = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]], "float32")
    loss(np.array([0, 2]), logits)
    loss.base.smoothing = 0.2
    base = SGCE(q=0.5, smoothing=0.2, from_logits=True)
    made = ForwardCorrection(matrix, base)
    value = float(loss(np.array([0, 2]), logits))
    assert value == pytest.approx(float(made(np.array([0, 2]), logits)), rel=1e-6)
