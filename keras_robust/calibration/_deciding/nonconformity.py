"""How ill each class fits a prediction: the scores that prediction sets cut off."""

from typing import NamedTuple

import numpy as np

METHODS = ("lac", "aps", "raps")


class Nonconformity(NamedTuple):
    """A score of each class, higher where the model thinks less of it.

    Attributes:
        method: One of `METHODS`.
        lambda_reg: What each class beyond the `k_reg` likeliest adds, for `"raps"`.
        k_reg: How many classes add nothing.
    """

    method: str
    lambda_reg: float
    k_reg: int

    def scores(self, prob: np.ndarray, u: np.ndarray | None = None) -> np.ndarray:
        """Returns the scores of probabilities (N, K), float64 of that shape.

        `u` are uniform draws of shape `(N,)`, or None: a score then counts the mass of
        the likelier classes only.
        """
        if self.method == "lac":
            return 1 - prob
        # Stable, so that of equal classes the first is the likelier, as in argmax.
        order = np.argsort(-prob, axis=-1, kind="stable")
        ranked = np.take_along_axis(prob, order, axis=-1)
        scores = np.zeros_like(ranked)
        np.cumsum(ranked[:, :-1], axis=-1, out=scores[:, 1:])
        if u is not None:
            scores += u[:, None] * ranked
        if self.method == "raps":
            beyond = np.arange(1, prob.shape[-1] + 1) - self.k_reg
            scores += self.lambda_reg * np.maximum(beyond, 0)
        out = np.empty_like(scores)
        np.put_along_axis(out, order, scores, axis=-1)
        return out
