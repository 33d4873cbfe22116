"""What the calibration metrics share: inputs, the binned state, its tables."""

from typing import Any

import keras
from keras import ops

from keras_robust import _backend, _numerics
from keras_robust._inputs import checks, sample_weights
from keras_robust._inputs.declared import look
from keras_robust._inputs.labels import Aligned, align, dense
from keras_robust._inputs.options import checked_axis, checked_num_bins
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.metrics import _sums
from keras_robust.metrics._binning import bin_index


class BinnedMetric(keras.metrics.Metric):
    """Base of the metrics that are read off reliability bins of equal width.

    Each row has one or several `columns` (classes, labels), and each column bins of
    its own. A subclass implements `_events(aligned, slack)`, what falls into the bins,
    and `_summary()`, what is read off them.
    """

    # What `EarlyStopping` and its kind read in `mode="auto"`.
    _direction = "down"
    # Whether predictions have been compared with `from_logits`: the first ones are.
    _looked = False

    def __init__(
        self,
        num_bins: int,
        *,
        columns: int = 1,
        from_logits: bool,
        ignore_class: int | None,
        axis: int,
        name: str,
        dtype: Any,
        corrected: bool = False,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = type(self).__name__
        self.num_bins = checked_num_bins(owner, num_bins)
        self.from_logits = checks.flag(owner, "from_logits", from_logits)
        self.ignore_class = checks.ignored_class(owner, ignore_class)
        self.axis = checked_axis(owner, axis)
        self._columns = columns
        places = columns * self.num_bins
        self._state = _sums.add_sum_variables(self, places, corrected)

    def _events(self, aligned: Aligned, slack: float) -> tuple[Any, Any]:
        """Returns confidences and how far they came true, of shape (..., columns).

        Confidences are NaN in rows where anything is no probability or label; `slack`
        is by how much rounding may carry a probability past 0 or 1. Both are of shape
        (...) if there is one column.
        """
        raise NotImplementedError

    def _summary(self) -> tuple[Any, ...]:
        """Returns a function, and its first arguments, which are no tensors.

        The others are count, confidence and correct, sums in bins of shape (columns,
        num_bins). It returns the metric.
        """
        raise NotImplementedError

    def _checked(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, int]:
        """Returns labels, predictions and the axis of the classes, if shapes fit.

        `y_true` is as given, `y_pred` a tensor.
        """
        return y_true, y_pred, self.axis

    def _size_of_axis(self, y_pred: Any) -> int | None:
        # None if it is not known, or there is no such axis, which `align` refuses.
        rank = len(y_pred.shape)
        return y_pred.shape[self.axis] if -rank <= self.axis < rank else None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of predictions to the bins."""
        mask, activated = _backend.keras_mask(y_pred), _backend.is_activated(y_pred)
        y_pred = ops.stop_gradient(dense(type(self).__name__, "y_pred", y_pred))
        given = _numerics.standard_dtype(y_pred)
        wide = "float64" if given == "float64" else "float32"
        y_true, y_pred, axis = self._checked(y_true, y_pred)
        aligned = align(
            type(self).__name__,
            y_true,
            y_pred,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            axis=axis,
            dtype=wide,
            check_scores=False,
        )
        if not self._looked and look(
            type(self).__name__,
            aligned,
            from_logits=self.from_logits,
            activated=activated,
            concrete=_backend.concrete,
            distributions=True,
        ):
            self._looked = True
        slack = _numerics.probability_slack(given)
        weight = self._weight(aligned.counted, mask, sample_weight, wide)
        confidence, correct = self._events(aligned, slack)
        if len(weight.shape) < len(confidence.shape):
            weight = ops.expand_dims(weight, -1)
        if self._columns > 1 or None in (*weight.shape, *confidence.shape):
            shape = ops.shape(confidence)
            weight, correct = (ops.broadcast_to(x, shape) for x in (weight, correct))
        # Column after column of each row.
        weight, confidence, correct = map(_flat, (weight, confidence, correct))
        # What is not counted may be NaN. `correct` never is.
        confidence = ops.where(weight != 0, confidence, ops.zeros_like(confidence))
        # Of logits, confidences are computed, not given.
        as_given = given in ("float16", "bfloat16") and not self.from_logits
        index = bin_index(confidence, self.num_bins, given if as_given else wide)
        columns = self._columns
        _sums.add_to_sums(self._state, columns, weight, confidence, correct, index)

    def _weight(self, counted: Any, mask: Any, sample_weight: Any, dtype: str) -> Any:
        owner, weight = type(self).__name__, ops.cast(counted, dtype)
        if mask is None and sample_weight is None:
            return weight
        for argument, factor in (("mask", mask), ("sample_weight", sample_weight)):
            if factor is not None:
                factor = sample_weights.spread(owner, argument, factor, weight, dtype)
                # Not by multiplication alone: NaN weights of uncounted rows.
                weight = ops.where(weight == 0, ops.zeros_like(weight), weight * factor)
        fine = ops.logical_and(weight >= 0, ops.isfinite(weight))
        return _numerics.nan_where(ops.logical_not(fine), weight)

    def _probabilities(self, aligned: Aligned, slack: float) -> Any:
        """Returns probabilities (..., K), NaN in rows with anything that is none."""
        prob, broken = aligned.scores, aligned.broken
        if self.from_logits:
            prob = ops.softmax(prob, axis=-1)
        else:
            outside = _numerics.outside_unit_interval(prob, slack)
            broken = ops.logical_or(broken, ops.any(outside, axis=-1))
        broken = ops.logical_and(broken, aligned.counted)
        prob = ops.where(prob > 1.0, ops.ones_like(prob), prob)
        prob = ops.where(prob < 0.0, ops.zeros_like(prob), prob)
        # The sum has a NaN wherever a class has one; TensorFlow's softmax leaves the
        # other classes of such a row finite, and its argmax may pick one of them.
        no_number = ops.isnan(ops.sum(prob, axis=-1))
        bad = ops.expand_dims(ops.logical_or(broken, no_number), -1)
        return _numerics.nan_where(bad, prob)

    def result(self) -> Any:
        """Returns the metric over everything seen; 0 if that is nothing."""
        limbs = [ops.convert_to_tensor(limb) for limb in self._state]
        return _result(limbs, self._columns, self._summary(), self.dtype)

    def _tables(self) -> tuple[ReliabilityBins, ...]:
        return tuple(
            ReliabilityBins.from_sums(*sums) for sums in self._sums_of_columns()
        )

    def _sums_of_columns(self) -> Any:
        sums = _sums.exact_sums(self._state)
        return sums.reshape(-1, self._columns, self.num_bins).swapaxes(0, 1)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {
            "num_bins": self.num_bins,
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
            **super().get_config(),
        }


@_backend.in_one("columns", "summary", "dtype")
def _result(limbs: list[Any], columns: int, summary: Any, dtype: str) -> Any:
    sums = _sums.current_sums(limbs)
    # NaN anywhere must come out: a maximum over bins could lose it.
    bad = ops.isnan(ops.sum(sums))
    if columns == 1:
        sums = sums[:, None]  # on PyTorch, several times as fast as to reshape
    else:
        sums = ops.reshape(sums, (sums.shape[0], columns, -1))
    function, *options = summary
    value = function(*options, sums[0], sums[1], sums[2])
    return ops.cast(_numerics.nan_where(bad, value), dtype)


def _flat(x: Any) -> Any:
    return x if len(x.shape) == 1 else ops.reshape(x, (-1,))


def truth(aligned: Aligned) -> Any:
    """Returns how far each class is true, of the shape of the scores."""
    if aligned.soft:
        return aligned.labels
    dtype = _numerics.standard_dtype(aligned.scores)
    return ops.one_hot(aligned.labels, aligned.scores.shape[-1], dtype=dtype)
