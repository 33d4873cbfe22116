"""A loss that takes the place of the compiled one after a warm-up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_robust import _files
from keras_robust._inputs import checks
from keras_robust._inputs.options import checked_file
from keras_robust.callbacks._compiled_loss import swap_loss

_OWNER = "SwapLoss"


class SwapLoss(keras.callbacks.Callback):
    """Trains with the compiled loss for some epochs, then with another one.

    Use it where the loss is only known once the model has learnt something: a
    `ForwardCorrection` whose matrix comes from the model's predictions on held-out
    rows. Where only a number changes, take `LossSchedule`; where it is the gamma of
    even noise, `NoiseAwareGamma`.

    At the beginning of epoch `warmup_epochs`, counted from 0, `loss`, or what it
    returns for the model, takes the place of the loss that the model was compiled with,
    in training and in validation. The optimizer's state, the metrics and all else that
    `compile` was given stay as they are. On TensorFlow and JAX the steps are traced
    anew once, as `LossSchedule` says.

    A model that is saved has its current loss: loaded after the warm-up, it goes on
    training without this callback. A run that is resumed in another process with a
    newly compiled model (as with `BackupAndRestore`) needs `state_file`, in which the
    configuration of the loss is kept; it goes on as if it had not been interrupted.
    A further `fit` with the same callback and model that begins with epoch 0 begins
    with the warm-up's loss again.

    Args:
        loss: A `keras.losses.Loss`, or a function that is called with the model, once,
            and returns one. The function may let the model predict.
        warmup_epochs: Number of epochs with the compiled loss, at least 1. Defaults to
            1.
        state_file: Path of a JSON file that keeps the loss, or None. Written when the
            loss is swapped, read by a run that begins after the warm-up. A class of
            your own has to be registered (`keras.saving`). Defaults to None.

    Attributes:
        loss_: The loss after the warm-up, or None before.

    Raises:
        ValueError: If `warmup_epochs` is below 1 or the folder of `state_file` is not
            there; when training begins, if the model is not compiled with one loss; or
            if a run begins after the warm-up and its loss is not known.
        TypeError: If an argument is of the wrong type, or the function returns no loss.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_robust import ForwardCorrection
        >>> from keras_robust.callbacks import SwapLoss
        >>> from keras_robust.noise import estimate_matrix, flip_labels, omission_matrix
        >>> true = np.random.default_rng(0).integers(0, 3, 3000)
        >>> given = flip_labels(true, omission_matrix(3, 0.3), seed=0).labels
        >>> x = np.eye(3, dtype="float32")[true]

        >>> def corrected(model):
        ...     logits = model.predict(x[1000:], batch_size=500, verbose=0)
        ...     matrix = estimate_matrix(given[1000:], logits, from_logits=True)
        ...     return ForwardCorrection(matrix, from_logits=True)

        >>> model = keras.Sequential([keras.layers.Dense(3)])
        >>> ce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile(keras.optimizers.Adam(0.1), ce)
        >>> swap = SwapLoss(corrected)
        >>> history = model.fit(
        ...     x[:1000], given[:1000], epochs=2, verbose=0, callbacks=[swap]
        ... )
        >>> model.loss is swap.loss_, model.loss.matrix.round(1).tolist()
        (True, [[1.0, 0.0, 0.0], [0.3, 0.7, 0.0], [0.3, 0.0, 0.7]])

    Reference:
        The two stages of Patrini et al., "Making Deep Neural Networks Robust to Label
        Noise: a Loss Correction Approach", CVPR 2017, algorithm 1.
    """

    def __init__(
        self,
        loss: keras.losses.Loss | Callable[[keras.Model], keras.losses.Loss],
        *,
        warmup_epochs: int = 1,
        state_file: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(loss, type) or not callable(loss):  # a loss can be called too
            expected = "a keras.losses.Loss, or a function of the model"
            fix = "Pass an instance, such as GCE(q=0.7), or a function that returns it."
            raise checks.wrong_type(_OWNER, "loss", expected, loss, fix)
        self.loss = loss
        fix = "Pass the number of epochs with the compiled loss, such as 1."
        self.warmup_epochs = checks.integer(
            _OWNER, "warmup_epochs", warmup_epochs, minimum=1, fix=fix
        )
        self.state_file = checked_file(_OWNER, "state_file", state_file)
        self.loss_: keras.losses.Loss | None = None
        self._compiled: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that the model is compiled with one loss."""
        loss = self.model.loss
        if loss is None or keras.tree.is_nested(loss):
            raise checks.invalid(
                _OWNER,
                "model",
                "compiled with one loss",
                f"loss={loss!r}",
                "For several outputs, compile the model anew after the warm-up, with "
                "`model.optimizer`.",
            )
        if loss is not self.loss_:
            self._compiled = loss

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sees to it that the model has the loss of this epoch."""
        if epoch < self.warmup_epochs:
            self.loss_ = None
        elif epoch == self.warmup_epochs:
            self.loss_ = self._made()
            if self.state_file is not None:
                _files.write_whole(self.state_file, _to_json(epoch, self.loss_))
        elif self.loss_ is None:
            self.loss_ = self._recalled(epoch)
        swap_loss(self.model, self._compiled if self.loss_ is None else self.loss_)

    def _made(self) -> keras.losses.Loss:
        if isinstance(self.loss, keras.losses.Loss):
            return self.loss
        made = self.loss(self.model)
        if not isinstance(made, keras.losses.Loss):
            expected = "a function that returns a keras.losses.Loss"
            received = f"a function that returned {made!r}"
            fix = "Return an instance, such as ForwardCorrection(matrix)."
            raise checks.invalid_type(_OWNER, "loss", expected, received, fix)
        return made

    def _recalled(self, epoch: int) -> keras.losses.Loss:
        """Returns the loss with which the model was trained before `epoch`."""
        if isinstance(self.loss, keras.losses.Loss):
            return self.loss
        known = None if self.state_file is None else _from_json(self.state_file)
        if known is None or known["epoch"] != self.warmup_epochs:
            raise checks.invalid(
                _OWNER,
                "state_file",
                "the file of the run before, where a run begins after the warm-up",
                f"state_file={self.state_file}, epoch {epoch}, "
                f"warmup_epochs={self.warmup_epochs}",
                "Pass it from the first epoch on; or, with a model loaded with its "
                "loss, leave this callback out.",
            )
        return keras.saving.deserialize_keras_object(known["loss"])


def _to_json(epoch: int, loss: keras.losses.Loss) -> str:
    loss = keras.saving.serialize_keras_object(loss)
    return json.dumps({"epoch": epoch, "loss": loss}, indent=1)


def _from_json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
