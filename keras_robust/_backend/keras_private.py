"""What of Keras has no public name."""

from typing import Any

from keras.src.backend import get_keras_mask


def keras_mask(y_pred: Any) -> Any:
    """Returns the mask that Keras attached to the predictions, or None."""
    return get_keras_mask(y_pred)


def constants_of(loss: Any) -> dict[str, Any]:
    """Returns the copy of their arguments that Keras's own losses compute with."""
    return getattr(loss, "_fn_kwargs", {})
