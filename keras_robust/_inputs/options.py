"""Arguments that several functions and callbacks take, checked."""

from pathlib import Path
from typing import Any

from keras_robust._inputs import checks

AVERAGES = ("macro", "micro")
BINNINGS = ("equal_width", "equal_mass")
NORMS = ("l1", "l2", "max")
NOTIONS = ("top_label", "positive")


def checked_axis(owner: str, axis: Any, array: Any = None, argument: str = "") -> int:
    """Returns the axis of the classes as an int; one of those of `array`, if given."""
    fix = "Pass the axis of the classes: -1 is the last one, 1 that of (N, K, H, W)."
    number = checks.integer(owner, "axis", axis, fix=fix)
    if array is not None and not -array.ndim <= number < max(array.ndim, 1):
        expected = f"one of the {array.ndim} axes of `{argument}`"
        received = f"axis={axis}, {argument}.shape={array.shape}"
        raise checks.invalid(owner, "axis", expected, received, fix)
    return number


def checked_batch_size(owner: str, batch_size: Any) -> int:
    """Returns `batch_size` as an int of at least 1."""
    fix = "Pass how many rows to predict at a time, such as 32."
    return checks.integer(owner, "batch_size", batch_size, minimum=1, fix=fix)


def checked_steps(owner: str, steps: Any) -> int | None:
    """Returns `steps` as an int of at least 1, or None."""
    if steps is None:
        return None
    fix = "Pass the number of batches to predict, or None for all."
    return checks.integer(owner, "steps", steps, minimum=1, fix=fix)


def checked_num_bins(owner: str, num_bins: Any) -> int:
    """Returns `num_bins` as an int of at least 1."""
    fix = "Pass a number of bins, such as 15."
    return checks.integer(owner, "num_bins", num_bins, minimum=1, fix=fix)


def checked_min_count(owner: str, min_count: Any) -> float:
    """Returns `min_count` as a finite float of at least 0."""
    fix = "Pass the smallest count of a bin that should take part, such as 100."
    return checks.nonnegative(owner, "min_count", min_count, fix=fix)


def checked_norm(owner: str, norm: Any) -> str:
    """Returns `norm` if it is one of NORMS."""
    fix = "l1 is the mean gap, l2 the root of the mean squared gap, max the largest."
    return checks.choice(owner, "norm", norm, NORMS, fix=fix)


def checked_binning(owner: str, binning: Any) -> str:
    """Returns `binning` if it is one of BINNINGS."""
    fix = "Bins have the same width, or about the same number of predictions."
    return checks.choice(owner, "binning", binning, BINNINGS, fix=fix)


def checked_notion(owner: str, notion: Any) -> str:
    """Returns `notion` if it is one of NOTIONS."""
    fix = "top_label is about the predicted class, positive about class 1 of two."
    return checks.choice(owner, "notion", notion, NOTIONS, fix=fix)


def checked_average(owner: str, average: Any) -> str:
    """Returns `average` if it is one of AVERAGES."""
    fix = "macro is the mean of the labels' errors, micro the error of all decisions."
    return checks.choice(owner, "average", average, AVERAGES, fix=fix)


def checked_probability(owner: str, argument: str, value: Any, *, fix: str) -> float:
    """Returns a probability in (0, 1) as a float."""
    number = checks.real_number(owner, argument, value)
    if not 0 < number < 1:
        raise checks.invalid(owner, argument, "in (0, 1)", f"{argument}={value!r}", fix)
    return number


def checked_level(owner: str, level: Any) -> float:
    """Returns the probability of an interval, in (0, 1)."""
    fix = "Pass the probability that the interval should have, such as 0.95."
    return checked_probability(owner, "level", level, fix=fix)


def checked_num_resamples(owner: str, num_resamples: Any) -> int:
    """Returns the number of resamples, at least 1."""
    fix = "Pass how often to draw labels, such as 1000."
    return checks.integer(owner, "num_resamples", num_resamples, minimum=1, fix=fix)


def checked_file(owner: str, argument: str, path: Any) -> Path | None:
    """Returns the path of a file that may be written, or None."""
    if path is None:
        return None
    if not Path(path).parent.is_dir():
        expected, fix = "a file in a folder that is there", "Make the folder first."
        raise checks.invalid(owner, argument, expected, f"{argument}={path!r}", fix)
    return Path(path)
