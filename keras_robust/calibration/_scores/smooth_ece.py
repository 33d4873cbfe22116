"""Smooth ECE: calibration error without bins."""

from typing import Any

import numpy as np

from keras_robust.calibration._bins.events import Events, read_events

# The grids and the search are those of its authors' implementation, so that values
# agree with published ones to rounding.
_GRID, _MESH, _HALVINGS, _SMALLEST, _FLOOR = 2000, 200, 10, 1e-3, 1e-4
# Rows that are put onto a grid at a time, so that memory does not grow with them.
_ROWS = 2**16


def smooth_ece(
    y_true: Any,
    y_prob: Any,
    *,
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
) -> float:
    """Smooth expected calibration error: no bins, no choice of their number.

    The gap between confidence and correctness is smoothed over the confidence axis by
    a Gaussian kernel reflected at 0 and 1, and its absolute value averaged. Its
    bandwidth σ is the one at which the result is σ itself: wide where little can be
    told, narrow where there is much data. Unlike binned errors it changes continuously
    with the predictions.

    Args:
        y_true: Labels, as in `bin_predictions`.
        y_prob: Predictions, as in `bin_predictions`.
        notion: As in `bin_predictions`. Defaults to `"top_label"`.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.

    Returns:
        The error, in [0, 1]; 0 if there are no predictions.

    Raises:
        ValueError: As `bin_predictions`.

    Examples:
        >>> from keras_robust.calibration import smooth_ece
        >>> round(smooth_ece([0, 1, 1], [[0.9, 0.1], [0.3, 0.7], [0.8, 0.2]]), 4)
        0.142

    Reference:
        Błasiok, Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel
        Smoothing", ICLR 2024. Values equal those of the authors' package relplot.
    """
    events = read_events(
        "smooth_ece",
        y_true,
        y_prob,
        notion=notion,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        axis=axis,
    )
    return SmoothECE(events)(events.correct)


class SmoothECE:
    """Smooth ECE of fixed confidences, as a function of correctness."""

    def __init__(self, events: Events) -> None:
        self._confidence, self._weight = events.confidence, events.weight
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._masses: dict[float, float] = {}

    def __call__(self, correct: np.ndarray) -> float:
        """Returns the error at the bandwidth that equals it."""
        if not len(correct):
            return 0.0
        gap = self._weight * (self._confidence - correct)
        on_grids: dict[int, np.ndarray] = {}
        # The wider the kernel, the more gaps of opposite sign cancel: the error falls
        # with the bandwidth and meets it once. The interval that holds this place is
        # halved, and the error at its upper end is what is returned.
        upper, lower = 1.0, 0.0
        error = self._at(upper, gap, on_grids)
        for _ in range(_HALVINGS):
            bandwidth = (upper + lower) / 2
            value = self._at(bandwidth, gap, on_grids)
            if bandwidth < _SMALLEST or bandwidth < value:
                lower = bandwidth
            else:
                upper, error = bandwidth, value
        return error

    def _at(self, bandwidth: float, gap: np.ndarray, on_grids: dict) -> float:
        points = max(_GRID, round(20 / bandwidth)) // 2 + 1
        if points not in on_grids:
            on_grids[points] = self._spread(gap, points)
        if bandwidth not in self._masses:
            mass = _smooth(self._spread(self._weight, points), bandwidth)
            self._masses[bandwidth] = float((mass + _FLOOR).sum())
        smoothed = _smooth(on_grids[points], bandwidth)
        return float(np.abs(smoothed).sum() / self._masses[bandwidth])

    def _spread(self, values: np.ndarray, points: int) -> np.ndarray:
        """Puts each row's value onto the two grid points beside its confidence."""
        grid = np.zeros(points)
        for start in range(0, len(values), _ROWS):
            rows = slice(start, start + _ROWS)
            below, share = self._places(rows, points)
            part = values[rows]
            grid += np.bincount(below, part * (1 - share), minlength=points)
            grid += np.bincount(below + 1, part * share, minlength=points)
        return grid

    def _places(self, rows: slice, points: int) -> tuple[np.ndarray, np.ndarray]:
        if points in self._known:
            return self._known[points]
        scaled = self._confidence[rows] * (points - 1)
        below = np.minimum(scaled.astype("int64"), points - 2)
        places = below, scaled - below
        if len(self._confidence) <= _ROWS:  # few enough to keep, for many calls
            self._known[points] = places
        return places


def _smooth(grid: np.ndarray, bandwidth: float) -> np.ndarray:
    """Returns values on a grid of [0, 1] smoothed, and read off on a coarser mesh."""
    from scipy.signal import fftconvolve

    points = len(grid)
    distance = np.linspace(0, 1, points) - 0.5
    kernel = np.exp(-0.5 * (distance / bandwidth) ** 2)
    kernel /= np.sqrt(2 * np.pi) * bandwidth
    # With its reflections the grid has 3 points - 2 values; "valid" leaves those with a
    # whole kernel round them, 2 points - 1. Number points // 2 of them belongs to the
    # first point of the grid (its kernel is half a step beside it for even `points`).
    reflected = np.pad(grid, points - 1, mode="reflect")
    smoothed = fftconvolve(reflected, kernel, mode="valid")
    smoothed = smoothed[points // 2 : points // 2 + points]
    mesh = np.linspace(0, 1, max(round(10 / bandwidth), _MESH))
    return np.interp(mesh, np.linspace(0, 1, points), smoothed)
