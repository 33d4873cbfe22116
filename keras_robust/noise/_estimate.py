"""Label noise read off noisy labels and the predictions of a model."""

import math
import warnings
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust.noise._confident_joint import confident_joint
from keras_robust.noise._matrix_estimate import MatrixEstimate
from keras_robust.noise._prior import fitted_prior, matrix_of_counts
from keras_robust.noise._rate_estimate import RateEstimate
from keras_robust.noise._rows import Rows, read_rows

# Measured in benchmarks/noise_estimation.py: the surer the rows, the fewer errors of
# the model are among them, and the fewer they are. A row of a matrix has fewer anyway.
# Anchors are as sure as those of Patrini et al.
_METHODS = ("agreement", "anchor", "confident_joint")
_RATE_QUANTILES = {"agreement": 0.75, "anchor": 0.97}
_MATRIX_QUANTILES = {"agreement": 0.5, "anchor": 0.97}
# An estimate closer to chance than this many standard errors may as well be chance.
_STANDARD_ERRORS = 2


def estimate_rate(
    labels: Any,
    y_prob: Any,
    *,
    method: str = "agreement",
    quantile: float | None = None,
    from_logits: bool = False,
    ignore_class: int | None = -100,
) -> RateEstimate:
    """Estimates the rate of symmetric noise from noisy labels and predictions.

    That is the rate r at which labels are replaced by one of the K - 1 others, as
    `gamma_from_noise_rate` and `symmetric_matrix` take it. Use it where nobody knows
    how many labels are wrong. The predictions have to be *out of sample*: of rows that
    the model has not been trained on, whose labels are as noisy as the others'
    (held-out rows, or cross-validation). A model agrees with labels that it has learnt
    by heart, and the estimate comes out too low.

    With `method="agreement"`, r is the share of labels that differ from the predicted
    class, among the surest quarter of the rows that are predicted as each class. The
    model is right about the true class of nearly all of them, so that what differs is
    noise: the estimate needs no calibrated confidence, only few errors where confidence
    is highest. It is too high by about the error rate there, so it is an upper bound
    that falls as the model learns (`NoiseAwareGamma` watches it). Each predicted class
    has its surest rows, as otherwise one that is most of the rows would be all that is
    looked at: words outside of entities, say, hardly any of which are wrong. Noise is
    taken to be even over the classes all the same: rows are pooled, each counts alike.
    Where it is not even, see `estimate_matrix`.

    In 192 simulations (2 and 9 classes, even and not; models up to 25 % wrong, too
    sure, too shy or neither; 6,000 rows) it was off by 0.012 on average and 0.053 at
    most; `"anchor"` by 0.113 and 0.428, `"confident_joint"` by 0.040 and 0.211. With
    1,797 digits it was off by 0.065 at most, and, as it says, at a loss where the rate
    is close to chance. `benchmarks/noise_estimation.py` has more.

    With `"anchor"`, r is 1 less the mean confidence of the surest 3 % of the rows of
    each predicted class: only for a model calibrated on the noisy labels, at the
    minimum of cross entropy. With `"confident_joint"`, r is the share of labels off the
    diagonal of cleanlab's confident joint, which needs a model that is right about
    nearly all classes.

    Args:
        labels: Given labels, integer class ids of shape `(...)` or `(..., 1)`, or
            one-hot integers of the shape of `y_prob`.
        y_prob: Out-of-sample probabilities of shape `(..., K)`, or logits with
            `from_logits=True`; `K = 1` means a single sigmoid output.
        method: `"agreement"`, `"anchor"` or `"confident_joint"`; the last needs
            cleanlab, which the extra `noise` brings. Defaults to `"agreement"`.
        quantile: Quantile in [0, 1] of the confidence, among the rows predicted as a
            class, from which on a row counts, for the first two methods. Defaults to
            None: 0.75 for `"agreement"`, 0.97 for `"anchor"`.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        ignore_class: Label of positions that are left out, or None. Defaults to -100.

    Returns:
        A `RateEstimate`, a float in [0, (K - 1)/K) that knows the number of its rows,
        its standard error and its `interval()`. If the model predicts one class alone
        while others are given, there is a warning: nothing is known of the others.

    Raises:
        ValueError: If labels and predictions do not fit together, or agree no more than
            by chance would (within two standard errors): then the model has learnt
            nothing yet, or nothing can be learnt from the labels.
        TypeError: If labels are not integers, or an argument is of the wrong type.
        ImportError: If cleanlab is needed and missing.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.noise import estimate_rate, flip_labels, symmetric_matrix
        >>> true = np.random.default_rng(0).integers(0, 5, 100_000)
        >>> given = flip_labels(true, symmetric_matrix(5, 0.4), seed=0).labels
        >>> logits = 3.0 * np.eye(5)[true]  # of a model that knows the classes
        >>> estimate_rate(given, logits, from_logits=True)
        RateEstimate(0.401 [0.398, 0.404], 100,000 rows)

    Reference:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss
        Correction Approach", CVPR 2017 (anchors); Northcutt et al., "Confident
        Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021 (the confident
        joint).
    """
    owner = "estimate_rate"
    quantile = _checked_quantile(owner, method, quantile, _RATE_QUANTILES)
    rows = read_rows(
        owner, labels, y_prob, from_logits=from_logits, ignore_class=ignore_class
    )
    if method == "confident_joint":
        joint, counted = _confident_of_all(owner, rows)
        rate, num_rows = 1 - np.trace(joint) / joint.sum(), int(counted.sum())
    else:
        rows = rows.surest_of_each(quantile)
        right = rows.given == rows.predicted
        kept = right if method == "agreement" else rows.prob.max(axis=-1)
        rate, num_rows = 1 - kept.mean(), len(rows.given)
    known = np.unique(rows.predicted)
    if len(known) == 1 and (rows.given != known).any():
        warnings.warn(
            f"{owner}: the model predicts every row as class {known[0]}. The rate is "
            "that of this class, and nothing is known of the others: train it longer.",
            stacklevel=2,
        )
    estimate = RateEstimate(max(float(rate), 0.0), num_rows, len(known))
    return _below_chance(owner, estimate, rows.num_classes)


