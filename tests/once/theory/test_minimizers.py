"""`minimizer` and `posterior`: the theory as methods, against a numerical one."""

import numpy as np
import pytest
import reference
from scipy import optimize
from scipy.special import log_softmax

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE
from keras_robust.calibration import bin_predictions
from keras_robust.noise import gamma_from_noise_rate, symmetric_matrix

K = 5
RNG = np.random.default_rng(3)
# From nearly even to nearly sure, so that GammaCE rules classes out in some.
POSTERIORS = np.concatenate(
    [RNG.dirichlet(np.full(K, a), 4) for a in (20.0, 1.0, 0.3)]
    + [[[0.6, 0.3, 0.1 - 3e-3, 2e-3, 1e-3], [0.2] * 5, [0.5, 0.5, 0, 0, 0]]]
)


def weight_of(loss, p):
    """The weight of a label, that is p times the slope of its cost: by the formulas."""
    if isinstance(loss, GammaCE):
        return reference.gamma_weight(p, loss.gamma, loss.b).astype(float)
    if isinstance(loss, SCE):
        return loss.alpha + 4 * loss.beta * p
    return p**loss.q


def smoothed(loss, posterior):
    s = getattr(loss, "smoothing", 0.0)
    return (1 - s) * posterior + s * (1 - posterior) / (K - 1)


def cost(loss, p):
    if isinstance(loss, GammaCE) and loss.b == 0:
        return reference.gamma_ce(p, loss.gamma).astype(float)
    if isinstance(loss, GammaCE):
        return np.array([reference.gated_integral(x, loss.gamma, loss.b) for x in p])
    if isinstance(loss, SCE):
        return 4 * loss.beta * (1 - p) - loss.alpha * np.log(p)
    return reference.gce(p, loss.q).astype(float)


def numerical_minimizer(loss, posterior):
    target = smoothed(loss, posterior)
    found = optimize.minimize(
        lambda p: target @ cost(loss, p),
        np.full(K, 1 / K),
        jac=lambda p: -target * weight_of(loss, p) / p,
        method="SLSQP",
        bounds=[(1e-9, 1)] * K,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-16, "maxiter": 1000},
    )
    return found.x


INVERTIBLE = [
    GCE(q=0.0),
    GCE(q=0.3),
    GCE(q=0.7),
    SGCE(q=0.0, smoothing=0.2),
    SGCE(q=0.5, smoothing=0.1),
    SGCE(q=0.3, smoothing=0.9),  # more than (K - 1)/K: the order of classes turns
    GammaCE(gamma=0.0, b=0.5),
    GammaCE(gamma=0.1, b=0.1),
    GammaCE(gamma=0.4, b=0.5),
    GammaCE(gamma=0.9, b=0.02),
    GammaCE(gamma=0.3, b=1.0),
    SCE(alpha=1.0, beta=0.5),
    SCE(alpha=6.0, beta=0.0),
    SCE(alpha=0.1, beta=1.0),
]
LOSSES = [*INVERTIBLE, GammaCE(gamma=1e-3), GammaCE(gamma=0.1), GammaCE(gamma=0.7)]


def label(loss):
    names = ("q", "smoothing", "gamma", "b", "alpha", "beta")
    config = loss.get_config()
    return loss.name + "".join(f"-{config[n]}" for n in names if n in config)


@pytest.mark.parametrize("loss", LOSSES, ids=label)
def test_the_minimizer_is_the_one_found_numerically(loss):
    ours = loss.minimizer(POSTERIORS)
    expected = [numerical_minimizer(loss, row) for row in POSTERIORS]
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    np.testing.assert_allclose(ours.sum(-1), 1, rtol=1e-12)


def test_a_gamma_ce_without_gate_rules_classes_out():
    # v = (1 - γ + mγ) / S_m; with γ = 0.25 and the two likeliest, v = 1.25 / 0.9, so
    # p = (v π - .25) / .75 = (.59259, .40741), and v * .05 = .069 < .25: out.
    p = GammaCE(gamma=0.25).minimizer([0.5, 0.4, 0.05, 0.05])
    np.testing.assert_allclose(p, [0.5925926, 0.4074074, 0, 0], atol=1e-7)
    # The posterior of a class ruled out is not known: the largest is returned.
    back = GammaCE(gamma=0.25).posterior(p)
    np.testing.assert_allclose(back[0] / back[1], 0.5 / 0.4)
    np.testing.assert_allclose(back[2:], 0.25 / 1.75)
    again = GammaCE(gamma=0.25).minimizer(back)
    np.testing.assert_allclose(again, p, atol=1e-12)


