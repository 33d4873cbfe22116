"""Calibration without held-out labels, from the theory of the loss."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import invertible_matrix
from keras_robust._theory import simplex
from keras_robust._theory.unmixing import clean_posterior
from keras_robust.calibration._recalibration.base import map_rows

_OWNER = "analytic_calibrator"
_SOFTMAX_LOSSES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
)


class AnalyticCalibrator:
    """A recalibration without data. Made by `analytic_calibrator`.

    Attributes:
        loss: The loss that the model was trained with.
        noise_matrix: Float64 transition matrix of shape `(K, K)`, or None.
        from_logits: Whether `transform` takes logits.
    """

    def __init__(
        self, loss: Any, noise_matrix: np.ndarray | None, from_logits: bool
    ) -> None:
        self.loss, self.noise_matrix = loss, noise_matrix
        self.from_logits = from_logits
        self._posterior = _posterior_of(loss)

    def transform(self, logits: Any) -> np.ndarray:
        """Returns calibrated probabilities.

        Args:
            logits: Logits of shape `(..., K)`, or probabilities with
                `from_logits=False`; `K = 1` means a single sigmoid output.

        Returns:
            Float64 probabilities of the shape of `logits`.

        Raises:
            ValueError: If a logit is NaN, or the classes are not those of the matrix or
                not for this loss.
        """
        shape = np.shape(logits)
        if shape[-1:]:
            _check_num_classes(self.loss, self.noise_matrix, shape[-1])
        return map_rows(_OWNER, logits, self.from_logits, self._calibrated)

    def _calibrated(self, log_prob: np.ndarray) -> np.ndarray:
        noisy = self._posterior(log_prob)
        if self.noise_matrix is None:
            return noisy
        return clean_posterior(noisy, self.noise_matrix)

    def __repr__(self) -> str:
        shown = f"loss={self.loss.name}"
        if self.noise_matrix is not None:
            shown += f", noise_matrix={self.noise_matrix.shape}"
        return f"AnalyticCalibrator({shown})"


def analytic_calibrator(
    loss: Any, noise_matrix: Any = None, *, from_logits: bool = True
) -> AnalyticCalibrator:
    """Makes a recalibration without data from the loss a model was trained with.

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
    noisy ones that makes a model honest about the noise. With a noise matrix, the
    errors of the model grow by up to the condition number of the matrix.

    Args:
        loss: A `GCE`, `SGCE` or `GammaCE`, or Keras's `CategoricalCrossentropy`,
            `SparseCategoricalCrossentropy` or, for a single sigmoid output,
            `BinaryCrossentropy`. Its own `from_logits` does not matter.
        noise_matrix: Transition matrix of shape `(K, K)`, T[i, j] = P(given j | true
            i), or None for the noisy posterior. Defaults to None.
        from_logits: Whether `transform` takes logits; otherwise it takes probabilities.
            Defaults to True.

    Returns:
        An object with the method `transform(logits)`, as the other recalibrations.

    Raises:
        TypeError: If `loss` is none of these.
        ValueError: If the loss does not tell the posterior (as GCE for q = 1), or
            `noise_matrix` is no transition matrix or not invertible.

    Examples:
        >>> from keras_robust import GCE
        >>> from keras_robust.calibration import analytic_calibrator
        >>> from keras_robust.noise import symmetric_matrix
        >>> logits = [3.0, 0.0, 0.0]
        >>> calibrator = analytic_calibrator(GCE(q=0.6))
        >>> calibrator.transform(logits).round(3).tolist()
        [0.624, 0.188, 0.188]
        >>> calibrator = analytic_calibrator(GCE(q=0.6), symmetric_matrix(3, 0.3))
        >>> calibrator.transform(logits).round(3).tolist()
        [0.862, 0.069, 0.069]
    """
    from_logits = checks.flag(_OWNER, "from_logits", from_logits)
    if noise_matrix is not None:
        noise_matrix = invertible_matrix(_OWNER, noise_matrix)
    return AnalyticCalibrator(loss, noise_matrix, from_logits)


def _posterior_of(loss: Any) -> Callable[[np.ndarray], np.ndarray]:
    if isinstance(loss, (*_SOFTMAX_LOSSES, keras.losses.BinaryCrossentropy)):
        smoothing = getattr(loss, "label_smoothing", 0.0)
        if not smoothing < 1:
            raise checks.invalid(
                _OWNER,
                "loss",
                "with a label_smoothing below 1",
                f"label_smoothing={smoothing!r}",
                "At 1 all smoothed labels are the same.",
            )
        return lambda log_prob: _without_smoothing(np.exp(log_prob), smoothing)
    known = hasattr(loss, "posterior") and hasattr(loss, "check_invertible")
    if isinstance(loss, type) or not known:
        raise TypeError(
            f"{_OWNER}: `loss` must be a GCE, SGCE, GammaCE or one of Keras's "
            "cross entropies. Received: an object of type "
            f"{type(loss).__name__}. Pass the loss itself, not its name; for any "
            "other loss, fit a TemperatureScaling."
        )
    loss.check_invertible()
    return lambda log_prob: loss.posterior(log_prob, from_logits=True)


def _without_smoothing(prob: np.ndarray, smoothing: float) -> np.ndarray:
    if smoothing == 0:
        return prob
    # Keras mixes labels with 1/K: p = (1 - s) posterior + s / K.
    return simplex.project((prob - smoothing / prob.shape[-1]) / (1 - smoothing))


def _check_num_classes(loss: Any, matrix: np.ndarray | None, num_classes: int) -> None:
    sigmoid = isinstance(loss, keras.losses.BinaryCrossentropy)
    if sigmoid != (num_classes == 1) and isinstance(
        loss, (*_SOFTMAX_LOSSES, keras.losses.BinaryCrossentropy)
    ):
        raise checks.invalid(
            _OWNER,
            "logits",
            f"of {'a last axis of 1' if sigmoid else 'at least two classes'} for "
            f"{type(loss).__name__}",
            f"a last axis of {num_classes}",
            "BinaryCrossentropy goes with a single sigmoid output, the others do not.",
        )
    if matrix is not None and max(num_classes, 2) != len(matrix):
        raise checks.invalid(
            _OWNER,
            "noise_matrix",
            f"of the {max(num_classes, 2)} classes of `logits`",
            f"a matrix of shape {matrix.shape}",
            "Entry [i, j] is P(given j | true i).",
        )
