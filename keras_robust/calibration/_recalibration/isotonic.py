"""Isotonic calibration."""

from typing import Any, NoReturn

import numpy as np

from keras_robust._inputs import checks
from keras_robust._theory import simplex
from keras_robust.calibration._recalibration.base import FittedRecalibration
from keras_robust.calibration._recalibration.rows import Rows


class IsotonicCalibration(FittedRecalibration):
    """Isotonic calibration: the best rising step function of each probability.

    Use it with some thousand held-out labels and two classes, where the shape of the
    miscalibration is unknown. With few labels it overfits, and for many classes prefer
    `TemperatureScaling` or `VectorScaling`.

    For two classes the probability of class 1 is mapped by isotonic regression of its
    label, linearly between the steps and constantly beyond them. For K > 2 each class
    is mapped against the rest, and the results are divided by their sum; a row in which
    all are 0 becomes 1/K, as in scikit-learn.

    What it promises: for two classes, the negative log-likelihood (NLL) of the labels
    that it is fitted to does not rise, as no rising function has a lower one. For more,
    it may. Its limits: probabilities become exactly 0 and 1 beyond the last labels of
    the other class, so that on new labels the NLL is often infinite; classes tie; and
    for K > 2 predictions may change.

    It takes probabilities of exactly 0 and 1, those of a forest or of votes: a label
    that had probability 0 makes `nll_before_` infinite, and the fit mends it.

    Args:
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Attributes:
        steps_: For class 1, or for each of K > 2 classes, a pair of arrays: the
            probabilities at which the function is known, and its values.
        nll_before_: Mean NLL of the fitted labels before.
        nll_after_: The same after.

    Raises:
        ImportError: By `fit`, if scikit-learn is not installed.

    Examples:
        >>> from keras_robust.calibration import IsotonicCalibration
        >>> prob = [[0.2], [0.4], [0.6], [0.8]]
        >>> isotonic = IsotonicCalibration().fit([0, 1, 0, 1], prob)
        >>> isotonic.transform([[0.1], [0.5], [0.9]])[:, 0].tolist()
        [0.0, 0.5, 1.0]

    Reference:
        Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass
        Probability Estimates", KDD 2002.
    """

    _takes_zeros = True
    steps_: list[tuple[np.ndarray, np.ndarray]]

    def _fit(self, rows: Rows) -> None:
        prob = np.exp(rows.log_prob)
        num_classes = prob.shape[-1]
        self.steps_ = [
            _isotonic_steps(prob[:, k], rows.target[:, k], rows.weight)
            for k in ([1] if num_classes == 2 else range(num_classes))
        ]

    def _recalibrate(self, log_prob: np.ndarray) -> np.ndarray:
        steps, prob = self.steps_, np.exp(log_prob)
        if len(steps) == 1:
            positive = np.interp(prob[:, 1], *steps[0])
            return simplex.log_of(np.stack([1 - positive, positive], axis=-1))
        mapped = np.stack(
            [np.interp(prob[:, k], *step) for k, step in enumerate(steps)], axis=-1
        )
        total = mapped.sum(axis=-1, keepdims=True)
        share = mapped / np.where(total == 0, 1, total)
        return simplex.log_of(np.where(total == 0, 1 / len(steps), share))

    def _layer(self, **kwargs: Any) -> NoReturn:
        raise self._no_layer("step functions, whose probabilities may be exactly 0")

    def _report(self) -> dict[str, Any]:
        return {"num_steps": [len(x) for x, _ in self.steps_]}


def _isotonic_steps(
    prob: np.ndarray, target: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    isotonic = checks.optional_module("IsotonicCalibration", "sklearn.isotonic")
    regression = isotonic.IsotonicRegression(y_min=0.0, y_max=1.0)
    regression.fit(prob, target, sample_weight=weight)
    return regression.X_thresholds_, regression.y_thresholds_