@pytest.mark.parametrize("loss", INVERTIBLE, ids=label)
def test_the_posterior_is_the_inverse_of_the_minimizer(loss):
    believed = loss.minimizer(POSTERIORS)
    np.testing.assert_allclose(loss.posterior(believed), POSTERIORS, atol=1e-9)
    with np.errstate(divide="ignore"):
        logits = np.log(believed) + RNG.normal(size=(len(believed), 1))
    found = loss.posterior(logits, from_logits=True)
    np.testing.assert_allclose(found, POSTERIORS, atol=1e-9)
    assert loss.posterior(believed.reshape(5, 3, K)).shape == (5, 3, K)


def test_a_gamma_ce_tells_the_posterior_of_classes_that_it_keeps():
    even = POSTERIORS[:4]
    loss = GammaCE(gamma=0.02)
    assert loss.minimizer(even).min() > 0
    np.testing.assert_allclose(loss.posterior(loss.minimizer(even)), even, atol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.7])
def test_gamma_star_turns_the_noisy_posterior_into_the_clean_one(rate):
    loss = GammaCE(gamma=gamma_from_noise_rate(K, rate))
    noisy = POSTERIORS @ symmetric_matrix(K, rate)
    np.testing.assert_allclose(loss.minimizer(noisy), POSTERIORS, atol=1e-12)
    np.testing.assert_allclose(loss.posterior(POSTERIORS), noisy, atol=1e-12)


def test_at_q_or_gamma_1_only_the_likeliest_class_is_left():
    for loss in (GCE(q=1.0), GammaCE(gamma=1.0)):
        assert loss.minimizer([0.2, 0.5, 0.3]).tolist() == [0, 1, 0]
        # The limit from below: equally likely classes share.
        assert loss.minimizer([0.4, 0.4, 0.2]).tolist() == [0.5, 0.5, 0]
    near = GammaCE(gamma=1 - 1e-9).minimizer([0.4, 0.4, 0.2])
    np.testing.assert_allclose(near, [0.5, 0.5, 0], atol=1e-6)
    # With a gate, classes keep b / π_max of their posterior: b = .1 and .2 / .5 * .1.
    gated = GammaCE(gamma=1.0, b=0.1)
    np.testing.assert_allclose(gated.minimizer([0.2, 0.5, 0.3]), [0.04, 0.9, 0.06])
    np.testing.assert_allclose(gated.posterior([0.04, 0.9, 0.06]), [0.2, 0.5, 0.3])
    # If b > π_max the gate is never left, and below it the loss is cross entropy.
    even = [0.2, 0.5, 0.3]
    np.testing.assert_allclose(GammaCE(gamma=1.0, b=0.6).minimizer(even), even)


def test_an_sce_of_any_weights_and_classes_believes_what_makes_its_cost_even():
    # π_k (alpha / p_k + 4 beta) is the same number for every class.
    posterior = RNG.dirichlet(np.full(1000, 0.5), 20) + 1e-9
    posterior /= posterior.sum(-1, keepdims=True)
    for ratio in (1e-12, 0.1, 4.0, 100.0, 1e6, 1e300):
        p = SCE(alpha=1.0, beta=ratio / 4).minimizer(posterior)
        np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
        gain = posterior * (1 / p + ratio)
        np.testing.assert_allclose(gain, gain[:, :1] * np.ones(1000), rtol=1e-10)
    assert SCE(alpha=0.0).minimizer([0.4, 0.4, 0.2]).tolist() == [0.5, 0.5, 0]
    near = SCE(alpha=1e-12).minimizer([0.4, 0.4, 0.2])
    np.testing.assert_allclose(near, [0.5, 0.5, 0], atol=1e-10)
    assert SCE(alpha=5e-324).minimizer([0.2, 0.5, 0.3]).tolist() == [0, 1, 0]
    np.testing.assert_allclose(SCE(alpha=5e-324).posterior([0.2, 0.8]), [0.5, 0.5])


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (1.0, 1.0), (3.0, 0.5)])
def test_an_ncerce_of_any_weights_believes_in_the_most_likely_class_alone(alpha, beta):
    loss = NCERCE(alpha=alpha, beta=beta)

    def expected_loss(posterior, log_p):
        normalised = (posterior * log_p).sum(-1) / log_p.sum(-1)
        return alpha * normalised + 4 * beta * (1 - posterior @ np.exp(log_p).T)

    for posterior in POSTERIORS[[0, 4, 8, 12]]:
        least = alpha * posterior.min() + 4 * beta * (1 - posterior.max())
        ours = loss.minimizer(posterior)
        assert ours.tolist() == (posterior == posterior.max()).tolist()
        # No distribution costs less than `least`, to which it leads that the other
        # classes vanish, the least likely one before all.
        some = np.log(RNG.dirichlet(np.full(K, 0.3), 2000) + 1e-300)
        assert (expected_loss(posterior, some) > least).all()
        log_p = np.where(ours > 0, -1e-9, -50.0)
        log_p[posterior.argmin()] = -1e9
        assert expected_loss(posterior, log_p) == pytest.approx(least, rel=1e-6)
        # And that is where descent leads, wherever it starts.

        def value_and_slope(z, posterior=posterior):
            log_p = log_softmax(z)
            p = np.exp(log_p)
            gain = p * loss._negative_gradient(p, posterior)
            return expected_loss(posterior, log_p), p * gain.sum() - gain

        for start in RNG.normal(size=(3, K)):
            assert optimize.check_grad(
                lambda z: value_and_slope(z)[0], lambda z: value_and_slope(z)[1], start
            ) == pytest.approx(0, abs=1e-5)
            found = optimize.minimize(
                value_and_slope,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=[(-340, 340)] * K,  # or p would round to 0
                options={"maxiter": 5000, "ftol": 0, "gtol": 1e-12},
            )
            p = np.exp(log_softmax(found.x))
            assert p == pytest.approx(ours, abs=0.1), (posterior, start)
    even = np.full(K, 1 / K)
    np.testing.assert_allclose(loss.minimizer(even), even)


