"""What PyTorch alone can do with the loss in one with its layer."""

import weakref

import numpy as np
import pytest
import torch

from keras_robust import GCE, SGCE
from keras_robust.losses import fused_linear

RNG = np.random.default_rng(21)
LOSS = SGCE(from_logits=True)
LABELS = torch.tensor(RNG.integers(0, 40, 50))


def leaves(*shapes):
    return [
        torch.tensor(RNG.normal(size=shape), dtype=torch.float32, requires_grad=True)
        for shape in shapes
    ]


@pytest.fixture
def inputs():
    return leaves((50, 6), (6, 40))


def fused(hidden, kernel):
    return fused_linear(LOSS, LABELS, hidden, kernel, rows_at_once=7)


def test_a_graph_can_be_kept(inputs):
    value = fused(*inputs)
    first = torch.autograd.grad(value, inputs, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(value, inputs)):
        torch.testing.assert_close(a, b)


def test_a_frozen_kernel_needs_no_gradient(inputs):
    hidden, kernel = inputs
    expected = torch.autograd.grad(fused(hidden, kernel), hidden)[0]
    slope = torch.autograd.grad(fused(hidden, kernel.detach()), hidden)[0]
    torch.testing.assert_close(slope, expected)
    assert fused(hidden.detach(), kernel.detach()).grad_fn is None


def test_nothing_is_recorded_where_gradients_are_off(inputs):
    with torch.no_grad():
        value = fused(*inputs)
    assert not value.requires_grad
    torch.testing.assert_close(value, fused(*inputs).detach())


@pytest.mark.parametrize("q", [0.0, 0.6])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_second_derivative_is_refused_whatever_it_is_asked_of(inputs, q, frozen):
    before, kernel = torch.eye(6, requires_grad=True), inputs[1]
    hidden, kernel = inputs[0] @ before, kernel.detach() if frozen else kernel
    loss = GCE(q=q, from_logits=True)
    value = fused_linear(loss, LABELS, hidden, kernel, rows_at_once=7)
    slope = torch.autograd.grad(value, hidden, create_graph=True)[0]
    for leaf in [before] if frozen else [before, kernel]:
        torch.autograd.grad(value + slope.detach().sum(), leaf, retain_graph=True)
        with pytest.raises(RuntimeError, match="there is no second derivative"):
            torch.autograd.grad(value + slope.sum(), leaf, retain_graph=True)


def test_inputs_are_not_kept_for_the_gradient(inputs):
    hidden, kernel = inputs[0] * 1.0, inputs[1] * 1.0
    alive = [weakref.ref(x.untyped_storage()) for x in (hidden, kernel)]
    value = fused(hidden, kernel)
    del hidden, kernel
    assert [ref() for ref in alive] == [None, None]
    value.backward()
    assert inputs[0].grad is not None


def test_per_sample_gradients_are_those_of_the_loss(inputs):
    hidden, kernel = (x.detach() for x in inputs)

    def cost(h, y, function):
        return function(h[None], y[None])

    def plain(h, y):
        return LOSS(y, h @ kernel)

    def in_one(h, y):
        return fused_linear(LOSS, y, h, kernel)

    slopes = [
        torch.func.vmap(torch.func.grad(lambda h, y, f=f: cost(h, y, f)))(
            hidden, LABELS
        )
        for f in (plain, in_one)
    ]
    torch.testing.assert_close(slopes[1], slopes[0])


@pytest.mark.filterwarnings("ignore")
def test_it_is_left_out_of_a_compiled_graph(inputs):
    def doubled(hidden, kernel):
        return 2.0 * fused(torch.tanh(hidden), kernel)

    slopes = [
        torch.autograd.grad(function(*inputs), inputs)
        for function in (doubled, torch.compile(doubled))
    ]
    for a, b in zip(*slopes):
        torch.testing.assert_close(b, a)
