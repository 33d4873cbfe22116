"""Forward correction: any loss, on the labels that the noise would make of p."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _backend, _numerics
from keras_robust._inputs import checks
from keras_robust._inputs.matrices import transition_matrix
from keras_robust._theory import simplex, unmixing
from keras_robust._theory.drawn import drawn_labels
from keras_robust.losses._gce import GCE
from keras_robust.losses._robust_loss import RobustLoss


@keras.saving.register_keras_serializable(package="keras_robust")
class ForwardCorrection(RobustLoss):
    """Forward correction: a loss that compares noisy labels with noisy predictions.

    Use it when the transition matrix of the noise is roughly known
    (`noise.estimate_matrix`) and *uneven*: cats labelled as dogs, entities missed. With
    cross entropy as `base`, its minimizer is the *clean* label posterior: calibrated on
    clean labels though it saw noisy ones. For noise that is even over the classes,
    `GammaCE` does the same with one number. A wrong matrix makes the model wrong in the
    other direction: classes that it mixes cannot be learnt apart. A model that has come
    to memorise its labels is no such minimizer, so stop early.

    The loss of a position is

        base(y, matrixᵀ p),    (matrixᵀ p)_j = sum_i p_i * matrix[i, j]

    where `p` is what `y_pred` says of the true classes, and `matrixᵀ p` is therefore
    what it says of the given labels. It is computed from `log p`, so it stays finite
    where `p` of all classes that may be given label `y` rounds to 0. The minimizer for
    a label posterior π (the method `minimizer`) is the solution p of
    `matrixᵀ p = base.minimizer(π)` where that is a distribution, otherwise the p with
    the least expected loss. Backwards, `posterior(p)` is `base.posterior(matrixᵀ p)`,
    the posterior of the *given* labels.

    Limits: with the identity as `matrix` it is `base`. With `symmetric_matrix(K, r)`
    and cross entropy it is `GammaCE` with `gamma = r / ((K - 1) * (1 - r))`, up to a
    factor and a constant. Where wrong labels are drawn alike, whatever the true class,
    `(matrixᵀ p)_y = β_y + (1 - sum_j β_j) * p_y`: so it is for symmetric noise, for
    omission at one rate (`noise.omission_matrix`), and for two classes. If the factor
    is above 0, the loss of logits and class ids then takes the time and memory of
    `GammaCE`. Otherwise it takes several times as much, and soft targets or
    `base=SGCE(...)` memory of K times the size of `y_pred`.

    Args:
        matrix: Transition matrix of shape `(K, K)`, T[i, j] = P(given j | true i), rows
            summing to 1. It may hold zeros, but no column of zeros: no label could ever
            be of that class.
        base: A `GCE`, `SGCE` or `GammaCE`, or another `RobustLoss`. It says how labels
            and predictions are read as well: `ForwardCorrection(matrix, GCE(q=0.5,
            from_logits=True))`. Defaults to None, which is cross entropy, `GCE(q=0)`.
        from_logits: Whether `y_pred` holds logits. See `RobustLoss`. Defaults to None:
            as in `base`, to which it has to be the same; False without a base.
        ignore_class: Label of ignored positions, or None. See `RobustLoss`. Defaults to
            `"base"`: as in `base`, to which it has to be the same; -100 without a base.
        axis: Axis of the classes in `y_pred`. Defaults to None: as in `base`, to which
            it has to be the same; -1 without a base.
        reduction: See `RobustLoss`. Defaults to `"base"`: that of `base`, or
            `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"forward_correction"`.
        dtype: Dtype, or dtype policy, of the result. See `RobustLoss`. Defaults to
            None, that of `base`.

    Call arguments:
        - y_true, y_pred, sample_weight: See `RobustLoss`. A single sigmoid output goes
          with a matrix of two classes.

    Returns:
        A scalar or, for `reduction="none"`, the loss of each position. See
        `RobustLoss`.

    Raises:
        ValueError: If `matrix` is no transition matrix or has a column of zeros, an
            argument contradicts `base`, or shapes do not fit.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust import ForwardCorrection
        >>> matrix = [[1.0, 0.0], [0.3, 0.7]]  # class 1 is missed in 3 of 10 cases
        >>> loss = ForwardCorrection(matrix=matrix, from_logits=True)
        >>> round(float(loss([0, 1], [[0.0, 2.0], [0.0, 2.0]])), 4)
        0.7211

        What it makes a model believe of labels of which half say class 1:

        >>> loss.minimizer([0.5, 0.5]).round(3).tolist()
        [0.286, 0.714]

    Reference:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss
        Correction Approach", CVPR 2017, theorem 2.
    """

    def __init__(
        self,
        matrix: Any,
        base: RobustLoss | None = None,
        *,
        from_logits: bool | None = None,
        ignore_class: int | str | None = "base",
        axis: int | None = None,
        reduction: str | None = "base",
        name: str = "forward_correction",
        dtype: Any = None,
    ) -> None:
        matrix = _checked_matrix(matrix)
        _check_base(base)
        told = GCE(q=0.0) if base is None else base
        super().__init__(
            from_logits=told.from_logits if from_logits is None else from_logits,
            ignore_class=told.ignore_class if ignore_class == "base" else ignore_class,
            axis=told.axis if axis is None else axis,
            reduction=told.reduction if reduction == "base" else reduction,
            name=name,
            dtype=told.dtype if dtype is None else dtype,
        )
        self._matrix = matrix
        drawn = drawn_labels(matrix)
        self._drawn = None if drawn is None else _Drawn(*drawn)
        reading = {n: getattr(self, n) for n in ("from_logits", "ignore_class", "axis")}
        # Cross entropy, where there is none, reads its inputs as this loss does.
        self.base = GCE(q=0.0, **reading) if base is None else base
        for argument, value in reading.items():
            _check_same(argument, value, getattr(self.base, argument))

    @property
    def matrix(self) -> np.ndarray:
        """The transition matrix, float64, of shape `(K, K)`."""
        return self._matrix

    def _cost_of_logits(self, logits: Any, labels: Any, live: Any) -> Any:
        self._check_classes("y_pred", logits.shape[-1])
        if self._drawn is not None and not self.base.weighs_all_labels:
            log_p, _ = _backend.row_terms(logits, labels, live, None)
            return self.base.label_cost(self._drawn.log_given(log_p, labels))
        log_p = ops.log_softmax(_numerics.where_live(live, logits, 0.0), axis=-1)
        return self._cost_of_labels(log_p, labels, soft=False)

    @property
    def _cost_and_weight(self) -> Any:  # type: ignore[override]
        simple = self._drawn is not None and not self.base.weighs_all_labels
        if simple and self._drawn.knows_weight and self.base._cost_and_weight:
            return self._given_cost_and_weight
        return None

    def _given_cost_and_weight(
        self, log_p: Any, cost_of_all: Any, labels: Any, num_classes: int
    ) -> tuple[Any, Any, float]:
        self._check_classes("y_pred", num_classes)
        log_given, weight = self._drawn.log_given_and_weight(log_p, labels)
        cost, of_given, _ = self.base._cost_and_weight(log_given, None, labels, 0)
        return cost, of_given * weight, 0.0

    def _cost_of_labels(self, log_p: Any, labels: Any, soft: bool) -> Any:
        self._check_classes("y_pred", log_p.shape[-1])
        # Row j: P(given j | true i), for every i.
        dtype = _numerics.standard_dtype(log_p)
        columns = ops.convert_to_tensor(self.matrix.T, dtype=dtype)
        logs = np.maximum(simplex.log_of(self.matrix.T), _numerics.LOG_OF_ZERO)
        logs = ops.convert_to_tensor(logs, dtype=dtype)
        all_labels = soft or self.base.weighs_all_labels
        if all_labels:
            log_p = ops.expand_dims(log_p, -2)
        else:
            # Only what can be given the label: no K x K numbers for each position.
            columns = ops.take(columns, labels, axis=0)
            logs = ops.take(logs, labels, axis=0)
        log_noisy = _numerics.log_mixture(
            log_p,
            columns,
            logs,
            sums_to_1=self.from_logits,
            has_zeros=not self.matrix.all(),
        )
        if all_labels:
            return self.base._cost_of_labels(log_noisy, labels, soft)
        return self.base.label_cost(log_noisy)

    def check_invertible(self) -> None:
        """Raises a `ValueError` where `base` does."""
        self.base.check_invertible()

    def _minimizer(self, posterior: np.ndarray) -> np.ndarray:
        self._check_classes("posterior", posterior.shape[-1])
        target = self.base._minimizer(posterior)
        flat = posterior.reshape(-1, len(self.matrix))
        clean = unmixing.unmixed(
            "ForwardCorrection.minimizer",
            target.reshape(flat.shape),
            self.matrix,
            lambda noisy, rows: self._negative_gradient_to_follow(noisy, flat[rows]),
        )
        return clean.reshape(posterior.shape)

    def _negative_gradient_to_follow(
        self, noisy: np.ndarray, posterior: np.ndarray
    ) -> np.ndarray:
        if len(noisy) and not self.base._is_convex:
            raise checks.invalid(
                "ForwardCorrection.minimizer",
                "base",
                "of a convex expected loss where no distribution gives, by `matrix`, "
                "the minimizer of `base`",
                f"{type(self.base).__name__}, which has none, and {len(noisy)} "
                "such rows of `posterior`",
                "Take a GCE with q at most 1 and without a cutoff.",
            )
        return self.base._negative_gradient(noisy, posterior)

    def _posterior(self, log_prob: np.ndarray) -> np.ndarray:
        self._check_classes("y_prob", log_prob.shape[-1])
        return self.base._posterior(simplex.log_of(np.exp(log_prob) @ self.matrix))

    def _check_classes(self, argument: str, num_classes: int) -> None:
        if num_classes != len(self.matrix):
            raise checks.invalid(
                type(self).__name__,
                argument,
                f"of the {len(self.matrix)} classes of `matrix`",
                f"{num_classes} classes",
                "A single sigmoid output counts as two.",
            )

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {
            "matrix": self.matrix.tolist(),
            "base": keras.saving.serialize_keras_object(self.base),
            **super().get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ForwardCorrection":
        """Returns the loss of a configuration, its `base` made anew."""
        base = config.get("base")
        if base is not None:
            base = keras.saving.deserialize_keras_object(base)
        return cls(**{**config, "base": base})


class _Drawn:
    """log(β_y + (1 - B) p_y), for wrong labels drawn alike whatever the true class.

    With c_y = β_y + (1 - B) and γ_y = β_y / c_y, it is
    log c_y + log(γ_y + (1 - γ_y) p_y): two terms of one sign, so that nothing cancels.
    """

    def __init__(self, beta: np.ndarray, kept: float) -> None:
        here = beta + kept
        never = beta == 0  # then γ_y + (1 - γ_y) p_y is p_y, of which the log is known
        gamma, rest = beta / here, kept / here
        log_gamma = simplex.log_of(np.where(never, 1.0, gamma))
        self._columns = np.stack(
            [np.log(here), log_gamma, rest, np.log(rest), never], axis=-1
        )
        # Where it is never, 0 in place of 1 - γ says so, and makes no logarithm of 0.
        self._linear = np.stack(
            [np.log(here), np.where(never, 1.0, gamma), np.where(never, 0.0, rest)],
            axis=-1,
        )
        self._some_never = bool(never.any())
        self._high = bool((never | (gamma >= _numerics.HIGH_FLOOR)).all())
        self.knows_weight = bool((never | (gamma >= _numerics.SAFE_FLOOR)).all())

    def log_given(self, log_p: Any, labels: Any) -> Any:
        """Returns the log-probability of the label being given, from that of it."""
        columns = ops.convert_to_tensor(
            self._columns, dtype=_numerics.standard_dtype(log_p)
        )
        log_here, *raise_by, never = ops.unstack(
            ops.take(columns, labels, axis=0), 5, axis=-1
        )
        raised = _numerics.log_raised(log_p, *raise_by)
        if self._some_never:
            raised = ops.where(never != 0, log_p, raised)
        return log_here + raised

    def log_given_and_weight(self, log_p: Any, labels: Any) -> tuple[Any, Any]:
        """Returns the same, and its derivative by `log_p`; for no autodiff."""
        columns = ops.convert_to_tensor(
            self._linear, dtype=_numerics.standard_dtype(log_p)
        )
        log_here, floor, rest = ops.unstack(ops.take(columns, labels, axis=0), 3, -1)
        raised, share = _numerics.log_raised_and_share(
            log_p, floor, rest, high=self._high
        )
        weight = rest * share
        if self._some_never:
            never = rest == 0
            raised = ops.where(never, log_p, raised)
            weight = ops.where(never, ops.ones_like(weight), weight)
        return log_here + raised, weight


def _check_base(base: Any) -> None:
    own = isinstance(base, RobustLoss) and not isinstance(base, ForwardCorrection)
    if base is not None and not own:
        raise TypeError(
            "ForwardCorrection: `base` must be a GCE, SGCE, GammaCE or another "
            "RobustLoss. Received: an object of type "
            f"{type(base).__name__}. Pass the loss itself, such as GCE(q=0.7), or "
            "nothing for cross entropy."
        )


def _check_same(argument: str, value: Any, of_base: Any) -> None:
    if value != of_base:
        raise checks.invalid(
            "ForwardCorrection",
            argument,
            f"that of `base`, {of_base!r}",
            f"{argument}={value!r}",
            "Give it to `base` alone.",
        )


def _checked_matrix(matrix: Any) -> np.ndarray:
    owner = "ForwardCorrection"
    if isinstance(matrix, keras.losses.Loss):
        raise TypeError(
            f"{owner}: `matrix` must be a transition matrix. Received: a "
            f"{type(matrix).__name__}. The matrix comes first: "
            f"{owner}(matrix, base=...)."
        )
    matrix = transition_matrix(owner, "matrix", matrix)
    never = np.flatnonzero((matrix == 0).all(axis=0))
    if never.size:
        raise checks.invalid(
            owner,
            "matrix",
            "without a column of zeros",
            f"nothing but zeros in column {never.tolist()}",
            "A label of that class could never be given: leave the class out, or let "
            "it have a small probability.",
        )
    return matrix
