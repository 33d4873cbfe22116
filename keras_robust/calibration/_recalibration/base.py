"""What the recalibrations share: predictions read, `fit`, `transform`, layers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.options import checked_axis
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)
from keras_robust._theory import simplex
from keras_robust.calibration._recalibration.rows import Rows
from keras_robust.calibration._recalibration.temperature_layer import Temperature

_OF_ZEROS = (
    "A network's logits, with from_logits=True, do not underflow; for a model without "
    "logits, such as a forest, take IsotonicCalibration."
)


class Recalibration:
    """Base of the recalibrations: a map from a model's predictions to calibrated ones.

    A subclass implements `_calibrated(log_prob)`, from rows of log-probabilities (the
    logits up to a constant for each row) to probabilities, and `_layer(**kwargs)`.
    """

    def __init__(self, *, from_logits: bool = False, axis: int = -1) -> None:
        owner = type(self).__name__
        self.from_logits = checks.flag(owner, "from_logits", from_logits)
        self.axis = checked_axis(owner, axis)

    def transform(self, y_prob: Any) -> np.ndarray:
        """Returns calibrated probabilities.

        Args:
            y_prob: Predictions, as in `bin_predictions`: probabilities, or logits if
                the object was made with `from_logits=True`.

        Returns:
            Float64 probabilities of the shape of `y_prob`.

        Raises:
            ValueError: If a prediction is NaN or no probability, the classes do not
                fit, or `fit` was needed and not called.
        """
        owner = type(self).__name__
        self._check_num_outputs(num_outputs(owner, y_prob, self.axis))
        return map_rows(owner, y_prob, self.from_logits, self._calibrated, self.axis)

    def as_layer(self, **kwargs: Any) -> keras.layers.Layer:
        """Returns a layer that makes a model's logits those of calibrated predictions.

        Append it to the model, whose outputs must be logits, and save the whole. The
        softmax (or sigmoid) of its outputs is what `transform` returns.

        Args:
            **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

        Returns:
            A `Temperature` or a `ScaleAndBias`.

        Raises:
            ValueError: If there is no such layer, the object was made for
                probabilities, or `fit` was needed and not called.
        """
        self._check_num_outputs(None)
        layer = self._layer(**kwargs)
        if not self.from_logits:
            raise checks.invalid(
                type(self).__name__,
                "from_logits",
                "True to make a layer, which takes logits",
                "from_logits=False",
                "Give the model an output of logits, and use that.",
            )
        if self.axis != -1 and not isinstance(layer, Temperature):
            raise checks.invalid(
                type(self).__name__,
                "axis",
                "-1 to make a layer, whose scales are those of the last axis",
                f"axis={self.axis}",
                "Move the classes of the model's output to the last axis by a Permute.",
            )
        return layer

    def _check_num_outputs(self, size: int | None) -> None:
        """Raises where predictions with so many outputs cannot be mapped.

        None stands for any size.
        """

    def _calibrated(self, log_prob: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _layer(self, **kwargs: Any) -> keras.layers.Layer:
        raise NotImplementedError

    def _no_layer(self, received: str) -> ValueError:
        owner, fix = type(self).__name__, "Call `transform` on what the model predicts."
        expected = "of a map from logits to logits"
        return checks.invalid(owner, "as_layer", expected, received, fix)


class FittedRecalibration(Recalibration):
    """Base of the recalibrations that are fitted to held-out labels.

    Labels come before predictions, `fit(y_true, y_prob)`, as in scikit-learn's metrics
    and everywhere in this package. A subclass implements `_fit(rows)` and
    `_recalibrate(log_prob)`, which returns log-probabilities.
    """

    nll_before_: float
    nll_after_: float
    _takes_zeros = False

    def fit(
        self,
        y_true: Any,
        y_prob: Any,
        *,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
    ) -> Any:
        """Fits to predictions on labels that the model was not trained on.

        Args:
            y_true: Labels, as in `bin_predictions`.
            y_prob: Predictions, as in `bin_predictions`: probabilities, or logits if
                the object was made with `from_logits=True`.
            sample_weight: As in `bin_predictions`.
            ignore_class: As in `bin_predictions`. Defaults to -100.

        Returns:
            The object itself.

        Raises:
            ValueError: As `bin_predictions`; if a label has probability 0, or nothing
                is left to fit to.
        """
        rows = self._rows(y_true, y_prob, sample_weight, ignore_class)
        self._fit(rows)
        self._num_classes = rows.log_prob.shape[-1]
        self.nll_before_ = rows.nll(rows.log_prob)
        self.nll_after_ = rows.nll(self._recalibrate(rows.log_prob))
        return self

    def _calibrated(self, log_prob: np.ndarray) -> np.ndarray:
        return np.exp(self._recalibrate(log_prob))

    def _fit(self, rows: Rows) -> None:
        raise NotImplementedError

    def _recalibrate(self, log_prob: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _rows(
        self, y_true: Any, y_prob: Any, sample_weight: Any, ignore_class: int | None
    ) -> Rows:
        owner = type(self).__name__
        predictions = read_predictions(
            owner,
            y_true,
            y_prob,
            from_logits=self.from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            axis=self.axis,
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
        if lost and not self._takes_zeros:
            raise checks.invalid(
                owner,
                "y_prob",
                "such that no label has probability 0",
                f"{lost} labels of probability 0",
                _OF_ZEROS,
            )
        return rows

    def _check_num_outputs(self, size: int | None) -> None:
        owner = type(self).__name__
        if not hasattr(self, "nll_after_"):
            raise ValueError(
                f"{owner}: `fit` must be called first. Received: an object that was "
                "not fitted. Call fit(y_true, y_prob) on held-out labels."
            )
        if size is not None and max(size, 2) != self._num_classes:
            raise checks.invalid(
                owner,
                "y_prob",
                f"of the {self._num_classes} classes of `fit`",
                f"{max(size, 2)} classes",
                "Fit again for another model.",
            )

    def _check_finite(self, log_prob: np.ndarray) -> None:
        ruled_out = np.isneginf(log_prob).any(axis=-1)
        if ruled_out.any():
            raise checks.invalid(
                type(self).__name__,
                "y_prob",
                "of finite logits, or of probabilities above 0",
                f"{int(ruled_out.sum())} rows with a class ruled out",
                _OF_ZEROS,
            )

    def _settings(self) -> dict[str, Any]:
        return {}

    def _report(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        shown = dict(self._settings())
        if self.from_logits:
            shown["from_logits"] = True
        if self.axis != -1:
            shown["axis"] = self.axis
        if hasattr(self, "nll_after_"):
            shown |= {"nll_before": self.nll_before_, "nll_after": self.nll_after_}
            shown |= self._report()
        parts = [
            f"{name}={value:.6g}" if type(value) is float else f"{name}={value}"
            for name, value in shown.items()
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


def num_outputs(owner: str, y_prob: Any, axis: int) -> int:
    """Returns the size of the axis of classes in predictions, at least 1."""
    shape = np.shape(y_prob)
    if not -len(shape) <= axis < len(shape) or shape[axis] == 0:
        raise checks.invalid(
            owner,
            "y_prob",
            f"of shape (..., num_classes){'' if axis == -1 else f' with axis {axis}'}",
            f"y_prob.shape={shape}",
            "A single sigmoid output needs a last axis of 1.",
        )
    return shape[axis]


def map_rows(
    owner: str,
    y_prob: Any,
    from_logits: bool,
    function: Callable[[np.ndarray], np.ndarray],
    axis: int,
) -> np.ndarray:
    """Returns probabilities of the shape of `y_prob`, by rows of log-probabilities.

    `function` maps log-probabilities (N, K), K >= 2, to probabilities.
    """
    single = num_outputs(owner, y_prob, axis) == 1
    positions = list(np.shape(y_prob))
    size = positions.pop(axis)
    predictions = read_predictions(
        owner,
        np.zeros(positions, int),
        y_prob,
        from_logits=from_logits,
        sample_weight=None,
        ignore_class=None,
        axis=axis,
    )
    prob = function(_log_prob(owner, predictions))
    # A single output is the second of two classes.
    prob = (prob[:, 1] if single else prob).reshape(*positions, size)
    return np.moveaxis(prob, -1, axis)


def _log_prob(owner: str, predictions: Predictions) -> np.ndarray:
    checked_distributions(owner, predictions)
    return simplex.log_softmax(predictions.log_prob)


def _distributions(label: np.ndarray, num_classes: int) -> np.ndarray:
    if label.ndim == 1:
        return np.eye(num_classes)[label]
    target = np.clip(label, 0, 1)
    return target / target.sum(axis=-1, keepdims=True)