# Every distribution of three classes in steps of 1 / 120.
STEPS = np.array([[i, j, 120 - i - j] for i in range(121) for j in range(121 - i)])
GRID = STEPS / 120


def cut_off(loss, p):
    return reference.gce(np.maximum(p, loss.cutoff), loss.q).astype(float)


def test_no_distribution_costs_less_than_a_minimizer_with_a_cutoff_or_q_above_1():
    posteriors = RNG.dirichlet(np.ones(3), 30)
    how_many = set()
    for q in (0.0, 1e-9, 0.3, 0.7, 1.0, 3.0, 10.0):
        for cutoff in (1e-12, 0.03, 0.1, 0.2, 0.4, 0.6, *([0.0] * (q > 1))):
            loss = GCE(q=q, cutoff=cutoff)
            ours = loss.minimizer(posteriors)
            np.testing.assert_allclose(ours.sum(-1), 1, rtol=1e-12)
            assert (ours[ours > 0] > cutoff).all()
            found = (posteriors * cut_off(loss, ours)).sum(-1)
            least = (posteriors @ cut_off(loss, GRID).T).min(-1)
            # Long doubles have (1 - p^q) / q to 1e-19 / q.
            assert (found <= least + 1e-10).all(), loss.get_config()
            how_many |= {(cutoff, n) for n in (ours > 0).sum(-1)}
    # The cases with one, two and three classes kept were all met.
    assert {(0.03, 1), (0.03, 2), (0.03, 3), (0.2, 1), (0.2, 2)} <= how_many
    assert {n for cutoff, n in how_many if cutoff > 0.5} == {1}


def test_a_cutoff_leaves_out_unlikely_classes_of_many():
    # Over the m likeliest p = π / Π_m, and the loss -sum_m π log p - (1 - Π_m) log k is
    # least for one m: found by trying them all.
    posterior = RNG.permutation(1 / np.arange(1, 1001))
    posterior /= posterior.sum()
    descending, k = np.sort(posterior)[::-1], 3e-3
    losses = []
    for m in range(1, 1001):
        p = descending[:m] / descending[:m].sum()
        kept = -descending[:m] @ np.log(np.maximum(p, k))
        losses.append(kept - descending[m:].sum() * np.log(k))
    m = np.argmin(losses) + 1
    assert 10 < m < 300
    top = np.where(posterior >= descending[m - 1], posterior, 0)
    ours = GCE(q=0.0, cutoff=k).minimizer([posterior, posterior[::-1]])
    np.testing.assert_allclose(ours[0], top / top.sum(), rtol=1e-12)
    np.testing.assert_allclose(ours[1], ours[0][::-1], rtol=1e-12)


def test_of_equally_likely_classes_the_first_alone_is_a_minimizer():
    for loss in (GCE(q=1.5), GCE(q=0.5, cutoff=0.45), GCE(q=1.0, cutoff=0.1)):
        assert loss.minimizer([0.2, 0.4, 0.4]).tolist() == [0, 1, 0]
        costs = cut_off(loss, np.array([[1e-9, 1, 1e-9], [1e-9, 0.5, 0.5]]))
        alone, shared = costs @ [0.2, 0.4, 0.4]
        assert alone < shared


