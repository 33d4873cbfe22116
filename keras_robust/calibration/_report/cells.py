"""Predictions in cells: as good as rows for every measure of confidence, and fewer."""

from dataclasses import dataclass

import numpy as np

from keras_robust.calibration._bins.binning import Binned, binned_events
from keras_robust.calibration._bins.events import Events

# So many cells hold confidences that differ by a few thousandths at most, far less
# than bins tell apart, or the bandwidths and steps that data of this size lead to.
_NUM_CELLS = 8192


@dataclass(frozen=True)
class Cells:
    """Rows in the order of their confidence, those that hardly differ in one cell.

    No cell reaches over the edge of a bin, and up to some thousand different
    confidences each is a cell of its own.

    Attributes:
        order: The rows in the order of their confidence.
        of_row: The cell of each of them, in that order.
        event: The class that each is about, in that order.
        weight: Sum of the weights in each cell.
        confidence: Mean confidence of each cell.
        squares: Sum of weight times squared confidence, over all rows.
        tables: Bins of the cells, by name of the binning.
        is_tie: Whether each row has the confidence of the one before it in the order.
        exact: Whether each cell holds one confidence only.
    """

    order: np.ndarray
    of_row: np.ndarray
    event: np.ndarray
    weight: np.ndarray
    confidence: np.ndarray
    squares: float
    tables: dict[str, Binned]
    is_tie: np.ndarray
    exact: bool

    def starts_in(self, rows: slice) -> np.ndarray:
        """Returns where cells begin among rows of the order."""
        cells = self.of_row[rows]
        return np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])

    def ties_in(self, rows: slice) -> np.ndarray:
        """Returns where different confidences begin among rows of the order."""
        return np.flatnonzero(np.r_[True, ~self.is_tie[rows][1:]])

    def events(self, like: Events) -> Events:
        """Returns the cells as events, whose correctness is given elsewhere."""
        nothing = np.zeros_like(self.confidence)
        return like._replace(
            confidence=self.confidence,
            correct=nothing,
            weight=self.weight,
            event=nothing.astype("int64"),
        )


def cells_of(events: Events, tables: dict[str, Binned]) -> Cells:
    """Returns the cells of events that are in bins."""
    order = np.argsort(events.confidence, kind="stable")
    confidence, weight = events.confidence[order], events.weight[order]
    is_tie = np.r_[False, confidence[1:] == confidence[:-1]]
    begins = ~is_tie
    exact = begins.sum() <= _NUM_CELLS
    if not exact:
        # By where equal confidences begin, so that they stay together.
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        part = first * _NUM_CELLS // len(order)
        begins = np.r_[True, part[1:] != part[:-1]]
        for table in tables.values():
            place = table.place[order, 0]
            begins[1:] |= place[1:] != place[:-1]
    start = np.flatnonzero(begins)
    mass = np.add.reduceat(weight, start)
    mean = np.add.reduceat(weight * confidence, start) / mass
    of_cells = {
        name: Binned(
            mean[:, None], mass[:, None], table.place[order][start], table.edges
        )
        for name, table in tables.items()
    }
    return Cells(
        order,
        np.cumsum(begins) - 1,
        events.event[order],
        mass,
        mean,
        float(weight @ confidence**2),
        of_cells,
        is_tie,
        bool(exact),
    )


def tables_of(events: Events, num_bins: int) -> dict[str, Binned]:
    """Returns events in bins of either kind."""
    kinds = ("equal_width", "equal_mass")
    return {kind: binned_events(events, num_bins, kind) for kind in kinds}