def estimate_matrix(
    labels: Any,
    y_prob: Any,
    *,
    prior: Any = None,
    method: str = "agreement",
    quantile: float | None = None,
    from_logits: bool = False,
    ignore_class: int | None = -100,
) -> MatrixEstimate:
    """Estimates the transition matrix from noisy labels and predictions.

    Use it for `ForwardCorrection` or `AnalyticCalibration` where noise is uneven: cats
    labelled as dogs, entities missed. If it is even, `estimate_rate` has one number to
    learn and learns it better. The predictions have to be *out of sample*, as there,
    and the true class has to be the one that is given most often.

    With `method="agreement"`, row i of the matrix holds the shares of the labels that
    were given to the surer half of the rows that the model predicts as class i. With
    `"anchor"`, it is the mean prediction of the surest 3 % of them, its anchor points:
    only for a model calibrated on the noisy labels, at the minimum of cross entropy.
    (Patrini et al. take one point; a mean has less chance in it. Their quantile is over
    all rows, among which a rare class has no anchor.) With `"confident_joint"`, it
    comes from cleanlab, which counts labels where the model is surer of a class than of
    the average row labelled so.

    Every method learns row i from the rows predicted as class i: the fewer they are,
    the less sure is the row, and the more it borrows from the others, by the prior of
    `matrix_from_pairs`. The intervals of the estimate are about the number of rows. An
    error of the model shows as noise, and no interval has it in: two classes that the
    model confuses seem to be confused by the annotators, and what annotators and model
    both get wrong is not seen. Rows that somebody looked at again tell
    (`matrix_from_pairs`).

    Args:
        labels: Given labels, integer class ids of shape `(...)` or `(..., 1)`, or
            one-hot integers of the shape of `y_prob`.
        y_prob: Out-of-sample probabilities of shape `(..., K)`, or logits with
            `from_logits=True`; `K = 1` means a single sigmoid output.
        prior: Pseudo-counts of shape `(K, K)`, all at least 0, that are added to the
            counts; zeros give the shares alone. Defaults to None: learnt from the
            counts, as `matrix_from_pairs` does.
        method: `"agreement"`, `"anchor"` or `"confident_joint"`; the last needs
            cleanlab, which the extra `noise` brings. Defaults to `"agreement"`.
        quantile: Quantile in [0, 1] of the confidence, among the rows predicted as a
            class, from which on a row counts, for the first two methods. Defaults to
            None: 0.5 for `"agreement"`, 0.97 for `"anchor"`.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        ignore_class: Label of positions that are left out, or None. Defaults to -100.

    Returns:
        A `MatrixEstimate`, which is taken for its matrix, T[i, j] = P(given j | true
        i). Its `counts` are labels of the rows that count; with `"confident_joint"`
        in the shares to which cleanlab scales them. With `"anchor"`, which counts
        nothing, they are the mean prediction times the number of anchors: a class that
        has anchors borrows nothing, and the intervals are those that as many labels
        would leave, whether the model is calibrated or not. A class that is never
        predicted (never confidently, with `"confident_joint"`) has no counts and the
        row of its prior, learnt from the other classes; a warning names it.

    Raises:
        ValueError: If labels and predictions do not fit together, only one class is
            ever predicted and there is no `prior`, a class has neither rows nor a
            prior, or, for `"confident_joint"`, is never given.
        TypeError: If labels are not integers, or an argument is of the wrong type.
        ImportError: If cleanlab is needed and missing.

    Examples:
        >>> import numpy as np
        >>> from keras_robust.noise import estimate_matrix, flip_labels, pair_matrix
        >>> true = np.random.default_rng(0).integers(0, 3, 30_000)
        >>> given = flip_labels(true, pair_matrix(3, 0.3), seed=0).labels
        >>> logits = 3.0 * np.eye(3)[true]  # of a model that knows the classes
        >>> estimate = estimate_matrix(given, logits, from_logits=True)
        >>> estimate.matrix.round(1).tolist()
        [[0.7, 0.3, 0.0], [0.0, 0.7, 0.3], [0.3, 0.0, 0.7]]
        >>> low, high = estimate.interval()
        >>> bool(low[0, 1] < 0.3 < high[0, 1] < low[0, 1] + 0.05)
        True

    Reference:
        As for `estimate_rate`, and for the prior as for `matrix_from_pairs`.
    """
    owner = "estimate_matrix"
    quantile = _checked_quantile(owner, method, quantile, _MATRIX_QUANTILES)
    rows = read_rows(
        owner, labels, y_prob, from_logits=from_logits, ignore_class=ignore_class
    )
    if method == "confident_joint":
        joint, counted = confident_joint(owner, rows)
        counts = joint * (counted / np.maximum(joint.sum(axis=1), 1))[:, None]
    else:
        classes = range(rows.num_classes)
        parts = [rows.predicted_as(label) for label in classes]
        counts = np.stack(
            [_label_counts(part.surest(quantile), method) for part in parts]
        )
    _check_known(owner, counts, prior)
    if method == "anchor" and prior is None:
        # There is less chance in a mean prediction than in as many labels.
        prior = np.where(counts.any(axis=1, keepdims=True), 0.0, fitted_prior(counts))
    return matrix_of_counts(owner, counts, prior)


