"""The threshold of confidence above which predictions can be accepted."""

from typing import Any

import keras
import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import integer_labels
from keras_robust._inputs.groups import parts
from keras_robust._inputs.matrices import correction
from keras_robust._inputs.options import (
    checked_axis,
    checked_notion,
    checked_probability,
)
from keras_robust.calibration._deciding.acceptance import Acceptance
from keras_robust.calibration._deciding.decided_rows import (
    confidences,
    read_decided,
    thresholds_by,
)
from keras_robust.calibration._deciding.operating_point import (
    OperatingPoint,
    check_enough,
    points_by,
)

_OWNER = "AcceptanceThreshold"


class AcceptanceThreshold:
    """The least confidence from which on predictions are right as often as you ask.

    Accept what the model is sure of, send the rest to a person: `fit` finds on held-out
    labels the lowest threshold for which they show, with the probability `confidence`,
    that at least `accuracy` of what is accepted is right; not the one that happens to
    reach it on these rows. If there is none, nothing is accepted.

    How: thresholds are tested from the strictest down, each by the exact binomial test
    at the level 1 - `confidence`, until one fails (fixed-sequence testing). Labels have
    no part in which are tested. So there is no correction for trying many, and the
    model need not be calibrated.

    What it promises: of sets of held-out rows, drawn as those to come, at most 1 -
    `confidence` lead to a threshold above which less than `accuracy` is right. That is
    exact where a lower threshold accepts what is less often right; where the surest
    rows are not the best it was measured to hold (`docs/deciding.md`). It says nothing
    of data that have changed, nor of parts of them: for those see `by`.

    With a `noise_matrix` the promise is about the *true* labels, though those of `fit`
    are noisy, if they go wrong as the matrix says whatever the row. For symmetric noise
    there is an exact test too, of how often prediction and label agree; for other noise
    and for `groups` it is one by betting, which holds for whatever is bounded.

    Args:
        accuracy: The share of accepted predictions that must be right, in (0, 1).
            Defaults to 0.95.
        confidence: The probability of the promise, in (0, 1). Defaults to 0.95.
        noise_matrix: As in `bin_predictions`. Defaults to None: labels are true.
        notion: As in `bin_predictions`; with `"positive"`, `accuracy` is the precision
            of class 1. Defaults to `"top_label"`.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        axis: Axis of the classes in `y_prob`. Defaults to -1.

    Attributes:
        threshold_: The least confidence that is accepted, infinity if nothing is.
        share_: The share of the rows of `fit` that is accepted.
        accuracy_: The share of them that is right, NaN if there are none. With a noise
            matrix an estimate, which may exceed 1.
        lower_: Its lower bound, at least `accuracy`.
        num_accepted_: How many they are. If `fit` had `by`, each attribute is a dict
            with an entry for each of its values.

    Raises:
        ValueError: If `accuracy` or `confidence` is not in (0, 1), or `noise_matrix` is
            no transition matrix or close to singular.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.calibration import AcceptanceThreshold
        >>> rng = np.random.default_rng(0)
        >>> p = rng.uniform(0.5, 1, 2000)
        >>> right = rng.uniform(size=2000) < p  # a calibrated model that predicts 1
        >>> y, prob = right.astype(int), np.stack([1 - p, p], axis=1)
        >>> threshold = AcceptanceThreshold(accuracy=0.9).fit(y, prob)
        >>> round(threshold.threshold_, 4), threshold.share_, threshold.num_accepted_
        (0.8364, 0.33, 660)
        >>> round(threshold.accuracy_, 4), round(threshold.lower_, 4)
        (0.9242, 0.9051)
        >>> threshold.accept([[0.01, 0.99], [0.4, 0.6]]).tolist()
        [True, False]

    Reference:
        Angelopoulos et al., "Learn then Test", arXiv 2110.01052, for the sequence of
        tests; Clopper and Pearson, Biometrika 26, 1934; Waudby-Smith and Ramdas,
        "Estimating means of bounded random variables by betting", JRSS B 86, 2024.
    """

    def __init__(
        self,
        accuracy: float = 0.95,
        *,
        confidence: float = 0.95,
        noise_matrix: Any = None,
        notion: str = "top_label",
        from_logits: bool = False,
        axis: int = -1,
    ) -> None:
        fix = "Pass a share, such as 0.95."
        self.accuracy = checked_probability(_OWNER, "accuracy", accuracy, fix=fix)
        self.confidence = checked_probability(_OWNER, "confidence", confidence, fix=fix)
        self._undone = correction(_OWNER, noise_matrix)
        self.noise_matrix = None if self._undone is None else self._undone.matrix
        self.notion = checked_notion(_OWNER, notion)
        self.from_logits = checks.flag(_OWNER, "from_logits", from_logits)
        self.axis = checked_axis(_OWNER, axis)
        names = ("notion", "from_logits", "axis")
        self._form = {name: getattr(self, name) for name in names}

    def fit(
        self,
        y_true: Any,
        y_prob: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        by: Any = None,
        ignore_class: int | None = -100,
    ) -> "AcceptanceThreshold":
        """Finds the threshold on labels that the model was not trained on.

        Nor may its calibration be fitted to them, nor they have chosen the model.

        Args:
            y_true: Labels, as in `bin_predictions`; no soft targets.
            y_prob: Predictions, as in `bin_predictions`: probabilities, or logits if
                the object was made with `from_logits=True`.
            sample_weight: Whole numbers, one for each row or position: how often it
                counts. Defaults to None: once.
            groups: What was drawn at random as a whole, such as the sentence of each
                word or the patient of each image: integers of the shape of the labels.
                Rows of one group go wrong together, so that they are less worth; the
                promise is over groups that are drawn like these, none far larger than
                the largest here. Defaults to None: each row by itself.
            by: What has a threshold of its own, such as the type of each entity: names
                or numbers of the shape of the labels. The promise holds for each value
                by itself, not for all at once. One of too few rows accepts nothing,
                with a warning. Defaults to None: one threshold for all.
            ignore_class: As in `bin_predictions`. Defaults to -100.

        Returns:
            The object itself.

        Raises:
            ValueError: As `bin_predictions`; if labels are soft, weights no whole
                numbers, `groups` or `by` of another shape, or the rows too few for any
                threshold (it says how many are not).
        """
        rows = read_decided(
            _OWNER,
            y_true,
            y_prob,
            undone=self._undone,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            **self._form,
        )
        if groups is not None:
            groups = integer_labels(_OWNER, "groups", groups)
            groups = rows.of_positions("groups", groups)
        how = (self.accuracy, self.confidence, self._undone)
        part = None if by is None else rows.of_positions("by", parts(_OWNER, by))
        points = points_by(rows.events, part, *how, groups)
        if by is None:
            check_enough(_OWNER, points[None], rows.events, *how, groups)
        self._points, self._is_split = points, by is not None
        self._num_classes = rows.num_classes
        for name in ("threshold", "share", "accuracy", "lower", "num_accepted"):
            found = {key: getattr(one, name) for key, one in self._points.items()}
            setattr(self, f"{name}_", found if self._is_split else found[None])
        none = [one for one in self._points.items() if not one[1].num_accepted]
        if none:
            lines = "; ".join(_line(*one) for one in none)
            checks.warn(f"{_OWNER}: {lines}. Label more rows, or ask for less.")
        return self

    def accept(self, y_prob: Any, *, by: Any = None) -> np.ndarray:
        """Returns which predictions to accept.

        Args:
            y_prob: Predictions, as in `fit`.
            by: If `fit` had it, the same of these predictions, of the shape of
                `y_prob` without its axis of classes. Defaults to None.

        Returns:
            Bool array of the shape of `y_prob` without its axis of classes.

        Raises:
            ValueError: If `fit` was not called, a prediction is NaN or no probability,
                the classes
                are not those of `fit`, or `by` is missing, of another shape, or of a
                value `fit` did not see.
        """
        self._check_fitted()
        confidence = confidences(_OWNER, y_prob, self._num_classes, **self._form)
        threshold = self.threshold_
        if self._is_split:
            threshold = thresholds_by(_OWNER, threshold, by, confidence.shape)
        elif by is not None:
            fix = "There is one threshold for all."
            raise checks.invalid(_OWNER, "by", "None, as for `fit`", "values", fix)
        return confidence >= threshold

    def as_layer(
        self, *, from_logits: bool | None = None, **kwargs: Any
    ) -> keras.layers.Layer:
        """Returns a layer that adds the decision to a model's outputs.

        Append it to the model, after its calibration, and save the whole.

        Args:
            from_logits: Whether the model's outputs are logits. Defaults to None: as
                for `y_prob`.
            **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

        Returns:
            An `Acceptance`.

        Raises:
            ValueError: If `fit` was not called, or had `by`.
        """
        self._check_fitted()
        if self._is_split:
            what = "None to make a layer, which knows a prediction alone"
            fix = "Call `accept` on what the model predicts."
            raise checks.invalid(_OWNER, "by", what, f"{len(self._points)} values", fix)
        form = dict(self._form)
        if from_logits is not None:
            form["from_logits"] = from_logits
        return Acceptance(self.threshold_, **form, **kwargs)

    def _check_fitted(self) -> None:
        if not hasattr(self, "threshold_"):
            raise ValueError(
                f"{_OWNER}: `fit` must be called first. Received: an object that was "
                "not fitted. Call fit(y_true, y_prob) on held-out labels."
            )

    def __repr__(self) -> str:
        given = f"accuracy={self.accuracy:g}, confidence={self.confidence:g}"
        usual = {"notion": "top_label", "from_logits": False, "axis": -1}
        for name, value in self._form.items():
            given += "" if value == usual[name] else f", {name}={value!r}"
        given += "" if self.noise_matrix is None else ", noise_matrix=..."
        head = f"{_OWNER}({given})"
        if not hasattr(self, "threshold_"):
            return head
        return "\n  ".join([head, *(_line(*one) for one in self._points.items())])


def _line(key: Any, point: OperatingPoint) -> str:
    return str(point) if key is None else f"{key}: {point}"
