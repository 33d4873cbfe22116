"""What is known of several annotators who labelled the same rows."""

from dataclasses import dataclass

import numpy as np

from keras_robust.noise._matrix_estimate import MatrixEstimate


@dataclass(frozen=True, eq=False, repr=False)
class AnnotatorMatrices:
    """How annotators label, each by himself and all together, and what is likely true.

    Made by `matrix_from_annotators`. The counts of the matrices are expected ones: a
    row that is a cat with probability 0.8 counts 0.8 among the cats.

    Attributes:
        given: A `MatrixEstimate` of the label that is made of the votes: that of the
            majority, or that of one annotator.
        annotators: Tuple of a `MatrixEstimate` for each annotator.
        soft_labels: Float64 array of shape `(..., K)`: P(true class | votes) of each
            row, targets to train on. For a row without votes, how frequent the classes
            are.

    Examples:
        >>> from keras_robust.noise import matrix_from_annotators
        >>> found = matrix_from_annotators([[0, 0, 1], [1, 1, 1], [0, 0, 0]] * 20, 2)
        >>> [matrix.counts.round().tolist() for matrix in found.annotators[1:]]
        [[[40.0, 0.0], [0.0, 20.0]], [[20.0, 20.0], [0.0, 20.0]]]
    """

    given: MatrixEstimate
    annotators: tuple[MatrixEstimate, ...]
    soft_labels: np.ndarray

    def __post_init__(self) -> None:
        self.soft_labels.setflags(write=False)

    def __repr__(self) -> str:
        share = self.soft_labels.reshape(-1, self.soft_labels.shape[-1]).mean(axis=0)
        rows = [("label", "votes", "wrong")]
        named = [("given", self.given)]
        named += [(f"annotator {i}", one) for i, one in enumerate(self.annotators)]
        for name, one in named:
            wrong = 1 - share @ np.diag(one.matrix)
            rows.append((name, f"{one.counts.sum():.0f}", f"{wrong:.1%}"))
        lines = [f"{a:<13} {b:>9} {c:>7}" for a, b, c in rows]
        size = self.soft_labels.size // len(share)
        title = f"AnnotatorMatrices of {size} rows, {len(share)} classes"
        return "\n".join([title, *lines])
