"""What PyTorch alone can do with the loss in one with its layer."""

import numpy as np
import pytest
import torch

from keras_robust import SGCE
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


def test_there_is_no_second_derivative(inputs):
    slope = torch.autograd.grad(fused(*inputs), inputs[0], create_graph=True)[0].sum()
    with pytest.raises(RuntimeError, match="does not require grad"):
        slope.backward()


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
