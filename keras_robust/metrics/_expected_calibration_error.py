"""Expected calibration error, streamed."""

from typing import Any

import keras

from keras_robust._inputs.options import checked_norm
from keras_robust.metrics._norms import norm_of_gaps
from keras_robust.metrics._one_confidence import OneConfidenceMetric


@keras.saving.register_keras_serializable(package="keras_robust")
class ExpectedCalibrationError(OneConfidenceMetric):
    """Expected calibration error (ECE): mean distance of confidence from accuracy.

    Use it in `compile(metrics=[...])`, or on its own over batches; read it beside the
    accuracy, because a useless model can have an ECE of 0. On few rows it is biased
    upwards.

    Each prediction falls into one of `num_bins` bins of equal width by its confidence,
    by default the largest probability in `y_pred`. With `n_b` of the `n` predictions in
    bin `b`, their mean confidence `conf_b` and accuracy `acc_b` against `y_true`,

        ECE = sum_b (n_b / n) * |acc_b - conf_b|           (norm "l1")
        ECE = sqrt(sum_b (n_b / n) * (acc_b - conf_b)^2)   (norm "l2")
        ECE = max_b |acc_b - conf_b|  over n_b > 0         (norm "max")

    Bins are left-closed, the last one closed; their edges are k/num_bins, rounded once
    to the dtype of `y_pred`. Counts are exact and sums right to 1e-6 at any number of
    rows; the state is sums, so that those of replicas merge by addition.

    Args:
        num_bins: Number of bins. Defaults to 15.
        norm: `"l1"`, `"l2"` or `"max"`, as above. Defaults to `"l1"`.
        notion: What the confidence is about. `"top_label"`: the predicted class.
            `"positive"`: class 1 of a binary problem, K being 1 or 2; its confidence is
            the probability of class 1, right where that is the label. Never inferred
            from the data. Defaults to `"top_label"`.
        from_logits: Whether `y_pred` holds logits; otherwise it holds probabilities.
            Never guessed from the values. Defaults to False.
        ignore_class: Integer label of positions to leave out. A soft target is left
            out where all its entries equal it or, if it is one of the K classes,
            where it is that class's one-hot row. None leaves out nothing. Defaults
            to -100.
        axis: Axis of the classes in `y_pred`, and in soft targets: 1 where images are
            of shape (N, K, H, W). Never guessed from shapes. Defaults to -1.
        noise_matrix: Transition matrix T of the noise in `y_true`, of shape `(K, K)`,
            T[i, j] = P(given j | true i), or a `noise.MatrixEstimate`: to measure on
            the true labels, of which only noisy ones are at hand, as validation labels
            of the same source as the training labels are. Correctness is then entry
            [given label, predicted class] of the inverse of T, which has the
            expectation 1 if that is the true class, and 0 if not. As right as the
            matrix is; see `bin_predictions`. Defaults to None: labels are taken as they
            are.
        name: Name of the metric. Defaults to `"ece"`.
        dtype: Dtype of the result. Defaults to None, `keras.config.floatx()`.

    Call arguments:
        - y_true: Integer classes of shape `(...)` or `(..., 1)`, or one-hot or soft
          targets of the shape of `y_pred`. A soft target counts as correct by the
          probability that it gives to the predicted class (or to class 1).
        - y_pred: Probabilities or logits of shape `(..., K)` along `axis`; `K = 1`
          means a single sigmoid output. Of equal probabilities, the first class is
          predicted.
        - sample_weight: Optional: a scalar, one weight per position, or one per
          sample. Weight 2 equals the row twice, weight 0 leaves it out. Keras passes
          weights to metrics given as `weighted_metrics` only.

    Returns:
        A scalar in [0, 1], which with a `noise_matrix` may exceed 1 on few rows; 0 if
        nothing was seen; NaN if a counted prediction was NaN, a probability outside
        [0, 1], a label no class, or a weight negative, infinite or NaN.

    Raises:
        ValueError: If an argument is outside its range, shapes do not fit, there are
            more than two classes for `notion="positive"`, or `noise_matrix` is no
            transition matrix, not of the K classes, or close to singular.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust import ExpectedCalibrationError
        >>> ece = ExpectedCalibrationError(num_bins=10)
        >>> ece.update_state([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        >>> round(float(ece.result()), 4)
        0.45
        >>> ece.bin_statistics().count.tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]

        Of five labels one is wrong, as is to be expected of this noise:

        >>> ece = ExpectedCalibrationError(noise_matrix=[[0.8, 0.2], [0.2, 0.8]])
        >>> ece.update_state([0, 0, 0, 0, 1], [[0.9, 0.1]] * 5)
        >>> round(float(ece.result()), 4)
        0.1

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3; for
        the l2 norm Kumar et al., "Verified Uncertainty Calibration", NeurIPS 2019; for
        `noise_matrix` Patrini et al., "Making Deep Neural Networks Robust to Label
        Noise: a Loss Correction Approach", CVPR 2017, theorem 1.
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        norm: str = "l1",
        notion: str = "top_label",
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        noise_matrix: Any = None,
        name: str = "ece",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            notion=notion,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            noise_matrix=noise_matrix,
            name=name,
            dtype=dtype,
        )
        self.norm = checked_norm("ExpectedCalibrationError", norm)

    def _summary(self) -> tuple[Any, ...]:
        return _error, self.norm

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"norm": self.norm, **super().get_config()}


def _error(norm: str, *sums: Any) -> Any:
    return norm_of_gaps(norm, *sums)[0]
