"""Each loss against its formula, its limits and its gradient."""

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy, value_and_grad

from keras_robust import GCE, NCERCE, SCE, SGCE, GammaCE

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(scale=3, size=(64, 7)).astype("float32")
LABELS = RNG.integers(0, 7, 64)
PROB = reference.softmax(LOGITS)
P_Y = np.take_along_axis(PROB, LABELS[:, None], -1)[:, 0]
UNIT = [0.0, 1e-300, 1e-12, 1e-6, 1e-3, 0.1, 0.5, 0.7, 0.9, 1 - 1e-6, 1 - 1e-12, 1.0]
ENDS = [0.0, 1.0]


def positions(loss):
    return to_numpy(loss(LABELS, LOGITS))


def per_position(cls, **kwargs):
    return cls(from_logits=True, reduction="none", **kwargs)


@pytest.mark.parametrize("q", [*UNIT, 3.0, 10.0])
def test_gce_is_its_formula(q):
    # Near q = 0, 1 - p^q cancels even in long double: there cross entropy is right to
    # a factor 1 + q log(p) / 2.
    expected = reference.gce(P_Y, q if q > 1e-8 else 0)
    loss = per_position(GCE, q=q)
    np.testing.assert_allclose(positions(loss), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("q", [0.0, 0.7, 3.0])
def test_below_a_cutoff_gce_is_what_it_is_there_and_has_no_gradient(q):
    for cutoff in (1e-12, 0.05, 0.5):
        loss, below = per_position(GCE, q=q, cutoff=cutoff), cutoff > P_Y
        expected = reference.gce(np.maximum(P_Y, cutoff), q)
        np.testing.assert_allclose(positions(loss), expected, rtol=1e-5, atol=1e-7)
        _, grad = value_and_grad(lambda z, loss=loss: of_sum(loss)(LABELS, z), LOGITS)
        weight = np.where(below, 0, P_Y**q)[:, None]
        expected = weight * (PROB - np.eye(7)[LABELS])
        np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-7)
        assert (grad[below] == 0).all()
        assert below.any() == (cutoff > 1e-12)


def test_at_its_cutoff_gce_has_the_whole_gradient(float64):
    # d cost / d log p = -p^q, not half of it.
    log_p, loss = np.log([0.2, 0.5, 0.8]), GCE(q=0.5, cutoff=0.5, dtype="float64")
    _, grad = value_and_grad(
        lambda u: keras.ops.sum(loss.label_cost(u)), log_p, dtype="float64"
    )
    np.testing.assert_allclose(grad, [0, -(0.5**0.5), -(0.8**0.5)], rtol=1e-12)


def test_a_q_of_10_is_finite_where_its_power_is_not():
    z = np.array([[1e4, -1e4, 0.0], [0.0, 30.0, -1e4]])
    loss = GCE(q=10.0, from_logits=True)
    for labels in ([1, 0], np.eye(3)[[1, 0]]):
        value, grad = value_and_grad(lambda z, y=labels: loss(y, z), z)
        np.testing.assert_allclose(value, 0.1, rtol=1e-6)
        assert (grad == 0).all()


def test_sce_of_nothing_at_all_is_an_error():
    with pytest.raises(ValueError, match="`beta` must be above 0 where `alpha` is 0"):
        SCE(alpha=0.0, beta=0.0)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 1), (6, 0.1), (2, 0), (0, 0.5)])
def test_sce_is_its_formula(alpha, beta):
    loss = per_position(SCE, alpha=alpha, beta=beta)
    expected = reference.sce(PROB, LABELS, alpha, beta)
    np.testing.assert_allclose(positions(loss), expected, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (10, 0.1), (0, 0.5)])
def test_ncerce_is_its_formula(alpha, beta):
    loss = per_position(NCERCE, alpha=alpha, beta=beta)
    expected = reference.ncerce(PROB, LABELS, alpha, beta)
    np.testing.assert_allclose(positions(loss), expected, rtol=1e-5, atol=2e-7)


def test_a_label_that_is_ruled_out_has_all_of_the_normalised_cross_entropy():
    z = np.array([[0.0, -np.inf, 1.0], [0.0, 2.0, -np.inf]])
    loss = NCERCE(alpha=0.5, from_logits=True, reduction="sum")
    for labels in ([1, 2], np.eye(3)[[1, 2]]):
        value, grad = value_and_grad(lambda z, y=labels: loss(y, z), z)
        np.testing.assert_allclose(value, 2 * (0.5 + 4), rtol=1e-6)
        assert np.abs(grad).max() < 1e-30


