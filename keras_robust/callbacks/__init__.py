"""Callbacks that change a loss during training, or watch its calibration.

And a look at one batch before it.
"""

from keras_robust.callbacks._check_batch import check_batch
from keras_robust.callbacks._loss_schedule import LossSchedule
from keras_robust.callbacks._noise_aware_gamma import NoiseAwareGamma
from keras_robust.callbacks._reliability_history import ReliabilityHistory
from keras_robust.callbacks._schedules import LinearAnneal, WarmUp
from keras_robust.callbacks._swap_loss import SwapLoss

__all__ = [
    "LinearAnneal",
    "LossSchedule",
    "NoiseAwareGamma",
    "ReliabilityHistory",
    "SwapLoss",
    "WarmUp",
    "check_batch",
]
