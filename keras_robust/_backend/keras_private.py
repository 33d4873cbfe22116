"""What of Keras has no public name."""

from typing import Any

from keras.src.backend import get_keras_mask
from keras.src.backend.common import symbolic_scope


def keras_mask(y_pred: Any) -> Any:
    """Returns the mask that Keras attached to the predictions, or None."""
    return get_keras_mask(y_pred)


def in_symbolic_scope() -> bool:
    """Returns whether Keras calls a function with made-up numbers, to learn a shape."""
    return symbolic_scope.in_symbolic_scope()


def is_activated(y_pred: Any) -> bool:
    """Returns whether predictions are known to come from a softmax or a sigmoid.

    Keras leaves their logits on what these return, where a tensor takes an attribute:
    on TensorFlow and PyTorch.
    """
    return hasattr(y_pred, "_keras_logits")


def metrics_of(model: Any) -> list[Any]:
    """Returns what `compile` was given as `metrics` and as `weighted_metrics`."""
    compiled = model._compile_metrics
    if compiled is None:
        return []
    return [compiled._user_metrics, compiled._user_weighted_metrics]


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
