"""A parameter of the compiled loss as a function of the epoch."""

from collections.abc import Callable
from typing import Any

import keras

from keras_robust._inputs import checks
from keras_robust.callbacks._compiled_loss import (
    checked_value,
    find_loss,
    set_parameter,
)

_OWNER = "LossSchedule"


class LossSchedule(keras.callbacks.Callback):
    """Switches or anneals a parameter of the compiled loss, epoch by epoch.

    Use it to warm up with cross entropy before a robust loss, or to anneal `q`,
    `gamma` or `smoothing`. A parameter that never changes needs no schedule: give it to
    the loss. For a learning rate, take Keras's own schedules.

    The parameter has the value `schedule(epoch)` in training and in validation, and is
    logged under its name. Compiled steps hold such numbers as constants, so a change
    makes Keras trace them anew (on TensorFlow and JAX; on PyTorch, `torch.compile` sees
    it by itself), while weights, the optimizer's state and metrics stay as they are.
    A value that stays the same costs nothing, and a warm-up one further trace. Where a
    trace is expensive, change in few steps: see `LinearAnneal`. On PyTorch with
    `jit_compile=True`, `torch.compile` gives up after 8 versions by default
    (`torch._dynamo.config.recompile_limit`) and goes on uncompiled.

    Only the epoch decides, so training that is resumed (with `BackupAndRestore`, or
    with `initial_epoch`) goes on as if it had not been interrupted. A model that is
    saved in between has the current value in its loss.

    Args:
        parameter: Name of a number of the loss, such as `"q"`, `"gamma"` or
            `"smoothing"`. Any `keras.losses.Loss` will do that has it as an attribute;
            a `ForwardCorrection` has the parameters of its base.
        schedule: Function of the epoch, counted from 0, that gives the value:
            `WarmUp`, `LinearAnneal` or your own. It is also called ahead of training,
            once for each epoch, so it must always give the same value for an epoch.
        output: For models with several losses, the key or index of one of them in the
            `loss` of `compile`; the name in the logs is then `"{output}_{parameter}"`.
            Defaults to None, the only loss that has the parameter.

    Raises:
        ValueError: When training begins, if no loss, or more than one, has the
            parameter, or if the loss does not accept a value of the schedule.
        TypeError: If `schedule` is no function, or gives something else than a number.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_robust import GCE
        >>> from keras_robust.callbacks import LossSchedule, WarmUp
        >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
        >>> model = keras.Sequential([keras.layers.Dense(4)])
        >>> model.compile("sgd", GCE(from_logits=True))
        >>> warm_up = LossSchedule("q", WarmUp(0.7, epochs=2))
        >>> history = model.fit(x, y, epochs=4, verbose=0, callbacks=[warm_up])
        >>> history.history["q"]
        [0.0, 0.0, 0.7, 0.7]

        The loss on its way from cross entropy to `1 - p`:

        >>> anneal = LossSchedule("gamma", lambda epoch: min(epoch / 10, 1.0))
    """

    def __init__(
        self,
        parameter: str,
        schedule: Callable[[int], float],
        *,
        output: str | int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(parameter, str):
            raise TypeError(
                f"{_OWNER}: `parameter` must be a string. Received: "
                f"parameter={parameter!r}. Pass the parameter's name, such as 'q'."
            )
        if not callable(schedule):
            raise TypeError(
                f"{_OWNER}: `schedule` must be a function of the epoch. Received: "
                f"schedule={schedule!r}. For a switch, pass WarmUp(value)."
            )
        self.parameter, self.schedule, self.output = parameter, schedule, output

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the loss, and checks the values of all epochs before the first one."""
        self._loss = find_loss(_OWNER, self.model, self.parameter, self.output)
        first = {}
        for epoch in range(self.params.get("epochs") or 0):
            value = self.schedule(epoch)
            first.setdefault(repr(value), (epoch, value))
        for epoch, value in first.values():
            self._checked(epoch, value)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the value of this epoch."""
        value = self._checked(epoch, self.schedule(epoch))
        set_parameter(self.model, self._loss, self.parameter, value)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs the value of this epoch."""
        prefix = "" if self.output is None else f"{self.output}_"
        if logs is not None:
            logs[f"{prefix}{self.parameter}"] = getattr(self._loss, self.parameter)

    def _checked(self, epoch: int, value: Any) -> float:
        try:
            return checked_value(self._loss, self.parameter, value)
        except (TypeError, ValueError) as error:
            wrong = isinstance(error, TypeError)
            kind = checks.ArgumentTypeError if wrong else checks.InvalidArgumentError
            raise kind(
                _OWNER,
                "schedule",
                "a function to values that the loss accepts",
                f"{value!r} for epoch {epoch}",
                str(error),
            ) from error
