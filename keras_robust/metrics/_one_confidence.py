"""What the metrics with one confidence per prediction share: what it is about."""

from typing import Any

from keras import ops

from keras_robust import _backend
from keras_robust._inputs import checks
from keras_robust._inputs.labels import Aligned
from keras_robust._inputs.options import checked_notion
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.metrics._base import BinnedMetric, truth


class OneConfidenceMetric(BinnedMetric):
    """Base of the metrics that bin one confidence per prediction, by its `notion`."""

    def __init__(self, num_bins: int, *, notion: str, **arguments: Any) -> None:
        super().__init__(num_bins, **arguments)
        self.notion = checked_notion(type(self).__name__, notion)

    def _checked_predictions(self, y_true: Any, y_pred: Any) -> Any:
        classes = y_pred.shape[-1] if len(y_pred.shape) else None
        if self.notion == "positive" and classes is not None and classes > 2:
            raise checks.invalid(
                type(self).__name__,
                "notion",
                "'top_label' for more than two classes",
                f"notion='positive' with y_pred.shape={tuple(y_pred.shape)}",
                "For each class against the rest use `ClasswiseCalibrationError`.",
            )
        return y_pred

    def _events(self, aligned: Aligned, slack: float) -> tuple[Any, Any]:
        if self.notion == "positive":
            prob = self._probabilities(aligned, slack)
            return prob[..., 1:], truth(aligned)[..., 1:]
        if aligned.soft:
            prob = self._probabilities(aligned, slack)
            top = ops.expand_dims(ops.argmax(prob, axis=-1), -1)
            confidence = ops.take_along_axis(prob, top, axis=-1)
            return confidence, ops.take_along_axis(aligned.labels, top, axis=-1)
        return self._top_labels(aligned, slack)

    def _top_labels(self, aligned: Aligned, slack: float) -> tuple[Any, Any]:
        # As for soft targets, but of class ids: several times as fast.
        prob = aligned.scores
        if self.from_logits:
            prob = ops.softmax(prob, axis=-1)
        labels, broken = aligned.labels, aligned.broken
        positions = ops.shape(prob)[:-1]
        if None in (*labels.shape, *prob.shape):
            # Sizes that do not agree are found out by `aligned.broken`.
            labels, broken = (ops.broadcast_to(x, positions) for x in (labels, broken))
        if len(positions) > 1:
            prob = ops.reshape(prob, (-1, prob.shape[-1]))
            labels, broken = (ops.reshape(x, (-1,)) for x in (labels, broken))
        confidence, hit, bad = _backend.top_label(prob, labels, slack)
        bad = ops.logical_or(bad, broken)
        # Not by `minimum`, which on PyTorch rounds to float32.
        confidence = ops.where(confidence > 1.0, ops.ones_like(confidence), confidence)
        confidence = ops.where(bad, float("nan"), confidence)
        hit = ops.cast(hit, confidence.dtype)
        if len(positions) > 1:
            confidence, hit = (ops.reshape(x, positions) for x in (confidence, hit))
        return confidence, hit

    def bin_statistics(self) -> ReliabilityBins:
        """Returns the table of the bins: edges, count, confidence, accuracy."""
        return self._tables()[0]

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        return {"notion": self.notion, **super().get_config()}
