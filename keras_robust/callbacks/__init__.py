"""Callbacks that change a loss while a model is trained."""

from keras_robust.callbacks._linear_anneal import LinearAnneal
from keras_robust.callbacks._loss_schedule import LossSchedule
from keras_robust.callbacks._noise_aware_gamma import NoiseAwareGamma
from keras_robust.callbacks._warm_up import WarmUp

__all__ = ["LinearAnneal", "LossSchedule", "NoiseAwareGamma", "WarmUp"]
