"""What every loss promises, whatever its formula.

Runs over all of `losses` with each loss's defaults, so a new loss is held to all of it
by existing; EXTRA adds settings with a path of their own. ForwardCorrection, whose
matrix says how many classes there are, is in it with one that fits what comes.
"""

import copy
import itertools
import pickle

import keras
import numpy as np
import pytest
from backend import jit_modes, to_numpy, value_and_grad, with_mask
from every_loss import NAMES
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_robust import ForwardCorrection, losses, metrics
from keras_robust.noise import omission_matrix, pair_matrix, symmetric_matrix


@keras.saving.register_keras_serializable(package="tests")
class FittingCorrection(ForwardCorrection):
    """Forward correction with a matrix for as many classes as the predictions have."""

    def __init__(self, base=None, noise="symmetric", **kwargs):
        if base is not None:  # which has to read its inputs in the same way
            how = {
                k: kwargs[k]
                for k in kwargs
                if k in ("from_logits", "ignore_class", "axis")
            }
            base = type(base).from_config({**base.get_config(), **how})
        super().__init__(np.eye(2), base, **kwargs)
        self.noise = noise

    def _costs(self, aligned, live):
        make = {"pairs": pair_matrix, "omission": omission_matrix}
        make = make.get(self.noise, symmetric_matrix)
        fitting = ForwardCorrection(make(aligned.scores.shape[-1], 0.1))
        self._matrix, self._drawn = fitting._matrix, fitting._drawn
        return super()._costs(aligned, live)

    def get_config(self):
        config = super().get_config()
        del config["matrix"]
        return {**config, "noise": self.noise}


EXTRA = {
    "GCE": [{"q": 0.0}, {"q": 1.0}, {"q": 0.3, "cutoff": 0.2}],
    "SGCE": [{"q": 0.0, "smoothing": 0.2}, {"q": 1.0}, {"smoothing": 0.0}],
    "GammaCE": [
        {"gamma": 0.0},
        {"gamma": 1.0},
        {"b": 0.3},
        {"b": 0.3, "stop_gradient": True},
    ],
    "NCERCE": [{"alpha": 0.0}],
    "FittingCorrection": [
        {"noise": "omission"},
        {"noise": "pairs"},
        {"noise": "pairs", "base": losses.GCE(q=0.7)},
        {"base": losses.SGCE(q=0.6, smoothing=0.2)},
        {"base": losses.GammaCE(gamma=0.1, b=0.3)},
    ],
}
PLAIN = [getattr(losses, n) for n in NAMES if n != "ForwardCorrection"]
CLASSES = [*PLAIN, FittingCorrection]


def cases(classes):
    return [
        pytest.param(cls, kwargs, id=f"{cls.__name__}-{i}-{list(kwargs)}")
        for cls in classes
        for i, kwargs in enumerate([{}, *EXTRA.get(cls.__name__, [])])
    ]


every_loss = pytest.mark.parametrize(("cls", "kwargs"), cases(CLASSES))
every_plain_loss = pytest.mark.parametrize(("cls", "kwargs"), cases(PLAIN))
every_class = pytest.mark.parametrize("cls", CLASSES)

K = 5
RNG = np.random.default_rng(3)
LOGITS = RNG.normal(scale=2, size=(12, K)).astype("float32")
LABELS = RNG.integers(0, K, 12)
EYE = np.eye(K, dtype="float32")


def softmax(z):
    odds = np.exp(z - z.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def values(loss, y_true, y_pred, **kwargs):
    """Per-position losses as NumPy."""
    config = {**loss.get_config(), "reduction": "none"}
    return to_numpy(type(loss).from_config(config)(y_true, y_pred, **kwargs))


def close(actual, expected, rtol=1e-5, atol=1e-6, case=""):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol, err_msg=case)


def rows_of_nan(loss, y_true, y_pred):
    """Which rows have a loss that is no number."""
    return np.isnan(values(loss, y_true, y_pred)).nonzero()[0].tolist()


# --- Shapes -------------------------------------------------------------------------


@every_loss
def test_class_ids_one_hot_and_trailing_ones_agree(cls, kwargs):
    loss = cls(**kwargs, from_logits=True)
    flat = values(loss, LABELS, LOGITS)
    assert flat.shape == (12,)
    assert (flat > 1e-4).any()  # a loss of zeros would agree with itself
    close(values(loss, LABELS[:, None], LOGITS), flat)
    close(values(loss, EYE[LABELS], LOGITS), flat)
    close(values(loss, LABELS.astype("float32"), LOGITS), flat)
    close(values(loss, LABELS.astype("uint8"), LOGITS), flat)
    close(values(loss, LABELS.tolist(), LOGITS.tolist()), flat)


