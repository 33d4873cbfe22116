"""Isotonic regression of many draws of labels, of more rows than are kept."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

# Each pass pools what falls; the last few violators are left to whoever reads.
_PASSES = 6


class Steps(NamedTuple):
    """Means over neighbouring rows, those of one draw after those of another.

    Neighbours whose mean falls are pooled, as isotonic regression does. In which order
    they are does not matter to what it ends with, so that it may begin with parts.

    Attributes:
        sums: Sums of weight times correctness.
        mass: Sums of the weights.
        start: Where each draw begins, and the end.
    """

    sums: np.ndarray
    mass: np.ndarray
    start: np.ndarray

    @classmethod
    def fitted(
        cls, correct: np.ndarray, weight: np.ndarray, ties: np.ndarray
    ) -> "Steps":
        """Returns the steps of weighted correctness (draws, rows).

        Rows are in the order of their confidence; those of an equal one, which begin
        at `ties`, are one.
        """
        sums, mass = correct, weight
        if len(ties) < len(weight):
            sums = np.add.reduceat(correct, ties, axis=1)
            mass = np.add.reduceat(weight, ties)
        first = np.zeros(sums.shape, bool)
        first[:, 0] = True
        mass, sums, first = (
            np.broadcast_to(mass, sums.shape).ravel(),
            sums.ravel(),
            first.ravel(),
        )
        for _ in range(_PASSES):
            mean = sums / mass
            begins = first.copy()
            begins[1:] |= mean[1:] > mean[:-1]
            start = np.flatnonzero(begins)
            if len(start) == len(sums):
                break
            sums, mass = np.add.reduceat(sums, start), np.add.reduceat(mass, start)
            first = first[start]
        return cls(sums, mass, np.r_[np.flatnonzero(first), len(sums)])

    @classmethod
    def joined(cls, steps: Sequence["Steps"]) -> "Steps":
        """Returns the draws of several, one after another."""
        before = np.cumsum([0, *(len(s.sums) for s in steps)])
        start = [s.start[:-1] + off for s, off in zip(steps, before)]
        return cls(
            np.concatenate([s.sums for s in steps]),
            np.concatenate([s.mass for s in steps]),
            np.r_[np.concatenate(start), before[-1]],
        )


def discrimination(parts: Sequence[Steps], draw: int) -> float:
    """Returns the weighted mean of (isotonic fit - its mean)² of one draw."""
    pieces = [slice(*part.start[draw : draw + 2]) for part in parts]
    sums = np.concatenate([part.sums[piece] for part, piece in zip(parts, pieces)])
    mass = np.concatenate([part.mass[piece] for part, piece in zip(parts, pieces)])
    fitted = optimize.isotonic_regression(sums / mass, weights=mass).x
    return float(mass @ (fitted - sums.sum() / mass.sum()) ** 2 / mass.sum())