def test_with_a_cutoff_the_posterior_is_told_where_every_class_is_above_it():
    loss, clear = GCE(q=0.3, cutoff=0.01), POSTERIORS[:4]
    believed = loss.minimizer(clear)
    assert believed.min() > 0.01
    np.testing.assert_allclose(loss.posterior(believed), clear, atol=1e-12)
    match = r"GCE\.posterior: `y_prob` must be above the cutoff of 0\.01 for every"
    for row in ([0.5, 0.5, 0], [0.6, 0.395, 0.005]):
        with pytest.raises(ValueError, match=match):
            loss.posterior([[0.3, 0.3, 0.4], row])
    assert loss.posterior(np.zeros((0, 3))).shape == (0, 3)
    assert loss.posterior_temperature() is None
    assert GCE(q=0.5).posterior_temperature() == 2


def test_where_the_expected_loss_has_local_minima_no_correction_guesses():
    noise = symmetric_matrix(3, 0.2)
    noisy = np.array([[0.5, 0.3, 0.2]])
    for loss in (GCE(q=2.0), GCE(q=0.0, cutoff=0.15)):
        with pytest.raises(ValueError, match="`base` must be of a convex expected"):
            ForwardCorrection(noise, loss).minimizer([[0.9, 0.1, 0.0]])
    # Where a distribution makes the minimizer of the base, it is known.
    found = ForwardCorrection(noise, GCE(q=0.0, cutoff=0.05)).minimizer(noisy @ noise)
    np.testing.assert_allclose(found, noisy, atol=1e-12)


def test_a_model_surer_than_smoothed_labels_allow_gets_a_distribution():
    # s = .3, K = 3: smoothed labels lie in [.15, .7]. Undone from (.9, .06, .04):
    # ((.9, .06, .04) - .15) / .55 = (1.3636, -.1636, -.2), whose nearest distribution
    # is (1, 0, 0).
    loss = SGCE(q=0.0, smoothing=0.3)
    np.testing.assert_allclose(loss.posterior([0.9, 0.06, 0.04]), [1, 0, 0], atol=1e-15)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (GCE(q=1.0), "GCE: `q` must be below 1"),
        (GCE(q=3.0), "GCE: `q` must be below 1"),
        (GCE(q=0.3, cutoff=0.5), "GCE: `cutoff` must be below 0.5"),
        (SCE(alpha=0.0), "SCE: `alpha` must be above 0"),
        (NCERCE(), r"NCERCE\.posterior: `loss` must be one whose minimizer tells"),
        (SGCE(q=1.0), "SGCE: `q` must be below 1"),
        (GammaCE(gamma=1.0), "GammaCE: `gamma` must be below 1, or `b` above 0"),
        (SGCE(q=0.2, smoothing=0.5), "SGCE: `smoothing` must be other than 0.5"),
    ],
)
def test_a_posterior_that_is_lost_is_an_error(loss, match):
    with pytest.raises(ValueError, match=match):
        loss.posterior([[0.3, 0.7]])


@pytest.mark.parametrize(
    "bad", [[0.5, 0.6], [1.5, -0.5], [np.nan, 1.0], [1.0], 0.5, [[0.2, 0.8], [1, 1]]]
)
def test_what_is_no_distribution_is_an_error(bad):
    with pytest.raises(ValueError, match=r"GCE\.minimizer: `posterior` must be of"):
        GCE().minimizer(bad)
    with pytest.raises(ValueError, match=r"GCE\.posterior: `y_prob` must be"):
        GCE().posterior(bad)
    for logits in ([np.nan, 0], [np.inf, 0], [-np.inf, -np.inf]):
        with pytest.raises(ValueError, match="`y_prob` must be free of NaN"):
            GCE().posterior(logits, from_logits=True)


def test_rows_sum_to_1_as_closely_as_those_of_predictions_or_of_labels():
    # .01 off may be rounding to two digits in a prediction; a label may be more so.
    for off, error in ((0.009, False), (0.011, True)):
        row = [[0.25, 0.75], [0.5, 0.5 + off]]
        assert GCE(q=0.0).minimizer(row)[1] == pytest.approx([0.5, 0.5], abs=0.01)
        for read in (GCE().posterior, lambda p: bin_predictions([0, 1], p)):
            if error:
                message = "must be distributions, with rows summing to 1.*first row 1"
                with pytest.raises(ValueError, match=message):
                    read(row)
            else:
                read(row)
    with pytest.raises(ValueError, match="`posterior` must be of distributions"):
        GCE().minimizer([0.5, 0.56])


def test_the_posterior_of_no_rows_is_no_rows():
    assert GCE().posterior(np.zeros((0, 3))).shape == (0, 3)


def test_a_ruled_out_class_stays_ruled_out():
    assert GCE(q=0.5).posterior([0, -np.inf, 0], from_logits=True)[1] == 0
    assert GCE(q=0.5).minimizer([0.5, 0.5, 0.0]).tolist() == [0.5, 0.5, 0.0]
