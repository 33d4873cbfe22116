"""Which of several models the labels that can be trusted speak for."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.groups import group_of_rows
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)
from keras_robust._theory import simplex
from keras_robust.calibration._recalibration.temperature import TemperatureScaling
from keras_robust.calibration._scores.proper import nll_of_rows

_OWNER = "choose_by_likelihood"


@dataclass(frozen=True)
class LikelihoodChoice:
    """What trusted labels say of several models. Made by `choose_by_likelihood`.

    Attributes:
        best: Name of the candidate that was chosen.
        nll: For each candidate its mean NLL, in nats, each row predicted with a
            temperature that was fitted without the row's fold.
        difference: For each candidate its NLL less that of the first one.
        standard_error: For each candidate the standard error of that difference, of
            pairs of rows or groups; 0 for the first.
        calibrator: For each candidate the `TemperatureScaling` of all rows.
        row_nll: For each candidate the NLL of each row that counts, in their order.

    Examples:
        >>> from keras_robust.calibration import choose_by_likelihood
        >>> logits = [[2.0, 0.0], [0.0, 2.0]] * 10
        >>> choice = choose_by_likelihood(
        ...     [0, 1, 0, 0] * 5, {"one": logits, "same": logits}, from_logits=True
        ... )
        >>> choice.best, choice.difference["same"]
        ('one', 0.0)
    """

    best: str
    nll: dict[str, float]
    difference: dict[str, float]
    standard_error: dict[str, float]
    calibrator: dict[str, TemperatureScaling]
    row_nll: dict[str, np.ndarray]

    def __repr__(self) -> str:
        width = max(map(len, self.nll))
        lines = [f"{'':{width}}     NLL  less the first's"]
        for name, nll in self.nll.items():
            difference = (
                f"{self.difference[name]:+.4f} ± {self.standard_error[name]:.4f}"
            )
            chosen = "  <- best" if name == self.best else ""
            lines.append(f"{name:{width}}  {nll:.4f}  {difference}{chosen}")
        return "\n".join(lines)


def choose_by_likelihood(
    y_true: Any,
    candidates: Mapping[str, Any],
    *,
    from_logits: bool = False,
    groups: Any = None,
    sample_weight: Any = None,
    folds: int = 5,
    standard_errors: float = 2.0,
    seed: int = 0,
    ignore_class: int | None = -100,
    axis: int = -1,
) -> LikelihoodChoice:
    """Chooses the model under which labels that can be trusted are likeliest.

    Use it when a loss has to be chosen and only a hundred rows have labels that were
    looked at again: train with each loss, predict these rows, pass what was predicted.
    The likelihood uses all that a model says of a row, not only whether its top class
    is right, so a hundred rows tell models apart that their accuracy or F1 does not.
    Each candidate is compared at its best temperature, since that is how it will be
    used: a loss that leaves a model over-confident is not the worse for it.

    Rows are put into folds by chance. Each fold is predicted with the temperature that
    suits the other folds, and the NLL is the mean over all rows. The least one wins,
    if it is less than the first candidate's by two standard errors of their difference;
    else the rows do not tell the two apart, and the first is chosen. So pass the
    simplest one first, such as the model of the labels as they were given.

    The rows must not have been trained on.

    Args:
        y_true: Trusted labels: integer class ids of shape `(...)` or `(..., 1)`.
        candidates: For each name predictions of shape `(..., K)`: probabilities, or
            logits with `from_logits=True`. At least one.
        from_logits: Whether candidates are logits. Defaults to False.
        groups: What belongs together and into one fold, such as the sentence of each
            word: integers of the shape of the labels. Defaults to None: each row by
            itself.
        sample_weight: Weights of the shape of the labels, such as those of
            `noise.rows_to_check`. Defaults to None.
        folds: Number of folds, at least 2 and at most the number of groups. Defaults
            to 5.
        standard_errors: By how many standard errors of the difference another one has
            to be better than the first candidate; with 0 the least NLL wins, and of
            equal ones the first. Defaults to 2.
        seed: Seed of the folds. Defaults to 0.
        ignore_class: Label of positions that are left out, or None. Defaults to -100.
        axis: Axis of the classes in every candidate. Defaults to -1.

    Returns:
        A `LikelihoodChoice`, which prints as a table.

    Raises:
        ValueError: If shapes do not fit, candidates are of different classes, a
            prediction is NaN or no distribution, or there are fewer rows or groups than
            folds.
        TypeError: If `candidates` is no mapping, or labels or groups are no integers.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.calibration import choose_by_likelihood
        >>> rng = np.random.default_rng(0)
        >>> true = rng.integers(0, 3, 100)
        >>> better = 2.0 * np.eye(3)[true] + rng.normal(size=(100, 3))
        >>> worse = better + rng.normal(size=(100, 3))
        >>> choice = choose_by_likelihood(
        ...     true, {"worse": worse, "better": better}, from_logits=True
        ... )
        >>> choice.best, choice.difference["better"] < 0
        ('better', True)

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, for the
        temperature; Stone, "Cross-Validatory Choice and Assessment of Statistical
        Predictions", JRSS B 36, 1974; Breiman et al., "Classification and Regression
        Trees", 1984, section 3.4, for the standard errors.
    """
    folds, seed = _checked(candidates, folds, seed)
    fix = "At 0 the least NLL wins, at 2 what chance hardly explains."
    standard_errors = checks.nonnegative(
        _OWNER, "standard_errors", standard_errors, fix=fix
    )
    costs, calibrators, num_classes, said = {}, {}, 0, set()
    for name, scores in candidates.items():
        argument = f"candidates[{name!r}]"
        rows = read_predictions(
            _OWNER,
            y_true,
            scores,
            from_logits=from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            axis=axis,
            argument=argument,
            said=said,
        )
        checked_distributions(_OWNER, rows, argument)
        num_classes = num_classes or rows.prob.shape[-1]
        if rows.prob.shape[-1] != num_classes:
            raise checks.invalid(
                _OWNER,
                argument,
                f"of the {num_classes} classes of the first candidate",
                f"{rows.prob.shape[-1]} classes",
                "Likelihoods of other classes do not compare.",
            )
        group = group_of_rows(_OWNER, groups, np.shape(y_true), rows.row)
        fold = _fold_of_rows(group, folds, seed)
        scores = rows.logits if from_logits else rows.prob
        with warnings.catch_warnings():  # what logits look like has been said
            warnings.filterwarnings("ignore", ".*`from_logits` is True", UserWarning)
            calibrators[name] = TemperatureScaling(from_logits=from_logits).fit(
                rows.label, scores, sample_weight=rows.weight
            )
        costs[name] = _cross_validated(scores, rows, fold, from_logits)
    weight = rows.weight
    nll = {name: float(cost @ weight / weight.sum()) for name, cost in costs.items()}
    first = next(iter(costs))
    errors = {
        name: _standard_error(cost - costs[first], weight, group)
        for name, cost in costs.items()
    }
    difference = {name: value - nll[first] for name, value in nll.items()}
    better = [n for n in nll if difference[n] < -standard_errors * errors[n]]
    return LikelihoodChoice(
        best=min(better or [first], key=nll.__getitem__),
        nll=nll,
        difference=difference,
        standard_error=errors,
        calibrator=calibrators,
        row_nll=costs,
    )


def _checked(candidates: Any, folds: Any, seed: Any) -> tuple[int, int]:
    fix = 'Pass {"CE": logits, "GCE": other_logits}, say.'
    if not isinstance(candidates, Mapping):
        raise checks.wrong_type(_OWNER, "candidates", "a mapping", candidates, fix)
    if not candidates:
        raise checks.invalid(_OWNER, "candidates", "not empty", "nothing in it", fix)
    return (
        checks.integer(_OWNER, "folds", folds, minimum=2, fix="5 is usual."),
        checks.integer(_OWNER, "seed", seed, minimum=0, fix="Pass 0, say."),
    )


def _fold_of_rows(group: np.ndarray, folds: int, seed: int) -> np.ndarray:
    count = int(group.max(initial=-1)) + 1
    if count < folds:
        raise checks.invalid(
            _OWNER,
            "folds",
            f"at most {count}, the rows or groups that count",
            f"folds={folds}",
            "Look at more rows again, or pass fewer folds.",
        )
    return np.random.default_rng(seed).permutation(np.arange(count) % folds)[group]


def _cross_validated(
    scores: np.ndarray, rows: Predictions, fold: np.ndarray, from_logits: bool
) -> np.ndarray:
    """Returns each row's -log p of its label at the temperature of other folds."""
    cost = np.empty(len(fold))
    for held in np.unique(fold):
        part, rest = fold == held, fold != held
        with warnings.catch_warnings():  # at its bounds: `calibrator` says so, once
            warnings.simplefilter("ignore", UserWarning)
            scaling = TemperatureScaling(from_logits=from_logits).fit(
                rows.label[rest], scores[rest], sample_weight=rows.weight[rest]
            )
            log_prob = simplex.log_softmax(scaling.scale(scores[part]))
        cost[part] = nll_of_rows(log_prob, rows.label[part])
    return cost


def _standard_error(
    difference: np.ndarray, weight: np.ndarray, group: np.ndarray
) -> float:
    """Returns that of a weighted mean over groups: of a ratio of their sums."""
    mean = difference @ weight / weight.sum()
    sums = np.bincount(group, weight * (difference - mean))
    count = len(sums)
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / weight.sum())