@every_loss
def test_leading_dimensions_only_arrange_the_positions(cls, kwargs):
    loss = cls(**kwargs, from_logits=True)
    flat = values(loss, LABELS, LOGITS)
    z, y = LOGITS.reshape(3, 4, K), LABELS.reshape(3, 4)
    close(values(loss, y, z), flat.reshape(3, 4))
    close(values(loss, y[..., None], z), flat.reshape(3, 4))
    close(values(loss, EYE[y], z), flat.reshape(3, 4))
    close(
        values(loss, y.reshape(3, 2, 2), z.reshape(3, 2, 2, K)), flat.reshape(3, 2, 2)
    )
    close(values(loss, np.array(LABELS[0]), LOGITS[0]), flat[0])
    close(values(loss, LABELS[:0], LOGITS[:0]), flat[:0])


@every_loss
def test_axis_says_where_the_classes_are(cls, kwargs):
    loss = cls(**kwargs, from_logits=True)
    first = cls(**kwargs, from_logits=True, axis=1)
    z, y = LOGITS.reshape(3, 4, K), LABELS.reshape(3, 4)
    moved = np.moveaxis(z, -1, 1)
    close(values(first, y, moved), values(loss, y, z))
    close(values(first, y[:, None], moved), values(loss, y, z))
    close(values(first, y[..., None], moved), values(loss, y, z))
    close(values(first, np.moveaxis(EYE[y], -1, 1), moved), values(loss, y, z))
    y, weight = np.where(y == 1, -100, y), np.arange(12.0).reshape(3, 4)
    mask = np.arange(12).reshape(3, 4) % 2 == 0
    masked = values(first, y, with_mask(moved, mask), sample_weight=weight)
    close(masked, values(loss, y, with_mask(z, mask), sample_weight=weight))
    close(float(first(y, moved, weight)), float(loss(y, z, weight)))
    prob, first = softmax(z), cls(**kwargs, axis=1)
    close(values(first, y, np.moveaxis(prob, -1, 1)), values(cls(**kwargs), y, prob))


@every_loss
def test_soft_targets_mix_the_losses_of_their_classes(cls, kwargs):
    loss = cls(**kwargs, from_logits=True)
    targets = np.random.default_rng(4).dirichlet(np.ones(K), 12).astype("float32")
    hard = [values(loss, np.full(12, k), LOGITS) for k in range(K)]
    close(values(loss, targets, LOGITS), np.sum(targets.T * hard, 0))


@every_loss
def test_a_single_logit_is_the_second_of_two_classes(cls, kwargs):
    loss = cls(**kwargs, from_logits=True)
    z, y = LOGITS[:, :1], LABELS % 2
    two = np.concatenate([np.zeros_like(z), z], -1)
    for labels in (y, y[:, None], y.astype("float32")):
        close(values(loss, labels, z), values(loss, y, two))
    soft = np.random.default_rng(4).uniform(size=12).astype("float32")
    both = np.stack([1 - soft, soft], -1)
    close(values(loss, soft, z), values(loss, both, two))
    probabilities = cls(**kwargs)
    close(values(probabilities, y, softmax(two)[:, 1:]), values(loss, y, two), 1e-4)
    ignored = np.where(np.arange(12) % 3 == 0, -100, y)
    close(values(loss, ignored, z), np.where(ignored < 0, 0, values(loss, y, two)))


@every_loss
def test_probabilities_and_logits_agree(cls, kwargs):
    logits, probabilities = cls(**kwargs, from_logits=True), cls(**kwargs)
    prob = softmax(LOGITS.astype("float64")).astype("float32")
    close(values(probabilities, LABELS, prob), values(logits, LABELS, LOGITS), 1e-4)


@every_class
@pytest.mark.parametrize(
    ("true", "pred"),
    [
        ((3,), (4, K)),
        ((4, 2), (4, K)),
        ((4, K + 1), (4, K)),
        ((4, 1, 1), (4, K)),
        ((1,), (4, K)),
        ((4,), (1, K)),
        ((), (4, K)),
        ((4, 3), (4, 2, K)),
        ((4, K), (4, 1)),
        ((K,), (K,)),
    ],
)
def test_shapes_that_do_not_fit_raise_and_name_both(cls, true, pred):
    loss = cls(from_logits=True)
    with pytest.raises(ValueError, match=r"y_true.*must be of shape.*y_pred\.shape"):
        loss(np.zeros(true, "int32"), np.zeros(pred, "float32"))


