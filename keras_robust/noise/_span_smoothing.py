"""Smoothing along spans: a token's target holds some of its neighbours' labels."""

import math
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import counted_labels, integer_labels


class SpanSmoothing:
    """Soft targets of tokens that leak to the labels of their neighbours.

    Annotators disagree where an entity starts or ends. Use it where they do, to train
    on targets that say so: the label next door is likelier than any other. Label
    smoothing (`SGCE`) spreads the same mass over all classes alike. Where ends are
    right it costs confidence at them, and no more than `smoothing / 2` for one.

    The target of token i is

        t_i = (1 - n_i * share) * onehot(y_i) + share * sum_j onehot(y_j),
        share = smoothing / (2 * window)

    over the n_i neighbours j at most `window` tokens away that lie in the same
    sequence, with no ignored position in between. So every target sums to 1, and what
    would go past an end stays with the label. Limit: with `smoothing=0` targets are
    one-hot.

    Args:
        num_classes: Number of classes K, at least 2.
        smoothing: Mass in [0, 1) that a token with all its neighbours gives away.
            Defaults to 0.1.
        window: Number of neighbours on each side, at least 1. Defaults to 1.
        ignore_class: Label of positions that neither give nor take (padding, special
            tokens), or None. Their targets hold it in every entry, or, if it is a class
            of its own, are one-hot: so losses and metrics with the same `ignore_class`
            ignore them. Defaults to -100.

    Call arguments:
        - sequences: Integer class ids of shape `(N, length)`, or of shape `(length,)`
            for one sequence, or a list of sequences of their own lengths. Of words,
            rather than of word pieces: later pieces with an ignored label would stand
            between words.

    Returns:
        Float32 targets of shape `(..., length, K)`; for a list, a list of arrays.

    Raises:
        ValueError: If an argument is outside its range, or a label outside [0, K).
        TypeError: If an argument is of the wrong type, or labels are not integers.

    Examples:
        >>> from keras_robust.noise import SpanSmoothing
        >>> print(SpanSmoothing(3, smoothing=0.2)([0, 1, 1, 2]))
        [[0.9 0.1 0. ]
         [0.1 0.9 0. ]
         [0.  0.9 0.1]
         [0.  0.1 0.9]]

    Reference:
        - "Cross-Entropy is All You Need... Or Is It?" (2023), section "Label
          Smoothing".
    """

    def __init__(
        self,
        num_classes: int,
        *,
        smoothing: float = 0.1,
        window: int = 1,
        ignore_class: int | None = -100,
    ) -> None:
        owner, fix = "SpanSmoothing", "Pass the number of tags."
        self.num_classes = checks.integer(
            owner, "num_classes", num_classes, minimum=2, fix=fix
        )
        self.smoothing = checks.fraction(
            owner, "smoothing", smoothing, include_one=False, fix="Pass 0.1, say."
        )
        self.window = checks.integer(
            owner, "window", window, minimum=1, fix="Pass 1 for the next tokens only."
        )
        self.ignore_class = checks.ignored_class(owner, ignore_class)

    def __call__(self, sequences: Any) -> Any:
        """Returns the targets of sequences of class ids."""
        if isinstance(sequences, (list, tuple)) and any(map(np.ndim, sequences)):
            return [self._targets(one) for one in sequences]
        return self._targets(sequences)

    def _targets(self, sequence: Any) -> np.ndarray:
        owner = "SpanSmoothing"
        given = integer_labels(owner, "sequences", sequence)
        if given.ndim == 0:
            raise checks.invalid(
                owner,
                "sequences",
                "of shape (N, length) or (length,)",
                f"a single label, {given}",
                "Pass the labels of a whole sequence.",
            )
        labels = given.reshape(math.prod(given.shape[:-1]), given.shape[-1])
        counted = counted_labels(
            owner, "sequences", labels, self.ignore_class, self.num_classes
        )
        own = np.eye(self.num_classes, dtype="float32")[np.where(counted, labels, 0)]
        targets = own.copy()
        share = self.smoothing / (2 * self.window)
        for side in (-1, 1):
            reached = counted
            for distance in range(1, self.window + 1):
                # Past an ignored position nothing is reached any more.
                reached = counted & _from(reached, side)
                theirs = _from(own, side * distance)
                targets += share * reached[..., None] * (theirs - own)
        if self.ignore_class is not None:
            ignored = np.full(self.num_classes, self.ignore_class, "float32")
            if 0 <= self.ignore_class < self.num_classes:
                ignored = np.eye(self.num_classes, dtype="float32")[self.ignore_class]
            targets[~counted] = ignored
        return targets.reshape(*given.shape, self.num_classes)


def _from(x: np.ndarray, step: int) -> np.ndarray:
    """Returns for each token what stands `step` tokens on, 0 past the ends."""
    found = np.zeros_like(x)
    if step > 0:
        found[:, :-step] = x[:, step:]
    else:
        found[:, -step:] = x[:, :step]
    return found
