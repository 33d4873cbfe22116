"""The loss inside a compiled model: finding it, changing a number of it or all."""

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import keras

from keras_robust import _backend
from keras_robust._inputs import checks


def find_loss(owner: str, model: Any, parameter: str, output: Any) -> Any:
    """Returns the compiled loss of `output`, or else the only one with `parameter`.

    What a `ForwardCorrection` corrects is a loss too: its parameters are those of its
    base.
    """
    losses = _losses_of(owner, model.loss, output)
    losses = losses + [getattr(loss, "base", None) for loss in losses]
    found = {id(loss): loss for loss in losses if _has(loss, parameter)}
    if len(found) == 1:
        return next(iter(found.values()))
    expected = f"a loss with a number `{parameter}`, compiled into the model"
    fix = "Compile with an instance, such as GammaCE(), not with a name or a function."
    if found:
        expected = f"given where several losses have `{parameter}`"
        fix = "Pass the key or index of one in the `loss` of `compile`."
    received = f"output={output!r}, loss={model.loss!r}"
    raise checks.invalid(owner, "output", expected, received, fix)


def _losses_of(owner: str, loss: Any, output: Any) -> list[Any]:
    if output is None:
        return keras.tree.flatten(loss)
    try:
        return [loss[output]]
    except (KeyError, IndexError, TypeError) as error:
        raise checks.invalid(
            owner,
            "output",
            "a key or an index of the `loss` of `compile`",
            f"output={output!r}, loss={loss!r}",
            "For a model with one loss, leave it out.",
        ) from error


def _has(loss: Any, parameter: str) -> bool:
    number = getattr(loss, parameter, None)
    real = isinstance(number, (int, float)) and not isinstance(number, bool)
    return isinstance(loss, keras.losses.Loss) and real


def checked_value(loss: Any, parameter: str, value: Any) -> float:
    """Returns `value` as a float, checked by the loss's own constructor."""
    owner = type(loss).__name__
    number = checks.real_number(owner, parameter, value)
    if not math.isfinite(number):
        received = f"{parameter}={number}"
        raise checks.invalid(owner, parameter, "finite", received, "Pass a number.")
    config = loss.get_config()
    if parameter in config:
        type(loss).from_config({**config, parameter: number})
    return number


def set_parameter(model: Any, loss: Any, parameter: str, value: float) -> None:
    """Sets a number of the loss; if it changed, the steps will be traced anew."""
    if getattr(loss, parameter) == value:
        return
    setattr(loss, parameter, value)
    copied = _backend.constants_of(loss)
    if parameter in copied:
        copied[parameter] = value
    _trace_anew(model)


def swap_loss(model: Any, loss: Any) -> None:
    """Swaps a model's only loss; if it is another, the steps will be traced anew."""
    if model.loss is not loss:
        _backend.set_compiled_loss(model, loss)
        _trace_anew(model)


def _trace_anew(model: Any) -> None:
    if keras.backend.backend() == "torch":
        return  # torch.compile guards what it has read.
    for step, make in (
        ("train_step", model.make_train_function),
        ("test_step", model.make_test_function),
    ):
        with _of_its_own(model, step):
            make(force=True)


@contextlib.contextmanager
def _of_its_own(model: Any, step: str) -> Iterator[None]:
    # JAX keeps traces by the equality of functions, and a bound method equals the one
    # made before: as long as anything holds the old function, a new one would silently
    # compute the old loss. A partial equals nothing but itself.
    if keras.backend.backend() != "jax":
        yield
        return
    own, shadowed, method = vars(model), step in vars(model), getattr(model, step)
    own[step] = functools.partial(method)
    try:
        yield
    finally:
        del own[step]
        if shadowed:
            own[step] = method