@every_class
def test_an_axis_that_is_not_there_raises(cls):
    with pytest.raises(ValueError, match="axis 2"):
        cls(axis=2)(LABELS, LOGITS)


@every_class
def test_a_weight_of_the_wrong_shape_raises(cls):
    for shape in [(11,), (1,), (12, 2), (5,), (12, 1, 1)]:
        with pytest.raises(ValueError, match="sample_weight"):
            cls()(LABELS, softmax(LOGITS), np.ones(shape, "float32"))


# --- Ignored labels, masks, weights, reductions -------------------------------------


@every_loss
def test_ignored_positions_cost_nothing_and_do_not_count(cls, kwargs):
    loss = cls(**kwargs, from_logits=True)
    keep = np.arange(12) % 3 > 0
    ignored = np.where(keep, LABELS, -100)
    assert (values(loss, ignored, LOGITS)[~keep] == 0).all()
    close(float(loss(ignored, LOGITS)), float(loss(LABELS[keep], LOGITS[keep])))
    weight = np.where(keep, 1, np.nan)  # not even then
    close(float(loss(ignored, LOGITS, weight)), float(loss(ignored, LOGITS)))
    soft = np.where(keep[:, None], EYE[LABELS], -100)
    close(float(loss(soft, LOGITS)), float(loss(LABELS[keep], LOGITS[keep])))
    for label in (0, 3):  # a class of its own, such as padding
        other = cls(**kwargs, from_logits=True, ignore_class=label)
        expected = values(loss, LABELS, LOGITS) * (label != LABELS)
        assert (expected == 0).any()
        close(values(other, LABELS, LOGITS), expected)
        close(values(other, EYE[LABELS], LOGITS), expected)
    void = cls(**kwargs, from_logits=True, ignore_class=255)
    marked = np.where(keep, LABELS, 255).astype("uint8")
    close(values(void, marked, LOGITS), values(loss, ignored, LOGITS))


@every_loss
def test_if_everything_is_ignored_the_loss_is_0(cls, kwargs):
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight"):
        loss = cls(**kwargs, from_logits=True, reduction=reduction)
        value, grad = value_and_grad(
            lambda z, loss=loss: loss(np.full(12, -100), z), LOGITS
        )
        assert value == 0
        assert (grad == 0).all()
    assert float(loss(LABELS[:0], LOGITS[:0])) == 0


@every_loss
@pytest.mark.parametrize("from_logits", [True, False])
def test_nan_predictions_that_do_not_count_leave_no_trace(cls, kwargs, from_logits):
    loss = cls(**kwargs, from_logits=from_logits)
    clean = LOGITS if from_logits else softmax(LOGITS)
    keep = np.arange(12) % 3 > 0
    spoilt = np.where(keep[:, None], clean, np.nan)
    expected = value_and_grad(lambda z: loss(LABELS[keep], z), clean[keep])
    for how in ("ignored", "masked", "weight 0"):
        labels = np.where(keep, LABELS, -100 if how == "ignored" else 999)
        weight = keep.astype("float32") if how == "weight 0" else None

        def cost(z, how=how, labels=labels, weight=weight):
            z = with_mask(z, keep) if how == "masked" else z
            return loss(labels, z, weight)

        value, grad = value_and_grad(cost, spoilt)
        scale = keep.mean() if how == "weight 0" else 1.0  # still in the denominator
        close(value, expected[0] * scale, case=how)
        close(grad[keep], expected[1] * scale, case=how)
        assert (grad[~keep] == 0).all(), how


@every_class
def test_without_ignore_class_the_label_minus_100_is_broken(cls):
    loss = cls(from_logits=True, ignore_class=None)
    assert np.isnan(float(loss(np.full(12, -100), LOGITS)))
    close(float(loss(LABELS, LOGITS)), float(cls(from_logits=True)(LABELS, LOGITS)))


