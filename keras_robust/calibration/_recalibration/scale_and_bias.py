"""The layer of vector scaling and of Platt scaling."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_robust import _numerics
from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust.calibration._recalibration.temperature_layer import as_float


@keras.saving.register_keras_serializable(package="keras_robust")
class ScaleAndBias(keras.layers.Layer):
    """Scales each class's log-probability and adds a bias: calibrated logits.

    Append it to a trained model whose outputs are logits, with the numbers that
    `VectorScaling` or `PlattScaling` found (their method `as_layer` does so), and save
    the whole. It has no weights and is not trained.

    The output is `scale * log_softmax(inputs) + bias`, of which the softmax is the
    calibrated prediction. A single logit `z` stands for the two (0, z); the output is
    then the single logit of class 1. All in float32 at least, as in `Temperature`.

    Args:
        scale: A finite number for each of at least two classes.
        bias: As many.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        - inputs: Finite logits of shape `(..., K)`; for two classes, `(..., 1)` too.

    Returns:
        A tensor of the shape of `inputs`, float32, or float64 for float64 inputs.

    Raises:
        ValueError: If `scale` and `bias` are no such numbers, or `inputs` of other
            classes.
        TypeError: If they do not hold numbers.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.calibration import ScaleAndBias
        >>> layer = ScaleAndBias(scale=[2.0, 2.0], bias=[-0.5, 0.5])
        >>> [round(float(z), 4) for z in layer(np.array([[3.0]]))[0]]
        [7.0]
    """

    def __init__(self, scale: Any, bias: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.scale = _row_of_numbers("scale", scale)
        self.bias = _row_of_numbers("bias", bias)
        if len(self.scale) != len(self.bias):
            raise checks.invalid(
                "ScaleAndBias",
                "bias",
                "of as many numbers as `scale`",
                f"{len(self.scale)} scales and {len(self.bias)} biases",
                "Pass one of each for every class.",
            )
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Returns the logits of the calibrated predictions."""
        self._check_classes(inputs.shape)
        logits = as_float(inputs)
        if logits.shape[-1] > 1:
            return self._scaled(ops.log_softmax(logits, axis=-1))
        both = self._scaled(_numerics.log_of_two_classes(logits[..., 0]))
        return both[..., 1:] - both[..., :1]

    def _scaled(self, log_prob: Any) -> Any:
        scale, bias = (
            ops.convert_to_tensor(values, dtype=log_prob.dtype)
            for values in (self.scale, self.bias)
        )
        return scale * log_prob + bias

    def _check_classes(self, shape: tuple) -> None:
        known = shape[-1] if len(shape) else None
        num_classes = len(self.scale)
        if known != num_classes and (known, num_classes) != (1, 2):
            raise checks.invalid(
                "ScaleAndBias",
                "inputs",
                f"logits of shape (..., {num_classes})",
                f"inputs.shape={tuple(shape)}",
                "The last axis holds the classes of `scale`.",
            )

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        own = {"scale": list(self.scale), "bias": list(self.bias)}
        return {**super().get_config(), **own}


def _row_of_numbers(argument: str, values: Any) -> tuple[float, ...]:
    array = numeric("ScaleAndBias", argument, values).astype("float64")
    if array.ndim != 1 or len(array) < 2 or not np.isfinite(array).all():
        raise checks.invalid(
            "ScaleAndBias",
            argument,
            "a row of finite numbers, of at least two classes",
            f"{argument}={values!r}",
            "A single logit is that of the second of two classes.",
        )
    return tuple(array.tolist())