def _checked_quantile(
    owner: str, method: str, quantile: Any, defaults: dict[str, float]
) -> float | None:
    fix = 'The default, "agreement", needs the least of the model.'
    checks.choice(owner, "method", method, _METHODS, fix=fix)
    if quantile is None:
        return defaults.get(method)
    if method not in defaults:
        raise checks.invalid(
            owner,
            "quantile",
            f"None for method={method!r}",
            f"quantile={quantile!r}",
            "Its thresholds are the mean confidences of the classes.",
        )
    fix = "At 0 every row counts, at 1 the surest alone."
    return checks.fraction(owner, "quantile", quantile, fix=fix)


def _confident_of_all(owner: str, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    joint, counted = confident_joint(owner, rows)
    unsure = np.flatnonzero(counted == 0)
    if unsure.size:
        raise checks.invalid(
            owner,
            "y_prob",
            "confident of at least two rows of every class, for "
            'method="confident_joint"',
            f"at most one row of class {unsure.tolist()}",
            "The model does not know these classes: train it longer, or leave them "
            "out.",
        )
    return joint, counted


def _label_counts(rows: Rows, method: str) -> np.ndarray:
    if method == "anchor":
        return rows.prob.sum(axis=0)
    return np.bincount(rows.given, minlength=rows.num_classes).astype("float64")


def _check_known(owner: str, counts: np.ndarray, prior: Any) -> None:
    known = counts.any(axis=1)
    if known.sum() < 2 and prior is None:
        raise checks.invalid(
            owner,
            "y_prob",
            "such that at least two classes are the likeliest of some row",
            f"class {np.flatnonzero(known).tolist()} alone",
            "The model has learnt nothing yet: train it longer, or pass a `prior`.",
        )
    if not known.all():
        warnings.warn(
            f"{owner}: the model predicts no row as class "
            f"{np.flatnonzero(~known).tolist()}. Nothing is known of how these classes "
            "are labelled: their rows of the matrix are the prior's, borrowed from the "
            "other classes where it is learnt. Train longer, or look at some of their "
            "rows again (matrix_from_pairs).",
            stacklevel=3,
        )


def _below_chance(owner: str, rate: RateEstimate, num_classes: int) -> RateEstimate:
    chance = (num_classes - 1) / num_classes
    error = math.sqrt(chance * (1 - chance) / rate.num_rows)
    if rate >= chance - _STANDARD_ERRORS * error:
        raise checks.invalid(
            owner,
            "y_prob",
            "of a model that agrees with `labels` more than by chance",
            f"an estimated rate of {rate:.3g} on {rate.num_rows} rows, where chance "
            f"gives {chance:.3g} with a standard error of {error:.2g}",
            "The model has learnt nothing yet, or the labels tell nothing: train it "
            "longer, or pass more rows.",
        )
    return rate
