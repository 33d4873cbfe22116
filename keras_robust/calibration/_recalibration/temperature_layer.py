"""The layer that divides logits by a temperature."""

from typing import Any

import keras
from keras import ops

from keras_robust._inputs import checks


@keras.saving.register_keras_serializable(package="keras_robust")
class Temperature(keras.layers.Layer):
    """Divides logits by a temperature: a calibrated model in one file.

    Append it to a trained model whose outputs are logits, with the temperature that
    `TemperatureScaling` found or `AnalyticCalibration` knows (their method `as_layer`
    does so), and save the whole. It has no weights and is not trained.

    The output is `inputs / temperature`, in float32 at least: under a policy of mixed
    precision neither are the inputs rounded to half precision nor the outputs.

    Args:
        temperature: Float above 0; above 1 confidence falls. Defaults to 1.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        - inputs: Logits of any shape.

    Returns:
        A tensor of the shape of `inputs`, float32, or float64 for float64 inputs.

    Raises:
        ValueError: If `temperature` is not finite or not above 0.
        TypeError: If `temperature` is not a real number.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.calibration import Temperature
        >>> logits = np.array([3.0, -1.0])
        >>> [float(z) for z in Temperature(2.0)(logits)]
        [1.5, -0.5]
    """

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        fix = "1 changes nothing, 2 halves the logits."
        self.temperature = checks.positive(
            "Temperature", "temperature", temperature, fix=fix
        )
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Returns the logits divided by the temperature."""
        return as_float(inputs) / self.temperature

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {**super().get_config(), "temperature": self.temperature}


def as_float(logits: Any) -> Any:
    """Returns logits in float32, or in float64 if they are."""
    wide = keras.backend.standardize_dtype(logits.dtype) == "float64"
    return ops.cast(logits, "float64" if wide else "float32")
