"""What does it cost to undo a noise matrix, beside one number?

Value and gradient by the logits, as in `losses.py`. Where wrong labels are drawn alike
whatever the true class, as those of omission, ForwardCorrection should cost what
GammaCE does; any other matrix takes all probabilities of a row.
"""

from typing import Any

import numpy as np
from losses import SHAPES, data, loss_step
from steps import BACKEND, MODES
from timing import in_turns, options, rows, save
from tqdm import tqdm

from keras_robust import ForwardCorrection, GammaCE
from keras_robust.noise import omission_matrix, pair_matrix

REFERENCE = "GammaCE(.1)"


def losses(num_classes: int) -> dict[str, Any]:
    """Returns what is compared; the first is the reference."""

    def corrected(matrix: np.ndarray) -> Any:
        return ForwardCorrection(matrix, from_logits=True)

    return {
        REFERENCE: GammaCE(gamma=0.1, from_logits=True),
        "ForwardCorrection(omission)": corrected(omission_matrix(num_classes, 0.3)),
        "ForwardCorrection(pairs)": corrected(pair_matrix(num_classes, 0.3)),
    }


if __name__ == "__main__":
    chosen = options(__doc__)
    # Of more classes, nobody knows a matrix.
    shapes = ((64, 9), (8, 300)) if chosen.short else SHAPES[:3]
    made = []
    cells = [(mode, shape) for mode in MODES for shape in shapes]
    for mode, shape in tqdm(cells, desc=f"forward correction, {BACKEND}"):
        steps = {
            name: loss_step(loss, mode, data(shape))
            for name, loss in losses(shape[1]).items()
        }
        seconds = in_turns(steps, rounds=2 if chosen.short else 21)
        about = {"mode": mode, "shape": f"{shape[0]} x {shape[1]}", "labels": "all"}
        made += rows(seconds, REFERENCE, **about, dtype="float32")
    save(made, "forward correction", chosen.out)
