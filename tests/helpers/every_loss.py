"""Every loss of the package, for tests that no new one shall escape."""

from functools import partial

import pytest

from keras_robust import losses
from keras_robust.noise import symmetric_matrix

# RobustLoss is what they are made of: what a label costs it leaves open.
NAMES = [
    name
    for name in losses.__all__
    if isinstance(getattr(losses, name), type) and name != "RobustLoss"
]


def makers(num_classes):
    """Returns a callable for each loss, for so many classes."""
    return [pytest.param(_maker(name, num_classes), id=name) for name in NAMES]


def _maker(name, num_classes):
    cls = getattr(losses, name)
    if name == "ForwardCorrection":  # its matrix says how many classes there are
        return partial(cls, symmetric_matrix(num_classes, 0.1))
    return cls
