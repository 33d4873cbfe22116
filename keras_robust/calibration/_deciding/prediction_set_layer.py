"""The layer that makes predictions sets of classes."""

from typing import Any

import keras
from keras import ops

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust.calibration._deciding.nonconformity import METHODS
from keras_robust.calibration._recalibration.temperature_layer import as_float

# Probabilities of two roundings, this layer's in float32 and those of `fit`, differ by
# less. A class so near the threshold is let in.
_ROUNDING = 1e-5


@keras.saving.register_keras_serializable(package="keras_robust")
class PredictionSetLayer(keras.layers.Layer):
    """Makes predictions sets of classes: a model that says what it cannot rule out.

    Made by `PredictionSets.as_layer`, with the thresholds that were found. It has no
    weights and is not trained.

    It computes in float32 at least, and lets a class in whose score is no more than
    1e-5 above the threshold: a class that `transform` lets in is in here too, whatever
    the rounding. A row with a NaN, of which nothing is known, has all classes.

    Args:
        threshold: The largest score that is in, one number for each of at least two
            classes. Infinity for a class that always is.
        method: As in `PredictionSets`. Defaults to `"lac"`.
        lambda_reg: As in `PredictionSets`. Defaults to 0.01.
        k_reg: As in `PredictionSets`. Defaults to 5.
        from_logits: Whether `inputs` are logits. Defaults to False.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        - inputs: Probabilities or logits of shape `(..., K)`; for two classes,
          `(..., 1)` too: those of class 1.

    Returns:
        A bool tensor of shape `(..., K)`: whether each class is in the set.

    Raises:
        ValueError: If `threshold` has a NaN or is of one class, `method` is unknown, or
            `inputs` are of other classes.
        TypeError: If `threshold` does not hold numbers.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.calibration import PredictionSetLayer
        >>> layer = PredictionSetLayer(threshold=[0.7, 0.7, 0.7])
        >>> [bool(is_in) for is_in in layer(np.array([[0.6, 0.35, 0.05]]))[0]]
        [True, True, False]
    """

    def __init__(
        self,
        threshold: Any,
        *,
        method: str = "lac",
        lambda_reg: float = 0.01,
        k_reg: int = 5,
        from_logits: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        owner = "PredictionSetLayer"
        array = numeric(owner, "threshold", threshold).astype("float64")
        if array.ndim != 1 or len(array) < 2 or not (array == array).all():
            raise checks.invalid(
                owner,
                "threshold",
                "a row of numbers, of at least two classes",
                f"threshold={threshold!r}",
                "PredictionSets(...).fit(y_true, y_prob).as_layer() makes the layer.",
            )
        self.threshold = tuple(array.tolist())
        self.method = checks.choice(owner, "method", method, METHODS, fix="")
        fix = "0 makes raps aps."
        self.lambda_reg = checks.nonnegative(owner, "lambda_reg", lambda_reg, fix=fix)
        fix = "Pass the largest size of a set that is not penalised."
        self.k_reg = checks.integer(owner, "k_reg", k_reg, minimum=0, fix=fix)
        self.from_logits = checks.flag(owner, "from_logits", from_logits)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Returns whether each class is in the set."""
        prob = self._probabilities(as_float(inputs))
        limit = ops.convert_to_tensor(self.threshold, dtype=prob.dtype) + _ROUNDING
        # Not that the score is above: of NaN it is not.
        unknown = ops.any(ops.isnan(prob), axis=-1, keepdims=True)
        return ops.logical_or(unknown, self._scores(prob) <= limit)

    def _probabilities(self, inputs: Any) -> Any:
        known = inputs.shape[-1] if len(inputs.shape) else None
        num_classes = len(self.threshold)
        if known == 1 and num_classes == 2:
            positive = ops.sigmoid(inputs) if self.from_logits else inputs
            return ops.concatenate([1 - positive, positive], axis=-1)
        if known != num_classes:
            raise checks.invalid(
                "PredictionSetLayer",
                "inputs",
                f"of shape (..., {num_classes})",
                f"inputs.shape={tuple(inputs.shape)}",
                "The last axis holds the classes of `threshold`.",
            )
        return ops.softmax(inputs, axis=-1) if self.from_logits else inputs

    def _scores(self, prob: Any) -> Any:
        # As `Nonconformity.scores`, on tensors.
        if self.method == "lac":
            return 1 - prob
        order = ops.argsort(-prob, axis=-1)
        ranked = ops.take_along_axis(prob, order, axis=-1)
        scores = ops.cumsum(ranked, axis=-1) - ranked
        if self.method == "raps":
            rank = ops.arange(1, len(self.threshold) + 1, dtype=prob.dtype)
            scores += self.lambda_reg * ops.maximum(rank - self.k_reg, 0)
        return ops.take_along_axis(scores, ops.argsort(order, axis=-1), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        own = {
            "threshold": list(self.threshold),
            "method": self.method,
            "lambda_reg": self.lambda_reg,
            "k_reg": self.k_reg,
            "from_logits": self.from_logits,
        }
        return {**super().get_config(), **own}
