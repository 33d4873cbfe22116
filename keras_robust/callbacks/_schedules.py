"""Values of a parameter as functions of the epoch."""

import dataclasses
from typing import Any

import keras

from keras_robust._inputs import checks


@keras.saving.register_keras_serializable(package="keras_robust")
@dataclasses.dataclass(frozen=True)
class WarmUp:
    """Schedule of a warm-up: `start` for the first `epochs`, then `value`.

    Use it with `LossSchedule` to begin with cross entropy (`q = 0`, `gamma = 0`) where
    a robust loss does not start to learn from scratch. The compiled step is traced
    twice in all.

    Its value at an epoch e, counted from 0, is `start` if `e < epochs`, else `value`.

    Args:
        value: Value after the warm-up.
        epochs: Number of epochs of the warm-up, at least 0. Defaults to 1.
        start: Value during the warm-up. Defaults to 0.

    Raises:
        ValueError: If `epochs` is negative.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust.callbacks import WarmUp
        >>> [WarmUp(0.7, epochs=2)(epoch) for epoch in range(4)]
        [0.0, 0.0, 0.7, 0.7]
    """

    value: float
    _: dataclasses.KW_ONLY
    epochs: int = 1
    start: float = 0.0

    def __post_init__(self) -> None:
        owner, fix = "WarmUp", "Pass the number of epochs to warm up, such as 1."
        checked = {
            "value": checks.real_number(owner, "value", self.value),
            "epochs": checks.integer(owner, "epochs", self.epochs, minimum=0, fix=fix),
            "start": checks.real_number(owner, "start", self.start),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __call__(self, epoch: int) -> float:
        """Returns the value at `epoch`, counted from 0."""
        return self.start if epoch < self.epochs else self.value

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Returns the schedule of a configuration."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_robust")
@dataclasses.dataclass(frozen=True)
class LinearAnneal:
    """Schedule of an annealed parameter: from `start` to `value` in a straight line.

    Use it with `LossSchedule` to move slowly from cross entropy to a robust loss, such
    as `gamma` from 0 to 1. On TensorFlow and JAX each new value traces the compiled
    step anew, which took 6 to 11 seconds for six transformer layers on two CPU cores:
    with `every`, the line becomes stairs with as few steps as you like.

    Its value at an epoch e, counted from 0, is

        start + (value - start) * d / epochs

    with `d = e - delay`, not below 0 or above `epochs`, rounded down to a multiple of
    `every`; from epoch `delay + epochs` on it is `value`.

    Args:
        value: Value at the end.
        epochs: Number of epochs that the way takes, at least 1.
        start: Value at the beginning. Defaults to 0.
        delay: Number of epochs spent at `start` before the way begins: a warm-up.
            Defaults to 0.
        every: The value changes every so many epochs, at least 1. Defaults to 1.

    Raises:
        ValueError: If `epochs` or `every` is below 1, or `delay` below 0.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> from keras_robust.callbacks import LinearAnneal
        >>> [LinearAnneal(1.0, epochs=4)(epoch) for epoch in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        >>> [LinearAnneal(1.0, epochs=4, every=2)(epoch) for epoch in range(6)]
        [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]

    Reference:
        The note by Su, "A Simple Solution to Mitigate Overconfidence in
        Cross-Entropy", which suggests gamma from 0 to 1.
    """

    value: float
    _: dataclasses.KW_ONLY
    epochs: int
    start: float = 0.0
    delay: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        owner, fix = "LinearAnneal", "Pass a number of epochs, such as 10."
        checked = {
            name: checks.real_number(owner, name, getattr(self, name))
            for name in ("value", "start")
        }
        for name, minimum in (("epochs", 1), ("delay", 0), ("every", 1)):
            checked[name] = checks.integer(
                owner, name, getattr(self, name), minimum=minimum, fix=fix
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __call__(self, epoch: int) -> float:
        """Returns the value at `epoch`, counted from 0."""
        gone = epoch - self.delay
        if gone >= self.epochs:
            return self.value
        gone = max(gone // self.every * self.every, 0)
        return self.start + (self.value - self.start) * gone / self.epochs

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LinearAnneal":
        """Returns the schedule of a configuration."""
        return cls(**config)