Y, Z = LABELS.reshape(3, 4), LOGITS.reshape(3, 4, K)
SOME_IGNORED = Y.copy()
SOME_IGNORED[0, 1:] = -100
WEIGHTS = {
    None: None,
    "rows": RNG.uniform(size=(3, 1)).astype("float32"),
    "positions": RNG.uniform(size=(3, 4)).astype("float32"),
    "trailing": RNG.uniform(size=(3, 4, 1)).astype("float32"),
    "scalar": 0.3,
}
MASK = RNG.uniform(size=(3, 4)) < 0.6
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"]
REDUCTIONS += ["none", None]


def reduced():
    """Yields each way to weigh and add up positions, and its name."""
    every = itertools.product([Y, SOME_IGNORED], WEIGHTS, [None, MASK], REDUCTIONS)
    for y, weight, mask, reduction in every:
        ignored, masked = y is not Y, mask is not None
        case = f"{reduction=} {weight=} {ignored=} {masked=}"
        yield y, WEIGHTS[weight], mask, reduction, case


def masked(y_pred, mask):
    return y_pred if mask is None else with_mask(y_pred, mask)


def by_keras(y, logits, weight, mask, reduction):
    """The value of Keras's own loss."""
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=-100, reduction=reduction
    )
    # Spread out by hand for Keras: on PyTorch it multiplies (3, 1) in place and fails.
    if weight is not None:
        rows = np.reshape(weight, (3, -1) if np.size(weight) > 1 else ())
        weight = np.ones((3, 4)) * rows
    return to_numpy(loss(y, masked(logits, mask), weight))


def by_keras_at(costs, y, *how):
    """What Keras's own loss makes of positions that cost so much."""
    # Logits of two classes whose cross entropy is the given cost.
    costs = np.maximum(costs, 1e-6)
    logits = np.stack([np.zeros_like(costs), np.log(np.expm1(costs))], -1)
    return by_keras(np.minimum(y, 0), logits.astype("float32"), *how)


@pytest.mark.slow
@every_class
def test_reductions_are_those_of_keras(cls):
    # Keras's own loss, on the same labels, masks and weights, tells by how much each
    # position counts: it is linear in its costs, and so are ours.
    costs = values(cls(from_logits=True), Y, Z)
    for y, weight, mask, reduction, case in reduced():
        loss = cls(from_logits=True, reduction=reduction)
        found = to_numpy(loss(y, masked(Z, mask), weight))
        expected = by_keras_at(costs, y, weight, mask, reduction)
        close(found, expected, 1e-4, 1e-5, case)


@pytest.mark.slow
def test_the_loss_of_keras_tells_how_it_reduces():
    # What the test above stands on: from its costs Keras's loss gives its value back.
    costs = by_keras(Y, Z, None, None, None)
    for y, *how, case in reduced():
        found = by_keras_at(costs, y, *how)
        close(found, by_keras(y, Z, *how), 1e-4, 1e-5, case)


@every_loss
def test_one_weight_per_sample_reaches_all_its_positions(cls, kwargs):
    loss = cls(**kwargs, from_logits=True)
    y, z, w = LABELS.reshape(3, 4), LOGITS.reshape(3, 4, K), np.array([1.0, 0.0, 3.0])
    expected = values(loss, y, z) * w[:, None]
    close(values(loss, y, z, sample_weight=w), expected)
    square = (y[:, :3], z[:, :3])  # as many samples as positions: still per sample
    close(values(loss, *square, sample_weight=w), expected[:, :3])


@every_loss
def test_weight_2_is_the_row_twice_and_weight_0_no_row(cls, kwargs):
    loss = cls(**kwargs, from_logits=True, reduction="mean_with_sample_weight")
    times = np.arange(12) % 3
    twice = float(loss(LABELS.repeat(times), LOGITS.repeat(times, 0)))
    close(float(loss(LABELS, LOGITS, times.astype("float32"))), twice)


@every_class
def test_the_caller_s_weights_are_not_modified(cls):
    weight = keras.ops.convert_to_tensor(np.ones(12, "float32"))
    mask = np.arange(12) % 2 == 0
    cls(from_logits=True)(LABELS, with_mask(LOGITS, mask), weight)
    assert (to_numpy(weight) == 1).all()


@every_class
def test_call_gives_the_losses_of_the_positions(cls):
    loss = cls(from_logits=True)
    close(to_numpy(loss.call(LABELS, LOGITS)), values(loss, LABELS, LOGITS))


# --- Exact labels, precision, extremes ----------------------------------------------


