"""Reliability on validation data, epoch by epoch."""

import warnings
from typing import Any

import keras

from keras_robust._inputs import checks
from keras_robust._inputs.batches import check_data
from keras_robust._inputs.options import (
    checked_batch_size,
    checked_notion,
    checked_num_bins,
    checked_steps,
)
from keras_robust._inputs.predicted import check_output, predicted
from keras_robust.calibration._bins.binning import bin_events
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.events import read_batches
from keras_robust.callbacks import _tensorboard

_OWNER = "ReliabilityHistory"


class ReliabilityHistory(keras.callbacks.Callback):
    """Records the reliability table of the validation data after each epoch.

    Give it either the metric that `compile` was given, and it keeps what `fit` has
    measured on its validation data, at no further cost; or data of its own, which the
    model then predicts after each epoch. With `log_dir` it writes each epoch's diagram,
    ECE, MCE and signed gap for TensorBoard.

    Args:
        metric: The `ExpectedCalibrationError` or `MaximumCalibrationError` instance in
            `compile(metrics=[...])`.
        validation_data: A tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or a
            dataset that yields such batches.
        num_bins: Number of bins, with `validation_data`. Defaults to 15.
        notion: `"top_label"` or `"positive"`, with `validation_data`. Defaults to
            `"top_label"`.
        from_logits: Whether the model returns logits, with `validation_data`. Defaults
            to False.
        ignore_class: Label of positions to leave out, with `validation_data`. Defaults
            to -100.
        batch_size: Rows that are predicted at a time, with arrays. Defaults to 32.
        steps: Number of batches to read of a dataset each time; one that does not end
            needs it, as does a generator. Defaults to None, all.
        output: Name or number of the output to look at, of a model with several, with
            `validation_data`. Defaults to None.
        axis: Axis of the classes in what the model returns, with `validation_data`.
            Defaults to -1.
        log_dir: Folder of TensorBoard's event files, or None. Defaults to None.

    Attributes:
        tables: Dict of epochs, counted from 0, to `ReliabilityBins`; the epochs of a
            further `fit` take the place of those of the same number.

    Raises:
        ValueError: If not exactly one of `metric` and `validation_data` is given, or if
            the data have no end, or can be read only once, and `steps` is None; when
            training begins, if the model has several outputs and `output` names none;
            after an epoch, if data or predictions are unfit.
        TypeError: If `metric` has no reliability table.
        ImportError: With `log_dir`, if tensorboard or matplotlib is not installed.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_robust import ExpectedCalibrationError
        >>> from keras_robust.callbacks import ReliabilityHistory
        >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
        >>> model = keras.Sequential([keras.layers.Dense(4, activation="softmax")])
        >>> ece = ExpectedCalibrationError()
        >>> model.compile("sgd", "sparse_categorical_crossentropy", metrics=[ece])
        >>> history = ReliabilityHistory(ece)
        >>> _ = model.fit(
        ...     x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[history]
        ... )
        >>> list(history.tables), history.tables[1].total
        ([0, 1], 4.0)
    """

    def __init__(
        self,
        metric: Any = None,
        *,
        validation_data: Any = None,
        num_bins: int = 15,
        notion: str = "top_label",
        from_logits: bool = False,
        ignore_class: int | None = -100,
        batch_size: int = 32,
        steps: int | None = None,
        output: str | int | None = None,
        axis: int = -1,
        log_dir: Any = None,
    ) -> None:
        super().__init__()
        if (metric is None) == (validation_data is None):
            raise checks.invalid(
                _OWNER,
                "metric",
                "given, or else `validation_data`",
                "both" if metric is not None else "neither",
                "Pass the metric from `compile`, or data to predict on.",
            )
        if metric is not None and not hasattr(metric, "bin_statistics"):
            raise TypeError(
                f"{_OWNER}: `metric` must have a method `bin_statistics`. Received: an "
                f"object of type {type(metric).__name__}. Pass the "
                "ExpectedCalibrationError that `compile` was given."
            )
        if metric is not None:
            _table(metric)
        self.metric, self.validation_data = metric, validation_data
        self.num_bins = checked_num_bins(_OWNER, num_bins)
        self.batch_size = checked_batch_size(_OWNER, batch_size)
        self.steps = checked_steps(_OWNER, steps)
        if validation_data is not None:
            check_data(
                _OWNER, "validation_data", validation_data, self.steps, again=True
            )
        self.notion = checked_notion(_OWNER, notion)
        self._how = {
            "output": output,
            "axis": axis,
            "from_logits": checks.flag(_OWNER, "from_logits", from_logits),
            "ignore_class": checks.ignored_class(_OWNER, ignore_class),
        }
        self._writer = None if log_dir is None else _tensorboard.Writer(log_dir)
        self._validated: ReliabilityBins | None = None
        self.tables: dict[int, ReliabilityBins] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that one output is looked at."""
        if self.metric is None:
            check_output(_OWNER, self.model, self._how["output"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Forgets the validation of the epoch before."""
        self._validated = None

    def on_test_end(self, logs: Any = None) -> None:
        """Keeps the metric as it is after validation, before training goes on."""
        if self.metric is not None:
            bins = _table(self.metric)
            # Nothing seen: it is not the instance that `compile` was given.
            self._validated = bins if bins.total != 0 else None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Records the table; an epoch without validation has none."""
        bins = self._validated if self.metric is not None else self._predicted()
        if bins is None:
            return
        self.tables[epoch] = bins
        if self._writer is not None:
            min_count = getattr(self.metric, "min_count", 0)
            notion = getattr(self.metric, "notion", self.notion)
            self._writer.write(epoch, bins, min_count, notion)

    def on_train_end(self, logs: Any = None) -> None:
        """Says so if there was nothing to record."""
        if self._writer is not None:
            self._writer.flush()
        if not self.tables:
            warnings.warn(
                f"{_OWNER}: nothing was recorded. Call `fit` with `validation_data` "
                "and `compile` with this very metric, or pass validation_data here.",
                UserWarning,
                stacklevel=2,
            )

    def to_frame(self) -> Any:
        """The tables below one another, with a first column `epoch`.

        Returns:
            A pandas DataFrame, a row for each epoch and bin.

        Raises:
            ImportError: If pandas is not installed.
        """
        pandas = checks.optional_module(_OWNER, "pandas")
        frames = [bins.to_frame() for bins in self.tables.values()]
        for epoch, frame in zip(self.tables, frames):
            frame.insert(0, "epoch", epoch)
        return (
            pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()
        )

    def _predicted(self) -> ReliabilityBins:
        batches = predicted(
            _OWNER,
            self.model,
            self.validation_data,
            argument="validation_data",
            batch_size=self.batch_size,
            steps=self.steps,
            **self._how,
        )
        events = read_batches(_OWNER, batches, notion=self.notion)
        return bin_events(events, self.num_bins, "equal_width")


def _table(metric: Any) -> ReliabilityBins:
    bins = metric.bin_statistics()
    if not isinstance(bins, ReliabilityBins):
        raise TypeError(
            f"{_OWNER}: `metric` must have one reliability table. Received: a "
            f"{type(metric).__name__}, which has {len(bins)}. Pass an "
            "ExpectedCalibrationError."
        )
    return bins
