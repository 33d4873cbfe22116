"""The probabilities of the true label, given both a model and the given label."""

from typing import Any

import numpy as np

from keras_robust._inputs import arrays, checks
from keras_robust._inputs.class_ids import integer_labels, paired_labels
from keras_robust._inputs.matrices import transition_matrix
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)
from keras_robust._theory import simplex

_OWNER = "LabelPosterior"
# Bounds of the two exponents; what is fitted to a hundred rows ends far inside.
_EXPONENTS = (0.0, 10.0)
# Standard deviations of the priors of exponents and of biases. On six annotators' words
# biases of 0.3 to 1 did as well, on development sentences that were not fitted to.
_SPREADS = (1.0, 0.5)


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

    Args:
        matrix: Transition matrix of shape `(K, K)`, T[i, j] = P(given j | true i), such
            as a `MatrixEstimate` of `matrix_from_pairs`.
        from_logits: Whether `y_prob` holds logits. Defaults to False.

    Attributes:
        model_weight_: a, after `fit`.
        label_weight_: b.
        class_bias_: c, float64 array of shape `(K,)`.

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
        >>> posterior = LabelPosterior(omission_matrix(2, 0.4))
        >>> posterior = posterior.fit(given[:100], true[:100], y_prob[:100])
        >>> soft = posterior.transform(given, y_prob)
        >>> wrong = [given != true, believed != true, soft.argmax(-1) != true]
        >>> [round(float(w[100:].mean()), 2) for w in wrong]
        [0.2, 0.11, 0.08]

    Reference:
        Kerrigan, Smyth and Steyvers, "Combining Human Predictions with Model
        Probabilities via Confusion Matrices and Calibration", NeurIPS 2021; Genest and
        Zidek, "Combining Probability Distributions", Statistical Science 1, 1986, for
        the exponents (the logarithmic pool).
    """

    model_weight_: float
    label_weight_: float
    class_bias_: np.ndarray

    def __init__(self, matrix: Any, *, from_logits: bool = False) -> None:
        self.matrix = transition_matrix(_OWNER, "matrix", matrix)
        self.from_logits = checks.flag(_OWNER, "from_logits", from_logits)

    def fit(
        self,
        labels: Any,
        true_labels: Any,
        y_prob: Any,
        *,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
    ) -> "LabelPosterior":
        """Fits the exponents and the biases to rows whose truth is known.

        Args:
            labels: Given labels, integer class ids, an array of any shape.
            true_labels: Labels of the same positions that can be trusted.
            y_prob: Predictions of shape `(*labels.shape, K)`, of a model that was not
                trained on these rows: probabilities, or logits with `from_logits=True`.
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
        given, true, counted = paired_labels(
            _OWNER, labels, true_labels, ignore_class, len(self.matrix)
        )
        if ignore_class is not None:
            true = np.where(counted, true.astype("int64"), ignore_class)
        rows = self._rows(true, "true_labels", y_prob, sample_weight, ignore_class)
        if not len(rows.row):
            raise checks.invalid(
                _OWNER,
                "true_labels",
                "of at least one position that counts",
                "none, or only ignored ones and weights of 0",
                "Look at some rows again.",
            )
        evidence = self._evidence(rows.log_prob, given.ravel()[rows.row])
        at_truth = evidence[np.arange(len(rows.row)), rows.label]
        lost = np.isneginf(at_truth).any(axis=-1)
        if lost.any():
            raise checks.invalid(
                _OWNER,
                "true_labels",
                "possible by `y_prob` and `matrix`",
                f"{int(lost.sum())} rows whose true label has probability 0",
                "Pass logits, and a matrix without zeros, as of `matrix_from_pairs`.",
            )
        weight = rows.weight / rows.weight.mean()
        theta = _likeliest(evidence, rows.label, weight)
        self.model_weight_, self.label_weight_ = map(float, theta[:2])
        self.class_bias_ = theta[2:]
        return self

    def transform(
        self, labels: Any, y_prob: Any, *, ignore_class: int | None = -100
    ) -> np.ndarray:
        """Returns soft targets.

        Args:
            labels: Given labels, integer class ids, an array of any shape.
            y_prob: Predictions of shape `(*labels.shape, K)`, as in `fit`.
            ignore_class: Label of positions that are left as they are, or None.
                Defaults to -100.

        Returns:
            Float32 distributions of shape `(*labels.shape, K)`; at ignored positions
            `ignore_class` throughout, which the losses ignore as well.

        Raises:
            ValueError: If shapes do not fit, `fit` was not called, or a given label is
                impossible by the matrix for all that the model believes.
            TypeError: If labels are not integers.
        """
        if not hasattr(self, "model_weight_"):
            raise ValueError(
                f"{_OWNER}: `fit` must be called first. Received: an object that was "
                "not fitted. Call fit(labels, true_labels, y_prob) on rows that were "
                "looked at again."
            )
        given = integer_labels(_OWNER, "labels", labels)
        rows = self._rows(given, "labels", y_prob, None, ignore_class)
        theta = [self.model_weight_, self.label_weight_, *self.class_bias_]
        score = _score(self._evidence(rows.log_prob, rows.label), theta)
        lost = np.isneginf(score).all(axis=-1)
        if lost.any():
            raise checks.invalid(
                _OWNER,
                "labels",
                "possible by `matrix` for a class that the model believes in",
                f"{int(lost.sum())} others, the first in row {rows.row[lost][0]}",
                "Pass a matrix without zeros, as of `matrix_from_pairs`.",
            )
        size = len(self.matrix)
        targets = np.empty((given.size, size), "float32")
        targets[:] = 0 if ignore_class is None else ignore_class
        targets[rows.row] = np.exp(simplex.log_softmax(score))
        return targets.reshape(*given.shape, size)

    def _rows(
        self,
        labels: np.ndarray,
        argument: str,
        y_prob: Any,
        sample_weight: Any,
        ignore_class: int | None,
    ) -> Predictions:
        scores = arrays.numeric(_OWNER, "y_prob", y_prob)
        size = len(self.matrix)
        if scores.shape != (*labels.shape, size):
            raise checks.invalid(
                _OWNER,
                "y_prob",
                f"of shape {(*labels.shape, size)}: labels, and classes of `matrix`",
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

    def _evidence(self, log_prob: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Returns what the exponents multiply, of shape (N, K, 2)."""
        return np.stack([log_prob, simplex.log_of(self.matrix.T)[given]], axis=-1)

    def __repr__(self) -> str:
        shown = f"matrix of {len(self.matrix)} classes"
        if hasattr(self, "model_weight_"):
            shown += f", model_weight={self.model_weight_:.6g}"
            shown += f", label_weight={self.label_weight_:.6g}"
        return f"{_OWNER}({shown})"


def _score(evidence: np.ndarray, theta: Any) -> np.ndarray:
    """Returns unnormalised log-posteriors (N, K); 0 times -inf counts as 0."""
    score = np.zeros(evidence.shape[:2]) + np.asarray(theta[2:])
    for i in (0, 1):
        if theta[i]:
            score = score + theta[i] * evidence[..., i]
    return score


def _likeliest(
    evidence: np.ndarray, true: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Returns the likeliest exponents and biases, normal priors taken in."""
    from scipy import optimize

    classes = evidence.shape[1]
    centre = np.repeat([1.0, 0.0], [2, classes])
    spread = np.repeat(_SPREADS, [2, classes])
    hit = np.eye(classes)[true]
    # A class that is ruled out stays so, whatever the exponents: it has no slope.
    finite = np.where(np.isneginf(evidence), 0.0, evidence)

    def lack(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_q = simplex.log_softmax(_score(evidence, theta))
        over = weight[:, None] * (np.exp(log_q) - hit)
        slope = np.append(np.einsum("nk,nki->i", over, finite), over.sum(axis=0))
        off = (theta - centre) / spread
        nll = -weight @ log_q[np.arange(len(true)), true]
        return float(nll + off @ off / 2), slope + off / spread

    bounds = [_EXPONENTS] * 2 + [(None, None)] * classes
    return optimize.minimize(lack, centre, jac=True, method="L-BFGS-B", bounds=bounds).x
