"""GammaCE whose gamma is set by the noise that the model sees."""

import json
import warnings
from typing import Any

import keras
import numpy as np

from keras_robust import _files
from keras_robust._inputs import checks
from keras_robust._inputs.batches import check_data
from keras_robust._inputs.options import (
    checked_batch_size,
    checked_file,
    checked_steps,
)
from keras_robust._inputs.predicted import predicted
from keras_robust.callbacks._compiled_loss import set_parameter
from keras_robust.losses import GammaCE
from keras_robust.noise import RateEstimate, estimate_rate, gamma_from_noise_rate

_OWNER = "NoiseAwareGamma"
# A rate that is known no better than this is said to be known badly.
_WIDEST_INTERVAL = 0.2

# A rate and its gamma.
_Estimate = tuple[RateEstimate, float]


class NoiseAwareGamma(keras.callbacks.Callback):
    """Sets the gamma of `GammaCE` by the noise that the model itself finds.

    Use it where labels are wrong at an unknown rate, evenly over the classes: it warms
    up with cross entropy, estimates the rate from predictions on held-out rows, whose
    labels are as noisy as the others', and goes on with the gamma at which `GammaCE`
    undoes that noise. No clean labels, nothing to tune. If the rate is known, give
    `GammaCE` its gamma instead. Where noise is uneven, one rate does not describe it.

    At the beginning of epoch `warmup_epochs`, counted from 0, and of each later one,

        gamma = r / ((K - 1) * (1 - r)),   r = noise.estimate_rate(labels, predictions)

    for K classes; before, gamma is 0. Errors of the model are counted as noise, so each
    estimate is an upper bound, and a young model's is far too high: it falls as the
    model learns, and rises again where it learns wrong labels by heart. The lowest so
    far is kept. (One made while the model predicted a single class gives way to any
    that knows more of them.) Being the lowest of several, it is too low by chance, by
    less than its standard error on average. Predictions are taken for the posteriors of
    labels that they stand for (the method `posterior` of the loss).

    A warning says what is not known yet: that the estimate was still falling by more
    than its standard error when training ended, so that the rate is likely to be lower;
    that so few rows count that its interval is wider than 0.2; that the model knows no
    more than chance, so that there is no estimate, and gamma stays. One epoch of
    warm-up is enough for a pretrained model; from scratch, take some more.

    Each change of gamma traces the compiled step anew, as `LossSchedule` says.

    A model that is saved has the current gamma in its loss: loaded after the warm-up,
    it goes on training without this callback. A run that is resumed in another process
    with a newly compiled loss (as with `BackupAndRestore`) needs `state_file`, in which
    the estimates are kept; it goes on as if it had not been interrupted.

    Args:
        data: A tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or a dataset that
            yields such batches: rows that the model is *not* trained on, with given
            labels, integer classes or one-hot. Positions with the loss's `ignore_class`
            or with weight 0 are left out; other weights do not matter.
        warmup_epochs: Number of epochs of cross entropy, at least 1. Defaults to 1.
        re_estimate: Whether to estimate anew before each later epoch. If not, the first
            estimate stands, and there has to be one. Defaults to True.
        method: Method of `noise.estimate_rate`. Defaults to `"agreement"`.
        batch_size: Rows that are predicted at a time, with arrays. Defaults to 32.
        steps: Number of batches to read of a dataset each time; one that does not end
            needs it, as does a generator. Defaults to None, all.
        state_file: Path of a JSON file that keeps the estimates, or None. Written at
            each estimate, read by a run that begins after the warm-up. Defaults to
            None.

    Attributes:
        rate_: The lowest estimate of the noise rate, a `noise.RateEstimate` with a
            standard error and an interval, or None before the first. Logged as
            `"noise_rate"`, NaN while there is none.
        gamma_: The gamma of that rate, or None. The loss's gamma, which is 0 while
            there is none, is logged as `"gamma"`.

    Raises:
        ValueError: If `warmup_epochs` or `batch_size` is below 1 or the folder of
            `state_file` is not there; when training begins, if the model is not
            compiled with one `GammaCE`; at the first estimate, if the data cannot be
            read, or, without `re_estimate`, if the model knows no more than chance; if
            a run begins after the warm-up and the estimates before it are not known.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_robust import GammaCE
        >>> from keras_robust.callbacks import NoiseAwareGamma
        >>> from keras_robust.noise import flip_labels, symmetric_matrix
        >>> true = np.random.default_rng(0).integers(0, 4, 9000)
        >>> given = flip_labels(true, symmetric_matrix(4, 0.4), seed=0).labels
        >>> x = np.eye(4, dtype="float32")[true]
        >>> model = keras.Sequential([keras.layers.Dense(4)])
        >>> model.compile(keras.optimizers.Adam(0.1), GammaCE(from_logits=True))
        >>> aware = NoiseAwareGamma((x[1000:], given[1000:]), batch_size=500)
        >>> history = model.fit(
        ...     x[:1000], given[:1000], epochs=2, verbose=0, callbacks=[aware]
        ... )
        >>> round(aware.rate_, 1), model.loss.gamma == aware.gamma_
        (0.4, True)

    Reference:
        See `GammaCE` and `noise.estimate_rate`.
    """

    def __init__(
        self,
        data: Any,
        *,
        warmup_epochs: int = 1,
        re_estimate: bool = True,
        method: str = "agreement",
        batch_size: int = 32,
        steps: int | None = None,
        state_file: Any = None,
    ) -> None:
        super().__init__()
        fix = "Cross entropy has to come first, for the noise to be seen."
        self.warmup_epochs = checks.integer(
            _OWNER, "warmup_epochs", warmup_epochs, minimum=1, fix=fix
        )
        self.batch_size = checked_batch_size(_OWNER, batch_size)
        self.steps = checked_steps(_OWNER, steps)
        self.re_estimate = checks.flag(_OWNER, "re_estimate", re_estimate)
        check_data(_OWNER, "data", data, self.steps, again=self.re_estimate)
        self.data, self.method = data, method
        self.state_file = checked_file(_OWNER, "state_file", state_file)
        self.rate_: RateEstimate | None = None
        self.gamma_: float | None = None
        # By the epoch before which they were made; None where there was none.
        self._estimates: dict[int, _Estimate | None] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that the model is compiled with one `GammaCE`."""
        if not isinstance(self.model.loss, GammaCE):
            raise checks.invalid(
                _OWNER,
                "model",
                "compiled with one instance of GammaCE",
                f"loss={self.model.loss!r}",
                "For several outputs, estimate the rate and use LossSchedule.",
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets gamma for this epoch, from a new estimate where one is due."""
        self._recall(epoch)
        self._set_gamma()
        due = epoch > self.warmup_epochs and self.re_estimate
        if due or epoch == self.warmup_epochs:
            self._estimates[epoch] = self._estimate_or_warn(epoch)
            self._set_gamma()
            if self.state_file is not None:
                _files.write_whole(self.state_file, _to_json(self._estimates))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs gamma and the noise rate of this epoch."""
        if logs is not None:
            logs["gamma"] = self.model.loss.gamma
            logs["noise_rate"] = float("nan") if self.rate_ is None else self.rate_

    def on_train_end(self, logs: Any = None) -> None:
        """Warns if the last estimate was still falling."""
        *before, last = self._rates() or [None]
        if before and min(before) - last > last.standard_error:
            _warn(
                f"the estimated noise rate still fell at the last epoch, from "
                f"{min(before):.3g} to {last:.3g}, by more than its standard error of "
                f"{last.standard_error:.2g}. The model is still learning, and its "
                "errors are counted as noise: the rate is likely to be lower. Train "
                "longer."
            )

    def _recall(self, epoch: int) -> None:
        """Keeps the estimates with which the model has been trained before `epoch`."""
        resumed = epoch > self.warmup_epochs and not self._estimates
        if resumed and self.state_file is not None and self.state_file.is_file():
            self._estimates = _from_json(self.state_file.read_text(encoding="utf-8"))
        self._estimates = {e: v for e, v in self._estimates.items() if e < epoch}
        if epoch > self.warmup_epochs and not self._estimates:
            raise checks.invalid(
                _OWNER,
                "state_file",
                "a file with the estimate, for a run that begins after the warm-up",
                f"state_file={self.state_file}, epoch {epoch}",
                "Pass the one of the run before; or, with a model loaded with its "
                "loss, which has the gamma, leave this callback out.",
            )

    def _set_gamma(self) -> None:
        made = [estimate for estimate in self._estimates.values() if estimate]
        self.rate_, self.gamma_ = min(made, key=_rank) if made else (None, None)
        set_parameter(self.model, self.model.loss, "gamma", self.gamma_ or 0.0)

    def _rates(self) -> list[RateEstimate]:
        return [estimate[0] for estimate in self._estimates.values() if estimate]

    def _estimate_or_warn(self, epoch: int) -> _Estimate | None:
        try:
            labels, log_prob = self._predicted()
        except ValueError as error:
            if not self._estimates:
                raise
            return self._no_estimate(epoch, error)
        posterior = self.model.loss.posterior(log_prob, from_logits=True)
        try:
            rate = estimate_rate(
                labels, posterior, method=self.method, ignore_class=None
            )
        except ValueError as error:
            if not self.re_estimate:
                raise
            return self._no_estimate(epoch, error)
        low, high = rate.interval()
        if high - low > _WIDEST_INTERVAL:
            _warn(
                f"only {rate.num_rows} of the rows in `data` count, those of which the "
                f"model is surest, so that the noise rate of {rate:.3g} may as well be "
                f"{low:.2g} or {high:.2g}. Pass more held-out rows."
            )
        return rate, gamma_from_noise_rate(posterior.shape[-1], rate)

    def _no_estimate(self, epoch: int, error: ValueError) -> None:
        # Not worth the run: there is an estimate already, or there may be one later.
        gamma = self.model.loss.gamma
        _warn(f"no new estimate in epoch {epoch}, gamma stays {gamma:.6g}. {error}")

    def _predicted(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels and log-probabilities of the positions that count."""
        loss = self.model.loss
        batches = predicted(
            _OWNER,
            self.model,
            self.data,
            argument="data",
            from_logits=loss.from_logits,
            ignore_class=loss.ignore_class,
            batch_size=self.batch_size,
            steps=self.steps,
            axis=loss.axis,
        )
        parts = list(batches)
        columns = [part.class_id for part in parts], [part.log_prob for part in parts]
        labels, log_prob = map(np.concatenate, columns)
        if not len(labels):
            raise checks.invalid(
                _OWNER,
                "data",
                "of at least one position that counts",
                "none",
                "All labels are ignored or have weight 0.",
            )
        return labels, log_prob


def _rank(estimate: _Estimate) -> tuple[bool, float]:
    """By which the best is the least: a rate of one class alone comes last."""
    rate, _ = estimate
    return rate.num_classes == 1, float(rate)


def _warn(message: str) -> None:
    warnings.warn(f"{_OWNER}: {message}", stacklevel=3)


def _to_json(estimates: dict[int, _Estimate | None]) -> str:
    rows = []
    for epoch, estimate in estimates.items():
        row: dict[str, Any] = {"epoch": epoch, "rate": None}
        if estimate:
            rate, row["gamma"] = estimate
            row |= {"rate": float(rate), "standard_error": rate.standard_error}
            row |= {"num_rows": rate.num_rows, "num_classes": rate.num_classes}
        rows.append(row)
    return json.dumps(rows, indent=1)


def _from_json(text: str) -> dict[int, _Estimate | None]:
    estimates: dict[int, _Estimate | None] = {}
    for row in json.loads(text):
        estimates[row["epoch"]] = None
        if row["rate"] is not None:
            rate = RateEstimate(row["rate"], row["num_rows"], row["num_classes"])
            estimates[row["epoch"]] = rate, row["gamma"]
    return estimates
