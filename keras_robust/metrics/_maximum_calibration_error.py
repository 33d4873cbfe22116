"""Maximum calibration error, streamed."""

from typing import Any

import keras
from keras import ops

from keras_robust._inputs.options import checked_min_count
from keras_robust.metrics._one_confidence import OneConfidenceMetric


@keras.saving.register_keras_serializable(package="keras_robust")
class MaximumCalibrationError(OneConfidenceMetric):
    """Maximum calibration error (MCE): the largest gap of any bin.

    Use it where the worst case counts. Without `min_count` it is ruled by bins of a
    few rows: one prediction of confidence 0.5 that is right makes it 0.5.

    With the bins of `ExpectedCalibrationError`,

        MCE = max_b |acc_b - conf_b|   over bins b with n_b > 0 and n_b >= min_count

    Args:
        num_bins: Number of bins. Defaults to 15.
        min_count: Leave out bins whose count (sum of weights) is smaller. Defaults to
            0; empty bins never take part.
        notion: As in `ExpectedCalibrationError`. Defaults to `"top_label"`.
        from_logits: As in `ExpectedCalibrationError`. Defaults to False.
        ignore_class: As in `ExpectedCalibrationError`. Defaults to -100.
        axis: As in `ExpectedCalibrationError`. Defaults to -1.
        noise_matrix: As in `ExpectedCalibrationError`: the gaps on true labels, from
            noisy ones. With it, thin bins rule the maximum the more. Defaults to None.
        name: Name of the metric. Defaults to `"mce"`.
        dtype: Dtype of the result. Defaults to None, `keras.config.floatx()`.

    Call arguments:
        - y_true, y_pred, sample_weight: As in `ExpectedCalibrationError`.

    Returns:
        A scalar in [0, 1], which with a `noise_matrix` may exceed 1; 0 if no bin takes
        part; NaN as in `ExpectedCalibrationError`.

    Raises:
        ValueError: As `ExpectedCalibrationError`.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust import MaximumCalibrationError
        >>> mce = MaximumCalibrationError(num_bins=10)
        >>> mce.update_state([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        >>> round(float(mce.result()), 4)
        0.8

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 5.
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        min_count: float = 0,
        notion: str = "top_label",
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        noise_matrix: Any = None,
        name: str = "mce",
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
        self.min_count = checked_min_count("MaximumCalibrationError", min_count)

    def _summary(self) -> tuple[Any, ...]:
        return _largest_gap, self.min_count

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"min_count": self.min_count, **super().get_config()}


def _largest_gap(min_count: float, count: Any, confidence: Any, correct: Any) -> Any:
    used = ops.logical_and(count > 0, count >= min_count)
    size = ops.where(used, count, ops.ones_like(count))
    gaps = ops.abs(correct - confidence) / size
    return ops.max(ops.where(used, gaps, ops.zeros_like(gaps)))
