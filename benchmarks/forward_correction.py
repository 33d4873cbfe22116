"""What does it cost to undo a noise matrix, beside one number?

Value and gradient by the logits, as in `losses.py`. Where wrong labels are drawn alike
whatever the true class, as those of omission, ForwardCorrection should cost what
GammaCE does; any other matrix takes all probabilities of a row.
"""

from typing import Any

import numpy as np
from losses import SHAPES, compare
from timing import options

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
    # Of more classes, nobody knows a matrix.
    compare("forward correction", losses, SHAPES[:3], options(__doc__))
