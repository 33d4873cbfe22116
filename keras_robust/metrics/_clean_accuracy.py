"""Accuracy on true labels, streamed over noisy ones."""

from typing import Any

import keras

from keras_robust._inputs import checks
from keras_robust.metrics._one_confidence import OneConfidenceMetric


@keras.saving.register_keras_serializable(package="keras_robust")
class CleanAccuracy(OneConfidenceMetric):
    """Accuracy on the true labels, estimated from noisy ones and their noise matrix.

    Use it where validation labels are as noisy as the training labels. The accuracy on
    the labels as given is then too low, and where the noise is uneven it rewards a
    model for being wrong as the annotators are. This one has no bias if the matrix is
    right, and costs rows: it scatters more than the accuracy on as many true labels.

    With T[i, j] = P(given j | true i), the given label `y` of a row and its predicted
    class `k`, it is the mean of entry [y, k] of the inverse of T. That has the
    expectation 1 if `k` is the true class, and 0 if not. It may be negative or above 1,
    and so may be the mean of few rows: nothing is clipped, which would be a bias.

    Counts and sums are as exact as in `ExpectedCalibrationError`, and merge as there.

    Args:
        noise_matrix: Transition matrix T of the noise in `y_true`, of shape `(K, K)`,
            or a `noise.MatrixEstimate`.
        from_logits: As in `ExpectedCalibrationError`. Defaults to False.
        ignore_class: As in `ExpectedCalibrationError`. Defaults to -100.
        axis: As in `ExpectedCalibrationError`. Defaults to -1.
        name: Name of the metric. Defaults to `"clean_accuracy"`.
        dtype: Dtype of the result. Defaults to None, `keras.config.floatx()`.

    Call arguments:
        - y_true, y_pred, sample_weight: As in `ExpectedCalibrationError`.

    Returns:
        A scalar; 0 if nothing was seen; NaN as in `ExpectedCalibrationError`.

    Raises:
        ValueError: If `noise_matrix` is no transition matrix, not of the K classes, or
            close to singular, or shapes do not fit.
        TypeError: If an argument is of the wrong type.

    Examples:
        Of five labels one is wrong, as is to be expected of this noise:

        >>> from keras_robust.metrics import CleanAccuracy
        >>> accuracy = CleanAccuracy([[0.8, 0.2], [0.2, 0.8]])
        >>> accuracy.update_state([0, 0, 0, 0, 1], [[0.9, 0.1]] * 5)
        >>> round(float(accuracy.result()), 4)
        1.0

    Reference:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss
        Correction Approach", CVPR 2017, theorem 1, with the zero-one loss.
    """

    _direction = "up"

    def __init__(
        self,
        noise_matrix: Any,
        *,
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        name: str = "clean_accuracy",
        dtype: Any = None,
    ) -> None:
        if noise_matrix is None:
            raise checks.wrong_type(
                "CleanAccuracy",
                "noise_matrix",
                "a transition matrix",
                noise_matrix,
                "For labels taken as they are, use Keras's own accuracy.",
            )
        super().__init__(
            1,  # one bin of all confidences
            notion="top_label",
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            noise_matrix=noise_matrix,
            name=name,
            dtype=dtype,
        )

    def _summary(self) -> tuple[Any, ...]:
        return (_accuracy,)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        config = super().get_config()
        return {k: v for k, v in config.items() if k not in ("num_bins", "notion")}


def _accuracy(count: Any, confidence: Any, correct: Any) -> Any:
    return (correct / keras.ops.where(count == 0, 1.0, count))[0, 0]
