"""Calibration errors row by row in float64 NumPy, straight from their definitions."""

import numpy as np


def gaps_and_shares(confidence, correct, weight, num_bins):
    """Returns the gap and the share of each bin that is not empty."""
    edges = (np.arange(num_bins + 1) / num_bins).astype(confidence.dtype)
    rows = zip(confidence, correct, np.asarray(weight, "float64"))
    sums = np.zeros((num_bins, 3))
    for p, hit, w in rows:
        k = next(k for k in reversed(range(num_bins)) if p >= edges[k])
        sums[k] += w, w * float(p), w * float(hit)
    count, conf, hits = sums[sums[:, 0] > 0].T
    return np.abs(hits / count - conf / count), count / count.sum()


def error(confidence, correct, weight, num_bins, norm):
    """Returns the calibration error of one column of confidences."""
    gaps, shares = gaps_and_shares(confidence, correct, weight, num_bins)
    if norm == "max":
        return gaps.max()
    return (shares @ gaps**2) ** 0.5 if norm == "l2" else shares @ gaps


def classwise(y, prob, weight, num_bins, norm):
    """Returns the norm over classes of the errors of each class against the rest."""
    columns = [
        error(prob[:, k], y == k, weight, num_bins, norm) for k in range(prob.shape[1])
    ]
    if norm == "max":
        return max(columns)
    return np.mean(np.square(columns)) ** 0.5 if norm == "l2" else np.mean(columns)


def macro(y, prob, weight, num_bins, norm):
    """Returns the mean of the labels' errors."""
    weight = of_entries(weight, prob)
    return np.mean(
        [error(*column, num_bins, norm) for column in zip(prob.T, y.T, weight.T)]
    )


def micro(y, prob, weight, num_bins, norm):
    """Returns the error of all labels' decisions together."""
    weight = of_entries(weight, prob)
    return error(prob.ravel(), y.ravel(), weight.ravel(), num_bins, norm)


def of_entries(weight, prob):
    """Returns one weight for each entry, from those or from one for each row."""
    return weight if weight.ndim == 2 else np.tile(weight[:, None], prob.shape[1])
