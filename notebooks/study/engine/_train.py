"""Training: a warm-up of cross entropy, then the loss of the run."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from engine._batches import OrderOfEpoch
from engine._cache import kept
from engine._config import RunConfig
from engine._corpus import TAGS
from engine._data import TRUSTED, Split, matrix_of, trusted_of
from engine._encoded import IGNORED
from engine._loss_floor import LossFloor
from engine._measures import estimated_rate, logits_of
from keras_robust import noise
from keras_robust.callbacks import LinearAnneal, LossSchedule
from keras_robust.losses import GCE, SGCE, ForwardCorrection, GammaCE, RobustLoss

AfterEpoch = Callable[[int, keras.Model], None]

# Epochs after which a traced run is measured, and after its last one.
_TRACED = (1, 2, 3, 5, 10, 20, 30, 50, 100)


class LossCurve(keras.callbacks.Callback):
    """Records the mean training loss of each tenth of an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts an epoch."""
        self._epoch, self._seen, self._total = epoch, 0, 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Takes the difference of the epoch's running means."""
        steps = self.params["steps"]
        done = batch + 1
        if done * 10 // steps == batch * 10 // steps:
            return
        total = float(logs["loss"]) * done
        mean = (total - self._total) / (done - self._seen)
        self.rows.append({"epoch": self._epoch + done / steps, "loss": mean})
        self._seen, self._total = done, total


class PartlyTrusted(keras.losses.Loss):
    """A loss of labels that may be wrong, and cross entropy of those that are not.

    The labels of the latter are `TRUSTED` higher. The mean is over all that count.
    """

    def __init__(self, loss: ForwardCorrection) -> None:
        super().__init__(name="partly_trusted")
        options = {"from_logits": True, "ignore_class": IGNORED, "reduction": "sum"}
        self.noisy = ForwardCorrection(loss.matrix, GCE(q=loss.base.q, **options))
        self.plain = GCE(q=0.0, **options)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        labels = keras.ops.cast(y_true, "int32")
        trusted = labels >= TRUSTED
        noisy = self.noisy(keras.ops.where(trusted, IGNORED, labels), y_pred)
        known = keras.ops.where(trusted, labels - TRUSTED, IGNORED)
        counted = keras.ops.sum(keras.ops.cast(labels != IGNORED, "float32"))
        return (noisy + self.plain(known, y_pred)) / keras.ops.maximum(counted, 1.0)


def loss_of(
    config: RunConfig, gamma: float, matrix: np.ndarray | None = None
) -> RobustLoss:
    """Returns the loss of a run, on logits."""
    options = {"from_logits": True, "ignore_class": IGNORED}
    if config.loss == "GammaCE":
        return GammaCE(gamma=gamma, b=config.gate, **options)
    if config.smoothing:
        return SGCE(q=config.q, smoothing=config.smoothing, **options)
    base = GCE(q=config.q, **options)
    return base if matrix is None else ForwardCorrection(matrix, base)


def gamma_of(config: RunConfig, train: Split) -> float:
    """Returns γ as far as it is known before training."""
    if config.gamma_rule == "true_rate":
        return gamma_of_rate(train.rate)
    return config.gamma


def gamma_of_rate(rate: float) -> float:
    """Returns γ*, at most 1: where labels are worse than chance there is none."""
    if rate >= (len(TAGS) - 1) / len(TAGS):
        return 1.0
    return min(noise.gamma_from_noise_rate(len(TAGS), rate), 1.0)


