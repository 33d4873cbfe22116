"""Symmetric cross entropy."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _numerics
from keras_robust._inputs import checks
from keras_robust._theory.box_cox import box_cox_minimizer
from keras_robust._theory.symmetric import symmetric_minimizer, symmetric_posterior
from keras_robust.losses._robust_loss import Number, RobustLoss

# What the paper puts in the place of -log 0, its -A.
MINUS_LOG_OF_0 = 4.0


@keras.saving.register_keras_serializable(package="keras_robust")
class SCE(RobustLoss):
    """Symmetric cross entropy: cross entropy plus its reverse, which resists noise.

    Use it to compare with its paper, or for a weight that falls with the model's belief
    in a label but never below `alpha`. `GammaCE` with a gate `b` has such a floor too,
    and a `gamma` for each rate of noise; `alpha` and `beta` have to be tried.

    The loss of a position is

        alpha * -log(p_y) + beta * 4 * (1 - p_y)

    where `p_y` is the probability that `y_pred` gives to the label `y_true`. The second
    term is the paper's reverse cross entropy, `-sum_k p_k * log(t_k)` for a one-hot
    label t, with `log(0)` replaced by `A = -4`. Code that clips labels at 1e-4 has
    `A = log(1e-4) = -9.2`: its `beta` times 2.3 is the one here. Limits: `beta = 0` is
    `alpha` times cross entropy, `alpha = 0` is `4 * beta` times `1 - p_y`. The gradient
    is that of cross entropy times the weight `alpha + 4 * beta * p_y`.

    Its minimizer p for a label posterior π is surer than π: backwards,
    `π_k ∝ p_k / (alpha + 4 * beta * p_k)` (the methods `minimizer` and `posterior`).
    For `alpha = 0` it is the most likely class alone, and equally likely ones share.

    Args:
        alpha: Float of at least 0, the weight of cross entropy. Defaults to 0.1, the
            paper's for CIFAR-10 (6 for CIFAR-100).
        beta: Float of at least 0, the weight of the reverse cross entropy; not 0 if
            `alpha` is. Defaults to 1, the paper's for CIFAR-10 (0.1 for CIFAR-100).
        from_logits: Whether `y_pred` holds logits. See `RobustLoss`. Defaults to False.
        ignore_class: Label of ignored positions. See `RobustLoss`. Defaults to -100.
        axis: Axis of the classes in `y_pred`. Defaults to -1.
        reduction: See `RobustLoss`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"sce"`.
        dtype: Dtype, or dtype policy, of the result. See `RobustLoss`.

    Call arguments:
        - y_true, y_pred, sample_weight: See `RobustLoss`. A soft target `t` costs
          `sum_k t_k * cost(p_k)`, not the reverse cross entropy with t itself.

    Returns:
        A scalar or, for `reduction="none"`, the loss of each position. See
        `RobustLoss`.

    Raises:
        ValueError: If an argument is outside its range, or shapes do not fit.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust import SCE
        >>> loss = SCE(alpha=0.1, beta=1.0, from_logits=True)
        >>> round(float(loss([0, 2], [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), 4)
        1.8263

        What it makes a model believe of labels that are right in 40 % of cases:

        >>> believed = SCE(alpha=1.0, beta=1.0).minimizer([0.4] + [0.075] * 8)
        >>> round(float(believed[0]), 2)
        0.68
        >>> round(float(SCE(alpha=1.0, beta=1.0).posterior(believed)[0]), 2)
        0.4

    Reference:
        Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels",
        ICCV 2019.
    """

    alpha = Number()
    beta = Number()

    def __init__(
        self,
        alpha: float = 0.1,
        beta: float = 1.0,
        *,
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "sce",
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
        fix = "For alpha = 0 the loss is 4 * beta * (1 - p)."
        self.alpha = checks.nonnegative("SCE", "alpha", alpha, fix=fix)
        fix = "For beta = 0 the loss is alpha times cross entropy."
        self.beta = checks.nonnegative("SCE", "beta", beta, fix=fix)
        if self.alpha == 0.0 and self.beta == 0.0:
            raise checks.invalid(
                "SCE",
                "beta",
                "above 0 where `alpha` is 0",
                "alpha=0.0, beta=0.0",
                "That loss would be 0 whatever the predictions.",
            )

    @property
    def _on_missing(self) -> float:
        return MINUS_LOG_OF_0 * self.beta

    def label_cost(self, log_p: Any) -> Any:
        """Returns alpha * -log(p) + 4 * beta * (1 - p)."""
        missing = self._on_missing * _numerics.one_minus_exp(log_p)
        # 0 * inf, for a class that the model has ruled out, is 0 in the limit.
        return missing if self.alpha == 0.0 else missing - self.alpha * log_p

    def _cost_and_weight(self, log_p: Any, *_: Any) -> tuple[Any, Any, float]:
        cost = ops.expm1(log_p) * -self._on_missing
        weight = ops.exp(log_p) * self._on_missing + self.alpha
        return cost if self.alpha == 0.0 else cost - self.alpha * log_p, weight, 0.0

    def posterior_temperature(self) -> float | None:
        """Returns 1 for beta = 0, where this is cross entropy, else None."""
        self.check_invertible()
        return 1.0 if self.beta == 0.0 else None

    def check_invertible(self) -> None:
        """Raises a `ValueError` for alpha = 0, whose minimizer is one-hot."""
        if self.alpha == 0.0:
            raise checks.invalid(
                "SCE",
                "alpha",
                "above 0 for its posterior to be known",
                "alpha=0.0",
                "There the minimizer is the most likely class alone, all else is lost.",
            )

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        ratio = self._on_missing / self.alpha if self.alpha else math.inf
        if math.isinf(ratio):
            return box_cox_minimizer(posterior, 1.0, cutoff=0.0)
        return symmetric_minimizer(posterior, ratio)

    def _posterior(self, log_prob: np.ndarray) -> np.ndarray:
        return symmetric_posterior(np.exp(log_prob), self.alpha, self._on_missing)

    def _negative_gradient(self, prob: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        return posterior * (self.alpha / prob + self._on_missing)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"alpha": self.alpha, "beta": self.beta, **super().get_config()}
