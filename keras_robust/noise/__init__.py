"""Label noise as transition matrices and as annotators' errors."""

from keras_robust.noise._annotator_matrices import AnnotatorMatrices
from keras_robust.noise._estimate import estimate_matrix, estimate_rate
from keras_robust.noise._flip import flip_labels
from keras_robust.noise._label_posterior import LabelPosterior
from keras_robust.noise._matrices import (
    gamma_from_noise_rate,
    omission_matrix,
    pair_matrix,
    symmetric_matrix,
)
from keras_robust.noise._matrix_estimate import MatrixEstimate
from keras_robust.noise._matrix_from_annotators import matrix_from_annotators
from keras_robust.noise._matrix_from_pairs import matrix_from_pairs
from keras_robust.noise._noisy_labels import NoisyLabels
from keras_robust.noise._rate_estimate import RateEstimate
from keras_robust.noise._rows_to_check import RowsToCheck, rows_to_check
from keras_robust.noise._span_smoothing import SpanSmoothing
from keras_robust.noise._spans import corrupt_spans

__all__ = [
    "AnnotatorMatrices",
    "LabelPosterior",
    "MatrixEstimate",
    "NoisyLabels",
    "RateEstimate",
    "RowsToCheck",
    "SpanSmoothing",
    "corrupt_spans",
    "estimate_matrix",
    "estimate_rate",
    "flip_labels",
    "gamma_from_noise_rate",
    "matrix_from_annotators",
    "matrix_from_pairs",
    "omission_matrix",
    "pair_matrix",
    "rows_to_check",
    "symmetric_matrix",
]