@every_class
@pytest.mark.parametrize(
    ("dtype", "classes"),
    [
        ("float16", 2052),
        ("mixed_float16", 2052),
        ("bfloat16", 300),
        ("mixed_bfloat16", 300),
    ],
)
def test_labels_stay_exact_in_half_precision(cls, dtype, classes):
    # float16 rounds 2049 to 2048, bfloat16 rounds 257 to 256.
    policy = keras.DTypePolicy(dtype) if dtype.startswith("mixed") else dtype
    loss = cls(from_logits=True, dtype=policy)
    labels = np.array([2049 if classes > 2000 else 257])
    z = np.zeros((1, classes), "float32")
    z[0, labels] = 30.0
    right, wrong = float(loss(labels, z)), float(loss(labels - 1, z))
    full = cls(from_logits=True)
    close(right, float(full(labels, z)), 1e-2, 1e-3)
    close(wrong, float(full(labels - 1, z)), 1e-2, 1e-3)
    assert wrong > right + 0.1
    compute_dtype = dtype.removeprefix("mixed_")
    result = loss(labels, keras.ops.cast(z, compute_dtype))
    assert keras.backend.standardize_dtype(result.dtype) == compute_dtype


@every_loss
def test_logits_of_10000_give_finite_values_and_gradients(cls, kwargs):
    # Of the shape of LOGITS, as JAX compiles for each shape; so is what follows.
    z = 1e4 * np.array([[1, -1, 0, 0, 0], [0, 1, 1, 0, 0], [-1, -1, -1, -1, -1]])
    z, labels = np.tile(z.astype("float32"), (4, 1)), np.repeat(range(4), 3)
    expected = values(cls(**kwargs, from_logits=True), labels, z)
    for dtype in ("float32", "float16", "bfloat16"):
        loss = cls(**kwargs, from_logits=True, dtype=dtype, reduction="sum")
        value, grad = value_and_grad(lambda z, loss=loss: loss(labels, z), z, dtype)
        assert np.isfinite(value), dtype
        assert np.isfinite(grad).all(), dtype
        cost = values(loss, labels, keras.ops.cast(z, dtype))
        close(cost, expected, 1e-2, 1e-2, dtype)


@every_loss
def test_a_large_common_offset_of_the_logits_changes_nothing(cls, kwargs):
    # Quarters stay exact next to 10000; a log-sum-exp that has absorbed it would not.
    z = np.round(LOGITS * 4) / 4
    loss = cls(**kwargs, from_logits=True)
    at_zero = value_and_grad(lambda z: loss(LABELS, z), z)
    far = value_and_grad(lambda z: loss(LABELS, z), z + 1e4)
    close(far[0], at_zero[0], 1e-6, 1e-7)
    close(far[1], at_zero[1], 1e-5, 1e-8)


@every_loss
def test_probabilities_of_exactly_0_and_1_are_finite(cls, kwargs):
    prob, labels = EYE[np.zeros(12, int)], np.arange(12) % K
    loss = cls(**kwargs, reduction="sum")
    _, grad = value_and_grad(lambda p: loss(labels, p), prob)
    cost = values(loss, labels, prob)
    assert np.isfinite(cost).all()
    assert np.isfinite(grad).all()
    assert (cost[labels > 0] > 0.01).all()


@every_plain_loss
def test_an_impossible_class_is_a_logit_of_minus_infinity(cls, kwargs):
    z = LOGITS.copy()
    z[:, 0] = -np.inf
    labels = np.maximum(LABELS, 1)
    loss = cls(**kwargs, from_logits=True)
    if loss.get_config().get("smoothing"):
        # Smoothing weighs the impossible class too: its cost there is that of p = 0.
        value = float(loss(labels, z))
        assert value == np.inf if loss.q == 0 else np.isfinite(value)
        return
    without = loss
    if cls is losses.NCERCE:  # its first part is over an infinite sum: none is left
        without = cls(**{**kwargs, "alpha": 0.0}, from_logits=True)
    expected = float(without(labels - 1, np.delete(z, 0, axis=-1)))
    for y in (labels, EYE[labels]):
        value, grad = value_and_grad(lambda z, y=y: loss(y, z), z)
        close(value, expected)
        assert (grad[:, 0] == 0).all()
        assert np.isfinite(grad).all()


