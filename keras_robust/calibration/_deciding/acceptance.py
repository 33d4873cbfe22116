"""The layer that says which predictions to accept."""

import math
from typing import Any

import keras
from keras import ops

from keras_robust._inputs import checks
from keras_robust._inputs.options import checked_axis, checked_notion
from keras_robust.calibration._recalibration.temperature_layer import as_float

# Odds against a confidence that is 1 to the precision of NumPy, where it was chosen.
_NO_ODDS = 2.0**-53


@keras.saving.register_keras_serializable(package="keras_robust")
class Acceptance(keras.layers.Layer):
    """Says which predictions to accept: a model that knows what to leave to a person.

    Append it to a trained model, after its calibration, with the threshold that
    `AcceptanceThreshold` found (its method `as_layer` does so), and save the whole. It
    has no weights and is not trained. Computed in float32 at least, so a confidence
    that differs from the threshold by a rounding may fall on either side.

    Args:
        threshold: The least confidence that is accepted, at least 0; infinity accepts
            nothing.
        notion: As in `bin_predictions`. Defaults to `"top_label"`.
        from_logits: Whether `inputs` are logits. Defaults to False.
        axis: Axis of the classes. Defaults to -1.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        - inputs: Predictions of shape `(..., K)`, with K = 1 for a sigmoid output.

    Returns:
        A dict: `"probabilities"`, of the shape of `inputs`, and `"accepted"`, bool of
        that shape without its axis of classes. What is NaN is not accepted.

    Raises:
        ValueError: If an argument is outside its range, or, with the notion
            `"positive"`, there are more than two classes.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.calibration import Acceptance
        >>> out = Acceptance(0.8)(np.array([[0.9, 0.1], [0.3, 0.7]], "float32"))
        >>> [bool(yes) for yes in out["accepted"]]
        [True, False]
    """

    def __init__(
        self,
        threshold: float,
        *,
        notion: str = "top_label",
        from_logits: bool = False,
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        owner, fix = "Acceptance", "Take that of an AcceptanceThreshold."
        self.threshold = checks.real_number(owner, "threshold", threshold)
        if not self.threshold >= 0:
            received = f"threshold={threshold!r}"
            raise checks.invalid(owner, "threshold", "at least 0", received, fix)
        self.notion = checked_notion(owner, notion)
        self.from_logits = checks.flag(owner, "from_logits", from_logits)
        self.axis = checked_axis(owner, axis)
        self.supports_masking = True

    def call(self, inputs: Any) -> dict[str, Any]:
        """Returns probabilities, and which of them to accept."""
        given = as_float(inputs)
        size = given.shape[self.axis]
        if self.notion == "positive" and size not in (1, 2):
            raise checks.invalid(
                "Acceptance",
                "notion",
                "'top_label' for more than two classes",
                f"notion='positive' with {size} classes",
                "Take 'top_label'.",
            )
        if not self.from_logits:
            accepted = self._confidence(given) >= self.threshold
            return {"probabilities": given, "accepted": accepted}
        prob = ops.sigmoid(given) if size == 1 else ops.softmax(given, axis=self.axis)
        # By the odds against it: close to 1, confidences in float32 are all alike.
        limit = max(1 / self.threshold - 1, _NO_ODDS) if self.threshold else math.inf
        limit = limit if self.threshold <= 1 else -1.0
        return {"probabilities": prob, "accepted": self._odds(given) <= limit}

    def _confidence(self, prob: Any) -> Any:
        if self.notion == "positive":
            return ops.take(prob, prob.shape[self.axis] - 1, axis=self.axis)
        confidence = ops.max(prob, axis=self.axis)
        if prob.shape[self.axis] == 1:
            confidence = ops.maximum(confidence, 1.0 - confidence)
        return confidence

    def _odds(self, logits: Any) -> Any:
        """Returns (1 - confidence) / confidence."""
        last = ops.take(logits, logits.shape[self.axis] - 1, axis=self.axis)
        if logits.shape[self.axis] == 1:
            return ops.exp(-last if self.notion == "positive" else -ops.abs(last))
        if self.notion == "positive":
            return ops.exp(ops.take(logits, 0, axis=self.axis) - last)
        top = ops.expand_dims(ops.argmax(logits, axis=self.axis), self.axis)
        shape = [1] * len(logits.shape)
        shape[self.axis] = logits.shape[self.axis]
        number = ops.reshape(ops.arange(logits.shape[self.axis]), shape)
        below = ops.exp(logits - ops.max(logits, axis=self.axis, keepdims=True))
        others = ops.where(ops.equal(number, top), ops.zeros_like(below), below)
        # NaN stays: where all are, none of them is the top one.
        return ops.sum(others, axis=self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of the inputs for both outputs."""
        return {"accepted": previous_mask, "probabilities": previous_mask}

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        config = {
            # JSON has no infinity.
            "threshold": self.threshold if math.isfinite(self.threshold) else "inf",
            "notion": self.notion,
            "from_logits": self.from_logits,
            "axis": self.axis,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Acceptance":
        """Makes the layer from what `get_config` returned."""
        return super().from_config({**config, "threshold": float(config["threshold"])})
