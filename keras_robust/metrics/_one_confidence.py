"""What the metrics with one confidence per prediction share: what it is about."""

from typing import Any

from keras import ops

from keras_robust import _backend
from keras_robust._inputs import checks
from keras_robust._inputs.labels import Aligned
from keras_robust._inputs.matrices import correction
from keras_robust._inputs.options import checked_notion
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.metrics._base import BinnedMetric, truth


class OneConfidenceMetric(BinnedMetric):
    """Base of the metrics that bin one confidence per prediction, by its `notion`.

    With a `noise_matrix`, correctness is that of the true label, by expectation.
    """

    def __init__(
        self, num_bins: int, *, notion: str, noise_matrix: Any = None, **arguments: Any
    ) -> None:
        owner = type(self).__name__
        notion, undone = checked_notion(owner, notion), correction(owner, noise_matrix)
        if undone is not None and notion == "positive":
            undone.check_classes(owner, 2)
        super().__init__(num_bins, corrected=undone is not None, **arguments)
        self.notion, self._undone = notion, undone

    def _checked(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, int]:
        classes = self._size_of_axis(y_pred)
        if self.notion == "positive" and classes is not None and classes > 2:
            raise checks.invalid(
                type(self).__name__,
                "notion",
                "'top_label' for more than two classes",
                f"notion='positive' with y_pred.shape={tuple(y_pred.shape)}",
                "For each class against the rest use `ClasswiseCalibrationError`.",
            )
        if self._undone is not None and classes is not None:
            # A single sigmoid output stands for two classes.
            self._undone.check_classes(type(self).__name__, max(classes, 2))
        return super()._checked(y_true, y_pred)

    def _events(self, aligned: Aligned, slack: float) -> tuple[Any, Any]:
        if self._undone is not None:
            return self._of_true_labels(aligned, slack)
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
        labels = aligned.labels
        broken = aligned.broken & aligned.counted
        positions = ops.shape(prob)[:-1]
        if None in (*labels.shape, *prob.shape):
            # Sizes that do not agree are found out by `aligned.broken`.
            labels, broken = (ops.broadcast_to(x, positions) for x in (labels, broken))
        if len(positions) > 1:
            prob = ops.reshape(prob, (-1, prob.shape[-1]))
            labels, broken = (ops.reshape(x, (-1,)) for x in (labels, broken))
        confidence, hit = _backend.top_label(prob, labels, broken, slack)
        hit = ops.cast(hit, confidence.dtype)
        if len(positions) > 1:
            confidence, hit = (ops.reshape(x, positions) for x in (confidence, hit))
        return confidence, hit

    def _of_true_labels(self, aligned: Aligned, slack: float) -> tuple[Any, Any]:
        prob = self._probabilities(aligned, slack)
        if self.notion == "positive":
            event = ops.ones_like(prob[..., 0], dtype="int32")
        else:
            event = ops.cast(ops.argmax(prob, axis=-1), "int32")
        chosen = ops.expand_dims(event, -1)
        confidence = ops.take_along_axis(prob, chosen, axis=-1)[..., 0]
        # Row k: what each given label tells where class k is predicted.
        rows, dtype = self._undone.inverse.T, self._state[0].dtype
        labels = aligned.labels
        if aligned.soft:
            # The mean over the labels that a soft target stands for.
            told = ops.take(ops.convert_to_tensor(rows, dtype=dtype), event, axis=0)
            return confidence, ops.sum(ops.cast(labels, dtype) * told, axis=-1)
        if None in (*labels.shape, *prob.shape):
            # Sizes that do not agree are found out by `aligned.broken`.
            labels = ops.broadcast_to(labels, ops.shape(event))
        flat = ops.convert_to_tensor(rows.ravel(), dtype=dtype)
        return confidence, ops.take(flat, event * len(rows) + labels)

    def bin_statistics(self) -> ReliabilityBins:
        """Returns the table of the bins: edges, count, confidence, accuracy."""
        if self._undone is None:
            return self._tables()[0]
        *sums, squares = self._sums_of_columns()[0]
        ends = self._undone.ends
        return ReliabilityBins.from_sums(*sums, squares=squares, ends=ends)

    def get_config(self) -> dict[str, Any]:
        """Returns every constructor argument, in plain Python values."""
        matrix = None if self._undone is None else self._undone.matrix.tolist()
        own = {"notion": self.notion, "noise_matrix": matrix}
        return {**own, **super().get_config()}
