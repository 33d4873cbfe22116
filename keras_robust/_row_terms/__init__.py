"""What a loss has to know of a row of logits, as fast as the backend can tell it.

The losses depend on the logits by two numbers for each position: the log-probability of
its label and, with smoothing, the Box-Cox cost of all labels together. Both are computed
by one function with a gradient of its own, `row_terms`, of which there is a version for
each backend, beside a plain one in `keras.ops` (`_plain`), against which they are tested.
"""

import functools
import importlib
from typing import Any

import keras


def row_terms(logits: Any, labels: Any, live: Any, q: float | None) -> tuple[Any, ...]:
    """Returns what a loss needs of logits, `(log_p, cost_of_all)`.

    Args:
        logits: Float32 or float64 tensor of shape `(..., K)`, K >= 2.
        labels: Int32 tensor of shape `(...)`, in [0, K) at every position.
        live: Bool tensor of shape `(...)`. Elsewhere results and gradients are 0,
            whatever the logits.
        q: Exponent of the second result, or None not to compute it.

    Returns:
        log_p: The log-probability of the label, of shape `(...)`.
        cost_of_all: Sum over all classes k of (1 - p_k^q) / q, of -log p_k at q = 0;
            None if `q` is.
    """
    return _of_backend()(logits, labels, live, q)


@functools.cache
def _of_backend() -> Any:
    module = importlib.import_module(f"{__name__}._{keras.backend.backend()}")
    return module.row_terms
