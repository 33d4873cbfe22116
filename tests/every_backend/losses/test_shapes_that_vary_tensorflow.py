"""Labels and predictions of no one shape: ragged, or of unknown rank."""

import numpy as np
import pytest
import tensorflow as tf

from keras_robust import GCE, ExpectedCalibrationError
from keras_robust.losses import fused_linear
from keras_robust.metrics import MultilabelCalibrationError

RAGGED = tf.ragged.constant([[0, 1], [2]])
LOGITS = np.zeros((2, 2, 3), "float32")
LOSS = GCE(from_logits=True)
CALLS = [
    LOSS,
    ExpectedCalibrationError(from_logits=True).update_state,
    MultilabelCalibrationError(3).update_state,
    lambda y, z: fused_linear(LOSS, y, z, np.eye(3, dtype="float32")),
]


@pytest.mark.parametrize("call", CALLS)
def test_ragged_labels_are_refused_with_the_way_out(call):
    with pytest.raises(TypeError, match=r"`y_true` must be a dense.*to_tensor\(-100\)"):
        call(RAGGED, LOGITS)


def test_padded_they_are_taken():
    padded = RAGGED.to_tensor(-100)
    assert float(LOSS(padded, LOGITS)) == pytest.approx((1 - 3**-0.7) / 0.7)


def test_ragged_predictions_and_weights_are_refused():
    ragged = tf.RaggedTensor.from_row_lengths(np.zeros((3, 3), "float32"), [2, 1])
    for call in CALLS[:2]:
        with pytest.raises(TypeError, match="`y_pred` must be a dense"):
            call(RAGGED.to_tensor(-100), ragged)
        with pytest.raises(TypeError, match="`sample_weight` must be a dense"):
            call(RAGGED.to_tensor(-100), LOGITS, tf.cast(RAGGED, "float32"))


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_rank_is_named(call):
    known = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None, 3])]
    of_pred = "hidden" if call is CALLS[-1] else "y_pred"
    for place, argument in enumerate(("y_true", of_pred)):
        spec = [*known]
        spec[place] = tf.TensorSpec(None, known[place].dtype)
        with pytest.raises(ValueError, match=f"`{argument}` must be of a known rank"):
            tf.function(lambda y, z: call(y, z)).get_concrete_function(*spec)
