"""Calibration without held-out labels, from the theory of the loss."""

from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import check_classes, invertible_matrix
from keras_robust._theory import simplex
from keras_robust._theory.unmixing import clean_posterior
from keras_robust.calibration._recalibration.base import Recalibration
from keras_robust.calibration._recalibration.temperature_layer import Temperature

_OWNER = "AnalyticCalibration"
_CROSS_ENTROPIES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.BinaryCrossentropy,
)


class AnalyticCalibration(Recalibration):
    """Recalibration without data, from the loss that a model was trained with.

    Robust losses make a model surer than the labels are, by a known amount: this undoes
    it, by the loss's method `posterior`. GCE becomes softmax((1 - q) * logits), and
    cross entropy stays as it is. Label smoothing, that of `SGCE` and that of Keras, is
    undone as well. The result is calibrated on labels *as noisy as those of training*;
    given the noise matrix T, it is turned into the posterior of the clean labels, the
    solution c of Tᵀc = noisy. A model may contradict the matrix, and then that solution
    has negative entries; it is replaced by the distribution under which the noisy
    posterior is most likely, in which classes have next to no probability.

    How far it gets: it is exact for a model at the minimum of its loss, and knows
    nothing of overfitting. A model that learns its labels by heart, or stops far from
    the minimum, is better mended by `TemperatureScaling` on held-out clean labels: on
    ones with drawn noise that makes a model honest about the noise. With a noise
    matrix, the errors of the model grow by up to the condition number of the matrix.

    There is nothing to fit. `as_layer` is for losses whose posterior is the model's
    prediction at a temperature, without a matrix: 1 / (1 - q) for GCE, 1 for cross
    entropy.

    Args:
        loss: A `GCE`, `SGCE`, `SCE`, `GammaCE` or `ForwardCorrection`, or Keras's
            `CategoricalCrossentropy`, `SparseCategoricalCrossentropy` or, for a single
            sigmoid output, `BinaryCrossentropy`. Its own `from_logits` does not matter.
        noise_matrix: Transition matrix of shape `(K, K)`, T[i, j] = P(given j | true
            i), or None for the noisy posterior. Defaults to None.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Attributes:
        loss: As given.
        noise_matrix: Float64 array of shape `(K, K)`, or None.

    Raises:
        TypeError: If `loss` is none of these.
        ValueError: If the loss does not tell the posterior (as GCE from q = 1 on),
            or `noise_matrix` is no transition matrix or not invertible.

    Examples:
        >>> from keras_robust import GCE
        >>> from keras_robust.calibration import AnalyticCalibration
        >>> from keras_robust.noise import symmetric_matrix
        >>> logits = [3.0, 0.0, 0.0]
        >>> calibration = AnalyticCalibration(GCE(q=0.6), from_logits=True)
        >>> calibration.transform(logits).round(3).tolist()
        [0.624, 0.188, 0.188]
        >>> matrix = symmetric_matrix(3, 0.3)
        >>> calibration = AnalyticCalibration(GCE(q=0.6), matrix, from_logits=True)
        >>> calibration.transform(logits).round(3).tolist()
        [0.862, 0.069, 0.069]
    """

    def __init__(
        self,
        loss: Any,
        noise_matrix: Any = None,
        *,
        from_logits: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(from_logits=from_logits, axis=axis)
        if noise_matrix is not None:
            noise_matrix = invertible_matrix(_OWNER, noise_matrix)
        self.loss, self.noise_matrix = loss, noise_matrix
        _check_loss(loss)

    def _calibrated(self, log_prob: np.ndarray) -> np.ndarray:
        noisy = _posterior(self.loss, log_prob)
        if self.noise_matrix is None:
            return noisy
        return clean_posterior(_OWNER, noisy, self.noise_matrix)

    def _layer(self, **kwargs: Any) -> Temperature:
        if self.noise_matrix is not None:
            raise self._no_layer("a noise_matrix, which mixes probabilities")
        if isinstance(self.loss, _CROSS_ENTROPIES):
            temperature = None if _smoothing(self.loss) else 1.0
        else:
            temperature = self.loss.posterior_temperature()
        if temperature is None:
            name = type(self.loss).__name__
            raise self._no_layer(f"{name}, whose posterior is at no one temperature")
        return Temperature(temperature, **kwargs)

    def _check_num_outputs(self, size: int | None) -> None:
        if size is None:
            return
        loss, matrix, num_classes = self.loss, self.noise_matrix, max(size, 2)
        sigmoid = isinstance(loss, keras.losses.BinaryCrossentropy)
        if isinstance(loss, _CROSS_ENTROPIES) and sigmoid != (size == 1):
            raise checks.invalid(
                _OWNER,
                "y_prob",
                f"of {'a last axis of 1' if sigmoid else 'at least two classes'} for "
                f"{type(loss).__name__}",
                f"a last axis of {size}",
                "BinaryCrossentropy goes with a single sigmoid output, the others do "
                "not.",
            )
        if matrix is not None:
            check_classes(_OWNER, matrix, num_classes)

    def __repr__(self) -> str:
        shown = f"loss={self.loss.name}"
        if self.noise_matrix is not None:
            shown += f", noise_matrix={self.noise_matrix.shape}"
        if self.from_logits:
            shown += ", from_logits=True"
        return f"{_OWNER}({shown})"


def _check_loss(loss: Any) -> None:
    if isinstance(loss, _CROSS_ENTROPIES):
        smoothing = _smoothing(loss)
        if not smoothing < 1:
            raise checks.invalid(
                _OWNER,
                "loss",
                "with a label_smoothing below 1",
                f"label_smoothing={smoothing!r}",
                "At 1 all smoothed labels are the same.",
            )
        return
    known = hasattr(loss, "posterior") and hasattr(loss, "posterior_temperature")
    if isinstance(loss, type) or not known:
        raise TypeError(
            f"{_OWNER}: `loss` must be a GCE, SGCE, GammaCE or one of Keras's "
            "cross entropies. Received: an object of type "
            f"{type(loss).__name__}. Pass the loss itself, not its name; for any "
            "other loss, fit a TemperatureScaling."
        )
    loss.check_invertible()


def _posterior(loss: Any, log_prob: np.ndarray) -> np.ndarray:
    if isinstance(loss, _CROSS_ENTROPIES):
        return _without_smoothing(np.exp(log_prob), _smoothing(loss))
    return loss.posterior(log_prob, from_logits=True)


def _smoothing(loss: Any) -> float:
    # The sparse one has none.
    return getattr(loss, "label_smoothing", 0.0)


def _without_smoothing(prob: np.ndarray, smoothing: float) -> np.ndarray:
    if smoothing == 0:
        return prob
    # Keras mixes labels with 1/K: p = (1 - s) posterior + s / K.
    return simplex.project((prob - smoothing / prob.shape[-1]) / (1 - smoothing))
