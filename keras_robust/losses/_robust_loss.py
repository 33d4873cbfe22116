"""What every loss shares: inputs, ignored labels, reduction, configuration."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _backend, _numerics
from keras_robust._inputs import checks, distributions, sample_weights
from keras_robust._inputs.declared import look
from keras_robust._inputs.labels import Aligned, align
from keras_robust._inputs.options import checked_axis


class Number:
    """A parameter of a loss: a Python number, which compiled steps hold as a constant.

    `torch.compile` makes an input of a number that has changed, and PyTorch 2.13 then
    compiles a wrong gradient of SGCE. It cannot trace `hex`, so it fixes the number.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, loss: Any, owner: type | None = None) -> Any:
        return self if loss is None else float.fromhex(getattr(loss, self._name).hex())

    def __set__(self, loss: Any, value: float) -> None:
        setattr(loss, self._name, float(value))


class RobustLoss(keras.losses.Loss):
    """Base of the losses of this package, and of your own.

    Derive from it for a loss that is a function of the probability p_y of the label: a
    subclass says what a label costs, and has all that is written here. For anything
    else, derive from `keras.losses.Loss`.

    Implement `label_cost(log_p)` and extend `get_config`. Work with `log_p` rather than
    with p, which rounds to 0; what is then finite in value and derivative for
    `log_p = -1e4` and for 0 is stable. For the theory (`minimizer`, `posterior`, and
    being the base of a `ForwardCorrection`) implement in NumPy, on arrays of shape
    `(..., K)`:

    - `_minimizer(posterior)`: the distribution p with the least expected loss, which
      is `sum_k posterior_k * cost(p_k)`;
    - `_posterior(log_prob)`: its inverse; and `check_invertible()`, which raises a
      `ValueError` for settings in which there is none;
    - `_negative_gradient(prob, posterior)`: by how much the expected loss falls as
      each entry of `prob` grows.

    Args:
        from_logits: Whether `y_pred` holds logits; otherwise it holds probabilities,
            which are not renormalised. Logits are more exact. Defaults to False.
        ignore_class: Integer label of positions that cost 0, get no gradient (even
            where their predictions are NaN) and do not count in the mean. A soft
            target is ignored where all its entries equal it or, if it is one of the
            K classes, where it is that class's one-hot row. None ignores nothing.
            Defaults to -100.
        axis: Axis of the classes in `y_pred`. Defaults to -1.
        reduction: As in `keras.losses.Loss`: `"sum_over_batch_size"` (the mean over
            counted positions), `"mean"` (the same), `"sum"`,
            `"mean_with_sample_weight"`, or `"none"`/None. Defaults to
            `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to that of the class, as Keras writes it.
        dtype: Dtype, or dtype policy, of the result. The computation is in float32,
            or in float64 for `"float64"`, and labels stay exact whatever the dtype.
            Defaults to None, which means `keras.config.floatx()`.

    Call arguments:
        - y_true: Integer classes of shape `(...)` or `(..., 1)`, or one-hot or soft
          targets of the shape of `y_pred`. Floats that hold integers are accepted. A
          soft target `t` costs `sum_k t_k * cost(p_k)`.
        - y_pred: Logits or probabilities of shape `(..., K)` along `axis`. `K = 1`
          means a single sigmoid output, the probability or logit of class 1.
        - sample_weight: Optional: a scalar, one weight per position, or one per
          sample. A weight of 0 removes a position's cost and gradient.

    Returns:
        A scalar of the loss's dtype, or a tensor of shape `(...)` for
        `reduction="none"`. A label outside [0, K) that is not ignored, a soft target
        that is no distribution, or a probability outside [0, 1] gives NaN. If nothing
        counts, 0.

    Raises:
        ValueError: If an argument is outside its range, or shapes do not fit.
        TypeError: If an argument is of the wrong type.

    Examples:
        Taylor cross entropy, `sum_{k=1}^{order} (1 - p_y)**k / k`: cross entropy as its
        order grows, `1 - p_y` at order 1.

        >>> import keras
        >>> from keras_robust.losses import RobustLoss
        >>> @keras.saving.register_keras_serializable(package="mine")
        ... class TaylorCE(RobustLoss):
        ...     def __init__(self, order=2, **options):
        ...         super().__init__(**options)
        ...         self.order = order
        ...
        ...     def label_cost(self, log_p):
        ...         missing = -keras.ops.expm1(log_p)  # 1 - p
        ...         return sum(missing**k / k for k in range(1, self.order + 1))
        ...
        ...     def get_config(self):
        ...         return {"order": self.order, **super().get_config()}

        >>> round(float(TaylorCE(order=2)([1], [[0.6, 0.4]])), 4)  # .6 + .36 / 2
        0.78
        >>> loss = TaylorCE(from_logits=True, ignore_class=0)
        >>> float(loss([0, 1], [[3.0, 1.0], [2.0, 2.0]]))  # (.5 + .25 / 2) / 1
        0.625

    Reference:
        Feng et al., "Can Cross Entropy Loss Be Robust to Label Noise?", IJCAI 2020, for
        the loss of the example.
    """

    # Whether the cost of a hard label takes in the probabilities of other labels.
    weighs_all_labels = False
    # Whether the expected loss is convex in p, so that a search finds its minimum.
    _is_convex = True
    # Whether predictions have been compared with `from_logits`: the first ones are.
    _looked = False

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        owner = type(self).__name__
        self.from_logits = checks.flag(owner, "from_logits", from_logits)
        self.ignore_class = checks.ignored_class(owner, ignore_class)
        self.axis = checked_axis(owner, axis)

    def label_cost(self, log_p: Any) -> Any:
        """Returns the cost of a label to which the model gives a log-probability.

        Args:
            log_p: Float tensor of any shape, at most 0; it may hold -inf.

        Returns:
            The costs, a tensor of that shape and dtype.
        """
        raise _not_implemented(self, "label_cost")

    def minimizer(self, posterior: Any) -> np.ndarray:
        """Returns what this loss makes an unrestricted model believe.

        That is the distribution p with the least expected loss, where labels are drawn
        from `posterior`: the confidence to expect of a model that has learnt its
        posterior, not its labels by heart.

        Args:
            posterior: Label posteriors, array of shape `(..., K)`, K >= 2, whatever
                the loss's `axis`.

        Returns:
            Float64 probabilities of shape `(..., K)`.

        Raises:
            ValueError: If `posterior` does not hold distributions.
        """
        owner = f"{type(self).__name__}.minimizer"
        return self._minimizer(
            distributions.label_distribution(owner, "posterior", posterior)
        )

    def posterior(self, y_prob: Any, *, from_logits: bool = False) -> np.ndarray:
        """Returns the label posterior of which `y_prob` is the minimizer.

        Args:
            y_prob: Probabilities of shape `(..., K)`, K >= 2, whatever the loss's
                `axis`; or logits, which are more exact, with `from_logits=True`.
            from_logits: Whether `y_prob` holds logits. Defaults to False.

        Returns:
            Float64 probabilities of shape `(..., K)`.

        Raises:
            ValueError: If `y_prob` does not hold distributions, or if the minimizer of
                this loss does not tell the posterior.
        """
        owner = f"{type(self).__name__}.posterior"
        self.check_invertible()
        return self._posterior(
            distributions.log_probabilities(
                owner, "y_prob", y_prob, from_logits=from_logits
            )
        )

    def posterior_temperature(self) -> float | None:
        """Returns the T with posterior = softmax(logits / T) of a minimizer's logits.

        Returns:
            A float above 0, or None if there is no such number.

        Raises:
            ValueError: If the minimizer of this loss does not tell the posterior.
        """
        self.check_invertible()
        return None

    def check_invertible(self) -> None:
        """Raises a `ValueError` if no posterior can be told from a minimizer."""

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        raise _not_implemented(self, "_minimizer")

    def _posterior(self, log_prob: np.ndarray) -> np.ndarray:
        raise _not_implemented(self, "_posterior")

    def _negative_gradient(self, prob: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        raise _not_implemented(self, "_negative_gradient")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each position, before weights and reduction."""
        losses, _, _ = self._position_losses(y_true, y_pred, None, None)
        return ops.cast(losses, self.dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the reduced loss.

        Keras's own `__call__` would cast the labels to the loss's dtype, in which
        class 2049 is 2048 (float16), average in that dtype, and on PyTorch multiply
        the caller's weights in place.
        """
        mask = _backend.keras_mask(y_pred)
        losses, counted, weight = self._position_losses(
            y_true, y_pred, sample_weight, mask
        )
        return ops.cast(self._reduce(losses, counted, weight), self.dtype)

    def _position_losses(
        self, y_true: Any, y_pred: Any, sample_weight: Any, mask: Any
    ) -> tuple[Any, Any, Any]:
        owner = type(self).__name__
        dtype = "float64" if self.dtype == "float64" else "float32"
        aligned = align(
            owner,
            y_true,
            y_pred,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            axis=self.axis,
            dtype=dtype,
        )
        self._look_once(owner, aligned, y_pred)
        counted, weight = aligned.counted, None
        if mask is not None:
            seen = sample_weights.spread(owner, "mask", mask, counted, dtype)
            counted = ops.logical_and(counted, seen != 0)
        live = counted
        if sample_weight is not None:
            weight = sample_weights.spread(
                owner, "sample_weight", sample_weight, counted, dtype
            )
            live = ops.logical_and(counted, weight != 0)
        losses = self._costs(aligned, live)
        if weight is not None:
            losses = losses * ops.where(live, weight, ops.zeros_like(weight))
        return losses, counted, weight

    def _look_once(self, owner: str, aligned: Aligned, y_pred: Any) -> None:
        if not self._looked and look(
            owner,
            aligned,
            from_logits=self.from_logits,
            activated=_backend.is_activated(y_pred),
            concrete=_backend.concrete,
        ):
            self._looked = True

    def _costs(self, aligned: Aligned, live: Any) -> Any:
        if self.from_logits and not aligned.soft:
            return _backend.row_costs(
                self, aligned.scores, aligned.labels, live, aligned.broken
            )
        log_p = self._log_p(aligned, live)
        costs = self._cost_of_labels(log_p, aligned.labels, aligned.soft)
        broken = ops.logical_and(aligned.broken, live)
        costs = _numerics.nan_where(broken, costs)
        return ops.where(live, costs, ops.zeros_like(costs))

    def _log_p(self, aligned: Aligned, live: Any) -> Any:
        scores = aligned.scores
        if not self.from_logits:
            return _numerics.log_of_probability(_numerics.where_live(live, scores, 1.0))
        scores = _numerics.where_live(live, scores, 0.0)
        if aligned.single:
            return _numerics.log_of_two_classes(scores[..., 1])
        return ops.log_softmax(scores, axis=-1)

    # What follows is for class ids and logits, to be fast: `_cost_of_logits` from the
    # row terms; and of those, in `_cost_and_weight(log_p, cost_of_all, labels, K)`, the
    # cost, by how much it falls as log p grows (a new tensor each), and the share of
    # `cost_of_all` in it, a number. None where only autodiff knows how a cost falls.
    _cost_and_weight: Any = None
    # Exponent of `cost_of_all`, or None for no such term.
    _exponent: float | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # A weight that is inherited belongs to the cost that is inherited with it.
        changed = {"label_cost", "_cost_of_logits"} & vars(cls).keys()
        if changed and "_cost_and_weight" not in vars(cls):
            cls._cost_and_weight = None

    def _cost_of_logits(self, logits: Any, labels: Any, live: Any) -> Any:
        log_p, _ = _backend.row_terms(logits, labels, live, None)
        return self.label_cost(log_p)

    def _cost_of_labels(self, log_p: Any, labels: Any, soft: bool) -> Any:
        if not soft:
            taken = ops.take_along_axis(log_p, ops.expand_dims(labels, -1), axis=-1)
            return self.label_cost(ops.squeeze(taken, axis=-1))
        # A class without weight may have log-probability -inf, and 0 * inf is NaN.
        log_p = ops.where(labels == 0, ops.zeros_like(log_p), log_p)
        return ops.sum(labels * self.label_cost(log_p), axis=-1)

    def _reduce(self, losses: Any, counted: Any, weight: Any) -> Any:
        if self.reduction in (None, "none"):
            return losses
        total = ops.sum(losses)
        if self.reduction == "sum":
            return total
        return self._mean(total, counted, weight)

    def _mean(self, total: Any, counted: Any, weight: Any) -> Any:
        # The total over all replicas' positions, 0 if nothing was counted. Keras adds
        # up the replicas' gradients: dividing each by the number of positions of all
        # makes that sum the global mean; a mean of replica means would be wrong where
        # their numbers differ.
        of_weights = self.reduction == "mean_with_sample_weight" and weight is not None
        if of_weights:
            size = ops.sum(ops.where(counted, weight, ops.zeros_like(weight)))
        else:
            dtype = "float64" if self.dtype == "float64" else "float32"
            size = ops.sum(ops.cast(counted, dtype))
        size = _backend.sum_over_replicas(size)
        empty = size == 0
        if of_weights:  # the total of no positions is 0
            total = ops.where(empty, ops.zeros_like(total), total)
        return total / (size + ops.cast(empty, size.dtype))

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
            "reduction": self.reduction,
            "name": self.name,
            "dtype": self.dtype,
        }


def _not_implemented(loss: RobustLoss, method: str) -> NotImplementedError:
    return NotImplementedError(
        f"{type(loss).__name__} has no method `{method}`. See `RobustLoss` for what it "
        "should return."
    )
