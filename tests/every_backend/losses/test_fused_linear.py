"""The loss in one with the layer of its logits, held to the loss of all logits."""

import functools

import keras
import numpy as np
import pytest
from backend import BACKEND, compiled, jit_modes, to_numpy, value_and_grad, with_mask

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE
from keras_robust.losses import fused_linear
from keras_robust.noise import symmetric_matrix

ops = keras.ops
D, K = 6, 40
RNG = np.random.default_rng(21)
HIDDEN = RNG.normal(size=(5, 10, D)).astype("float32")
KERNEL = RNG.normal(size=(D, K)).astype("float32")
BIAS = RNG.normal(size=K).astype("float32")
WEIGHT = RNG.uniform(0.1, 3, size=(5, 10)).astype("float32")
LABELS = RNG.integers(0, K, (5, 10))
LABELS[RNG.random((5, 10)) < 0.3] = -100
SAMPLES = WEIGHT[:, 0]
LOSSES = [
    GCE(q=0.6, from_logits=True),
    SGCE(q=0.6, smoothing=0.1, from_logits=True),
    GammaCE(gamma=1e-7, from_logits=True),
    ForwardCorrection(symmetric_matrix(K, 0.3), from_logits=True),
    GammaCE(gamma=0.1, b=0.3, from_logits=True, reduction="sum"),
    GCE(
        cutoff=0.01,
        from_logits=True,
        reduction="mean_with_sample_weight",
        ignore_class=3,
    ),
    SCE(from_logits=True),
    NCERCE(alpha=5.0, from_logits=True),
    *[SGCE(from_logits=True, dtype="float64")][: BACKEND != "jax"],
]
# Of 50 rows; the last of the chunks of 7 is filled up.
ROWS_AT_ONCE = [7, 1, 50, None]
# XLA takes a second for each. The loop over chunks knows nothing of the loss.
CASES = [
    pytest.param(loss, rows, jit, id=f"{loss.name}-{loss.reduction}-{rows}-{jit}")
    for loss in LOSSES
    for rows in ROWS_AT_ONCE
    for jit in jit_modes()
    if loss is LOSSES[0] or rows == 7 or not (jit or BACKEND == "jax")
]


def unfused(loss, y, hidden, kernel, weight=None, bias=None):
    logits = ops.matmul(hidden, kernel)
    return loss(y, logits if bias is None else logits + bias, weight)


def packed(function):
    """A function of one vector: of hidden states, kernel, bias, weights."""
    sizes = [x.size for x in (HIDDEN, KERNEL, BIAS, WEIGHT)]
    ends = np.cumsum(sizes)

    def of_vector(v):
        parts = [v[end - size : end] for size, end in zip(sizes, ends)]
        shapes = (HIDDEN.shape, KERNEL.shape, BIAS.shape, WEIGHT.shape)
        return function(*map(ops.reshape, parts, shapes))

    return of_vector


EVERYTHING = np.concatenate([x.ravel() for x in (HIDDEN, KERNEL, BIAS, WEIGHT)])


@functools.cache
def of_all_logits(loss):
    labels = labels_for(loss)
    return value_and_grad(
        packed(lambda h, k, b, w: unfused(loss, labels, h, k, w, b)), EVERYTHING
    )


def labels_for(loss):
    return np.where(LABELS == -100, loss.ignore_class, LABELS)


@pytest.mark.parametrize(("loss", "rows_at_once", "jit"), CASES)
def test_value_and_all_gradients_are_those_of_the_loss(loss, rows_at_once, jit):
    labels = labels_for(loss)

    def fused(h, k, b, w):
        return fused_linear(loss, labels, h, k, w, bias=b, rows_at_once=rows_at_once)

    value, gradient = value_and_grad(compiled(packed(fused), jit), EVERYTHING)
    expected, slopes = of_all_logits(loss)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.abs(slopes).max() > 1e-3
    # Relative to the largest of each tensor.
    start = 0
    for x in (HIDDEN, KERNEL, BIAS, WEIGHT):
        part = slice(start, start + x.size)
        scale = np.abs(slopes[part]).max()
        np.testing.assert_allclose(gradient[part], slopes[part], atol=3e-6 * scale)
        start += x.size


@pytest.mark.parametrize(
    "weight", [None, 2.0, SAMPLES, WEIGHT, WEIGHT[..., None]], ids=np.shape
)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"]
)
def test_weights_and_masks_are_taken_as_the_loss_takes_them(weight, masked, reduction):
    loss = GCE(q=0.6, from_logits=True, reduction=reduction)
    hidden = ops.convert_to_tensor(HIDDEN)
    logits = ops.matmul(hidden, KERNEL)
    if masked:
        mask = np.arange(50).reshape(5, 10) % 3 > 0
        hidden, logits = with_mask(hidden, mask), with_mask(logits, mask)
    value = fused_linear(loss, LABELS, hidden, KERNEL, weight, rows_at_once=9)
    expected = loss(LABELS, logits, weight)
    np.testing.assert_allclose(to_numpy(value), to_numpy(expected), rtol=1e-5)


@pytest.mark.parametrize("label", [K, -1, 2.5])
def test_a_label_that_is_none_gives_nan(label):
    labels = LABELS.astype("float32")
    labels[2, 3] = label
    loss = GCE(from_logits=True)
    assert np.isnan(to_numpy(fused_linear(loss, labels, HIDDEN, KERNEL)))
    weight = np.ones((5, 10), "float32")
    weight[2, 3] = 0.0
    value = fused_linear(loss, labels, HIDDEN, KERNEL, weight)
    np.testing.assert_allclose(value, loss(labels, HIDDEN @ KERNEL, weight), rtol=1e-5)


