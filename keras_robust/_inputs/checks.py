"""Argument checks, so that every error reads the same way."""

import importlib
import math
import numbers
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np

_PACKAGE = "keras_robust."


class Problem(NamedTuple):
    """What is wrong with an argument, and what to do about it."""

    owner: str
    argument: str
    expected: str
    received: str
    fix: str

    def __str__(self) -> str:
        return (
            f"{self.owner}: `{self.argument}` must be {self.expected}. "
            f"Received: {self.received}. {self.fix}"
        )


def problem_of(error: BaseException) -> Problem | None:
    """Returns the problem that an error is about, where it is about an argument.

    For whoever names arguments otherwise, as the command line does.
    """
    return getattr(error, "problem", None)


def invalid(
    owner: str, argument: str, expected: str, received: str, fix: str
) -> ValueError:
    """Builds the error: what was expected of an argument, what came, how to fix it."""
    return _error(ValueError, Problem(owner, argument, expected, received, fix))


def invalid_type(
    owner: str, argument: str, expected: str, received: str, fix: str
) -> TypeError:
    """Builds the error where a type is wrong."""
    return _error(TypeError, Problem(owner, argument, expected, received, fix))


def wrong_type(
    owner: str, argument: str, expected: str, value: Any, fix: str
) -> TypeError:
    """Builds the error: which type was expected of an argument, which one came."""
    received = f"{argument}={value!r} of type {type(value).__name__}"
    return invalid_type(owner, argument, expected, received, fix)


def _error(kind: type, problem: Problem) -> Any:
    # Of Python's own types: Keras and TensorFlow make errors of layers and functions
    # anew from their message, and have another error for types that they do not know.
    error = kind(str(problem))
    error.problem = problem
    return error


def warn(message: str) -> None:
    """Warns whoever called this package, through however many of its functions."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def real_number(owner: str, argument: str, value: Any) -> float:
    """Returns `value` as a plain float; a `TypeError` if it is not a real number."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        fix = "Pass a Python float, such as 0.5."
        raise wrong_type(owner, argument, "a real number", value, fix)
    return float(value)


def fraction(
    owner: str, argument: str, value: Any, *, fix: str, include_one: bool = True
) -> float:
    """Returns `value` as a float in [0, 1], or in [0, 1) without `include_one`."""
    number = real_number(owner, argument, value)
    inside = 0.0 <= number <= 1.0 if include_one else 0.0 <= number < 1.0
    if not inside:
        interval = "in [0, 1]" if include_one else "in [0, 1)"
        raise invalid(owner, argument, interval, f"{argument}={value!r}", fix)
    return number


def nonnegative(owner: str, argument: str, value: Any, *, fix: str) -> float:
    """Returns `value` as a finite float of at least 0."""
    number = real_number(owner, argument, value)
    if not (math.isfinite(number) and number >= 0):
        expected = "finite and at least 0"
        raise invalid(owner, argument, expected, f"{argument}={value!r}", fix)
    return number


def positive(owner: str, argument: str, value: Any, *, fix: str) -> float:
    """Returns `value` as a finite float above 0."""
    number = real_number(owner, argument, value)
    if not (math.isfinite(number) and number > 0):
        expected = "finite and above 0"
        raise invalid(owner, argument, expected, f"{argument}={value!r}", fix)
    return number


def integer(
    owner: str, argument: str, value: Any, *, minimum: int | None = None, fix: str
) -> int:
    """Returns `value` as a plain int of at least `minimum`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise wrong_type(owner, argument, "an integer", value, fix)
    if minimum is not None and value < minimum:
        expected = f"at least {minimum}"
        raise invalid(owner, argument, expected, f"{argument}={value!r}", fix)
    return int(value)


def choice(owner: str, argument: str, value: Any, choices: tuple, *, fix: str) -> str:
    """Returns `value` if it is one of the `choices`."""
    if not (isinstance(value, str) and value in choices):
        expected = "one of " + ", ".join(map(repr, choices))
        raise invalid(owner, argument, expected, f"{argument}={value!r}", fix)
    return value


def flag(owner: str, argument: str, value: Any) -> bool:
    """Returns `value` as a plain bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise wrong_type(owner, argument, "True or False", value, "Pass a Python bool.")
    return bool(value)


def ignored_class(owner: str, value: Any) -> int | None:
    """Returns `ignore_class` as a plain int, or None when nothing is ignored."""
    if value is None:
        return None
    fix = "Pass the label to leave out, such as -100, or None."
    label = integer(owner, "ignore_class", value, fix=fix)
    if not -(2**31) <= label < 2**31:
        expected = "an integer of 32 bits"
        raise invalid(owner, "ignore_class", expected, f"ignore_class={value!r}", fix)
    return label


def optional_module(
    owner: str, name: str, *, extra: str = "calibration", package: str | None = None
) -> Any:
    """Imports a module that only an extra of the package brings, or says so.

    The module comes with `package`, by default one of its own name.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = package or name.split(".")[0]
        package = {"sklearn": "scikit-learn"}.get(package, package).replace("_", "-")
        raise ImportError(f"{owner} needs {package}: {install(package, extra)}") from (
            error
        )


def install(package: str, extra: str) -> str:
    """Returns how to install what an extra of this package brings."""
    return (
        f"pip install {package}, or in a clone of keras_robust pip install "
        f"'.[{extra}]' for all that goes with it."
    )


def generator(owner: str, seed: Any) -> np.random.Generator:
    """Returns a NumPy generator from an explicit seed or generator."""
    if isinstance(seed, np.random.Generator):
        return seed
    fix = "Pass an integer of at least 0, or a numpy.random.Generator."
    return np.random.default_rng(integer(owner, "seed", seed, minimum=0, fix=fix))
