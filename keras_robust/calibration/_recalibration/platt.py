"""Platt scaling."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.row_weights import check_repetitions
from keras_robust._theory import simplex
from keras_robust.calibration._recalibration.base import FittedRecalibration
from keras_robust.calibration._recalibration.descent import (
    Objective,
    has_minimum,
    minimize,
)
from keras_robust.calibration._recalibration.rows import Rows
from keras_robust.calibration._recalibration.scale_and_bias import ScaleAndBias


class PlattScaling(FittedRecalibration):
    """Platt scaling: a scale and a bias for the logit of one of two classes.

    For two classes, given as one sigmoid output or as two softmax outputs, where
    `TemperatureScaling` is not enough because one class is predicted too often. For
    more classes, see `VectorScaling`.

    The calibrated probability of class 1 is sigmoid(scale * z + bias), where z is its
    logit, or the difference of the two. Scale and bias minimize the mean negative
    log-likelihood (NLL), which is convex. With `smoothed_targets=True` labels are first
    replaced by Platt's, (n₁ + 1)/(n₁ + 2) for class 1 and 1/(n₀ + 2) for class 0, where
    n₁ and n₀ are their numbers: then there always is a minimum if both classes occur.

    What it promises: on the labels that it is fitted to, the NLL does not rise (with
    smoothed targets, that of those targets does not). Its limits: as `VectorScaling`.
    With a negative scale or a large bias, predictions change.

    Args:
        smoothed_targets: Whether to fit to Platt's targets. Defaults to False.
        from_logits: Whether `y_prob` holds logits; otherwise it holds probabilities,
            all above 0 and below 1. Defaults to False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Attributes:
        scale_: The scale, after `fit`.
        bias_: The bias.
        nll_before_: Mean NLL of the fitted labels before.
        nll_after_: The same after.
        converged_: Whether the minimum was found.
        num_iterations_: Number of iterations of L-BFGS.

    Examples:
        >>> from keras_robust.calibration import PlattScaling
        >>> logits = [[-1.0], [-1.0], [-1.0], [1.0], [1.0], [1.0], [1.0]]
        >>> scaling = PlattScaling(from_logits=True).fit([0, 0, 1, 1, 1, 1, 0], logits)
        >>> scaling.transform([[-1.0], [1.0]])[:, 0].round(3).tolist()
        [0.333, 0.75]

    Reference:
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999, eq. 2 to 4.
    """

    scale_: float
    bias_: float
    converged_: bool
    num_iterations_: int

    def __init__(
        self,
        *,
        smoothed_targets: bool = False,
        from_logits: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(from_logits=from_logits, axis=axis)
        self.smoothed_targets = checks.flag(
            "PlattScaling", "smoothed_targets", smoothed_targets
        )

    def _fit(self, rows: Rows) -> None:
        logit = self._logit(rows.log_prob)
        if self.smoothed_targets:  # which go by the numbers of labels
            check_repetitions("PlattScaling", len(rows.weight), rows.total)
        unit = float(rows.weight @ np.abs(logit)) or 1.0
        target = _smoothed(rows) if self.smoothed_targets else rows.target
        objective = _nll(rows._replace(target=target), logit / unit)
        # From the base rate, which no logits can saturate.
        start, identity = np.zeros(2), np.array([unit, 0.0])
        best, converged, self.num_iterations_ = minimize(objective, start, identity)
        self.scale_, self.bias_ = float(best[0] / unit), float(best[1])
        self.converged_ = converged and (
            self.smoothed_targets
            or has_minimum(
                "PlattScaling",
                rows,
                self._recalibrate(rows.log_prob),
                "Pass smoothed_targets=True.",
            )
        )

    def _recalibrate(self, log_prob: np.ndarray) -> np.ndarray:
        return _log_sigmoids(self.scale_ * self._logit(log_prob) + self.bias_)

    def _logit(self, log_prob: np.ndarray) -> np.ndarray:
        if log_prob.shape[-1] != 2:
            raise checks.invalid(
                "PlattScaling",
                "y_prob",
                "of two classes, with a last axis of 1 or 2",
                f"{log_prob.shape[-1]} classes",
                "For more, use VectorScaling or TemperatureScaling.",
            )
        self._check_finite(log_prob)
        return log_prob[:, 1] - log_prob[:, 0]

    def _layer(self, **kwargs: Any) -> ScaleAndBias:
        # The difference of its two outputs is scale * z + bias.
        half = self.bias_ / 2
        return ScaleAndBias([self.scale_] * 2, [-half, half], **kwargs)

    def _settings(self) -> dict[str, Any]:
        return {"smoothed_targets": True} if self.smoothed_targets else {}

    def _report(self) -> dict[str, Any]:
        return {
            "scale": self.scale_,
            "bias": self.bias_,
            "converged": self.converged_,
            "num_iterations": self.num_iterations_,
        }


def _log_sigmoids(score: np.ndarray) -> np.ndarray:
    """Returns log-probabilities (N, 2) of the two classes."""
    return simplex.log_softmax(np.stack([np.zeros_like(score), score], axis=-1))


def _smoothed(rows: Rows) -> np.ndarray:
    count = rows.total * (rows.weight @ rows.target)
    high, low = (count[1] + 1) / (count[1] + 2), 1 / (count[0] + 2)
    positive = rows.target[:, 1] * high + rows.target[:, 0] * low
    return np.stack([1 - positive, positive], axis=-1)


def _nll(rows: Rows, logit: np.ndarray) -> Objective:
    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_prob = _log_sigmoids(parameters[0] * logit + parameters[1])
        residual = rows.weight * (np.exp(log_prob[:, 1]) - rows.target[:, 1])
        return rows.nll(log_prob), np.array([residual @ logit, residual.sum()])

    return objective