@every_loss
def test_the_mean_of_70000_positions_is_right_in_half_precision(cls, kwargs):
    z, y = np.resize(LOGITS, (70_000, K)), np.resize(LABELS, 70_000)
    costs = values(cls(**kwargs, from_logits=True), LABELS, LOGITS)
    expected = np.resize(costs, 70_000).mean(dtype="float64")
    for dtype, rtol in (("float16", 1e-3), ("bfloat16", 8e-3), ("float32", 2e-6)):
        loss = cls(**kwargs, from_logits=True, dtype=dtype)
        close(float(loss(y, z)), expected, rtol, case=dtype)


# --- Bad values ---------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("bad", [[-1, K, 7, -101], [-1.0, 5.0, 0.5, np.nan]], ids=str)
def test_a_label_that_is_no_class_gives_nan_in_value_and_gradient(cls, kwargs, bad):
    labels = LABELS.astype(np.asarray(bad).dtype)
    rows = [1, 3, 4, 9]
    labels[rows] = bad
    loss = cls(**kwargs, from_logits=True)
    value, grad = value_and_grad(lambda z: loss(labels, z), LOGITS)
    assert np.isnan(value)
    assert np.isnan(grad).all(-1).nonzero()[0].tolist() == rows
    assert rows_of_nan(loss, labels, LOGITS) == rows


@every_loss
def test_a_logit_that_is_no_number_gives_nan(cls, kwargs):
    z, rows = LOGITS.copy(), [1, 3, 4, 9]
    for row, bad, of_label in zip(
        rows, [np.nan, np.inf] * 2, [True, True, False, False]
    ):
        z[row, LABELS[row] if of_label else (LABELS[row] + 1) % K] = bad
    assert rows_of_nan(cls(**kwargs, from_logits=True), LABELS, z) == rows


@every_class
def test_a_soft_target_that_is_no_distribution_gives_nan(cls):
    targets, rows = EYE[LABELS].copy(), [1, 3, 4, 9, 10]
    targets[rows] = [
        [1, 1, 0, 0, 0],
        [0] * 5,
        [2, -1, 0, 0, 0],
        [np.nan] * 5,
        [-100, 1, 0, 0, 0],
    ]
    assert rows_of_nan(cls(from_logits=True), targets, LOGITS) == rows


@every_class
def test_no_label_of_a_small_dtype_is_taken_for_the_ignored_one(cls):
    # 156 is -100 in 8 bits.
    z = np.random.default_rng(4).normal(size=(3, 200)).astype("float32")
    labels = np.array([156, 0, 199])
    expected = values(cls(from_logits=True), labels, z)
    assert (expected > 0.1).all()
    for dtype in ("uint8", "int16", "uint16", "int64", "float32"):
        tensor = keras.ops.convert_to_tensor(labels.astype(dtype))
        for given_labels in (labels.astype(dtype), tensor):
            close(values(cls(from_logits=True), given_labels, z), expected, case=dtype)


@every_class
def test_integers_that_would_wrap_around_give_nan(cls):
    # In 32 bits these are class 1, or -100.
    for dtype in ("uint32", "int64", "uint64"):
        wide = [
            n for n in (2**32 + 1, 2**32 - 100, 2**64 - 100) if n <= np.iinfo(dtype).max
        ]
        labels = LABELS.astype(dtype)
        labels[: len(wide)] = wide
        rows = list(range(len(wide)))
        assert rows_of_nan(cls(from_logits=True), labels, LOGITS) == rows, dtype


@every_class
@pytest.mark.filterwarnings("ignore:.*`from_logits` is False")
def test_a_number_that_is_no_probability_gives_nan(cls):
    prob, rows = softmax(LOGITS), [1, 2, 3, 5, 7, 8, 11]
    # Not even the label's.
    others = (LABELS[rows] + 1) % K
    prob[rows, others] = [1.1, 1 + 1e-4, -1e-4, -0.1, np.nan, np.inf, 5.0]
    assert rows_of_nan(cls(), LABELS, prob) == rows


@every_class
def test_probabilities_off_by_rounding_are_fine(cls):
    prob = np.array([[1 + 2e-7, -2e-7, 0.0]], "float32")
    exact = np.array([[1.0, 0.0, 0.0]], "float32")
    for label in range(3):
        close(float(cls()([label], prob)), float(cls()([label], exact)))
    assert values(cls(), [0], prob * (1 + 5e-6)) >= 0  # more than sure costs nothing


