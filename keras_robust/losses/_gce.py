"""Generalized cross entropy."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _numerics
from keras_robust._inputs import checks
from keras_robust._theory.box_cox import box_cox_minimizer, box_cox_posterior
from keras_robust.losses._robust_loss import Number, RobustLoss


def checked_q(owner: str, q: Any, most: int = 1) -> float:
    """Returns `q` as a float in [0, `most`]."""
    number = checks.real_number(owner, "q", q)
    if not 0.0 <= number <= most:
        fix = "For q = 0 the loss is cross entropy, for q = 1 it is 1 - p."
        raise checks.invalid(owner, "q", f"in [0, {most}]", f"q={q!r}", fix)
    return number


def check_q_invertible(owner: str, q: float) -> None:
    """Raises where the minimizer is one-hot, whatever the posterior."""
    if q >= 1.0:
        raise checks.invalid(
            owner,
            "q",
            "below 1 for its posterior to be known",
            f"q={q!r}",
            "From q = 1 on the minimizer is the most likely class alone, all else is "
            "lost.",
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

    From `q = 1` on, the minimizer is the most likely class alone, and `posterior`
    raises an error. Of equally likely classes, any mixture is a minimizer at `q = 1`,
    and `minimizer` returns the even one; above, or with a cutoff, only each by itself
    is, and it returns the first. Such losses fine-tune language models that already
    give most tokens a high probability. Dynamic fine-tuning (DFT, `loss_type="dft"` in
    TRL) minimises `-stop_gradient(p_y) * log(p_y)`, which has the gradient of
    `GCE(q=1)`. Its value is small and falls to 0 as `p_y` does, so it may fall while
    the model gets worse; that of `GCE(q=1)`, `1 - p_y`, can be watched.

    With a `cutoff`, the loss below `p_y = cutoff` is what it is there, and its gradient
    0: the truncated loss of Zhang and Sabuncu, for `q = 0` a clipped cross entropy.
    Labels that start below it are never learnt, so train without it first. Every class
    that the minimizer believes costs room above the cutoff, so it leaves the least
    likely out: it is `p_k ∝ π_k**(1 / (1 - q))` over those m likeliest classes with
    which the expected loss is least, and 0 elsewhere. There are fewer than `1 / cutoff`
    of them: from `cutoff = 0.5` on, one. `posterior` raises an error for predictions in
    which a class is not above the cutoff: how likely it is, the loss does not tell.
    Where all are above, it returns the one posterior at which the prediction is a local
    minimum, as training finds them.

    Args:
        q: Float in [0, 10], how much to disbelieve. Defaults to 0.7.
        cutoff: Float in [0, 1), the probability of the label below which the loss is
            constant. Defaults to 0, which is none.
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
        Networks with Noisy Labels", NeurIPS 2018, eq. 6 and, with a cutoff, 9. For q
        above 1: Li et al., "Beyond Log Likelihood: Probability-Based Objectives for
        Supervised Fine-Tuning across the Model Capability Continuum", 2025. DFT: Wu et
        al., "On the Generalization of SFT: A Reinforcement Learning Perspective with
        Reward Rectification", 2025.
    """

    q = Number()
    cutoff = Number()

    def __init__(
        self,
        q: float = 0.7,
        *,
        cutoff: float = 0.0,
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
        self.q = checked_q("GCE", q, most=10)
        fix = "For cutoff = 0 every label counts."
        self.cutoff = checks.fraction(
            "GCE", "cutoff", cutoff, fix=fix, include_one=False
        )

    def label_cost(self, log_p: Any) -> Any:
        """Returns (1 - max(p, cutoff)^q) / q."""
        if self.cutoff > 0.0:
            # Not `ops.maximum`, which is float32 on PyTorch even for float64. And no
            # constant, so that the NaN of a broken label reaches its row's gradient.
            least = 0.0 * ops.exp(log_p) + math.log(self.cutoff)
            log_p = ops.where(log_p < least, least, log_p)
        return _numerics.box_cox_cost(log_p, self.q)

    def _cost_and_weight(self, log_p: Any, *_: Any) -> tuple[Any, Any, float]:
        if self.cutoff == 0.0:
            return *_numerics.box_cox_cost_and_weight(log_p, self.q), 0.0
        least = math.log(self.cutoff)
        above = _numerics.clip(log_p, least, 0.0)
        cost, weight = _numerics.box_cox_cost_and_weight(above, self.q)
        return cost, weight * ops.cast(log_p >= least, log_p.dtype), 0.0

    @property
    def _is_convex(self) -> bool:  # type: ignore[override]
        return self.q <= 1.0 and self.cutoff == 0.0

    def posterior_temperature(self) -> float | None:
        """Returns 1 / (1 - q), or None with a cutoff, below which there is none."""
        self.check_invertible()
        return 1.0 / (1.0 - self.q) if self.cutoff == 0.0 else None

    def check_invertible(self) -> None:
        """Raises a `ValueError` for q >= 1 or cutoff >= 1/2: p is one-hot."""
        check_q_invertible("GCE", self.q)
        if self.cutoff >= 0.5:
            raise checks.invalid(
                "GCE",
                "cutoff",
                "below 0.5 for its posterior to be known",
                f"cutoff={self.cutoff!r}",
                "No two classes can be above it, so the minimizer is the most likely "
                "class alone, all else is lost.",
            )

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        return box_cox_minimizer(posterior, self.q, self.cutoff)

    def _posterior(self, log_prob: np.ndarray) -> np.ndarray:
        least = log_prob.min(initial=0.0)
        if self.cutoff > 0.0 and least <= math.log(self.cutoff):
            raise checks.invalid(
                "GCE.posterior",
                "y_prob",
                f"above the cutoff of {self.cutoff!r} for every class",
                f"a probability of {math.exp(least):.3g}",
                "How likely a class below it is, a loss with a cutoff does not tell: "
                "calibrate on held-out labels, or train without a cutoff.",
            )
        return box_cox_posterior(log_prob, self.q)

    def _negative_gradient(self, prob: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        return posterior * prob ** (self.q - 1.0) * (prob >= self.cutoff)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"q": self.q, "cutoff": self.cutoff, **super().get_config()}
