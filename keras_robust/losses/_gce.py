"""Generalized cross entropy."""

from typing import Any

import keras
import numpy as np

from keras_robust import _numerics
from keras_robust._inputs import checks
from keras_robust._theory.box_cox import box_cox_minimizer, box_cox_posterior
from keras_robust.losses._robust_loss import Number, RobustLoss


def checked_q(owner: str, q: Any) -> float:
    """Returns `q` as a float in [0, 1]."""
    fix = "For q = 0 the loss is cross entropy, for q = 1 it is 1 - p."
    return checks.fraction(owner, "q", q, fix=fix)


def check_q_invertible(owner: str, q: float) -> None:
    """Raises where the minimizer is one-hot, whatever the posterior."""
    if q == 1.0:
        raise checks.invalid(
            owner,
            "q",
            "below 1 for its posterior to be known",
            "q=1.0",
            "At q = 1 the minimizer is the most likely class alone, all else is lost.",
        )


@keras.saving.register_keras_serializable(package="keras_robust")
class GCE(RobustLoss):
    """Generalized cross entropy: cross entropy that gives up on labels it disbelieves.

    Use it when an unknown part of the training labels is wrong. It weighs a label by
    `p_y**q`, so labels that the model finds impossible hardly move it. On clean labels
    plain cross entropy learns faster and is better calibrated. From scratch, a large
    `q` may not start to learn: train some epochs with `q=0` first, or choose a
    smaller one.

    The loss of a position is

        (1 - p_y**q) / q = -expm1(q * log(p_y)) / q

    where `p_y` is the probability that `y_pred` gives to the label `y_true`. Limits:
    `q = 0` is cross entropy, `-log(p_y)`; `q = 1` is `1 - p_y`, half the L1 distance
    ("MAE", "unhinged"). Its minimizer for a label posterior π is
    `p_k ∝ π_k**(1 / (1 - q))` (the method `minimizer`), so the logits of a trained
    model times `1 - q` are those of the posterior (the method `posterior`).

    Args:
        q: Float in [0, 1], how much to disbelieve. Defaults to 0.7.
        from_logits: Whether `y_pred` holds logits. See `RobustLoss`. Defaults to False.
        ignore_class: Label of ignored positions. See `RobustLoss`. Defaults to -100.
        axis: Axis of the classes in `y_pred`. Defaults to -1.
        reduction: See `RobustLoss`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"gce"`.
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
        >>> from keras_robust import GCE
        >>> loss = GCE(q=0.5, from_logits=True)
        >>> round(float(loss([0, 2], [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), 4)
        0.5355

        What the loss makes a model believe of labels that are right in 40 % of cases:

        >>> believed = GCE(q=0.6).minimizer([0.4] + [0.075] * 8)
        >>> round(float(believed[0]), 2)
        0.89
        >>> round(float(GCE(q=0.6).posterior(believed)[0]), 2)
        0.4

    Reference:
        Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural
        Networks with Noisy Labels", NeurIPS 2018, eq. 6.
    """

    q = Number()

    def __init__(
        self,
        q: float = 0.7,
        *,
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "gce",
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
        self.q = checked_q("GCE", q)

    def label_cost(self, log_p: Any) -> Any:
        """Returns (1 - p^q) / q."""
        return _numerics.box_cox_cost(log_p, self.q)

    def _cost_and_weight(self, log_p: Any, *_: Any) -> tuple[Any, Any, float]:
        return *_numerics.box_cox_cost_and_weight(log_p, self.q), 0.0

    def posterior_temperature(self) -> float:
        """Returns 1 / (1 - q)."""
        self.check_invertible()
        return 1.0 / (1.0 - self.q)

    def check_invertible(self) -> None:
        """Raises a `ValueError` for q = 1, whose minimizer is one-hot."""
        check_q_invertible("GCE", self.q)

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        return box_cox_minimizer(posterior, self.q)

    def _posterior(self, log_prob: np.ndarray) -> np.ndarray:
        return box_cox_posterior(log_prob, self.q)

    def _negative_gradient(self, prob: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        return posterior * prob ** (self.q - 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"q": self.q, **super().get_config()}