@every_class
@pytest.mark.parametrize(("dtype", "off"), [("float16", 1e-3), ("bfloat16", 8e-3)])
@pytest.mark.filterwarnings("ignore:.*`from_logits` is False")
def test_probabilities_in_half_precision_have_more_room(cls, dtype, off):
    rng = np.random.default_rng(4)
    half = keras.ops.cast(softmax(rng.normal(size=(50, 100)) * 4), dtype)
    labels = rng.integers(0, 100, 50)
    full = values(cls(), labels, to_numpy(half))
    close(values(cls(), labels, half), full)
    for far, broken in ((off, False), (8 * off, True)):
        row = keras.ops.cast(np.array([[1 + far, 0.0]]), dtype)
        assert np.isnan(float(cls()([0], row))) == broken


@every_class
def test_probabilities_are_not_renormalised(cls):
    half = softmax(LOGITS) / 2
    assert (
        np.abs(values(cls(), LABELS, half) - values(cls(), LABELS, 2 * half)).min() > 0
    )


def bad_arguments(bad_values):
    return pytest.mark.parametrize(
        ("cls", "argument", "value"),
        [
            (cls, argument, value)
            for cls in CLASSES
            for argument, values in bad_values.items()
            if argument in cls().get_config()
            for value in values
        ],
    )


@bad_arguments(
    {
        "q": [-0.1, 10.1],
        "cutoff": [1.0, -1e-9],
        "gamma": [np.nan],
        "b": [2],
        "smoothing": [1.0, -1e-9],
        "alpha": [-0.1, np.inf],
        "beta": [-0.1, np.nan],
    }
)
def test_a_parameter_out_of_range_raises_and_says_how_to_fix_it(cls, argument, value):
    with pytest.raises(ValueError, match=rf"{cls.__name__}: `{argument}` must be"):
        cls(**{argument: value})


@bad_arguments(
    {"q": ["0.5", True], "gamma": [None], "from_logits": [1], "axis": [1.0, False]}
)
def test_a_parameter_of_the_wrong_type_raises(cls, argument, value):
    with pytest.raises(TypeError, match=rf"{cls.__name__}: `{argument}` must be"):
        cls(**{argument: value})


# --- Invariants ---------------------------------------------------------------------

# Of two sizes, as JAX compiles for each.
batches = st.sampled_from([1, 6]).flatmap(
    lambda n: st.tuples(
        st.lists(
            st.lists(st.floats(-20, 20, width=32), min_size=K, max_size=K),
            min_size=n,
            max_size=n,
        ),
        st.lists(st.sampled_from([*range(K), -100]), min_size=n, max_size=n),
        st.lists(st.floats(0, 4, width=32), min_size=n, max_size=n),
        st.permutations(range(K)),
    )
)


@pytest.mark.slow
@every_class
@settings(max_examples=15, deadline=None)
@given(batch=batches)
def test_invariants_of_any_batch(cls, batch):
    z, y, w, order = (np.array(part) for part in batch)
    z, w = z.astype("float32"), w.astype("float32")
    loss = cls(from_logits=True, reduction="sum")
    total = float(loss(y, z, w))
    assert total >= -1e-6
    # Classes in another order, rows in another order, the batch in two parts.
    renamed = np.where(y < 0, y, np.argsort(order)[np.maximum(y, 0)])
    close(float(loss(renamed, z[:, order], w)), total, 1e-4, 1e-5)
    close(
        float(loss(y[::-1].copy(), z[::-1].copy(), w[::-1].copy())), total, 1e-4, 1e-5
    )
    half = len(y) // 2
    parts = [loss(y[:half], z[:half], w[:half]), loss(y[half:], z[half:], w[half:])]
    close(sum(map(float, parts)), total, 1e-4, 1e-5)
    twice = [np.concatenate([part, part]) for part in (y, z, w)]
    close(float(loss(*twice)), 2 * total, 1e-4, 1e-5)


# --- Configuration ------------------------------------------------------------------


@every_loss
def test_a_configuration_gives_back_the_same_value(cls, kwargs):
    loss = cls(
        **kwargs,
        from_logits=True,
        ignore_class=2,
        axis=1,
        reduction="sum",
        name="mine",
        dtype="bfloat16",
    )
    y, z = LABELS.reshape(3, 4), np.moveaxis(LOGITS.reshape(3, 4, K), -1, 1)
    expected = float(loss(y, z))
    serialized = keras.saving.serialize_keras_object(loss)
    copies = [
        cls.from_config(loss.get_config()),
        keras.losses.deserialize(keras.losses.serialize(loss)),
        keras.saving.deserialize_keras_object(serialized),
        keras.losses.get(serialized),
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
    ]
    for other in copies:
        assert type(other) is cls
        result = other(y, z)
        assert float(result) == expected
        assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
        assert other.name == "mine"
        assert other.get_config() == loss.get_config()


