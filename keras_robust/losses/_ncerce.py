"""Normalised cross entropy plus reverse cross entropy, an active passive loss."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _backend, _numerics
from keras_robust._inputs import checks
from keras_robust._theory.box_cox import box_cox_minimizer
from keras_robust.losses._robust_loss import Number, RobustLoss
from keras_robust.losses._sce import MINUS_LOG_OF_0


@keras.saving.register_keras_serializable(package="keras_robust")
class NCERCE(RobustLoss):
    """Normalised cross entropy plus reverse cross entropy, NCE+RCE.

    Use it to compare with its paper. The first part is cross entropy over the sum of it
    for all labels, so that it is bounded as the second one is, and no label can move
    the model far. Its confidence is of no use before it is calibrated on held-out
    labels: a model that has learnt it is sure of everything. Where it resists as well
    as you need, `GammaCE` does too, and tells how likely the label is.

    The loss of a position is

        alpha * log(p_y) / sum_k log(p_k) + beta * 4 * (1 - p_y)

    where `p_k` are the probabilities in `y_pred` and `y` is the label in `y_true`. The
    second part is that of `SCE`, where 4 is explained. The first one is in [0, 1], and
    small where there are many classes: `alpha` has to be larger there. A class that is
    ruled out by a logit of -inf makes it 0 for labels that are not.

    Of a label posterior π that is not even, its minimizer is the most likely class
    alone, and equally likely ones share; so `posterior` raises an error. The first part
    by itself is content once the least likely class is ruled out, whatever is believed
    of the others: that is why `beta` must be above 0. And where classes are nearly
    ruled out it hardly pulls any more, so that a model with a large `alpha` and a small
    `beta` may stay far from that minimizer.

    Args:
        alpha: Float of at least 0, the weight of normalised cross entropy. Defaults to
            1, the paper's for CIFAR-10 (10 for CIFAR-100).
        beta: Float above 0, the weight of reverse cross entropy. Defaults to 1, the
            paper's for CIFAR-10 (0.1 for CIFAR-100).
        from_logits: Whether `y_pred` holds logits. See `RobustLoss`. Defaults to False.
        ignore_class: Label of ignored positions. See `RobustLoss`. Defaults to -100.
        axis: Axis of the classes in `y_pred`. Defaults to -1.
        reduction: See `RobustLoss`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"ncerce"`.
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
        >>> from keras_robust import NCERCE
        >>> loss = NCERCE(alpha=1.0, beta=1.0, from_logits=True)
        >>> round(float(loss([0, 2], [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), 4)
        1.9514

        What it makes a model believe of labels that are right in 40 % of cases:

        >>> NCERCE().minimizer([0.4] + [0.075] * 8).tolist()
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]

    Reference:
        Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels",
        ICML 2020.
    """

    alpha = Number()
    beta = Number()
    _is_convex = False

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        *,
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "ncerce",
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
        self.alpha = checks.nonnegative("NCERCE", "alpha", alpha, fix=fix)
        fix = "Without it, all p without the least likely class are minimizers."
        self.beta = checks.positive("NCERCE", "beta", beta, fix=fix)

    @property
    def weighs_all_labels(self) -> bool:  # type: ignore[override]
        """Whether the cost of a label depends on the other classes too."""
        return self.alpha > 0.0

    @property
    def _on_missing(self) -> float:
        return MINUS_LOG_OF_0 * self.beta

    def label_cost(self, log_p: Any) -> Any:
        """Returns 4 * beta * (1 - p), the part that needs no other class."""
        return self._on_missing * _numerics.one_minus_exp(log_p)

    def _cost_of_labels(self, log_p: Any, labels: Any, soft: bool) -> Any:
        cost = super()._cost_of_labels(log_p, labels, soft)
        if self.alpha == 0.0:
            return cost
        if soft:
            kept = ops.where(labels == 0, ops.zeros_like(log_p), log_p)
            log_p_of_label = ops.sum(labels * kept, axis=-1)
        else:
            taken = ops.take_along_axis(log_p, ops.expand_dims(labels, -1), axis=-1)
            log_p_of_label = ops.squeeze(taken, axis=-1)
        return cost + self._normalised(log_p_of_label, -ops.sum(log_p, axis=-1))

    @property
    def _exponent(self) -> float | None:  # type: ignore[override]
        return None if self.alpha == 0.0 else 0.0

    def _cost_of_logits(self, logits: Any, labels: Any, live: Any) -> Any:
        if self.alpha == 0.0:
            return super()._cost_of_logits(logits, labels, live)
        log_p, cost_of_all = _backend.row_terms(logits, labels, live, 0.0)
        return self.label_cost(log_p) + self._normalised(log_p, cost_of_all)

    def _normalised(self, log_p: Any, cost_of_all: Any) -> Any:
        share, _ = _share_and_total(log_p, cost_of_all)
        return self.alpha * share

    def _cost_and_weight(
        self, log_p: Any, cost_of_all: Any, *_: Any
    ) -> tuple[Any, Any, Any]:
        cost = ops.expm1(log_p) * -self._on_missing
        weight = ops.exp(log_p) * self._on_missing
        if self.alpha == 0.0:
            return cost, weight, 0.0
        share, total = _share_and_total(log_p, cost_of_all)
        slope = self.alpha / total
        return cost + self.alpha * share, weight + slope, -(slope * share)

    def check_invertible(self) -> None:
        """Raises a `ValueError`: the minimizer is one-hot."""
        raise checks.invalid(
            "NCERCE.posterior",
            "loss",
            "one whose minimizer tells the posterior",
            f"NCERCE(alpha={self.alpha!r}, beta={self.beta!r})",
            "Its minimizer is the most likely class alone, all else is lost: calibrate "
            "on held-out labels, or train with GCE, SGCE, SCE or GammaCE.",
        )

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        return box_cox_minimizer(posterior, 1.0, cutoff=0.0)

    def _negative_gradient(self, prob: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        costs = -np.log(prob)
        total = costs.sum(axis=-1, keepdims=True)
        mean = (posterior * costs).sum(axis=-1, keepdims=True) / total
        normalised = (posterior - mean) / (total * prob)
        return self.alpha * normalised + self._on_missing * posterior

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"alpha": self.alpha, "beta": self.beta, **super().get_config()}


def _share_and_total(log_p: Any, cost_of_all: Any) -> tuple[Any, Any]:
    """Returns -log p over the sum of it for all labels, and that sum, both finite."""
    low = _numerics.LOG_OF_ZERO
    # Of a distribution it is at least K log K; of a row that does not count, 0.
    total = _numerics.clip(cost_of_all, 1.0, -low)
    return -_numerics.clip(log_p, low, 0.0) / total, total
