"""Smooth generalized cross entropy."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _backend, _numerics
from keras_robust._inputs import checks
from keras_robust._theory import simplex
from keras_robust._theory.box_cox import box_cox_minimizer, box_cox_posterior
from keras_robust.losses._gce import check_q_invertible, checked_q
from keras_robust.losses._robust_loss import Number, RobustLoss


@keras.saving.register_keras_serializable(package="keras_robust")
class SGCE(RobustLoss):
    """Smooth generalized cross entropy: GCE with label smoothing inside.

    Use it as `GCE`, when the model should also stay less sure of every class. The
    smoothing acts as that much more symmetric label noise, so it lowers confidence:
    good where GCE is over-confident, bad where it is not. For a model that will teach
    another by distillation, prefer `GCE`.

    The loss of a position is

        sum_k w_k * (1 - p_k**q) / q,   w_y = 1 - s,   w_k = s / (K - 1) for k != y

    where `p_k` are the probabilities in `y_pred`, `y` is the label in `y_true`, `s` is
    `smoothing` and `K` the number of classes. Limits: `s = 0` is `GCE(q)`; `q = 0` is
    cross entropy with those soft targets, which is Keras's `label_smoothing` of
    `s * K / (K - 1)`. Soft targets `t` are smoothed to
    `(1 - s) * t_k + s * (1 - t_k) / (K - 1)`, and its minimizer for a label posterior
    is that of GCE for the smoothed posterior (the method `minimizer`). The method
    `posterior` undoes both; a trained model may be surer than smoothed labels allow,
    and then gets the nearest distribution, in which classes have probability 0.

    Args:
        q: Float in [0, 1], how much to disbelieve; see `GCE`. Defaults to 0.5.
        smoothing: Float in [0, 1), the part of a label's weight that is spread over
            the K - 1 other classes. Defaults to 0.1.
        from_logits: Whether `y_pred` holds logits. See `RobustLoss`. Defaults to False.
        ignore_class: Label of ignored positions. See `RobustLoss`. Defaults to -100.
        axis: Axis of the classes in `y_pred`. Defaults to -1.
        reduction: See `RobustLoss`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"sgce"`.
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
        >>> from keras_robust import SGCE
        >>> loss = SGCE(q=0.6, smoothing=0.1, from_logits=True)
        >>> round(float(loss([0, 2], [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), 4)
        0.5643

        What it makes a model believe of labels that are right in 40 % of cases:

        >>> believed = SGCE(q=0.6, smoothing=0.1).minimizer([0.4] + [0.075] * 8)
        >>> round(float(believed[0]), 2)
        0.85

    Reference:
        Dimachkie, "Cross-Entropy is All You Need... Or is it?", 2023. Its listing
        averages over N * K instead of N, and jumps at q = 0 to smoothing mixed as
        s / K; here both follow the formula.
    """

    q = Number()
    smoothing = Number()

    def __init__(
        self,
        q: float = 0.5,
        *,
        smoothing: float = 0.1,
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "sgce",
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
        self.q = checked_q("SGCE", q)
        fix = "For smoothing = 0 the loss is GCE."
        self.smoothing = checks.fraction(
            "SGCE", "smoothing", smoothing, fix=fix, include_one=False
        )

    @property
    def weighs_all_labels(self) -> bool:  # type: ignore[override]
        """Whether the cost of a label depends on the other classes too."""
        return self.smoothing > 0.0

    def label_cost(self, log_p: Any) -> Any:
        """Returns (1 - p^q) / q."""
        return _numerics.box_cox_cost(log_p, self.q)

    def _cost_of_labels(self, log_p: Any, labels: Any, soft: bool) -> Any:
        cost_of_label = super()._cost_of_labels(log_p, labels, soft)
        if self.smoothing == 0.0:
            return cost_of_label
        cost_of_all = ops.sum(self.label_cost(log_p), axis=-1)
        return self._smoothed_cost(cost_of_label, cost_of_all, log_p.shape[-1])

    @property
    def _exponent(self) -> float | None:  # type: ignore[override]
        return None if self.smoothing == 0.0 else self.q

    def _cost_and_weight(
        self, log_p: Any, cost_of_all: Any, labels: Any, num_classes: int
    ) -> tuple[Any, Any, float]:
        cost, weight = _numerics.box_cox_cost_and_weight(log_p, self.q)
        if self.smoothing == 0.0:
            return cost, weight, 0.0
        of_label, of_all = self._shares(num_classes)
        return of_label * cost + of_all * cost_of_all, of_label * weight, of_all

    def _cost_of_logits(self, logits: Any, labels: Any, live: Any) -> Any:
        if self.smoothing == 0.0:
            return super()._cost_of_logits(logits, labels, live)
        log_p, cost_of_all = _backend.row_terms(logits, labels, live, self.q)
        cost_of_label = self.label_cost(log_p)
        return self._smoothed_cost(cost_of_label, cost_of_all, logits.shape[-1])

    def _smoothed_cost(
        self, cost_of_label: Any, cost_of_all: Any, num_classes: int
    ) -> Any:
        of_label, of_all = self._shares(num_classes)
        return of_label * cost_of_label + of_all * cost_of_all

    def _shares(self, num_classes: int) -> tuple[float, float]:
        # Every class gets s / (K - 1), the label the rest: no N x K matrix of weights.
        spread = self.smoothing / (num_classes - 1)
        return 1.0 - self.smoothing - spread, spread

    def posterior_temperature(self) -> float | None:
        """Returns 1 / (1 - q) without smoothing, else None."""
        self.check_invertible()
        return 1.0 / (1.0 - self.q) if self.smoothing == 0.0 else None

    def check_invertible(self) -> None:
        """Raises a `ValueError` for q = 1, whose minimizer is one-hot."""
        check_q_invertible("SGCE", self.q)

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        return box_cox_minimizer(self._smoothed(posterior), self.q, cutoff=0.0)

    def _smoothed(self, posterior: np.ndarray) -> np.ndarray:
        of_label, of_all = self._shares(posterior.shape[-1])
        return of_all + of_label * posterior

    def _negative_gradient(self, prob: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        return self._smoothed(posterior) * prob ** (self.q - 1.0)

    def _posterior(self, log_prob: np.ndarray) -> np.ndarray:
        num_classes = log_prob.shape[-1]
        kept, spread = self._shares(num_classes)
        if abs(kept) < 1e-12:
            raise checks.invalid(
                "SGCE",
                "smoothing",
                f"other than {(num_classes - 1) / num_classes:.6g} for the posterior "
                f"of {num_classes} classes to be known",
                f"smoothing={self.smoothing!r}",
                "There all smoothed labels are the same.",
            )
        smoothed = box_cox_posterior(log_prob, self.q)
        return simplex.project((smoothed - spread) / kept)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"q": self.q, "smoothing": self.smoothing, **super().get_config()}
