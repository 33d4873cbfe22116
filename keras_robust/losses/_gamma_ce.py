"""The gamma cross entropy from total variation distance."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _numerics
from keras_robust._inputs import checks
from keras_robust._inputs.matrices import reversible_noise
from keras_robust._theory.gated import gamma_star, gated_minimizer, gated_posterior
from keras_robust.losses._robust_loss import Number, RobustLoss


@keras.saving.register_keras_serializable(package="keras_robust")
class GammaCE(RobustLoss):
    """Gamma cross entropy: the loss that undoes symmetric label noise.

    Use it when labels are wrong at a roughly known rate `r`, evenly over the classes:
    with `gamma = r / ((K - 1) * (1 - r))` (`GammaCE.from_noise_rate(K, r)`) its
    minimizer is the *clean* label posterior: calibrated on clean labels though it saw
    noisy ones. A model that has come to memorise its labels is no such minimizer, so
    stop early. Above that value the model becomes over-confident. For language
    models, its paper takes `gamma = 1e-7`.

    The loss of a position is

        -log(gamma + (1 - gamma) * p_y) / (1 - gamma)

    where `p_y` is the probability that `y_pred` gives to the label `y_true`. Limits:
    `gamma = 0` is cross entropy; `gamma = 1` is `1 - p_y` (the paper writes `-p_y`,
    the same up to a constant). Its gradient is that of cross entropy times the weight
    `w(p) = p / (gamma + (1 - gamma) * p)`. With the gate `b`, the weight is
    `max(b, w(p_y))`: a label is never disbelieved below `b`. The gated value is the
    integral of that gradient, continuous and monotone: the formula above for
    `p_y >= p* = b * gamma / (1 - b * (1 - gamma))`, and `b * log(p* / p_y)` plus its
    value at `p*` below. `b = 1` is cross entropy.

    The minimizer for a label posterior π is
    `p_k = max(b * v * π_k, (v * π_k - gamma) / (1 - gamma), 0)` with the v for which it
    sums to 1 (the method `minimizer`). Backwards (the method `posterior`),
    `π_k ∝ min(p_k / b, gamma + (1 - gamma) * p_k)`. Without a gate, that is the largest
    that a class with `p_k = 0` can have: a loss that rules classes out does not tell
    how unlikely they are.

    Args:
        gamma: Float in [0, 1]. Defaults to 0.1.
        b: Float in [0, 1], the smallest weight of a label. Defaults to 0.
        stop_gradient: If True, return `-max(b, w(p_y)) * log(p_y)` with the weight
            taken as a constant, as the paper writes it. The gradient is the same, but
            the value is not its integral (with `b = 0` it falls to 0 as `p_y` does),
            so it cannot be watched or compared. Defaults to False.
        from_logits: Whether `y_pred` holds logits. See `RobustLoss`. Defaults to False.
        ignore_class: Label of ignored positions. See `RobustLoss`. Defaults to -100.
        axis: Axis of the classes in `y_pred`. Defaults to -1.
        reduction: See `RobustLoss`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"gamma_ce"`.
        dtype: Dtype, or dtype policy, of the result. See `RobustLoss`.

    Call arguments:
        - y_true, y_pred, sample_weight: See `RobustLoss`.

    Returns:
        A scalar or, for `reduction="none"`, the loss of each position. See
        `RobustLoss`.

    Raises:
        ValueError: If an argument is outside its range, or shapes do not fit.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust import GammaCE
        >>> loss = GammaCE(gamma=0.1, from_logits=True)
        >>> round(float(loss([0, 2], [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), 4)
        0.6273

        Made for 9 classes and a noise rate of 0.6, what it makes a model believe of
        labels that are right in 40 % of cases:

        >>> loss = GammaCE.from_noise_rate(9, 0.6, from_logits=True)
        >>> round(loss.gamma, 4)
        0.1875
        >>> round(float(loss.minimizer([0.4] + [0.075] * 8)[0]), 6)
        1.0

    Reference:
        Ji et al., "Tailoring Language Generation Models under Total Variation
        Distance", ICLR 2023; the note by Su, "A Simple Solution to Mitigate
        Overconfidence in Cross-Entropy", for the forms without and with the gate.
    """

    gamma = Number()
    b = Number()

    def __init__(
        self,
        gamma: float = 0.1,
        *,
        b: float = 0.0,
        stop_gradient: bool = False,
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "gamma_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        fix = "For gamma = 0 the loss is cross entropy, for gamma = 1 it is 1 - p."
        self.gamma = checks.fraction("GammaCE", "gamma", gamma, fix=fix)
        fix = "b = 0 is no gate, b = 1 is cross entropy."
        self.b = checks.fraction("GammaCE", "b", b, fix=fix)
        self.stop_gradient = checks.flag("GammaCE", "stop_gradient", stop_gradient)

    @classmethod
    def from_noise_rate(
        cls, num_classes: int, rate: float, **options: Any
    ) -> "GammaCE":
        """Makes the loss that undoes symmetric noise of a rate.

        Args:
            num_classes: Number of classes K, at least 2.
            rate: Rate r at which labels are replaced by one of the K - 1 others, below
                (K - 1)/K; see `noise.estimate_rate` where nobody knows it.
            **options: Further arguments of the loss, such as `from_logits=True`.

        Returns:
            A `GammaCE` with `gamma = r / ((K - 1) * (1 - r))`.

        Raises:
            ValueError: If `num_classes` is below 2 or `rate` outside [0, (K - 1)/K).
            TypeError: If `num_classes` is not an integer, as where the two are swapped.
        """
        owner = f"{cls.__name__}.from_noise_rate"
        return cls(gamma_star(*reversible_noise(owner, num_classes, rate)), **options)

    def posterior_temperature(self) -> float | None:
        """Returns 1 where this is cross entropy, for gamma = 0 or b = 1, else None."""
        self.check_invertible()
        return 1.0 if self.gamma == 0.0 or self.b == 1.0 else None

    def check_invertible(self) -> None:
        """Raises a `ValueError` for gamma = 1 without a gate: p is one-hot."""
        if self.gamma == 1.0 and self.b == 0.0:
            raise checks.invalid(
                "GammaCE",
                "gamma",
                "below 1, or `b` above 0, for its posterior to be known",
                "gamma=1.0, b=0.0",
                "There the minimizer is the most likely class alone, all else is lost.",
            )

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        return gated_minimizer(posterior, self.gamma, self.b)

    def _posterior(self, log_prob: np.ndarray) -> np.ndarray:
        return gated_posterior(np.exp(log_prob), self.gamma, self.b)

    def _negative_gradient(self, prob: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        ungated = 1.0 / (self.gamma + (1.0 - self.gamma) * prob)
        return posterior * np.maximum(self.b / prob, ungated)

    def label_cost(self, log_p: Any) -> Any:
        """Returns the cost of a label, gated or not."""
        if self.stop_gradient:
            weight = ops.stop_gradient(self._weight(log_p))
            # 0 * inf, for a class that the model has ruled out, is 0 in the limit.
            return -weight * ops.where(weight == 0, ops.zeros_like(log_p), log_p)
        if self.b == 0.0 or self.gamma == 0.0:
            return self._ungated(log_p)
        gate = ops.full_like(log_p, self._log_gate())
        # Not `ops.maximum`, which is float32 on PyTorch even for float64.
        above = ops.where(log_p < gate, gate, log_p)
        return self._ungated(above) + self.b * (above - log_p)

    def _cost_and_weight(self, log_p: Any, *_: Any) -> tuple[Any, Any, float]:
        if self.stop_gradient:
            return self.label_cost(log_p), self._weight(log_p), 0.0
        if self.b == 0.0 or self.gamma == 0.0:
            return *self._ungated_and_weight(log_p), 0.0
        above = _numerics.clip(log_p, self._log_gate(), 0.0)
        cost, weight = self._ungated_and_weight(above)  # at the gate, that is b
        return cost + self.b * (above - log_p), weight, 0.0

    def _ungated_and_weight(self, log_p: Any) -> tuple[Any, Any]:
        gamma = self.gamma
        if gamma in (0.0, 1.0):
            return _numerics.box_cox_cost_and_weight(log_p, gamma)
        if gamma < _numerics.SAFE_FLOOR:
            return self._ungated(log_p), self._weight(log_p)
        high = gamma >= _numerics.HIGH_FLOOR
        raised, share = _numerics.log_raised_and_share(
            log_p, gamma, 1.0 - gamma, high=high
        )
        return raised / (gamma - 1.0), share

    def _ungated(self, log_p: Any) -> Any:
        gamma = self.gamma
        if gamma == 0.0:
            return -log_p
        if gamma == 1.0:
            return _numerics.one_minus_exp(log_p)
        floor = ops.full_like(log_p, math.log(gamma))
        raised = _numerics.log_raised(log_p, floor, 1.0 - gamma, math.log1p(-gamma))
        return raised / (gamma - 1.0)

    def _log_gate(self) -> float:
        # log of p* = b gamma / (1 - b (1 - gamma)).
        if self.b == 1.0:
            return 0.0
        log_numerator = math.log(self.b) + math.log(self.gamma)
        return log_numerator - math.log1p(-self.b * (1.0 - self.gamma))

    def _weight(self, log_p: Any) -> Any:
        if self.gamma == 0.0:
            return ops.ones_like(log_p)
        # p / (gamma + (1 - gamma) p), over the larger of gamma and p: no overflow.
        ratio = log_p - math.log(self.gamma)
        larger = ratio > 0
        small = ops.exp(ops.where(larger, -ratio, ratio))
        rest = 1.0 - self.gamma
        weight = ops.where(larger, 1.0 / (rest + small), small / (1.0 + rest * small))
        return ops.where(weight < self.b, ops.full_like(weight, self.b), weight)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {
            "gamma": self.gamma,
            "b": self.b,
            "stop_gradient": self.stop_gradient,
            **super().get_config(),
        }
