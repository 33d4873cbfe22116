"""Errors for whoever typed a command: about files, columns and options."""

from typing import Any

from keras_robust._inputs import checks

# What the arguments of `calibration_report` are called here, and how to fix them here,
# where the function's own advice is about Python.
_OPTIONS = {
    "num_bins": "--bins",
    "num_resamples": "--resamples",
    "ignore_class": "--ignore-class",
    "notion": "--notion",
    "seed": "--seed",
    "accept_at": "--accept-at",
    "axis": "--axis",
}
_FIXES = {
    "y_true": "Every row of predictions needs a label; --ignore-class leaves rows out.",
    "notion": "It is about class 1 of two: leave it out for more.",
    "axis": "It is the axis of the classes in the arrays: -1 is the last one.",
}


def complaint(
    where: str, what: str, expected: str, received: str, fix: str
) -> ValueError:
    """Builds an error about a file or an option, in the package's words."""
    return checks.invalid(where, what, expected, received, fix)


def named(names: Any) -> str:
    """Returns names as a list, in quotes where blanks or the like could not be seen."""
    names = [str(name) for name in names]
    shown = [name if _is_plain(name) else repr(name) for name in names[:12]]
    return ", ".join(shown) + (", ..." if len(names) > 12 else "")


def _is_plain(name: str) -> bool:
    visible = name.isprintable() and "," not in name
    return bool(name) and visible and name == " ".join(name.split())


def in_words(error: BaseException, inputs: Any) -> str:
    """Returns one line for an error; `inputs` are what was read, or None."""
    problem = checks.problem_of(error)
    # One about a file or an option is worded for whoever typed it.
    if problem is None or problem.owner != "calibration_report" or inputs is None:
        return str(error) or type(error).__name__
    argument, _, rest = problem.argument.partition("[")
    received = problem.received.removeprefix(f"{argument}=")
    if argument in _OPTIONS:
        fix = _FIXES.get(argument, problem.fix)
        place = ("report", _OPTIONS[argument])
        return str(checks.Problem(*place, problem.expected, received, fix))
    place, fix = inputs.places["y_true"], _FIXES["y_true"]
    if argument == "sample_weight":
        place, fix = inputs.places[argument], problem.fix
    elif argument == "y_prob":
        model = rest.strip("'\"]") or next(iter(inputs.scores))
        place = inputs.places.get(model, next(iter(inputs.places.values())))
        fix = inputs.advice.get(model, "Every row needs a number for each class.")
    elif "for a single output" in problem.expected:
        fix = "For other labels, say what class 1 is called: --positive-label."
    elif "from 1 to" in problem.fix:
        fix = problem.fix
    received = received.replace("y_true.shape=", "labels of shape ")
    received = received.replace("sample_weight.shape=", "weights of shape ")
    for model in inputs.scores:
        received = received.replace(
            f"y_prob[{model!r}].shape=", "predictions of shape "
        )
    return str(checks.Problem(*place, problem.expected, received, fix))
