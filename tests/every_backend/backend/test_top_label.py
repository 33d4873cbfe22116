"""The fast versions of which class is predicted, held to NumPy's argmax."""

import keras
import numpy as np
import pytest
from backend import compiled, jit_modes, to_numpy

from keras_robust._backend import plain as plain_version
from keras_robust._backend import top_label

SLACK = 1e-5
EVERY = [top_label, plain_version.top_label]
both = pytest.mark.parametrize("function", EVERY, ids=["fast", "plain"])
# Short rows, and long ones, in several blocks.
sizes = pytest.mark.parametrize("num_classes", [2, 10, 64, 65, 1000])


def computed(function, prob, labels, jit):
    """Returns the three results as NumPy arrays, jitted or not."""
    run = compiled(lambda p, y: function(p, y, SLACK), jit)
    inputs = prob, np.asarray(labels, "int32")
    return [to_numpy(x) for x in run(*map(keras.ops.convert_to_tensor, inputs))]


def random_prob(rows, num_classes, seed=0, temperature=3.0):
    z = np.random.default_rng(seed).normal(scale=temperature, size=(rows, num_classes))
    prob = np.exp(z - z.max(-1, keepdims=True))
    return (prob / prob.sum(-1, keepdims=True)).astype("float32")


@both
@sizes
@pytest.mark.parametrize("jit", jit_modes())
def test_it_is_numpys_argmax(function, num_classes, jit):
    prob = random_prob(700, num_classes)
    # Half of the labels are the predicted class.
    labels = np.where(np.arange(700) % 2, prob.argmax(-1), np.arange(700) % num_classes)
    confidence, hit, bad = computed(function, prob, labels, jit)
    np.testing.assert_array_equal(confidence, prob.max(-1))
    np.testing.assert_array_equal(hit, prob.argmax(-1) == labels)
    assert not bad.any()


@both
@sizes
@pytest.mark.parametrize("jit", jit_modes())
def test_of_equal_ones_the_first_is_predicted(function, num_classes, jit):
    last = num_classes - 1
    uniform = np.full(num_classes, 1 / num_classes)
    two = np.zeros(num_classes)
    two[[0, last]] = 0.5
    # No distribution, but both are in [0, 1].
    high = np.zeros(num_classes)
    high[[0, last]] = 0.9
    prob = np.stack([uniform, uniform, two, two, high, high]).astype("float32")
    labels = [0, last, 0, last, 0, last]
    _, hit, bad = computed(function, prob, labels, jit)
    assert hit.tolist() == [True, False] * 3
    assert not bad.any()


@both
@sizes
@pytest.mark.parametrize("jit", jit_modes())
@pytest.mark.parametrize("value", [np.nan, -1e-4, 1 + 1e-4, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_what_is_no_probability_is_bad(function, num_classes, jit, value, place):
    prob = random_prob(6, num_classes)
    prob[3, place] = value
    labels = prob.argmax(-1)
    confidence, hit, bad = computed(function, prob, labels, jit)
    assert bad.tolist() == [False, False, False, True, False, False]
    others = np.arange(6) != 3
    np.testing.assert_array_equal(confidence[others], prob[others].max(-1))
    assert hit[others].all()


@both
@sizes
@pytest.mark.parametrize("jit", jit_modes())
def test_rounding_is_no_fault(function, num_classes, jit):
    prob = np.zeros((2, num_classes), "float32")
    prob[0, 1], prob[1, :2] = 1 + 5e-6, (-5e-6, 1)
    confidence, hit, bad = computed(function, prob, [1, 1], jit)
    np.testing.assert_array_equal(confidence, prob.max(-1))
    assert hit.all()
    assert not bad.any()


@both
@pytest.mark.parametrize("num_classes", [3, 100])
def test_no_rows_give_no_results(function, num_classes):
    prob = keras.ops.zeros((0, num_classes))
    labels = keras.ops.zeros((0,), dtype="int32")
    for result in function(prob, labels, SLACK):
        assert tuple(result.shape) == (0,)


@both
@pytest.mark.parametrize("jit", jit_modes())
def test_many_small_negative_numbers_hide_no_tie(function, jit):
    # Within the slack each, but the sum is 0.991: less than twice the largest.
    prob = np.full((2, 1000), -9e-6, "float32")
    prob[:, [0, -1]] = 0.5
    _, hit, bad = computed(function, prob, [0, 999], jit)
    assert hit.tolist() == [True, False]
    assert not bad.any()