def test_hidden_states_that_do_not_count_may_be_anything():
    hidden = np.where((LABELS == -100)[..., None], np.nan, HIDDEN).astype("float32")

    def fused(h):
        return fused_linear(GCE(from_logits=True), LABELS, h, KERNEL, rows_at_once=7)

    value, gradient = value_and_grad(fused, hidden)
    expected, slopes = value_and_grad(fused, HIDDEN)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_that_of_the_product(dtype):
    loss = GammaCE(gamma=0.1, from_logits=True)

    def cost(function):
        return lambda h: function(ops.cast(h, dtype))

    value, gradient = value_and_grad(
        cost(lambda h: fused_linear(loss, LABELS, h, KERNEL, rows_at_once=7)), HIDDEN
    )
    expected, slopes = value_and_grad(
        cost(lambda h: unfused(loss, LABELS, h, ops.cast(KERNEL, dtype))), HIDDEN
    )
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    atol = 1e-2 * np.abs(slopes).max()
    np.testing.assert_allclose(gradient, slopes, atol=atol)


def test_a_batch_of_no_rows_costs_nothing():
    loss = SGCE(from_logits=True)
    value = fused_linear(loss, LABELS[:0], HIDDEN[:0], KERNEL)
    assert to_numpy(value) == 0.0
    value = fused_linear(loss, np.full((5, 10), -100), HIDDEN, KERNEL)
    assert to_numpy(value) == 0.0


def test_labels_may_have_a_last_axis_and_hidden_states_one_axis_of_rows():
    loss = GCE(from_logits=True)
    flat = fused_linear(loss, LABELS.reshape(-1, 1), HIDDEN.reshape(-1, D), KERNEL)
    value = fused_linear(loss, LABELS[..., None], HIDDEN, KERNEL)
    np.testing.assert_allclose(to_numpy(flat), to_numpy(value), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"loss": keras.losses.MeanSquaredError()}, TypeError, "GCE(q=0.0"),
        ({"loss": GCE()}, ValueError, "from_logits=True"),
        ({"loss": GCE(from_logits=True, reduction="none")}, ValueError, "reduction"),
        ({"loss": GCE(from_logits=True, axis=1)}, ValueError, "axis=-1"),
        ({"hidden": HIDDEN[0, 0]}, ValueError, "`hidden`"),
        ({"kernel": KERNEL.T}, ValueError, "transpose"),
        ({"bias": BIAS[1:]}, ValueError, "`bias`"),
        ({"y_true": LABELS[:, 1:]}, ValueError, "`y_true`"),
        ({"y_true": np.ones((5, 10, K)) / K}, ValueError, "Soft targets"),
        ({"sample_weight": np.ones(4)}, ValueError, "`sample_weight`"),
        ({"rows_at_once": 0}, ValueError, "`rows_at_once`"),
        ({"rows_at_once": 2.5}, TypeError, "`rows_at_once`"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_does_not_fit_raises(arguments, error, words):
    good = {"loss": GCE(from_logits=True), "y_true": LABELS, "hidden": HIDDEN}
    with pytest.raises(error, match="fused_linear") as raised:
        fused_linear(**{**good, "kernel": KERNEL, **arguments})
    assert words in str(raised.value)


@keras.saving.register_keras_serializable(package="tests")
class TiedModel(keras.Model):
    """Next-token prediction whose last layer is the embedding, in one with its loss."""

    def __init__(self, fused, **kwargs):
        super().__init__(**kwargs)
        self.fused = fused
        self.embedding = keras.layers.Embedding(K, D)
        self.mixing = keras.layers.Dense(D, "tanh")

    def call(self, x):
        return self.mixing(self.embedding(x))

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        kernel = ops.transpose(self.embedding.embeddings)
        cost = fused_linear if self.fused else unfused
        return cost(self.loss, y, y_pred, kernel, sample_weight)


@pytest.mark.parametrize("jit", jit_modes())
def test_a_model_learns_the_same_with_it(jit):
    tokens = np.random.default_rng(3).integers(0, K, (12, 9))
    x, y, weight = tokens[:, :-1], tokens[:, 1:], WEIGHT[:1, :8].repeat(12, 0)
    learnt = []
    for fused in (False, True):
        keras.utils.set_random_seed(5)
        model = TiedModel(fused)
        loss = GammaCE(gamma=1e-7, from_logits=True)
        model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit)
        history = model.fit(
            x, y, sample_weight=weight, batch_size=5, epochs=3, shuffle=False, verbose=0
        )
        evaluated = model.evaluate(x, y, verbose=0)
        learnt.append([*history.history["loss"], evaluated])
    np.testing.assert_allclose(learnt[1], learnt[0], rtol=1e-4)
    assert learnt[1][2] < learnt[1][0]


@pytest.mark.parametrize(("rows_at_once", "most"), [(None, 50), (49, 49), (26, 26)])
def test_few_rows_are_not_filled_up_to_a_whole_chunk(rows_at_once, most, monkeypatch):
    sizes = []
    plain = GCE._position_losses

    def seen(self, labels, logits, *rest):
        sizes.append(int(logits.shape[0] or ops.shape(logits)[0]))
        return plain(self, labels, logits, *rest)

    monkeypatch.setattr(GCE, "_position_losses", seen)
    loss = GCE(from_logits=True)
    value_and_grad(
        lambda h: fused_linear(loss, LABELS, h, KERNEL, rows_at_once=rows_at_once),
        HIDDEN,
    )
    assert max(sizes) <= most
    if rows_at_once == 49 and BACKEND != "torch":
        assert max(sizes) == 25  # not 49 and one row of 49
