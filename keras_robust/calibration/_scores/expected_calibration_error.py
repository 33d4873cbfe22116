"""Expected calibration error, of arrays."""

from typing import Any

from keras_robust._inputs.options import checked_binning, checked_norm, checked_num_bins
from keras_robust.calibration._bins.binning import bin_events
from keras_robust.calibration._bins.events import read_events


def expected_calibration_error(
    y_true: Any,
    y_prob: Any,
    *,
    num_bins: int = 15,
    norm: str = "l1",
    binning: str = "equal_width",
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
    noise_matrix: Any = None,
) -> float:
    """Expected calibration error (ECE): mean distance of confidence from accuracy.

    It is `bin_predictions(...).ece(norm)`. On few rows it is biased upwards: read it
    beside its null value, `bin_predictions(...).null_ece()`. Streamed, it is the metric
    `ExpectedCalibrationError`.

    Args:
        y_true: Labels, as in `bin_predictions`.
        y_prob: Predictions, as in `bin_predictions`.
        num_bins: Number of bins. Defaults to 15.
        norm: `"l1"`, `"l2"` or `"max"`, as in `ReliabilityBins.ece`. Defaults to
            `"l1"`.
        binning: As in `bin_predictions`. Defaults to `"equal_width"`.
        notion: As in `bin_predictions`. Defaults to `"top_label"`.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.
        noise_matrix: As in `bin_predictions`: the error on true labels, from noisy
            ones. It is biased upwards the more, as there is more chance in the bins.
            Defaults to None.

    Returns:
        The error, in [0, 1]; 0 if there are no predictions. With a `noise_matrix`, on
        few rows it may exceed 1.

    Raises:
        ValueError: As `bin_predictions`, or if `norm` is none of these.

    Examples:
        >>> from keras_robust.calibration import expected_calibration_error
        >>> prob = [[0.9, 0.1], [0.2, 0.8]]
        >>> round(expected_calibration_error([0, 0], prob, num_bins=10), 4)
        0.45

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    """
    owner = "expected_calibration_error"
    num_bins = checked_num_bins(owner, num_bins)
    norm = checked_norm(owner, norm)
    binning = checked_binning(owner, binning)
    events = read_events(
        owner,
        y_true,
        y_prob,
        notion=notion,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
        noise_matrix=noise_matrix,
    )
    return bin_events(events, num_bins, binning).ece(norm)
