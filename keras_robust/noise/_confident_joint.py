"""Counts of given against true classes by confident learning, through cleanlab."""

import numpy as np

from keras_robust._inputs import checks
from keras_robust.noise._rows import Rows


def confident_joint(owner: str, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Returns counts of shape (K, K), and how many rows of each true class they tell.

    Entry [i, j]: true class i was given label j, scaled to the counts of the labels, as
    cleanlab does. Fewer rows are really counted: of a class of which the model is sure
    of hardly any row, none.
    """
    count = checks.optional_module(owner, "cleanlab.count", extra="noise")
    never = np.setdiff1d(np.arange(rows.num_classes), rows.given)
    if never.size:
        raise checks.invalid(
            owner,
            "labels",
            'such that every class is given, for method="confident_joint"',
            f"no label of class {never.tolist()}",
            'Leave these classes out of `y_prob`, or use method="agreement".',
        )
    joint = count.compute_confident_joint(rows.given, rows.prob, calibrate=False)
    # cleanlab puts a 1 on the diagonal of a class without confident examples, whose
    # labels would then all seem to be right. Its rows are given, its columns true.
    counted = joint.sum(axis=0)
    counted = np.where(counted > 1, counted, 0)
    return count.calibrate_confident_joint(joint, rows.given).T, counted
