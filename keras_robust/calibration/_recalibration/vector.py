"""Vector scaling."""

import warnings
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._theory import simplex
from keras_robust.calibration._recalibration.base import FittedRecalibration
from keras_robust.calibration._recalibration.descent import (
    Objective,
    has_minimum,
    minimize,
)
from keras_robust.calibration._recalibration.rows import Rows
from keras_robust.calibration._recalibration.scale_and_bias import ScaleAndBias
from keras_robust.calibration._recalibration.temperature import solve_temperature


class VectorScaling(FittedRecalibration):
    """Vector scaling: a scale and a bias for each class, fitted to held-out labels.

    Use it where a model is over-confident in some classes and under-confident in
    others, or where classes come in other proportions than in training. It has 2K
    parameters, so it asks for more labels than `TemperatureScaling`, and it may change
    predictions.

    The calibrated probabilities are softmax(scale * log p + bias), where p is the
    softmax of the logits; scale and bias minimize the mean negative log-likelihood
    (NLL) plus l2 * (|scale - 1|² + |bias|²), which is convex. Guo et al. scale the
    logits themselves; log p does not change if a number is added to a row of logits,
    nor does the result then, and probabilities give the same as their logits. The bias
    is known up to a constant, and sums to 0.

    What it promises: on the labels that it is fitted to, the NLL does not rise, and
    with `l2=0` it is not above that of `TemperatureScaling`.

    Its limits: if a class has no label, or if scaling can make every row right, the NLL
    falls without end unless `l2` is above 0; `converged_` is then False, and a warning
    says so.

    Args:
        l2: Float of at least 0, the pull towards changing nothing; 1e-3 helps where
            classes have few labels. Defaults to 0.
        from_logits: Whether `y_prob` holds logits; otherwise it holds probabilities,
            all above 0. Defaults to False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Attributes:
        scale_: Scales of shape `(K,)`, after `fit`.
        bias_: Biases of shape `(K,)`, summing to 0.
        nll_before_: Mean NLL of the fitted labels before.
        nll_after_: The same after, never larger.
        converged_: Whether the minimum was found.
        num_iterations_: Number of iterations of L-BFGS.

    Examples:
        >>> from keras_robust.calibration import VectorScaling
        >>> logits = [[2, 0], [2, 0], [2, 0], [0, 2], [0, 2], [0, 2]]
        >>> scaling = VectorScaling(from_logits=True)
        >>> scaling = scaling.fit([0, 0, 1, 0, 1, 0], logits)
        >>> scaling.transform([[2.0, 0.0], [0.0, 2.0]])[:, 0].round(3).tolist()
        [0.667, 0.667]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2;
        Kull et al., "Beyond temperature scaling", NeurIPS 2019, for log p.
    """

    scale_: np.ndarray
    bias_: np.ndarray
    converged_: bool
    num_iterations_: int

    def __init__(
        self, *, l2: float = 0.0, from_logits: bool = False, axis: int = -1
    ) -> None:
        super().__init__(from_logits=from_logits, axis=axis)
        fix = "0 is no pull, 1e-3 a weak one."
        self.l2 = checks.nonnegative("VectorScaling", "l2", l2, fix=fix)

    def _fit(self, rows: Rows) -> None:
        self._check_finite(rows.log_prob)
        unit, centre = rows.spread or 1.0, rows.weight @ rows.log_prob
        one = np.ones_like(centre)
        identity = np.concatenate([unit * one, centre])
        # From the best temperature, near which confidences are not saturated.
        start = identity / solve_temperature(rows).temperature
        objective = _penalized_nll(rows, unit, centre, self.l2)
        best, converged, self.num_iterations_ = minimize(objective, start, identity)
        scale, offset = best.reshape(2, -1)
        self.scale_ = scale / unit
        bias = offset - self.scale_ * centre
        # A constant added to all classes changes nothing.
        self.bias_ = bias - bias.mean()
        scores = self.scale_ * rows.log_prob + self.bias_
        if not converged:
            warnings.warn(
                f"VectorScaling: not at the minimum after {self.num_iterations_} "
                "iterations. Pass l2=1e-3 or so, or rescale the logits.",
                UserWarning,
                stacklevel=3,
            )
        self.converged_ = converged and (
            self.l2 > 0
            or has_minimum("VectorScaling", rows, scores, "Pass l2=1e-3 or so.")
        )

    def _recalibrate(self, log_prob: np.ndarray) -> np.ndarray:
        self._check_finite(log_prob)
        return simplex.log_softmax(self.scale_ * log_prob + self.bias_)

    def _layer(self, **kwargs: Any) -> ScaleAndBias:
        return ScaleAndBias(self.scale_, self.bias_, **kwargs)

    def _settings(self) -> dict[str, Any]:
        return {"l2": self.l2} if self.l2 else {}

    def _report(self) -> dict[str, Any]:
        return {
            "scale": np.array2string(self.scale_, precision=3, threshold=6),
            "bias": np.array2string(self.bias_, precision=3, threshold=6),
            "converged": self.converged_,
            "num_iterations": self.num_iterations_,
        }


def _penalized_nll(rows: Rows, unit: float, centre: np.ndarray, l2: float) -> Objective:
    # Centred: small logits are all near -log K, where scale and bias would be one. With
    # x = (log p - centre) / unit, scale * log p + bias is (scale * unit) * x + offset
    # for offset = bias + scale * centre; these two are the parameters.
    x = (rows.log_prob - centre) / unit

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, offset = parameters.reshape(2, -1)
        log_prob = simplex.log_softmax(scale * x + offset)
        residual = rows.weight[:, None] * (np.exp(log_prob) - rows.target)
        off, bias = scale / unit - 1, offset - scale / unit * centre
        gradient = [
            (residual * x).sum(axis=0) + 2 * l2 * (off - bias * centre) / unit,
            residual.sum(axis=0) + 2 * l2 * bias,
        ]
        penalty = l2 * (off @ off + bias @ bias)
        return rows.nll(log_prob) + penalty, np.concatenate(gradient)

    return objective
