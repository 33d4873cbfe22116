"""Losses for labels that are partly wrong."""

from keras_robust.losses._forward_correction import ForwardCorrection
from keras_robust.losses._fused_linear import fused_linear
from keras_robust.losses._gamma_ce import GammaCE
from keras_robust.losses._gce import GCE
from keras_robust.losses._ncerce import NCERCE
from keras_robust.losses._robust_loss import RobustLoss
from keras_robust.losses._sce import SCE
from keras_robust.losses._sgce import SGCE

__all__ = [
    "GCE",
    "NCERCE",
    "SCE",
    "SGCE",
    "ForwardCorrection",
    "GammaCE",
    "RobustLoss",
    "fused_linear",
]
