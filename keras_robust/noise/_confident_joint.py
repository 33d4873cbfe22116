"""Counts of given against true classes by confident learning, through cleanlab."""

import numpy as np

from keras_robust._inputs import checks
from keras_robust.noise._rows import Rows


def confident_joint(owner: str, rows: Rows) -> np.ndarray:
    """Returns counts of shape (K, K), entry [i, j]: true class i was given label j."""
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
    unsure = np.flatnonzero(joint.sum(axis=0) <= 1)
    if unsure.size:
        raise checks.invalid(
            owner,
            "y_prob",
            "confident of at least two rows of every class, for "
            'method="confident_joint"',
            f"at most one row of class {unsure.tolist()}",
            "The model does not know these classes: train it longer, or leave them "
            "out.",
        )
    return count.calibrate_confident_joint(joint, rows.given).T
