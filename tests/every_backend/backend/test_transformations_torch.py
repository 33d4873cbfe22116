"""What PyTorch does to a function, done to the fast terms."""

import numpy as np
import pytest
import torch

from keras_robust import GCE, NCERCE, SCE, SGCE, ForwardCorrection, GammaCE, _backend
from keras_robust._backend import plain as plain_version
from keras_robust._backend import torch_rows

RNG = np.random.default_rng(14)
LOGITS = torch.tensor(RNG.normal(size=(6, 5)), dtype=torch.float32)
LABELS = torch.tensor(RNG.integers(0, 5, 6), dtype=torch.int32)
LIVE = torch.tensor(RNG.random(6) > 0.2)


def total(terms, logits, q):
    log_p, of_all = terms(logits, LABELS, LIVE, q)
    return torch.sin(log_p).sum() + (0 if q is None else (of_all**2).sum())


def leaf():
    return LOGITS.clone().requires_grad_()


@pytest.mark.parametrize("q", [None, 0.6])
def test_a_retained_graph_gives_its_gradient_again(q):
    z = leaf()
    value = total(_backend.row_terms, z, q)
    value.backward(retain_graph=True)
    once = z.grad.clone()
    value.backward()
    torch.testing.assert_close(z.grad, 2 * once)
    other = leaf()
    total(plain_version.row_terms, other, q).backward()
    torch.testing.assert_close(once, other.grad, rtol=1e-4, atol=1e-6)


WIDE = {"from_logits": True, "dtype": "float64"}
EVEN = np.eye(5) * 0.8 + 0.04
UNEVEN = EVEN.copy()
UNEVEN[1] = [0.5, 0.5, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "loss",
    [
        # At their limit of cross entropy, what comes from above needs no gradient.
        GCE(q=0.0, **WIDE),
        SGCE(q=0.0, **WIDE),
        GammaCE(gamma=0.0, **WIDE),
        ForwardCorrection(np.eye(5), **WIDE),
        GCE(q=0.6, **WIDE),
        SGCE(q=0.6, **WIDE),
        GammaCE(gamma=0.2, b=0.3, **WIDE),
        SCE(**WIDE),
        NCERCE(**WIDE),
        ForwardCorrection(EVEN, **WIDE),
        ForwardCorrection(UNEVEN, **WIDE),
        ForwardCorrection(EVEN, SGCE(q=0.0, **WIDE)),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_second_derivatives_are_right(loss):
    ids = torch.where(LIVE, LABELS, -100)
    z = LOGITS.double().requires_grad_()
    torch.autograd.gradgradcheck(lambda z: loss(ids, z), z)
    hessian = torch.autograd.functional.hessian(lambda z: loss(ids, z), z)
    assert hessian.abs().max() > 0.01


@pytest.mark.parametrize("q", [0.0, 0.6])
def test_a_penalty_on_the_gradient_is_that_of_one_hot_labels(q):
    loss = GCE(q=q, from_logits=True)

    def slope(labels):
        x, w = LOGITS.clone().requires_grad_(), torch.eye(5, requires_grad=True)
        value = loss(labels, x @ w)
        (by_x,) = torch.autograd.grad(value, x, create_graph=True)
        return torch.autograd.grad(value + 10 * by_x.pow(2).sum(), w)[0]

    expected = slope(torch.eye(5)[LABELS.long()])
    torch.testing.assert_close(slope(LABELS), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("q", [None, 0.6])
def test_torch_func_takes_the_plain_version(q):
    gradient = torch.func.grad(lambda z: total(_backend.row_terms, z, q))(LOGITS)
    plain = leaf()
    total(plain_version.row_terms, plain, q).backward()
    torch.testing.assert_close(gradient, plain.grad)


@pytest.mark.parametrize("loss", [GCE(from_logits=True), SGCE(from_logits=True)])
def test_gradients_of_parts_add_up(loss):
    loss = type(loss)(from_logits=True, reduction="sum")
    whole, parts = leaf(), leaf()
    loss(LABELS, whole).backward()
    for rows in (slice(0, 2), slice(2, 6)):
        loss(LABELS[rows], parts[rows]).backward()
    torch.testing.assert_close(parts.grad, whole.grad)


def test_without_a_gradient_no_softmax_is_kept(monkeypatch):
    monkeypatch.setattr(torch_rows, "_FEW", 0)
    monkeypatch.setattr(torch_rows, "_BLOCK", 10)
    sizes = []
    empty_like = torch.empty_like

    def seen(x, **options):
        sizes.append(x.numel())
        return empty_like(x, **options)

    monkeypatch.setattr(torch, "empty_like", seen)
    _backend.row_terms(LOGITS, LABELS, LIVE, None)
    assert not sizes
    _backend.row_terms(leaf(), LABELS, LIVE, None)
    assert sizes == [30]


def test_labels_and_logits_may_have_any_strides():
    labels, logits = torch.arange(12).view(3, 4) % 5, torch.randn(3, 4, 5)
    for loss in (GCE(from_logits=True), SGCE(from_logits=True)):
        turned = logits.transpose(0, 1).requires_grad_(True)
        value = loss(labels.T, turned)
        value.backward()
        torch.testing.assert_close(value.detach(), loss(labels, logits))
        assert turned.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("loss", [GCE(from_logits=True), SGCE(from_logits=True)])
def test_a_compiled_loss_is_the_loss(loss):
    compiled = torch.compile(lambda z: loss(LABELS, z), fullgraph=True)
    by_compiled, plain = leaf(), leaf()
    value = compiled(by_compiled)
    value.backward()
    expected = loss(LABELS, plain)
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(by_compiled.grad, plain.grad)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "parameter"),
    [
        (GCE(from_logits=True), "q"),
        (SGCE(from_logits=True), "q"),
        (SGCE(from_logits=True), "smoothing"),
        (GammaCE(from_logits=True), "gamma"),
        (GammaCE(b=0.3, from_logits=True), "b"),
        (GCE(cutoff=0.1, from_logits=True), "cutoff"),
        (SCE(from_logits=True), "alpha"),
        (NCERCE(from_logits=True), "alpha"),
    ],
)
def test_a_compiled_loss_takes_its_numbers_as_they_change(loss, parameter):
    # PyTorch makes an input of a number that changed: SGCE's gradient was then wrong.
    compiled = torch.compile(lambda z: loss(LABELS, z))
    for value in (0.5, 0.9, 0.7):
        setattr(loss, parameter, value)
        by_compiled, plain = leaf(), leaf()
        compiled(by_compiled).backward()
        loss(LABELS, plain).backward()
        torch.testing.assert_close(by_compiled.grad, plain.grad)


def test_one_hot_labels_have_a_second_derivative():
    one_hot, loss = torch.eye(5)[LABELS.long()], GCE(q=0.6, from_logits=True)
    z = LOGITS.double().requires_grad_()
    torch.autograd.gradgradcheck(
        lambda z: GCE(q=0.6, from_logits=True, dtype="float64")(one_hot.double(), z), z
    )
    (first,) = torch.autograd.grad(loss(one_hot, leaf_ := leaf()), leaf_)
    (same,) = torch.autograd.grad(loss(LABELS, leaf_ := leaf()), leaf_)
    torch.testing.assert_close(first, same)
