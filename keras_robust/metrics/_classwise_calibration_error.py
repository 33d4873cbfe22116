"""Class-wise calibration error, streamed."""

from typing import Any

import keras

from keras_robust._inputs import checks
from keras_robust._inputs.labels import Aligned
from keras_robust._inputs.options import checked_norm
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.metrics._base import BinnedMetric, truth
from keras_robust.metrics._norms import norm_of_errors, norm_of_gaps


@keras.saving.register_keras_serializable(package="keras_robust")
class ClasswiseCalibrationError(BinnedMetric):
    """Class-wise calibration error: the calibration of every class's probability.

    Use it where the probabilities of all classes matter, not the largest alone, or
    where the top-label error of rare classes drowns in that of frequent ones. With many
    classes most probabilities are close to 0, and so is the error: compare it between
    models, not between tasks.

    For each class `k`, the probabilities `p_k` in `y_pred` fall into `num_bins` bins of
    equal width, and `acc_b` is the share of labels `k` among the `n_b` rows of bin `b`.
    With ECE_k the error of class `k` in the given `norm`, as in
    `ExpectedCalibrationError`,

        error = mean_k ECE_k            (norm "l1")
        error = sqrt(mean_k ECE_k^2)    (norm "l2")
        error = max_k ECE_k             (norm "max")

    Bins, exactness and merging are as in `ExpectedCalibrationError`; the state has
    `num_classes * num_bins` places.

    Args:
        num_classes: Number K of classes, at least 2.
        num_bins: Number of bins of each class. Defaults to 15.
        norm: `"l1"`, `"l2"` or `"max"`, over bins and classes. Defaults to `"l1"`.
        from_logits: As in `ExpectedCalibrationError`. Defaults to False.
        ignore_class: As in `ExpectedCalibrationError`. Defaults to -100.
        axis: As in `ExpectedCalibrationError`. Defaults to -1.
        name: Name of the metric. Defaults to `"classwise_ece"`.
        dtype: Dtype of the result. Defaults to None, `keras.config.floatx()`.

    Call arguments:
        - y_true: Labels, as in `ExpectedCalibrationError`; a soft target counts for
          each class by the probability that it gives to it.
        - y_pred: Probabilities or logits of shape `(..., K)` along `axis`; a single
          sigmoid output of shape `(..., 1)` stands for 2 classes.
        - sample_weight: As in `ExpectedCalibrationError`.

    Returns:
        A scalar in [0, 1]; 0 if nothing was seen; NaN as in
        `ExpectedCalibrationError`.

    Raises:
        ValueError: If an argument is outside its range, or shapes do not fit.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust.metrics import ClasswiseCalibrationError
        >>> error = ClasswiseCalibrationError(num_classes=3, num_bins=10)
        >>> error.update_state([0, 2], [[0.75, 0.25, 0.0], [0.25, 0.25, 0.5]])
        >>> round(float(error.result()), 4)  # mean of 0.25, 0.25 and 0.25
        0.25
        >>> [bins.count.sum().item() for bins in error.bin_statistics()]
        [2.0, 2.0, 2.0]

    Reference:
        Kull et al., "Beyond Temperature Scaling", NeurIPS 2019, eq. 3; as SCE in Nixon
        et al., "Measuring Calibration in Deep Learning", CVPR Workshops 2019.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        num_bins: int = 15,
        norm: str = "l1",
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        name: str = "classwise_ece",
        dtype: Any = None,
    ) -> None:
        owner = "ClasswiseCalibrationError"
        fix = "Pass the number of classes in `y_pred`, or 2 for a sigmoid output."
        self.num_classes = checks.integer(
            owner, "num_classes", num_classes, minimum=2, fix=fix
        )
        self.norm = checked_norm(owner, norm)
        super().__init__(
            num_bins,
            columns=self.num_classes,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            name=name,
            dtype=dtype,
        )

    def _checked(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, int]:
        known = self._size_of_axis(y_pred)
        if known is not None and max(known, 2) != self.num_classes:
            raise checks.invalid(
                "ClasswiseCalibrationError",
                "y_pred",
                f"of {self.num_classes} classes along axis {self.axis}",
                f"y_pred.shape={tuple(y_pred.shape)}",
                "Set `axis` to that of the classes, and `num_classes` to its size.",
            )
        return super()._checked(y_true, y_pred)

    def _events(self, aligned: Aligned, slack: float) -> tuple[Any, Any]:
        return self._probabilities(aligned, slack), truth(aligned)

    def _summary(self) -> tuple[Any, ...]:
        return _error, self.norm

    def bin_statistics(self) -> tuple[ReliabilityBins, ...]:
        """Returns one table of bins for each class."""
        return self._tables()

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        own = {"num_classes": self.num_classes, "norm": self.norm}
        return {**own, **super().get_config()}


def _error(norm: str, *sums: Any) -> Any:
    return norm_of_errors(norm, norm_of_gaps(norm, *sums))
