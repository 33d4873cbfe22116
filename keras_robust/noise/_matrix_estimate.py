"""A transition matrix that was counted, with what is not known about it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_robust._inputs.options import checked_level


@dataclass(frozen=True, eq=False, repr=False)
class MatrixEstimate:
    """A transition matrix that was counted, and how sure it is.

    Made by `matrix_from_pairs`, of rows whose true labels are known, by
    `matrix_from_annotators`, of what several people say, and by `estimate_matrix`, of
    predictions. Functions and losses that take a transition matrix take it as it is.

    Row i of the matrix is the mean of a Dirichlet distribution with the parameters
    `prior[i] + counts[i]`: what is known of P(given | true i) after the counts.

    Attributes:
        matrix: Float64 array of shape `(K, K)`, entry [i, j] = P(given j | true i).
        counts: Float64 array of shape `(K, K)`: rows of true class i that were given
            label j. Weighted rows count as many as unweighted ones of the same
            variance, so they may be no whole numbers.
        prior: Float64 array of shape `(K, K)`: the pseudo-counts that were added.

    Examples:
        >>> from keras_robust.noise import matrix_from_pairs
        >>> true, given = [0] * 8 + [1] * 4, [0] * 8 + [1, 1, 1, 0]
        >>> estimate = matrix_from_pairs(given, true, 2, prior=[[1, 1], [1, 1]])
        >>> estimate.matrix.round(2).tolist()
        [[0.9, 0.1], [0.33, 0.67]]
        >>> low, high = estimate.interval(0.9)
        >>> low.round(2).tolist()
        [[0.72, 0.01], [0.08, 0.34]]
    """

    matrix: np.ndarray
    counts: np.ndarray
    prior: np.ndarray

    def __post_init__(self) -> None:
        for name in ("matrix", "counts", "prior"):
            array = np.array(getattr(self, name), dtype="float64")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """A credible interval for each entry, by itself.

        Args:
            level: Probability of the interval. Defaults to 0.95.

        Returns:
            Lower and upper ends, float64 arrays of shape `(K, K)`: quantiles of the
            beta distribution that an entry of a Dirichlet row has. Where neither the
            prior nor a count allows an entry, both are 0.

        Raises:
            ValueError: If `level` is not in (0, 1).
        """
        from scipy import special

        level = checked_level("MatrixEstimate", level)
        own = self.prior + self.counts
        others = own.sum(axis=1, keepdims=True) - own
        tail = (1 - level) / 2
        ends = []
        for probability in (tail, 1 - tail):
            with np.errstate(invalid="ignore"):
                end = special.betaincinv(own, others, probability)
            ends.append(np.where(own == 0, 0.0, np.where(others == 0, 1.0, end)))
        return ends[0], ends[1]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Returns a copy of the matrix, for whatever takes arrays."""
        return np.array(self.matrix, dtype=dtype)

    def __repr__(self) -> str:
        low, high = self.interval()
        size = len(self.matrix)
        if size > _LARGEST_SHOWN:
            off = 1 - float(np.average(np.diag(self.matrix), weights=self._rows()))
            return (
                f"MatrixEstimate({size} classes, {self.counts.sum():g} rows counted, "
                f"{off:.1%} of the labels wrong)"
            )
        cells = [["true", "rows", *(f"given {j}" for j in range(size))]]
        for i in range(size):
            shown = [
                f"{self.matrix[i, j]:.3f} [{low[i, j]:.3f}, {high[i, j]:.3f}]"
                for j in range(size)
            ]
            cells.append([str(i), f"{self.counts[i].sum():g}", *shown])
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths))
            for row in cells
        ]
        title = "P(given label | true class), posterior mean [95 % interval]"
        return "\n".join([title, *lines])

    def _rows(self) -> np.ndarray:
        rows = self.counts.sum(axis=1)
        return rows if rows.any() else np.ones(len(rows))


# Wider tables are no longer read.
_LARGEST_SHOWN = 12
