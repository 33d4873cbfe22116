"""Calibration error of multi-label predictions, streamed."""

from typing import Any

import keras
from keras import ops

from keras_robust._inputs import checks
from keras_robust._inputs.labels import Aligned, dense, labels_tensor, same_size
from keras_robust._inputs.options import checked_average, checked_norm
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.metrics._base import BinnedMetric, truth
from keras_robust.metrics._norms import mean_over_seen, norm_of_gaps


@keras.saving.register_keras_serializable(package="keras_robust")
class MultilabelCalibrationError(BinnedMetric):
    """Calibration error where each of several labels applies or not, by itself.

    Use it for a sigmoid per label. Where exactly one of K classes is right, use
    `ClasswiseCalibrationError`.

    For each label the probabilities that it applies fall into `num_bins` bins of equal
    width, and `acc_b` is the share of bin `b` to which it does apply. With ECE_l the
    error of label `l` in the given `norm`, as in `ExpectedCalibrationError`,

        error = mean_l ECE_l                                   (average "macro")
        error = ECE of all decisions in one set of bins        (average "micro")

    The mean leaves out labels of which nothing was seen (all ignored, or of weight 0).
    Pooling can hide labels that are wrong in opposite ways. Bins, exactness and merging
    are as in `ExpectedCalibrationError`; the state has `num_labels * num_bins` places.

    Args:
        num_labels: Number L of labels, at least 1.
        num_bins: Number of bins of each label. Defaults to 15.
        norm: Norm over the bins: `"l1"`, `"l2"` or `"max"`. Defaults to `"l1"`.
        average: `"macro"` or `"micro"`, as above. Defaults to `"macro"`.
        from_logits: As in `ExpectedCalibrationError`. Defaults to False.
        ignore_class: Entries of `y_true` equal to it are left out, each by itself;
            None leaves out nothing. Defaults to -100.
        axis: Axis of the labels in `y_true` and `y_pred`. Defaults to -1.
        name: Name of the metric. Defaults to `"multilabel_ece"`.
        dtype: Dtype of the result. Defaults to None, `keras.config.floatx()`.

    Call arguments:
        - y_true: 0 or 1 for each label, or the probability that it applies, of the
          shape of `y_pred`.
        - y_pred: Sigmoid probabilities or logits of shape `(..., L)` along `axis`.
        - sample_weight: Optional: a scalar, or one weight per sample, per position, or
          per entry of `y_pred`.

    Returns:
        A scalar in [0, 1]; 0 if nothing was seen; NaN if a counted entry of `y_true` or
        a probability was outside [0, 1], a logit NaN or infinite, or a weight negative,
        infinite or NaN.

    Raises:
        ValueError: If an argument is outside its range, or shapes do not fit.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust.metrics import MultilabelCalibrationError
        >>> error = MultilabelCalibrationError(num_labels=2, num_bins=10)
        >>> error.update_state([[1, 0], [1, -100]], [[0.75, 0.5], [0.75, 0.9]])
        >>> round(float(error.result()), 4)  # mean of 0.25 and 0.5
        0.375
        >>> [bins.count.sum().item() for bins in error.bin_statistics()]
        [2.0, 1.0]
    """

    def __init__(
        self,
        num_labels: int,
        *,
        num_bins: int = 15,
        norm: str = "l1",
        average: str = "macro",
        from_logits: bool = False,
        ignore_class: int | None = -100,
        axis: int = -1,
        name: str = "multilabel_ece",
        dtype: Any = None,
    ) -> None:
        owner = "MultilabelCalibrationError"
        fix = "Pass the number of labels in `y_pred`."
        self.num_labels = checks.integer(
            owner, "num_labels", num_labels, minimum=1, fix=fix
        )
        self.norm = checked_norm(owner, norm)
        self.average = checked_average(owner, average)
        super().__init__(
            num_bins,
            columns=self.num_labels,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            name=name,
            dtype=dtype,
        )

    def _checked(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, int]:
        y_true = labels_tensor(type(self).__name__, y_true)
        true, pred = tuple(y_true.shape), tuple(y_pred.shape)
        fits = len(true) == len(pred) and all(map(same_size, true, pred))
        right_size = self._size_of_axis(y_pred) == self.num_labels
        if not (right_size and fits):
            raise checks.invalid(
                "MultilabelCalibrationError",
                "y_true" if right_size else "y_pred",
                f"of {self.num_labels} labels along axis {self.axis}, of one shape "
                "for both",
                f"y_true.shape={true}, y_pred.shape={pred}",
                "Give one entry per label; set `axis` to that of the labels, and "
                "`num_labels` to its size.",
            )
        y_true, y_pred = (ops.moveaxis(x, self.axis, -1) for x in (y_true, y_pred))
        return y_true, ops.expand_dims(y_pred, -1), -1  # each a single sigmoid output

    def _weight(self, counted: Any, mask: Any, sample_weight: Any, dtype: str) -> Any:
        if sample_weight is not None:
            sample_weight = dense(type(self).__name__, "sample_weight", sample_weight)
            if len(sample_weight.shape) == len(counted.shape):  # one for each entry
                sample_weight = ops.moveaxis(sample_weight, self.axis, -1)
        return super()._weight(counted, mask, sample_weight, dtype)

    def _events(self, aligned: Aligned, slack: float) -> tuple[Any, Any]:
        prob = self._probabilities(aligned, slack)
        return prob[..., 1], truth(aligned)[..., 1]

    def _summary(self) -> tuple[Any, ...]:
        return _error, self.norm, self.average

    def bin_statistics(self) -> tuple[ReliabilityBins, ...]:
        """Returns one table of bins for each label."""
        return self._tables()

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        own = {"num_labels": self.num_labels, "norm": self.norm}
        return {**own, "average": self.average, **super().get_config()}


def _error(norm: str, average: str, *sums: Any) -> Any:
    if average == "micro":
        sums = tuple(ops.sum(x, axis=0, keepdims=True) for x in sums)
    return mean_over_seen(norm_of_gaps(norm, *sums), sums[0])