def test_dynamic_fine_tuning_has_the_gradient_of_gce_at_q_1():
    def dft(z):
        log_p = keras.ops.log_softmax(z, axis=-1)
        log_p = keras.ops.take_along_axis(log_p, LABELS[:, None], axis=-1)
        return keras.ops.mean(-keras.ops.stop_gradient(keras.ops.exp(log_p)) * log_p)

    loss = GCE(q=1.0, from_logits=True)
    value, expected = value_and_grad(dft, LOGITS)
    ours, grad = value_and_grad(lambda z: loss(LABELS, z), LOGITS)
    np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-8)
    assert np.abs(grad).max() > 1e-3
    assert value < ours / 2  # -p log p is small for what is hard as well


@pytest.mark.parametrize("q", UNIT)
def test_sgce_is_its_formula(q):
    for smoothing in (0.0, 1e-12, 1e-3, 0.1, 0.5, 0.999):
        expected = reference.sgce(PROB, LABELS, q if q > 1e-8 else 0, smoothing)
        found = positions(per_position(SGCE, q=q, smoothing=smoothing))
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6, err_msg=f"{smoothing=}")


@pytest.mark.parametrize("gamma", UNIT)
def test_gamma_ce_is_its_formula(gamma):
    expected = reference.gamma_ce(P_Y, gamma)
    if 1 > gamma > 1 - 1e-8:  # the limit 1 - p, right to a factor (1 - gamma)
        expected = reference.gamma_ce(P_Y, 1)
    loss = per_position(GammaCE, gamma=gamma)
    np.testing.assert_allclose(positions(loss), expected, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("b", [0.0, 1e-6, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 1e-7, 0.1, 0.8, 1.0])
def test_the_gated_value_is_the_integral_of_the_gated_gradient(gamma, b):
    p_y = [1e-12, 1e-5, 0.01, 0.1, 0.4, 0.9, 0.999]
    expected = [reference.gated_integral(p, gamma, b) for p in p_y]
    probabilities = np.stack([p_y, 1 - np.asarray(p_y)], -1)
    loss = GammaCE(gamma=gamma, b=b, reduction="none")
    values = to_numpy(loss(np.zeros(7, int), probabilities.astype("float32")))
    np.testing.assert_allclose(values, expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("b", [0.0, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 1e-7, 0.1, 0.8, 1.0])
def test_the_stop_gradient_value_is_the_weight_times_cross_entropy(gamma, b):
    expected = -reference.gamma_weight(P_Y, gamma, b) * np.log(P_Y)
    loss = per_position(GammaCE, gamma=gamma, b=b, stop_gradient=True)
    np.testing.assert_allclose(positions(loss), expected, rtol=1e-5, atol=1e-7)


def test_the_gated_value_grows_as_the_probability_falls():
    p_y = np.geomspace(1e-9, 1, 2001)
    probabilities = np.stack([p_y, 1 - p_y], -1).astype("float32")
    loss = GammaCE(gamma=0.1, b=0.3, reduction="none")
    values = to_numpy(loss(np.zeros(len(p_y), int), probabilities))
    assert (np.diff(values) <= 1e-7).all()
    assert np.abs(np.diff(values)).max() < 0.02  # no jump at the gate


# The weight that each loss gives to a label, as a function of its probability.
WEIGHTS = [
    (GCE(q=0.0, from_logits=True), lambda p: np.ones_like(p)),
    (GCE(q=1e-9, from_logits=True), lambda p: np.ones_like(p)),
    (GCE(q=0.3, from_logits=True), lambda p: p**0.3),
    (GCE(q=1.0, from_logits=True), lambda p: p),
    (GCE(q=2.0, from_logits=True), lambda p: p**2),
    (GCE(q=0.3, cutoff=1e-4, from_logits=True), lambda p: p**0.3 * (p > 1e-4)),
    (SCE(from_logits=True), lambda p: 0.1 + 4 * p),
    (SGCE(q=0.3, smoothing=0.0, from_logits=True), lambda p: p**0.3),
    *(
        (
            GammaCE(gamma=g, b=b, stop_gradient=stop, from_logits=True),
            lambda p, g=g, b=b: reference.gamma_weight(p, g, b),
        )
        for g in (0.0, 1e-7, 0.1, 0.8, 1 - 1e-7, 1.0)
        for b in (0.0, 1e-4, 0.3, 1.0)
        for stop in (False, True)
    ),
]


def of_sum(loss):
    """The same loss of each position, added up: a gradient for each row of its own."""
    return type(loss).from_config({**loss.get_config(), "reduction": "sum"})


@pytest.mark.parametrize(("loss", "weight"), WEIGHTS)
def test_the_weight_of_a_label_is_right_however_hard_it_is(loss, weight):
    # Two classes, p_y = e^log_p: d loss / d z_other = weight(p_y) * (1 - p_y).
    log_p = np.array([-40.0, -20.0, -5.0, -1.0, -0.1])
    gap = (-log_p + np.log1p(-np.exp(log_p))).astype("float32")
    z = np.stack([np.zeros(5), gap], -1)
    _, grad = value_and_grad(lambda z: of_sum(loss)(np.zeros(5, int), z), z)
    p_y = 1 / (1 + np.exp(gap.astype(np.longdouble)))
    expected = weight(p_y) * (1 - p_y)
    # float32 holds -log p = 40 to 2e-6, and e^-40 inherits that.
    np.testing.assert_allclose(grad, np.stack([-expected, expected], -1), rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "cost"),
    [
        (per_position(GCE, q=0.7), lambda p: reference.gce(p, 0.7)),
        (per_position(GCE, q=1.0), lambda p: 1 - p),
        (per_position(SCE), lambda p: 4 * (1 - p) - 0.1 * np.log(p)),
        (
            per_position(NCERCE),
            lambda p: 4 * (1 - p) + np.log(p) / (np.log(p) + np.log1p(-p)),
        ),
        (per_position(GammaCE, gamma=0.1), lambda p: reference.gamma_ce(p, 0.1)),
        (per_position(GammaCE, gamma=1e-9), lambda p: reference.gamma_ce(p, 1e-9)),
    ],
)
def test_the_value_of_a_hard_label_is_right(loss, cost):
    log_p = np.array([-40.0, -10.0, -1e-3])
    gap = (-log_p + np.log(-np.expm1(log_p))).astype("float32")
    p_y = 1 / (1 + np.exp(gap.astype(np.longdouble)))
    value = to_numpy(loss(np.zeros(3, int), np.stack([np.zeros_like(gap), gap], -1)))
    np.testing.assert_allclose(value, cost(p_y).astype(float), rtol=1e-4)


EASY = [
    (GCE(q=0.0, from_logits=True), lambda p: -np.log(p)),
    (GCE(q=0.7, from_logits=True), lambda p: reference.gce(p, 0.7)),
    (GCE(q=10.0, cutoff=0.1, from_logits=True), lambda p: reference.gce(p, 10)),
    *(
        (
            GammaCE(gamma=g, b=b, from_logits=True),
            lambda p, g=g: reference.gamma_ce(p, g),
        )
        for g in (1e-7, 0.1, 0.5, 0.9, 1.0)
        for b in (0.0, 0.3)
    ),
]


@pytest.mark.parametrize(("loss", "cost"), EASY)
def test_the_value_of_an_easy_label_is_right(loss, cost):
    # A single logit, so that 1 - p_y is there to the last digit. 1 - p = x is taken
    # by hand, and the cost from its series where p rounds to 1: cost = x + O(x^2).
    z, ones = np.array([[5.0], [14.0], [20.0], [80.0]]), np.ones(4, int)
    costs = type(loss).from_config({**loss.get_config(), "reduction": "none"})
    value = to_numpy(costs(ones, z))
    _, grad = value_and_grad(lambda z: of_sum(loss)(ones, z), z)
    x = np.exp(-np.longdouble(z)) / (1 + np.exp(-np.longdouble(z)))
    sure = z >= 14
    expected = np.where(sure, x, cost(1 - x)).astype(float)
    np.testing.assert_allclose(value, expected[:, 0], rtol=2e-5)
    slope = x * np.where(sure, 1, -_slope(cost, 1 - x) * (1 - x))
    np.testing.assert_allclose(grad, -slope.astype(float), rtol=2e-5)


def _slope(cost, p, step=1e-6):
    step = np.longdouble(step)
    return (cost(p + step) - cost(p - step)) / (2 * step)


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
def test_smoothing_keeps_the_pull_on_a_hard_label_right(q):
    # d loss / d z_y = p_y * sum_k w_k p_k^q - w_y p_y^q
    loss = SGCE(q=q, smoothing=0.1, from_logits=True, reduction="sum")
    z = np.array([[0.0, 10.0], [0.0, 20.0], [0.0, 40.0]])
    _, grad = value_and_grad(lambda z: loss(np.zeros(3, int), z), z)
    p, w = reference.softmax(z), np.array([0.9, 0.1])
    expected = p[:, 0] * (w * p**q).sum(-1) - w[0] * p[:, 0] ** q
    np.testing.assert_allclose(grad[:, 0], expected.astype(float), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("q", [0.0, 0.4, 1.0])
def test_the_sgce_gradient_is_that_of_its_formula(q, smoothing):
    # d loss / d z_j = p_j * sum_k w_k p_k^q - w_j p_j^q
    weight = np.full(PROB.shape, smoothing / 6)
    np.put_along_axis(weight, LABELS[:, None], 1 - smoothing, -1)
    pull = weight * PROB**q
    expected = PROB * pull.sum(-1, keepdims=True) - pull
    loss = SGCE(q=q, smoothing=smoothing, from_logits=True, reduction="sum")
    _, grad = value_and_grad(lambda z: loss(LABELS, z), LOGITS)
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize(
    "loss",
    [
        GCE(q=0.7),
        GCE(q=3.0, cutoff=0.1),
        SCE(),
        NCERCE(),
        SGCE(q=0.6, smoothing=0.2),
        SGCE(q=0.0, smoothing=0.2),
        GammaCE(gamma=0.2),
        GammaCE(gamma=0.2, b=0.4),
        GammaCE(gamma=0.9),
    ],
)
def test_gradients_are_finite_differences_in_float64(float64, loss, from_logits):
    config = {**loss.get_config(), "from_logits": from_logits, "dtype": "float64"}
    loss = type(loss).from_config(config)
    # Probabilities away from 0, where a step of 1e-6 is no small one.
    x = (LOGITS if from_logits else 0.5 * PROB + 0.5 / 7)[:5].astype("float64")
    _, grad = value_and_grad(lambda z: loss(LABELS[:5], z), x, dtype="float64")
    rows = type(loss).from_config({**loss.get_config(), "reduction": "none"})

    def costs(x):
        return to_numpy(rows(np.repeat(LABELS[:5], x.shape[1]), x))

    expected = reference.slopes(costs, x) / len(x)
    np.testing.assert_allclose(grad, expected, rtol=1e-6, atol=1e-9)


def test_float64_is_computed_in_float64(float64):
    loss = GCE(q=0.5, from_logits=True, dtype="float64")
    value = to_numpy(loss(LABELS, LOGITS.astype("float64")))
    np.testing.assert_allclose(value, reference.gce(P_Y, 0.5).mean(), rtol=1e-13)


@pytest.mark.parametrize(
    "loss",
    [
        GCE(q=0.0, from_logits=True),
        SCE(1.0, 0.0, from_logits=True),
        GammaCE(gamma=0.0, from_logits=True),
        GammaCE(gamma=0.0, b=0.5, from_logits=True),
        GammaCE(gamma=0.3, b=1.0, from_logits=True),
        GammaCE(gamma=0.3, b=1.0, stop_gradient=True, from_logits=True),
        SGCE(q=0.0, smoothing=0.0, from_logits=True),
    ],
)
def test_the_limit_is_the_cross_entropy_of_keras(loss):
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours = value_and_grad(lambda z: loss(LABELS, z), LOGITS)
    theirs = value_and_grad(lambda z: keras_loss(LABELS, z), LOGITS)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-8)


def test_sgce_at_q_0_is_label_smoothing_in_the_convention_of_keras():
    s, k = 0.2, 7
    ours = SGCE(q=0.0, smoothing=s, from_logits=True)
    theirs = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=s * k / (k - 1)
    )
    value = float(theirs(np.eye(k, dtype="float32")[LABELS], LOGITS))
    np.testing.assert_allclose(float(ours(LABELS, LOGITS)), value, rtol=1e-5)


