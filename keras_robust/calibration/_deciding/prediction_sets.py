"""Sets of classes that hold the true one as often as asked."""

import math
from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.groups import group_of_rows
from keras_robust._inputs.matrices import correction
from keras_robust._inputs.options import checked_axis, checked_probability
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)
from keras_robust._inputs.row_weights import check_repetitions
from keras_robust.calibration._deciding.nonconformity import METHODS, Nonconformity
from keras_robust.calibration._deciding.prediction_set_layer import PredictionSetLayer
from keras_robust.calibration._deciding.set_coverage import SetCoverage
from keras_robust.calibration._deciding.set_threshold import (
    class_mass,
    threshold_of_all,
    threshold_of_each,
)
from keras_robust.calibration._recalibration.base import num_outputs

_OWNER = "PredictionSets"


class PredictionSets:
    """Sets of classes that hold the true class as often as asked: split conformal.

    Use it where a model should say what it cannot rule out. It promises the coverage,
    P(true class in the set) >= `coverage`, over calibration sets and new rows drawn
    alike, however badly calibrated the model is; a better model has smaller sets. `fit`
    finds a threshold on held-out labels, to which nothing else was fitted.

    A class is in the set if its score is at most the threshold: the score of rank
    (n + 1) * coverage, rounded up, of the n labels' own. With p the probabilities of a
    row, the class k has the score

    - `"lac"`: 1 - p_k. The smallest sets on average; a row of which no class is likely
      enough has an empty one.
    - `"aps"`: the sum of p over the classes likelier than k; of equal ones the first
      counts as likelier. The set holds the fewest likeliest classes that reach a sum,
      more where the model is in doubt, and never none. If the likeliest class is right
      more often than `coverage`, so are the sets, as its score is 0 in every row.
    - `"raps"`: that plus `lambda_reg` for each rank above `k_reg`, which cuts long
      tails of unlikely classes off.

    Equal scores are in or out together, which can only raise the coverage. With a
    `seed` a uniform share of p_k is added to the scores of aps and raps: then none are
    equal, the coverage is at most 1 / (n + 1) above `coverage`, and sets may be empty.

    With `noise_matrix` labels are noisy and the coverage is that of the *true* ones.
    The share of true classes below a score is estimated without bias, as in
    `bin_predictions`; the threshold is where it rises to coverage (n + 1) / n for the
    last time. The coverage is at least `coverage - slack_`, whatever the distribution;
    in simulations its mean was at least `coverage`, to their error. It scatters more,
    about twice as far with 20 % of wrong labels. The noise must depend on the true
    class alone, and the matrix be right.

    Args:
        coverage: Probability in (0, 1) with which a set should hold the true class.
            Defaults to 0.9.
        method: `"lac"`, `"aps"` or `"raps"`. Defaults to `"lac"`.
        per_class: Whether each class has a threshold of its own, so that the coverage
            holds for the rows of each true class (Mondrian). A class with too few rows
            is in every set, and a warning says so. Defaults to False.
        noise_matrix: Transition matrix T of the noise in `y_true`, of shape `(K, K)`,
            T[i, j] = P(given j | true i), or a `noise.MatrixEstimate`. Defaults to
            None: labels are taken as they are.
        conservative: Whether to ask for `slack_` more, so that with a noise matrix too
            the coverage is at least `coverage` in the worst case. Defaults to False.
        lambda_reg: λ of raps, at least 0. Defaults to 0.01.
        k_reg: k of raps, at least 0. Defaults to 5.
        seed: Seed or `numpy.random.Generator` to randomise aps and raps; each call of
            `transform` draws anew. Defaults to None: nothing is random.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Attributes:
        threshold_: Float64 array of shape `(K,)`, after `fit`: the largest score that
            is in; infinite for a class in every set.
        slack_: How far the coverage may be below `coverage`, in the worst case: R
            sqrt(π / (8 n)), with R the range of what one row adds to the estimate. 0
            without noise, and with `conservative`. A float, or of shape `(K,)` for
            `per_class`.

    Raises:
        ValueError: If `coverage` is not in (0, 1), `method` is unknown, `noise_matrix`
            no transition matrix or close to singular, or `lambda_reg` or `k_reg` below
            0; or for a `seed` with `"lac"`, which draws nothing.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.calibration import PredictionSets
        >>> rng = np.random.default_rng(0)
        >>> prob = rng.dirichlet([0.3] * 4, size=1000)
        >>> labels = (prob.cumsum(-1) < rng.random((1000, 1))).sum(-1)
        >>> sets = PredictionSets(coverage=0.9).fit(labels[:500], prob[:500])
        >>> sets.transform([[0.7, 0.2, 0.06, 0.04]]).tolist()
        [[True, True, False, False]]
        >>> measured = sets.evaluate(labels[500:], prob[500:])
        >>> measured.coverage, measured.mean_size
        (0.93, 1.78)

    Reference:
        Sadinle et al., JASA 114, 2019 (lac); Romano et al., NeurIPS 2020 (aps);
        Angelopoulos et al., ICLR 2021 (raps); Vovk, ACML 2012 (`per_class`); Lee et
        al., arXiv 2306.06342 (`groups`). Noisy labels: Einbinder et al., JMLR 25, 2024;
        Sesia et al., arXiv 2309.05092; Penso et al., arXiv 2501.12749; Bortolotti et
        al., arXiv 2501.18060.
    """

    threshold_: np.ndarray
    slack_: Any

    def __init__(
        self,
        coverage: float = 0.9,
        *,
        method: str = "lac",
        per_class: bool = False,
        noise_matrix: Any = None,
        conservative: bool = False,
        lambda_reg: float = 0.01,
        k_reg: int = 5,
        seed: int | np.random.Generator | None = None,
        from_logits: bool = False,
        axis: int = -1,
    ) -> None:
        fix = "Pass how often a set should hold the true class, such as 0.9."
        self.coverage = checked_probability(_OWNER, "coverage", coverage, fix=fix)
        fix = "lac has the smallest sets, aps and raps sets that tell where doubt is."
        self.method = checks.choice(_OWNER, "method", method, METHODS, fix=fix)
        self.per_class = checks.flag(_OWNER, "per_class", per_class)
        self.conservative = checks.flag(_OWNER, "conservative", conservative)
        fix = "0.01 is usual; 0 makes raps aps."
        lambda_reg = checks.nonnegative(_OWNER, "lambda_reg", lambda_reg, fix=fix)
        fix = "Pass the largest size of a set that is not penalised, such as 5."
        k_reg = checks.integer(_OWNER, "k_reg", k_reg, minimum=0, fix=fix)
        self._score = Nonconformity(self.method, lambda_reg, k_reg)
        self.from_logits = checks.flag(_OWNER, "from_logits", from_logits)
        self.axis = checked_axis(_OWNER, axis)
        self._undone = correction(_OWNER, noise_matrix)
        self._rng = None if seed is None else checks.generator(_OWNER, seed)
        if seed is not None and self.method == "lac":
            raise checks.invalid(
                _OWNER,
                "seed",
                "None for method='lac'",
                f"seed={seed!r}",
                "Its scores are not randomised.",
            )

    def fit(
        self,
        y_true: Any,
        y_prob: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        ignore_class: int | None = -100,
    ) -> "PredictionSets":
        """Finds the threshold on labels that the model was not trained on.

        Args:
            y_true: Labels, as in `bin_predictions`. Noisy ones with `noise_matrix`.
            y_prob: Predictions, as in `bin_predictions`: probabilities, or logits if
                the object was made with `from_logits=True`.
            sample_weight: As in `bin_predictions`; they count as repetitions.
            groups: What belongs together, such as the sentence of each word: integers,
                one for each label. Rows within a group are alike, so n is the number of
                groups, each counting 1 in all, and the coverage that of a row drawn
                from a new group. Defaults to None: each row by itself.
            ignore_class: As in `bin_predictions`. Defaults to -100.

        Returns:
            The object itself.

        Raises:
            ValueError: As `bin_predictions`; if there are too few rows or groups (it
                says how many it takes), or weights sum to less than half the number of
                rows.
            TypeError: If labels are no numbers, or groups no integers.
        """
        rows = self._read(y_true, y_prob, sample_weight, ignore_class)
        mass = self._mass(rows, groups, y_prob)
        find = threshold_of_each if self.per_class else threshold_of_all
        self.threshold_, self.slack_ = find(
            self._scores(rows.prob),
            mass,
            self.coverage,
            self._undone,
            self.conservative,
            "rows" if groups is None else "groups",
        )
        self._count = self._count_of_band(rows, groups)
        return self

    def transform(self, y_prob: Any) -> np.ndarray:
        """Returns the sets of predictions.

        Args:
            y_prob: Predictions, as in `fit`.

        Returns:
            Bool array of the shape of `y_prob`, True for the classes in the set; of
            single sigmoid outputs, with two classes.

        Raises:
            ValueError: If a prediction is NaN or no probability, the classes do not
                fit, or `fit` was not called.
        """
        self._check_fitted()
        size = num_outputs(_OWNER, y_prob, self.axis)
        positions = list(np.shape(y_prob))
        del positions[self.axis]
        rows = self._read(np.zeros(positions, int), y_prob, None, None)
        sets = self._sets(rows.prob).reshape(*positions, max(size, 2))
        return np.moveaxis(sets, -1, self.axis)

    def evaluate(
        self,
        y_true: Any,
        y_prob: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        ignore_class: int | None = -100,
    ) -> SetCoverage:
        """Measures the sets on labels to which they were not fitted.

        With `noise_matrix` these are noisy too, and the coverage is the estimate of
        that of the true labels: unbiased, and on few rows maybe above 1.

        Args:
            y_true: Labels, as in `fit`.
            y_prob: Predictions, as in `fit`.
            sample_weight: As in `fit`.
            groups: As in `fit`: each group counts 1.
            ignore_class: As in `fit`. Defaults to -100.

        Returns:
            A `SetCoverage`.

        Raises:
            ValueError: As `fit`, and as `transform`.
            TypeError: As `fit`.
        """
        self._check_fitted()
        rows = self._read(y_true, y_prob, sample_weight, ignore_class)
        if not len(rows.weight):
            fix = "Pass labels that are not ignored, of a weight above 0."
            raise checks.invalid(_OWNER, "y_true", "of at least one row", "none", fix)
        mass, sets = self._mass(rows, groups, y_prob), self._sets(rows.prob)
        known = not math.isnan(self._count_of_band(rows, groups))
        count = self._count if known else math.nan
        return SetCoverage.of(sets, mass, self.coverage, count)

    def as_layer(
        self, *, from_logits: bool | None = None, **kwargs: Any
    ) -> keras.layers.Layer:
        """Returns a layer that makes a model's outputs the sets of its predictions.

        Make a model with both outputs, and save the whole.

        Args:
            from_logits: Whether the model's outputs are logits. Defaults to None: as
                for `y_prob`.
            **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

        Returns:
            A `PredictionSetLayer`.

        Raises:
            ValueError: If the sets are random, the axis is not the last, or `fit` was
                not called.

        Examples:
            ```python
            sets = PredictionSets(from_logits=True).fit(labels, model.predict(x))
            deployed = keras.Model(
                model.inputs, [model.outputs[0], sets.as_layer()(model.outputs[0])]
            )
            ```
        """
        self._check_fitted()
        for name, wanted, found in [("axis", -1, self.axis), ("seed", None, self._rng)]:
            if found != wanted:
                expected, fix = f"{wanted} to make a layer", "Call `transform` instead."
                raise checks.invalid(_OWNER, name, expected, f"{name}={found}", fix)
        return PredictionSetLayer(
            threshold=self.threshold_.tolist(),
            method=self.method,
            lambda_reg=self._score.lambda_reg,
            k_reg=self._score.k_reg,
            from_logits=self.from_logits if from_logits is None else from_logits,
            **kwargs,
        )

    def _read(
        self, y_true: Any, y_prob: Any, sample_weight: Any, ignore_class: Any
    ) -> Predictions:
        rows = read_predictions(
            _OWNER,
            y_true,
            y_prob,
            from_logits=self.from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            axis=self.axis,
        )
        checked_distributions(_OWNER, rows)
        check_repetitions(_OWNER, len(rows.weight), float(rows.weight.sum()))
        return rows

    def _mass(self, rows: Predictions, groups: Any, y_prob: Any) -> np.ndarray:
        if groups is None:
            return class_mass(rows, self._undone, None)
        positions = list(np.shape(y_prob))
        del positions[self.axis]
        group = group_of_rows(_OWNER, groups, tuple(positions), rows.row)
        return class_mass(rows, self._undone, group)

    def _sets(self, prob: np.ndarray) -> np.ndarray:
        if prob.shape[-1] != len(self.threshold_):
            raise checks.invalid(
                _OWNER,
                "y_prob",
                f"of the {len(self.threshold_)} classes of `fit`",
                f"{prob.shape[-1]} classes",
                "Fit again for another model.",
            )
        return self._scores(prob) <= self.threshold_

    def _count_of_band(self, rows: Predictions, groups: Any) -> float:
        """Returns how many rows there are, NaN where they do not tell the band."""
        drawn = rows.label.ndim == 1 or np.isin(rows.label, (0, 1)).all()
        alike = (rows.weight == 1).all() and groups is None
        one = self._undone is None and not self.per_class
        return float(len(rows.weight)) if drawn and alike and one else math.nan

    def _scores(self, prob: np.ndarray) -> np.ndarray:
        u = None if self._rng is None else self._rng.random(len(prob))
        return self._score.scores(prob, u)

    def _check_fitted(self) -> None:
        if not hasattr(self, "threshold_"):
            raise ValueError(
                f"{_OWNER}: `fit` must be called first. Received: an object that was "
                "not fitted. Call fit(y_true, y_prob) on held-out labels."
            )

    def __repr__(self) -> str:
        shown = [f"coverage={self.coverage:g}", f"method={self.method!r}"]
        if self.per_class:
            shown.append("per_class=True")
        if hasattr(self, "threshold_"):
            limits = np.unique(self.threshold_).tolist()
            said = f"{limits[0]:.6g}"
            if len(limits) > 1:
                said += f" to {limits[-1]:.6g}"
            shown.append(f"threshold={said}")
            if np.any(self.slack_):
                shown.append(f"slack={np.max(self.slack_):.4g}")
        return f"{_OWNER}({', '.join(shown)})"
