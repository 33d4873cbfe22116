"""Errors about arguments: their words, and their parts."""

import pickle

import pytest

from keras_robust._inputs import checks

PARTS = {
    "owner": "GCE",
    "argument": "q",
    "expected": "in [0, 1]",
    "received": "q=1.5",
    "fix": "Pass 0.7.",
}


@pytest.mark.parametrize("kind", ["InvalidArgumentError", "ArgumentTypeError"])
def test_an_error_is_one_sentence_each_for_what_was_expected_came_and_helps(kind):
    error = getattr(checks, kind)(**PARTS)
    assert str(error) == "GCE: `q` must be in [0, 1]. Received: q=1.5. Pass 0.7."


def test_errors_are_those_that_python_has_for_values_and_types():
    with pytest.raises(ValueError, match="must be in") as found:
        checks.fraction("GCE", "q", 1.5, fix="Pass 0.7.")
    assert {name: getattr(found.value, name) for name in PARTS} == PARTS
    with pytest.raises(TypeError, match="must be a real number") as found:
        checks.fraction("GCE", "q", "1", fix="")
    assert found.value.argument == "q"
    assert isinstance(found.value, checks.ArgumentError)
    assert not isinstance(found.value, ValueError)


def test_an_error_comes_through_pickle_as_it_is():
    # As it does from a process of a pool.
    error = checks.invalid(**PARTS)
    make, arguments, *_ = error.__reduce__()  # some libraries give pickle another way
    for copy in (make(*arguments), pickle.loads(pickle.dumps(error))):
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error) == PARTS
