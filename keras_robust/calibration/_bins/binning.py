"""How predictions are grouped into reliability bins."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_robust._inputs.options import checked_binning, checked_num_bins
from keras_robust.calibration._bins.bins import ReliabilityBins, bin_edges
from keras_robust.calibration._bins.events import Events, read_events


def bin_predictions(
    y_true: Any,
    y_prob: Any,
    *,
    num_bins: int = 15,
    binning: str = "equal_width",
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
) -> ReliabilityBins:
    """Bins predictions by their confidence.

    By default the confidence of a prediction is its largest probability, and it is
    correct where that class is the label (the first of equal ones counts as predicted).

    Args:
        y_true: Integer classes of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of the shape of `y_prob`; a soft target counts as correct by the
            probability that it gives to the predicted class.
        y_prob: Probabilities of shape `(..., K)`, or logits with `from_logits=True`;
            `K = 1` means a single sigmoid output. The edges of the bins are rounded to
            its dtype, so a confidence of k/num_bins is in bin k.
        num_bins: Number of bins. Defaults to 15.
        binning: `"equal_width"`, edges k/num_bins; or `"equal_mass"`, the sorted
            predictions cut into parts of equal weight, equal confidences kept
            together (with many of them there are fewer bins). Defaults to
            `"equal_width"`.
        notion: What the confidence is about: `"top_label"`, the predicted class; or
            `"positive"`, class 1 of a binary problem, `K` being 1 or 2. Never inferred
            from the data. Defaults to `"top_label"`.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        sample_weight: Optional weights, one per position or one per sample. Weight 2
            equals the row twice; rows of weight 0 are left out.
        ignore_class: Label of positions to leave out, or None. Defaults to -100.

    Returns:
        A `ReliabilityBins`.

    Raises:
        ValueError: If shapes or `notion` do not fit, a label is no class, a probability
            is NaN or outside [0, 1], or a weight is negative or NaN.

    Examples:
        >>> from keras_robust.calibration import bin_predictions
        >>> bins = bin_predictions([0, 1], [[0.9, 0.1], [0.6, 0.4]], num_bins=10)
        >>> bins.count.tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3 to 5.
    """
    owner = "bin_predictions"
    num_bins = checked_num_bins(owner, num_bins)
    binning = checked_binning(owner, binning)
    events = read_events(
        owner,
        y_true,
        y_prob,
        notion=notion,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
    )
    return bin_events(events, num_bins, binning)


def bin_events(events: Events, num_bins: int, binning: str) -> ReliabilityBins:
    """Groups events into bins."""
    return binned(events, num_bins, binning)(events.correct)


def binned(
    events: Events, num_bins: int, binning: str
) -> Callable[[np.ndarray], ReliabilityBins]:
    """Returns the bins of fixed confidences as a function of correctness."""
    if binning == "equal_mass":
        index, edges = _equal_mass(events, num_bins)
    else:
        index, edges = _equal_width(events, num_bins), bin_edges(num_bins)
    weight, size = events.weight, len(edges) - 1
    count = np.bincount(index, weight, size)
    confidence = np.bincount(index, weight * events.confidence, size)

    def bins(correct: np.ndarray) -> ReliabilityBins:
        hits = np.bincount(index, weight * correct, size)
        return ReliabilityBins.from_sums(count, confidence, hits, edges)

    return bins


def _equal_width(events: Events, num_bins: int) -> np.ndarray:
    edges = bin_edges(num_bins).astype(events.dtype).astype("float64")
    return np.searchsorted(edges[1:-1], events.confidence, side="right")


def _equal_mass(events: Events, num_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns each row's bin, and the edges, midway between neighbouring bins."""
    values, group = np.unique(events.confidence, return_inverse=True)
    if not len(values):
        return np.zeros(0, "int64"), np.array([0.0, 1.0])
    mass = np.bincount(group, weights=events.weight)
    middle = np.cumsum(mass) - mass / 2
    # Multiplied before it is divided: whole counts then give exact whole quotients.
    place = np.floor(middle * num_bins / mass.sum()).astype("int64")
    _, first, place = np.unique(place, return_index=True, return_inverse=True)
    # Not each bin's smallest confidence: a bin of ones only would have no width.
    between = (values[first[1:] - 1] + values[first[1:]]) / 2
    return place[group], np.concatenate([[0.0], between, [1.0]])
