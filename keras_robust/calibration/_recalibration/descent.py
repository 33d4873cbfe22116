"""The minimum of a smooth convex function, and whether there is one."""

import warnings
from collections.abc import Callable

import numpy as np

from keras_robust.calibration._recalibration.rows import Rows

# A slope of the mean NLL that is as good as none: L-BFGS-B may also stop, and call it
# abnormal, where rounding hides any further descent.
_FLAT = 1e-7

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimize(
    objective: Objective, start: np.ndarray, identity: np.ndarray
) -> tuple[np.ndarray, bool, int]:
    """Returns the minimizer, whether it converged, and the number of iterations.

    `objective` returns its value and gradient. Where rounding leaves it above its value
    at `identity`, that is returned.
    """
    from scipy import optimize

    found = optimize.minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-10},
    )
    converged = bool(found.success or np.abs(found.jac).max() < _FLAT)
    best = found.x if found.fun <= objective(identity)[0] else identity
    return best, converged, int(found.nit)


def has_minimum(owner: str, rows: Rows, scores: np.ndarray, fix: str) -> bool:
    """Returns whether the NLL has a minimum, and warns if it falls without end.

    It does if a class has no label, as its bias then falls, and if every row is right,
    as all scores then grow. `scores` are those of the fit.
    """
    if rows.absent.size:
        reason = f"no label is of class {', '.join(map(str, rows.absent))}"
    elif rows.all_right(scores):
        reason = "the fit is right in every row"
    else:
        return True
    text = f"{owner}: the NLL has no minimum, because {reason}: it stopped early. {fix}"
    warnings.warn(text, UserWarning, stacklevel=4)
    return False
