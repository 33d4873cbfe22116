"""What the calibration metrics share: inputs, the binned state, its table."""

from typing import Any

import keras
from keras import ops

from keras_robust import _checks, _labels, _numerics, _weights
from keras_robust.calibration._bins import ReliabilityBins, bin_edges
from keras_robust.calibration._options import checked_num_bins
from keras_robust.metrics import _sums


class BinnedMetric(keras.metrics.Metric):
    """Base of the metrics that are read off top-label reliability bins.

    A subclass implements `summarize(count, confidence, correct)`.
    """

    def __init__(
        self,
        num_bins: int,
        *,
        from_logits: bool,
        ignore_class: int | None,
        name: str,
        dtype: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = type(self).__name__
        self.num_bins = checked_num_bins(owner, num_bins)
        self.from_logits = _checks.flag(owner, "from_logits", from_logits)
        self.ignore_class = _checks.ignored_class(owner, ignore_class)
        self._state = _sums.add_sum_variables(self, self.num_bins)

    def summarize(self, count: Any, confidence: Any, correct: Any) -> Any:
        """Returns the metric from each bin's sums, tensors of shape (num_bins,)."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of predictions to the bins."""
        owner = type(self).__name__
        mask = _weights.keras_mask(y_pred)
        y_pred = ops.stop_gradient(_labels.to_tensor(y_pred))
        given = _numerics.standard_dtype(y_pred)
        wide = "float64" if given == "float64" else "float32"
        aligned = _labels.align(
            owner,
            y_true,
            y_pred,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            axis=-1,
            dtype=wide,
        )
        weight = ops.cast(aligned.counted, wide)
        for argument, factor in (("mask", mask), ("sample_weight", sample_weight)):
            if factor is not None:
                factor = _weights.spread(owner, argument, factor, weight, wide)
                # Not by multiplication alone: NaN weights of uncounted rows.
                weight = ops.where(weight == 0, ops.zeros_like(weight), weight * factor)
        no_weight = ops.logical_not(ops.logical_and(weight >= 0, weight < float("inf")))
        weight = ops.where(no_weight, ops.full_like(weight, float("nan")), weight)
        confidence, correct = self._top_label(aligned)
        live = weight != 0
        confidence = ops.where(live, confidence, ops.zeros_like(confidence))
        correct = ops.where(live, correct, ops.zeros_like(correct))
        edges = ops.convert_to_tensor(bin_edges(self.num_bins), dtype=wide)
        if given in ("float16", "bfloat16") and not self.from_logits:
            edges = ops.cast(ops.cast(edges, given), wide)
        confidence = ops.reshape(confidence, (-1,))
        index = ops.searchsorted(edges[1:-1], confidence, side="right")
        _sums.add_to_sums(
            self._state,
            ops.reshape(weight, (-1,)),
            confidence,
            ops.reshape(correct, (-1,)),
            index,
        )

    def _top_label(self, aligned: _labels.Aligned) -> tuple[Any, Any]:
        prob = aligned.scores
        if self.from_logits:
            prob = ops.softmax(prob, axis=-1)
        top = ops.expand_dims(ops.argmax(prob, axis=-1), -1)
        confidence = ops.squeeze(ops.take_along_axis(prob, top, axis=-1), axis=-1)
        if aligned.soft:
            taken = ops.take_along_axis(aligned.labels, top, axis=-1)
            correct = ops.squeeze(taken, axis=-1)
        else:
            hit = ops.equal(ops.cast(top[..., 0], "int32"), aligned.labels)
            correct = ops.cast(hit, confidence.dtype)
        confidence = ops.where(confidence > 1.0, ops.ones_like(confidence), confidence)
        # The sum has a NaN wherever a class has one; TensorFlow's softmax leaves the
        # other classes of such a row finite, and its argmax may pick one of them.
        nan = ops.full_like(confidence, float("nan"))
        no_number = ops.isnan(ops.sum(prob, axis=-1))
        return ops.where(
            ops.logical_or(aligned.broken, no_number), nan, confidence
        ), correct

    def result(self) -> Any:
        """Returns the metric over everything seen; 0 if that is nothing."""
        sums = _sums.current_sums(self._state)
        # NaN anywhere must come out: a maximum over bins could lose it.
        poison = ops.where(ops.isnan(ops.sum(sums)), float("nan"), 0.0)
        value = self.summarize(sums[0], sums[1], sums[2])
        return ops.cast(value + ops.cast(poison, value.dtype), self.dtype)

    def bin_statistics(self) -> ReliabilityBins:
        """Returns the table of the bins: edges, count, confidence, accuracy."""
        return ReliabilityBins.from_sums(*_sums.exact_sums(self._state))

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {
            "num_bins": self.num_bins,
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            **super().get_config(),
        }