class Training:
    """The training of one model, in two parts.

    Attributes:
        gamma: γ that was used; NaN for other losses.
        estimated_rate: Noise rate estimated after the warm-up; NaN if it was not.
        matrix: The matrix that was used; None for other losses.
        losses: Rows of the loss curve.
    """

    def __init__(
        self,
        config: RunConfig,
        model: keras.Model,
        splits: dict[str, Split],
        *,
        targets: np.ndarray | None = None,
    ) -> None:
        self.config, self.model, self.splits = config, model, splits
        self.matrix: np.ndarray | None = None
        train = splits["train"]
        if targets is not None:
            train = dataclasses.replace(train, targets=targets)
        self.fed = self._with_trusted(train)
        self.losses: list[dict[str, float]] = []
        self.gamma = self.estimated_rate = float("nan")
        steps = len(self._batches(0)) * config.epochs
        rate: Any = config.learning_rate
        if config.learning_rate_schedule == "linear":
            rate = keras.optimizers.schedules.PolynomialDecay(rate, steps, 0.0)
        self.optimizer = keras.optimizers.AdamW(rate)
        self.optimizer.build(model.trainable_variables)

    def run(self, after_epoch: AfterEpoch, *, keep: str | None = None) -> None:
        """Trains; `keep` names a warm-up that other runs share.

        A traced run keeps none: its warm-up is measured too.
        """
        warmup = self.config.warmup_epochs
        curve = LossCurve()

        def warm_up() -> dict[str, list]:
            callbacks = [curve, *self._tracing(after_epoch)]
            self._fit(loss_of(self.config.warmup(), 0.0), 0, warmup, callbacks)
            state = [keras.ops.convert_to_numpy(v.value) for v in self._state()]
            return {"curve": curve.rows, "state": state}

        if keep is None or not warmup or self.config.trace:
            warm_up()
        else:
            warm = kept(f"warmup-{keep}", warm_up)
            curve.rows = warm["curve"]
            for variable, value in zip(self._state(), warm["state"]):
                variable.assign(np.array(value))  # what is read is read-only
        if warmup < self.config.epochs:
            # Dropout on PyTorch draws from a generator that no warm-up keeps: it begins
            # anew, whether the warm-up was trained here or not.
            keras.utils.set_random_seed(self.config.seed)
            self._main_part(after_epoch, curve)
        self.losses = curve.rows

    def _main_part(self, after_epoch: AfterEpoch, curve: LossCurve) -> None:
        config = self.config
        callbacks = [curve, *self._tracing(after_epoch)]
        if config.loss == "GammaCE":
            self.gamma = gamma_of(config, self.splits["train"])
        if config.gamma_rule == "estimated_rate":
            self._estimate()
        if config.loss == "ForwardCorrection" and config.targets == "given":
            self._set_matrix()
        if config.gamma_rule == "linear":
            last = config.epochs - 1
            callbacks.append(LossSchedule("gamma", LinearAnneal(1.0, epochs=last)))
            self.gamma = 1.0
        loss = loss_of(config, 0.0 if np.isnan(self.gamma) else self.gamma, self.matrix)
        if config.train_on_trusted and isinstance(loss, ForwardCorrection):
            loss = PartlyTrusted(loss)
        if config.loss_floor:
            loss = LossFloor(loss, self.splits["train"].rate, len(TAGS))
        self._fit(loss, config.warmup_epochs, config.epochs, callbacks)

    def _tracing(self, after_epoch: AfterEpoch) -> list[keras.callbacks.Callback]:
        if not self.config.trace:
            return []
        return [_Tracing(after_epoch, frozenset((*_TRACED, self.config.epochs)))]

    def _estimate(self) -> None:
        dev = self.splits["dev"]
        rate = estimated_rate(dev, logits_of(self.model, dev))
        if not np.isnan(rate):  # no better than chance: cross entropy goes on
            self.estimated_rate, self.gamma = rate, gamma_of_rate(rate)

    def _set_matrix(self) -> None:
        config, splits = self.config, self.splits
        if config.matrix_rule == "estimated":
            dev = splits["dev"]
            scores = logits_of(self.model, dev)
            with warnings.catch_warnings():  # of rare tags that are never predicted
                warnings.simplefilter("ignore", UserWarning)
                estimate = noise.estimate_matrix(dev.pairs[0], scores, from_logits=True)
            self.matrix = estimate.matrix
        else:
            self.matrix = matrix_of(config, splits)
        if config.train_on_trusted:
            self.fed = self._with_trusted(splits["train"], TRUSTED)

    def _with_trusted(self, train: Split, offset: int = 0) -> Split:
        if not self.config.train_on_trusted:
            return train
        trusted = trusted_of(self.config, self.splits["dev"])
        return train.with_trusted(trusted, offset)

    def _batches(self, epoch: int) -> Any:
        config = self.config
        return self.fed.batches(config.batch_size, seed=config.seed, epoch=epoch)

    def _fit(self, loss: Any, first: int, last: int, callbacks: list) -> None:
        if first == last:
            return
        compiled = False if keras.backend.backend() == "torch" else "auto"
        self.model.compile(optimizer=self.optimizer, loss=loss, jit_compile=compiled)
        batches = self._batches(first)
        self.model.fit(
            batches.feed(),
            initial_epoch=first,
            epochs=last,
            shuffle=False,
            callbacks=[OrderOfEpoch(batches), *callbacks],
            verbose=0,
        )

    def _state(self) -> list[Any]:
        # Weights, the states of dropout's seeds, and the optimizer's.
        model = self.model
        layers = [*model.trainable_variables, *model.non_trainable_variables]
        return [*layers, *self.optimizer.variables]


class _Tracing(keras.callbacks.Callback):
    """Measures after some epochs."""

    def __init__(self, after_epoch: AfterEpoch, epochs: frozenset[int]) -> None:
        super().__init__()
        self.after_epoch, self.epochs = after_epoch, epochs

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 in self.epochs:
            self.after_epoch(epoch + 1, self.model)
