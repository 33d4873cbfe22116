"""The probabilities of the true label, given both a model and the given label."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks
from keras_robust._inputs.class_ids import integer_labels, paired_labels
from keras_robust._inputs.groups import parts_of
from keras_robust._inputs.matrices import transition_matrix
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)
from keras_robust._theory import simplex
from keras_robust.noise._pool import Judged, Pool, fitted_pool, pools_of_kinds

_OWNER = "LabelPosterior"


class LabelPosterior:
    """P(true label | row, given label): soft targets that correct given labels.

    Use it to train again on better labels: a model says what it believes of a row, the
    transition matrix what the given label tells, and rows whose labels were looked at
    again (`rows_to_check`) say how much to believe each. What annotators miss is found
    where the model is sure of it, what they got right stays where the model errs.

    The posterior of class t for a row with the given label y is in proportion to

        p_t ** a * matrix[t, y] ** b * exp(c_t)

    with the model's probabilities p. At a = b = 1 and c = 0 that is Bayes' rule, which
    is right if model and annotator err independently of one another, and the model is
    calibrated. They do not: a model has learnt from the annotator's errors, agrees with
    many, and believes too little in what is missed. So `fit` takes the a, b >= 0 and c
    under which the trusted labels are likeliest, with normal priors round Bayes' rule
    (of standard deviation 1 for a and b, 0.5 for each c), so that a few rows do not
    carry it away. The model must not have been trained on the rows that are fitted to,
    and it is best not trained on those that are transformed: predict each half of the
    training rows with a model of the other half.

    Rows may be of kinds that annotators treat differently and the model cannot tell
    apart, such as words with a capital letter where the encoder takes lower case, the
    source of a document, or who labelled it: with `by`, each kind has a matrix and
    weights of its own. They borrow from those of all rows, the more the fewer rows a
    kind has; how far kinds may differ is what makes the trusted labels likeliest
    (empirical Bayes). So kinds that tell nothing do next to no harm, however many.

    Args:
        matrix: Transition matrix of shape `(K, K)`, T[i, j] = P(given j | true i).
            Defaults to None: `matrix_from_pairs` of the rows of `fit`, of each kind by
            itself.
        from_logits: Whether `y_prob` holds logits. Defaults to False.

    Attributes:
        model_weight_: a, after `fit`. If that had `by`, each attribute is a dict with
            an entry for each of its values.
        label_weight_: b.
        class_bias_: c, float64 array of shape `(K,)`.
        matrix_: The matrix, float64 array of shape `(K, K)`.

    Raises:
        ValueError: If `matrix` is no transition matrix.
        TypeError: If an argument is of the wrong type.

    Examples:
        An annotator misses 4 of 10 of class 1, the model 1 in 10 of each class:

        >>> import numpy as np
        >>> from keras_robust.noise import LabelPosterior, flip_labels, omission_matrix
        >>> rng = np.random.default_rng(0)
        >>> true = rng.integers(0, 2, 2000)
        >>> given = flip_labels(true, omission_matrix(2, 0.4), seed=1).labels
        >>> believed = np.where(rng.random(2000) < 0.1, 1 - true, true)
        >>> y_prob = np.where(np.eye(2)[believed] == 1, 0.9, 0.1)
        >>> posterior = LabelPosterior()
        >>> posterior = posterior.fit(given[:100], true[:100], y_prob[:100])
        >>> soft = posterior.transform(given, y_prob)
        >>> wrong = [given != true, believed != true, soft.argmax(-1) != true]
        >>> [round(float(w[100:].mean()), 2) for w in wrong]
        [0.2, 0.11, 0.08]

    Reference:
        Kerrigan, Smyth and Steyvers, "Combining Human Predictions with Model
        Probabilities via Confusion Matrices and Calibration", NeurIPS 2021; Genest and
        Zidek, "Combining Probability Distributions", Statistical Science 1, 1986, for
        the exponents (the logarithmic pool); MacKay, "The Evidence Framework Applied to
        Classification Networks", Neural Computation 4, 1992, for how far kinds differ.
    """

    model_weight_: Any
    label_weight_: Any
    class_bias_: Any
    matrix_: Any

    def __init__(self, matrix: Any = None, *, from_logits: bool = False) -> None:
        if matrix is not None:
            matrix = transition_matrix(_OWNER, "matrix", matrix)
        self.matrix = matrix
        self.from_logits = checks.flag(_OWNER, "from_logits", from_logits)

    def fit(
        self,
        labels: Any,
        true_labels: Any,
        y_prob: Any,
        *,
        by: Any = None,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
    ) -> "LabelPosterior":
        """Fits the exponents and the biases to rows whose truth is known.

        Args:
            labels: Given labels, integer class ids, an array of any shape.
            true_labels: Labels of the same positions that can be trusted.
            y_prob: Predictions of shape `(*labels.shape, K)`, of a model that was not
                trained on these rows: probabilities, or logits with `from_logits=True`.
            by: The kind of each position, names or numbers of the shape of `labels`.
                Defaults to None: all are of one kind.
            sample_weight: Weights of the shape of `labels`, such as those of
                `rows_to_check`. Only their ratios matter. Defaults to None.
            ignore_class: Label of positions that are left out where either label has
                it, or None. Defaults to -100.

        Returns:
            The object itself.

        Raises:
            ValueError: If shapes do not fit, nothing is left to fit to, or a true label
                is impossible by the model or by the matrix.
            TypeError: If labels are not integers.
        """
        scores = arrays.numeric(_OWNER, "y_prob", y_prob)
        axes = integer_labels(_OWNER, "labels", labels).ndim
        size = self._num_classes(scores, axes)
        given, true, counted = paired_labels(
            _OWNER, labels, true_labels, ignore_class, size
        )
        if ignore_class is not None:
            true = np.where(counted, true.astype("int64"), ignore_class)
        rows = self._rows(
            true, "true_labels", scores, size, sample_weight, ignore_class
        )
        if not len(rows.row):
            raise checks.invalid(
                _OWNER,
                "true_labels",
                "of at least one position that counts",
                "none, or only ignored ones and weights of 0",
                "Look at some rows again.",
            )
        judged = Judged(rows.log_prob, given.ravel()[rows.row], rows.label, rows.weight)
        self._whole = fitted_pool(_OWNER, judged, self.matrix)
        self._pools = None
        if by is not None:
            told = parts_of(_OWNER, by, true.shape)[rows.row]
            kinds, member = np.unique(told, return_inverse=True)
            pools = pools_of_kinds(
                _OWNER,
                [judged.of(member == i) for i in range(len(kinds))],
                self._whole,
                counted=self.matrix is None,
            )
            self._pools = dict(zip(kinds.tolist(), pools))
        self.model_weight_ = self._shown(lambda pool: float(pool.theta[0]))
        self.label_weight_ = self._shown(lambda pool: float(pool.theta[1]))
        self.class_bias_ = self._shown(lambda pool: pool.theta[2:])
        self.matrix_ = self._shown(lambda pool: pool.matrix)
        return self

    def transform(
        self,
        labels: Any,
        y_prob: Any,
        *,
        by: Any = None,
        ignore_class: int | None = -100,
    ) -> np.ndarray:
        """Returns soft targets.

        Args:
            labels: Given labels, integer class ids, an array of any shape.
            y_prob: Predictions of shape `(*labels.shape, K)`, as in `fit`.
            by: If `fit` had it, the same of these positions. A kind of which it had no
                rows is treated as all of its rows together, with a warning. Defaults to
                None.
            ignore_class: Label of positions that are left as they are, or None.
                Defaults to -100.

        Returns:
            Float32 distributions of shape `(*labels.shape, K)`; at ignored positions
            `ignore_class` throughout, which the losses ignore as well.

        Raises:
            ValueError: If shapes do not fit, `fit` was not called, a given label is
                impossible by the matrix for all that the model believes, or `by` is
                missing or of another shape.
            TypeError: If labels are not integers.
        """
        if not hasattr(self, "model_weight_"):
            raise ValueError(
                f"{_OWNER}: `fit` must be called first. Received: an object that was "
                "not fitted. Call fit(labels, true_labels, y_prob) on rows that were "
                "looked at again."
            )
        given = integer_labels(_OWNER, "labels", labels)
        size = len(self._whole.matrix)
        scores = arrays.numeric(_OWNER, "y_prob", y_prob)
        rows = self._rows(given, "labels", scores, size, None, ignore_class)
        score = self._whole.scores(rows.log_prob, rows.label)
        for pool, here in self._kinds(by, given.shape, rows.row):
            score[here] = pool.scores(rows.log_prob[here], rows.label[here])
        lost = np.isneginf(score).all(axis=-1)
        if lost.any():
            raise checks.invalid(
                _OWNER,
                "labels",
                "possible by `matrix` for a class that the model believes in",
                f"{int(lost.sum())} others, the first in row {rows.row[lost][0]}",
                "Pass a matrix without zeros, as of `matrix_from_pairs`.",
            )
        targets = np.empty((given.size, size), "float32")
        targets[:] = 0 if ignore_class is None else ignore_class
        targets[rows.row] = np.exp(simplex.log_softmax(score))
        return targets.reshape(*given.shape, size)

    def _shown(self, what: Callable[[Pool], Any]) -> Any:
        if self._pools is None:
            return what(self._whole)
        return {kind: what(pool) for kind, pool in self._pools.items()}

    def _kinds(
        self, by: Any, shape: tuple, row: np.ndarray
    ) -> Iterator[tuple[Pool, np.ndarray]]:
        """Yields each kind's pool, and where its rows are."""
        if self._pools is None:
            if by is not None:
                fix = "Fit with `by` as well."
                raise checks.invalid(_OWNER, "by", "None, as for `fit`", "values", fix)
            return
        values = parts_of(_OWNER, by, shape)[row]
        kinds, member = np.unique(values, return_inverse=True)
        strange = [str(kind) for kind in kinds.tolist() if kind not in self._pools]
        if strange:
            checks.warn(
                f"{_OWNER}: `fit` had no rows of the kinds {', '.join(strange[:12])} "
                "of `by`. They are treated as all rows of `fit` together. Look at some "
                "rows of each kind again, or give those kinds one name."
            )
        for i, kind in enumerate(kinds.tolist()):
            if kind in self._pools:
                yield self._pools[kind], member == i

    def _num_classes(self, scores: np.ndarray, axes: int) -> int:
        if self.matrix is not None:
            return len(self.matrix)
        if scores.ndim != axes + 1 or scores.shape[-1] < 2:
            raise checks.invalid(
                _OWNER,
                "y_prob",
                "of the shape of `labels` and one more axis, of at least 2 classes",
                f"y_prob.shape={scores.shape}",
                "Of one probability p a row, pass (1 - p, p).",
            )
        return scores.shape[-1]

    def _rows(
        self,
        labels: np.ndarray,
        argument: str,
        scores: np.ndarray,
        size: int,
        sample_weight: Any,
        ignore_class: int | None,
    ) -> Predictions:
        if scores.shape != (*labels.shape, size):
            raise checks.invalid(
                _OWNER,
                "y_prob",
                f"of shape {(*labels.shape, size)}: of the labels, and classes",
                f"y_prob.shape={scores.shape}",
                "Predict the rows that the labels are of.",
            )
        rows = read_predictions(
            _OWNER,
            labels,
            scores,
            from_logits=self.from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            label_argument=argument,
        )
        return checked_distributions(_OWNER, rows)

    def __repr__(self) -> str:
        if not hasattr(self, "_whole"):
            size = (
                "counted by `fit`"
                if self.matrix is None
                else f"of {len(self.matrix)} classes"
            )
            return f"{_OWNER}(matrix {size})"
        shown = self._shown(str)
        if self._pools is not None:
            shown = ", ".join(f"{kind}: {told}" for kind, told in shown.items())
        return f"{_OWNER}({shown})"