@every_plain_loss
def test_a_configuration_holds_every_argument_in_plain_python(cls, kwargs):
    import inspect

    config = cls(**{k: np.float32(v) if isinstance(v, float) else v
                    for k, v in kwargs.items()}).get_config()  # fmt: skip
    arguments = set(inspect.signature(cls.__init__).parameters) - {"self"}
    assert set(config) == arguments
    plain = (bool, int, float, str, type(None))
    assert all(type(value) in plain for value in config.values())
    defaults = cls().get_config()
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name not in ("self", "dtype"):
            assert defaults[name] == parameter.default


@pytest.mark.parametrize("cls", [*PLAIN, ForwardCorrection])
def test_losses_are_registered_under_the_package(cls):
    name = f"keras_robust>{cls.__name__}"
    assert keras.saving.get_registered_name(cls) == name
    assert keras.saving.get_registered_object(name) is cls


# --- Inside models ------------------------------------------------------------------


# With XLA, which takes a second for each model, every class once.
@pytest.mark.parametrize(
    ("cls", "kwargs", "jit_compile"),
    [
        pytest.param(*case.values, jit, id=f"{case.id}-{jit}")
        for case in cases(CLASSES)
        for jit in jit_modes()
        if not (jit and case.values[1])
    ],
)
def test_fit_learns_and_its_loss_is_that_of_evaluate(cls, kwargs, jit_compile):
    x = np.random.default_rng(4).normal(size=(96, K)).astype("float32")
    y = x.argmax(-1)
    y[::8] = -100
    model = keras.Sequential([keras.Input((K,)), keras.layers.Dense(K)])
    loss = cls(**kwargs, from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    model.optimizer.learning_rate = 0.1
    history = model.fit(x, y, batch_size=96, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    value = model.evaluate(x, y, batch_size=96, verbose=0)
    close(value, float(loss(y, model.predict(x, verbose=0))), 1e-4)


@pytest.mark.parametrize(
    ("cls", "jit_compile"),
    [(CLASSES[0], jit) for jit in jit_modes()] + [(cls, False) for cls in CLASSES[1:]],
)
def test_fit_leaves_masked_positions_out(cls, jit_compile):
    tokens = np.array([[1, 2, 3, 0], [4, 5, 0, 0]])
    labels = np.where(tokens > 0, tokens % K, 999)  # what is masked need be no class
    model = keras.Sequential(
        [keras.layers.Embedding(6, 8, mask_zero=True), keras.layers.Dense(K)]
    )
    loss = cls(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=jit_compile)
    first = model.fit(tokens, labels, verbose=0).history["loss"][0]
    logits = model.predict(tokens, verbose=0)
    kept = float(loss(np.where(tokens > 0, labels, -100), logits))
    close(first, kept, 1e-4)
    close(model.evaluate(tokens, labels, verbose=0), kept, 1e-4)


@every_class
@pytest.mark.parametrize(
    ("policy", "classes"), [("mixed_float16", 2052), ("mixed_bfloat16", 300)]
)
def test_a_mixed_precision_model_keeps_its_labels(cls, policy, classes):
    # Labels 2048 and 2049 (float16), or 256 and 257 (bfloat16), each learnt as itself.
    labels = classes - np.array([4, 3] if classes > 2000 else [44, 43])
    x = np.eye(2, dtype="float32")
    layer = keras.layers.Dense(classes, dtype=policy)
    model = keras.Sequential([keras.Input((2,)), layer])
    loss = cls(from_logits=True)
    metric = metrics.ExpectedCalibrationError(from_logits=True)
    how = {"metrics": ["accuracy", metric], "jit_compile": False}
    model.compile("adam", loss, **how)
    layer.kernel.assign(30 * np.eye(classes, dtype="float32")[labels])
    scores = model.evaluate(x, labels, verbose=0, return_dict=True)
    assert scores["accuracy"] == 1
    assert scores["ece"] < 1e-3
    swapped = model.evaluate(x, labels[::-1], verbose=0, return_dict=True)
    assert swapped["ece"] > 0.9
    assert swapped["loss"] > scores["loss"] + 0.5
    assert np.isfinite(model.fit(x, labels, verbose=0).history["loss"][0])
