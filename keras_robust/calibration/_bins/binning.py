"""How predictions are grouped into reliability bins."""

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
    axis: int = -1,
    noise_matrix: Any = None,
) -> ReliabilityBins:
    """Bins predictions by their confidence.

    By default the confidence of a prediction is its largest probability, and it is
    correct where that class is the label (the first of equal ones counts as predicted).

    The arguments are those of every function here that takes labels and predictions,
    always in scikit-learn's order: labels first.

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
        ignore_class: Label of positions to leave out. A soft target is left out where
            all its entries equal it or, if it is one of the K classes, where it is
            that class's one-hot row. None leaves out nothing. Defaults to -100.
        axis: Axis of the classes in `y_prob`, and in soft targets: 1 for predictions of
            shape `(N, K, H, W)`. Defaults to -1.
        noise_matrix: Transition matrix T of the noise in `y_true`, of shape `(K, K)`,
            T[i, j] = P(given j | true i), or a `noise.MatrixEstimate`: to measure on
            the true labels, of which only noisy ones are at hand. Correctness is then
            entry [given label, predicted class] of the inverse of T, which has the
            expectation 1 if that is the true class, and 0 if not. It may be negative or
            above 1, and so may be an accuracy on few rows. As right as the matrix is.
            Defaults to None: labels are taken as they are.

    Returns:
        A `ReliabilityBins`.

    Raises:
        ValueError: If shapes or `notion` do not fit, labels and predictions are in the
            wrong order, a label is no class, a probability is NaN or outside [0, 1],
            rows do not sum to 1, a weight is negative or NaN, or `noise_matrix` is no
            transition matrix, not of the K classes, or close to singular.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust.calibration import bin_predictions
        >>> bins = bin_predictions([0, 1], [[0.9, 0.1], [0.6, 0.4]], num_bins=10)
        >>> bins.count.tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]

        Of five labels one is wrong, as is to be expected of this noise:

        >>> matrix = [[0.8, 0.2], [0.2, 0.8]]
        >>> prob = [[0.9, 0.1]] * 5
        >>> bins = bin_predictions([0, 0, 0, 0, 1], prob, noise_matrix=matrix)
        >>> round(float(bins.accuracy[13]), 4)
        1.0

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3 to 5;
        for `noise_matrix` Patrini et al., "Making Deep Neural Networks Robust to Label
        Noise: a Loss Correction Approach", CVPR 2017, theorem 1.
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
        axis=axis,
        noise_matrix=noise_matrix,
    )
    return bin_events(events, num_bins, binning)


class Binned:
    """Fixed confidences in bins: tables, as a function of what came true.

    Args:
        confidence: Float64 array of shape `(N, columns)`; each column has bins of its
            own.
        weight: Float64 array of shape `(N, 1)` or `(N, columns)`.
        index: The bin of each confidence, int64 of their shape; it is overwritten.
        edges: Edges of the bins, of shape `(num_bins + 1,)`.

    Attributes:
        edges: As given.
        count: Sums of the weights in each bin, of shape `(columns, num_bins)`.
        confidence: Sums of weight times confidence.
        place: The bin of each confidence, those of one column after those of another.
    """

    def __init__(
        self,
        confidence: np.ndarray,
        weight: np.ndarray,
        index: np.ndarray,
        edges: np.ndarray,
    ) -> None:
        self.edges = edges
        self._shape = columns, num_bins = confidence.shape[-1], len(edges) - 1
        # The bins of one column after those of another; in place, as it may be large.
        self.place = index
        self.place += num_bins * np.arange(columns)
        self._weight = np.broadcast_to(weight, confidence.shape)
        num_rows = np.count_nonzero(weight, axis=0)  # of one column for all, or of each
        self._num_rows = np.broadcast_to(num_rows, columns).tolist()
        self.count = self._sums(self.place, self._weight)
        self.confidence = self._sums(self.place, self._weight * confidence)

    def correct(self, truth: np.ndarray) -> np.ndarray:
        """Returns the sums of weight times truth, of shape (columns, num_bins).

        `truth` is how far each column came true, of shape (N, columns); or the one
        column that did, of shape (N,), which takes as much less time.
        """
        if truth.ndim == 2:
            return self._sums(self.place, self._weight * truth)
        row = np.arange(len(truth))
        return self._sums(self.place[row, truth], self._weight[row, truth])

    def tables(
        self,
        truth: np.ndarray,
        ends: tuple[float, float] | None = None,
        squares: np.ndarray | None = None,
    ) -> tuple[ReliabilityBins, ...]:
        """Returns the table of each column, for `truth` as in `correct`.

        `ends` are those of `Events`; `squares` are those of `truth`, if rows stand for
        several of which it is the mean.
        """
        sums = zip(self.count, self.confidence, self.correct(truth))
        hows = [{"edges": self.edges, "num_rows": rows} for rows in self._num_rows]
        if ends is not None:
            squares = truth**2 if squares is None else squares
            for how, of_bins in zip(hows, self.correct(squares)):
                how |= {"squares": of_bins, "ends": ends}
        made = (ReliabilityBins.from_sums(*s, **how) for s, how in zip(sums, hows))
        return tuple(made)

    def _sums(self, place: np.ndarray, values: np.ndarray) -> np.ndarray:
        columns, num_bins = self._shape
        sums = np.bincount(place.ravel(), values.ravel(), columns * num_bins)
        return sums.reshape(self._shape)


def binned(
    confidence: np.ndarray, weight: np.ndarray, num_bins: int, dtype: np.dtype
) -> Binned:
    """Returns confidences (N, columns), given in `dtype`, in bins of equal width."""
    inner = bin_edges(num_bins, dtype)[1:-1]
    index = np.searchsorted(inner, confidence, side="right")
    return Binned(confidence, weight, index, bin_edges(num_bins))


def binned_events(events: Events, num_bins: int, binning: str) -> Binned:
    """Returns events in bins, as one column."""
    confidence, weight = events.confidence[:, None], events.weight[:, None]
    if binning == "equal_width":
        return binned(confidence, weight, num_bins, events.dtype)
    index, edges = _equal_mass(events, num_bins)
    return Binned(confidence, weight, index[:, None], edges)


def bin_events(events: Events, num_bins: int, binning: str) -> ReliabilityBins:
    """Returns the table of events."""
    made = binned_events(events, num_bins, binning)
    return made.tables(events.correct[:, None], events.ends)[0]


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
