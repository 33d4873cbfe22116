"""What every recalibration shares: reading logits, the two methods, the report."""

import warnings
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)
from keras_robust._theory import simplex
from keras_robust.calibration._recalibration.rows import Rows


class Recalibrator:
    """Base of the recalibrations: `fit` on held-out labels, then `transform`.

    A subclass implements `_fit(rows)` and `_recalibrate(log_prob)`, both on rows of
    log-probabilities, which are the logits up to a constant for each row.
    """

    nll_before_: float
    nll_after_: float

    def __init__(self, *, from_logits: bool = True) -> None:
        self.from_logits = checks.flag(type(self).__name__, "from_logits", from_logits)

    def fit(
        self,
        y_true: Any,
        logits: Any,
        *,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
    ) -> Any:
        """Fits to predictions on labels that the model was not trained on.

        Args:
            y_true: Integer classes of shape `(...)` or `(..., 1)`, or one-hot or soft
                targets of the shape of `logits`.
            logits: Logits of shape `(..., K)`, or probabilities with
                `from_logits=False`; `K = 1` means a single sigmoid output.
            sample_weight: Optional weights, one per position or one per sample. Weight
                2 equals the row twice; rows of weight 0 are left out.
            ignore_class: Label of positions to leave out, or None. Defaults to -100.

        Returns:
            The object itself.

        Raises:
            ValueError: If shapes do not fit, a label is no class, a logit is NaN, a
                label has probability 0, or nothing is left to fit to.
        """
        rows = self._rows(y_true, logits, sample_weight, ignore_class)
        self._fit(rows)
        self._num_classes = rows.log_prob.shape[-1]
        self.nll_before_ = rows.nll(rows.log_prob)
        self.nll_after_ = rows.nll(self._recalibrate(rows.log_prob))
        return self

    def transform(self, logits: Any) -> np.ndarray:
        """Returns calibrated probabilities.

        Args:
            logits: Logits of shape `(..., K)`, or probabilities with
                `from_logits=False`, of as many classes as in `fit`.

        Returns:
            Float64 probabilities of the shape of `logits`.

        Raises:
            ValueError: If a logit is NaN, the classes are not those of `fit`, or `fit`
                was not called.
        """
        self._check_fitted()
        owner = type(self).__name__
        return map_rows(owner, logits, self.from_logits, self._calibrated)

    def _calibrated(self, log_prob: np.ndarray) -> np.ndarray:
        self._check_num_classes(log_prob, self._num_classes)
        return np.exp(self._recalibrate(log_prob))

    def _fit(self, rows: Rows) -> None:
        raise NotImplementedError

    def _recalibrate(self, log_prob: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _rows(
        self, y_true: Any, logits: Any, sample_weight: Any, ignore_class: int | None
    ) -> Rows:
        owner = type(self).__name__
        predictions = read_predictions(
            owner,
            y_true,
            logits,
            from_logits=self.from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            argument="logits",
        )
        if self.from_logits and _look_like_probabilities(
            predictions.logits, single=np.shape(logits)[-1] == 1
        ):
            warnings.warn(
                f"{owner}: all rows of `logits` are in [0, 1] and sum to 1, or are one "
                f"number in [0, 1]. If they are probabilities, use {owner}"
                "(from_logits=False).",
                UserWarning,
                stacklevel=3,
            )
        log_prob, weight = _log_prob(owner, predictions), predictions.weight
        if not len(weight):
            raise checks.invalid(
                owner,
                "y_true",
                "of at least one label that counts",
                "none, or only ignored ones and weights of 0",
                "Pass held-out labels.",
            )
        target = _distributions(predictions.label, log_prob.shape[-1])
        rows = Rows(log_prob, target, weight / weight.sum(), weight.sum())
        lost = int(np.isneginf(rows.of_target(log_prob)).sum())
        if lost:
            raise checks.invalid(
                owner,
                "logits",
                "such that no label has probability 0",
                f"{lost} labels of probability 0",
                "Pass logits, in which small probabilities do not underflow.",
            )
        return rows

    def _check_fitted(self) -> None:
        if not hasattr(self, "nll_after_"):
            raise ValueError(
                f"{type(self).__name__}: `fit` must be called first. Received: an "
                "object that was not fitted. Call fit(y_true, logits) on held-out "
                "labels."
            )

    def _check_num_classes(self, log_prob: np.ndarray, num_classes: int) -> None:
        if log_prob.shape[-1] != num_classes:
            raise checks.invalid(
                type(self).__name__,
                "logits",
                f"of the {num_classes} classes of `fit`",
                f"{log_prob.shape[-1]} classes",
                "Fit again for another model.",
            )

    def _check_finite(self, log_prob: np.ndarray) -> None:
        if np.isneginf(log_prob).any():
            raise checks.invalid(
                type(self).__name__,
                "logits",
                "finite, and probabilities above 0",
                f"{int(np.isneginf(log_prob).any(axis=-1).sum())} other rows",
                "Pass logits, in which small probabilities do not underflow.",
            )

    def _settings(self) -> dict[str, Any]:
        return {}

    def _report(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        shown = dict(self._settings())
        if not self.from_logits:
            shown["from_logits"] = False
        if hasattr(self, "nll_after_"):
            shown |= {"nll_before": self.nll_before_, "nll_after": self.nll_after_}
            shown |= self._report()
        parts = [
            f"{name}={value:.6g}" if type(value) is float else f"{name}={value}"
            for name, value in shown.items()
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


def map_rows(owner: str, logits: Any, from_logits: bool, function: Any) -> np.ndarray:
    """Returns probabilities (..., K): `function` of the rows of log-probabilities."""
    shape = np.shape(logits)
    if len(shape) == 0 or shape[-1] == 0:
        raise checks.invalid(
            owner,
            "logits",
            "of shape (..., num_classes)",
            f"logits.shape={shape}",
            "A single sigmoid output needs a last axis of 1.",
        )
    predictions = read_predictions(
        owner,
        np.zeros(shape[:-1], int),
        logits,
        from_logits=from_logits,
        sample_weight=None,
        ignore_class=None,
        argument="logits",
    )
    prob = function(_log_prob(owner, predictions))
    # A single output is the second of two classes.
    return prob[:, -1:].reshape(shape) if shape[-1] == 1 else prob.reshape(shape)


def _look_like_probabilities(logits: np.ndarray, single: bool) -> bool:
    if single:  # of a few rows, logits may lie there by chance
        return len(logits) >= 10 and bool(((logits >= 0) & (logits <= 1)).all())
    off = np.abs(logits.sum(axis=-1) - 1)
    return len(logits) > 1 and bool((logits >= 0).all() and (off < 1e-5).all())


def _log_prob(owner: str, predictions: Predictions) -> np.ndarray:
    checked_distributions(owner, predictions, "logits")
    return simplex.log_softmax(predictions.log_prob)


def _distributions(label: np.ndarray, num_classes: int) -> np.ndarray:
    if label.ndim == 1:
        return np.eye(num_classes)[label]
    target = np.clip(label, 0, 1)
    return target / target.sum(axis=-1, keepdims=True)
