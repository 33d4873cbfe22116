"""What of Keras has no public name."""

from typing import Any

from keras.src.backend import get_keras_mask


def keras_mask(y_pred: Any) -> Any:
    """Returns the mask that Keras attached to the predictions, or None."""
    return get_keras_mask(y_pred)


def constants_of(loss: Any) -> dict[str, Any]:
    """Returns the copy of their arguments that Keras's own losses compute with."""
    return getattr(loss, "_fn_kwargs", {})


def set_compiled_loss(model: Any, loss: Any) -> None:
    """Gives a model with one compiled loss another one, and leaves all else as it is.

    A further `compile` would make new metrics and forget the steps of a running `fit`.
    """
    compiled = model._compile_loss
    compiled._user_loss = model.loss = loss
    if compiled.built:
        entries = compiled._flat_losses
        compiled._flat_losses = [entry._replace(loss=loss) for entry in entries]
    model._compile_config.config["loss"] = loss  # what is saved with the model
