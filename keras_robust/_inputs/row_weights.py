"""Sample weights as NumPy arrays, one for each position, checked."""

from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric


def spread_weights(owner: str, sample_weight: Any, positions: tuple) -> np.ndarray:
    """Returns weights, one for each position, checked."""
    if sample_weight is None:
        return np.broadcast_to(1.0, positions)
    weight = numeric(owner, "sample_weight", sample_weight).astype("float64")
    if weight.shape == (*positions, 1):
        weight = weight[..., 0]
    if weight.shape != positions[: weight.ndim]:
        raise checks.invalid(
            owner,
            "sample_weight",
            f"of shape {positions} or a leading part of it",
            f"sample_weight.shape={weight.shape}",
            "Pass one value per position or one per sample.",
        )
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise checks.invalid(
            owner,
            "sample_weight",
            "finite and at least 0",
            f"a minimum of {weight.min()}",
            "Use 0 to leave a row out.",
        )
    return np.broadcast_to(
        weight.reshape(weight.shape + (1,) * (len(positions) - weight.ndim)), positions
    )


def check_repetitions(owner: str, rows: int, total: float) -> None:
    """Raises for weights so small that they cannot be meant as repetitions of rows."""
    if total < rows / 2:
        raise checks.invalid(
            owner,
            "sample_weight",
            "repetitions of rows, of at least half their number in all",
            f"weights that sum to {total:.6g} for {rows} rows",
            f"Multiply them by {rows / total:.6g}, so that they are 1 on average.",
        )


def check_whole(owner: str, weight: np.ndarray) -> None:
    """Raises for weights that are no whole numbers, where an exact test counts rows."""
    broken = weight[weight != np.floor(weight)]
    if len(broken):
        raise checks.invalid(
            owner,
            "sample_weight",
            "whole numbers: how often each row counts",
            f"{len(broken)} that are not, the first {broken[0]:.6g}",
            "Leave it out: what chance does goes by the number of rows.",
        )
