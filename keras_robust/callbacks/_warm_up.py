"""One value for the first epochs, another one from then on."""

import dataclasses
from typing import Any

import keras

from keras_robust import _checks


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
            "value": _checks.real_number(owner, "value", self.value),
            "epochs": _checks.integer(owner, "epochs", self.epochs, minimum=0, fix=fix),
            "start": _checks.real_number(owner, "start", self.start),
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
