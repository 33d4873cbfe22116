"""Errors about arguments: their words, and their parts."""

import pickle

import pytest

from keras_robust._inputs import checks

PROBLEM = checks.Problem("GCE", "q", "in [0, 1]", "q=1.5", "Pass 0.7.")


def test_an_error_is_one_sentence_each_for_what_was_expected_came_and_helps():
    for make in (checks.invalid, checks.invalid_type):
        words = "GCE: `q` must be in [0, 1]. Received: q=1.5. Pass 0.7."
        assert str(make(*PROBLEM)) == words


def test_errors_are_those_that_python_has_for_values_and_types():
    # No types of our own: see `checks._error`.
    with pytest.raises(ValueError, match="must be in") as found:
        checks.fraction("GCE", "q", 1.5, fix="Pass 0.7.")
    assert type(found.value) is ValueError
    assert checks.problem_of(found.value) == PROBLEM
    with pytest.raises(TypeError, match="must be a real number") as found:
        checks.fraction("GCE", "q", "1", fix="")
    assert type(found.value) is TypeError
    assert checks.problem_of(found.value).argument == "q"
    assert checks.problem_of(ValueError("else")) is None


def test_an_error_comes_through_pickle_as_it_is():
    # As it does from a process of a pool.
    copy = pickle.loads(pickle.dumps(checks.invalid(*PROBLEM)))
    assert type(copy) is ValueError
    assert str(copy) == str(PROBLEM)
    assert checks.problem_of(copy) == PROBLEM