def test_gce_is_that_of_keras_on_probabilities():
    one_hot, prob = np.eye(7, dtype="float32")[LABELS], PROB.astype("float32")
    theirs = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.5)(LABELS, prob)
    for labels in (LABELS, one_hot):
        ours = GCE(q=0.5)(labels, prob)
        np.testing.assert_allclose(float(ours), float(theirs), rtol=1e-5)


@pytest.mark.parametrize(
    ("cls", "argument"), [(GCE, "q"), (SGCE, "q"), (GammaCE, "gamma")]
)
@pytest.mark.parametrize("tiny", [5e-324, 1e-300, 1e-40, 1e-20, 1e-15])
def test_a_tiny_parameter_is_cross_entropy(cls, argument, tiny):
    extra = {"smoothing": 0.0} if cls is SGCE else {}
    loss = cls(**{argument: tiny}, **extra, from_logits=True)
    value, grad = value_and_grad(lambda z: loss([1], z), [[20.0, 0.0]])
    np.testing.assert_allclose(value, 20.0, rtol=1e-4)
    np.testing.assert_allclose(grad, [[1.0, -1.0]], rtol=1e-5)


@pytest.mark.parametrize("b", [0.0, 1e-300, 0.5])
def test_the_weight_at_the_tie_of_gamma_and_p_is_one_half(b):
    # gamma = (1 - gamma) p at p = 1/4 is gamma = 1/5; there w = p / (2 gamma) = 0.625.
    loss = GammaCE(gamma=0.2, b=b, from_logits=True)
    _, grad = value_and_grad(lambda z: loss([0], z), [[0.0, 0.0, 0.0, 0.0]])
    expected = 0.625 * np.array([[-0.75, 0.25, 0.25, 0.25]])
    np.testing.assert_allclose(grad, expected, rtol=1e-6)
