"""The formulas once more, in NumPy's widest float and straight from probabilities."""

import numpy as np
from scipy import integrate

WIDE = np.longdouble


def softmax(z):
    z = np.asarray(z, WIDE)
    odds = np.exp(z - z.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def gce(p, q):
    p = np.asarray(p, WIDE)
    return -np.log(p) if q == 0 else (1 - p ** WIDE(q)) / WIDE(q)


def sce(p, y, alpha, beta):
    """As the paper writes it: the cross entropy of y and p, and that of p and y."""
    p = np.asarray(p, WIDE)
    one_hot = np.eye(p.shape[-1])[y]
    log_one_hot = np.where(one_hot > 0, 0, -4)
    reverse = -(p * log_one_hot).sum(-1)
    return alpha * -np.log(np.take_along_axis(p, y[:, None], -1)[:, 0]) + beta * reverse


def ncerce(p, y, alpha, beta):
    """As the paper writes it: over the cross entropy of every one-hot label."""
    logs = -np.log(np.asarray(p, WIDE))
    normalised = np.take_along_axis(logs, y[:, None], -1)[:, 0] / logs.sum(-1)
    return alpha * normalised + sce(p, y, 0, beta)


def sgce(p, y, q, s):
    p = np.asarray(p, WIDE)
    weight = np.full(p.shape, WIDE(s) / (p.shape[-1] - 1))
    np.put_along_axis(weight, np.asarray(y)[..., None], 1 - WIDE(s), -1)
    return (weight * gce(p, q)).sum(-1)


def gamma_ce(p, gamma):
    p, gamma = np.asarray(p, WIDE), WIDE(gamma)
    if gamma == 1:
        return 1 - p
    return -np.log(gamma + (1 - gamma) * p) / (1 - gamma)


def gamma_weight(p, gamma, b=0.0):
    p, gamma = np.asarray(p, WIDE), WIDE(gamma)
    return np.maximum(WIDE(b), p / (gamma + (1 - gamma) * p))


def gated_integral(p, gamma, b):
    """The integral of the gated gradient over -log p, from -log 1 = 0 to -log p."""

    def weight(t):
        return float(gamma_weight(np.exp(-t), gamma, b))

    top = -np.log(p)
    inside = b * gamma / (1 - b * (1 - gamma)) if gamma else 0.0
    kink = [-np.log(inside)] if 0 < inside < 1 and -np.log(inside) < top else None
    value, _ = integrate.quad(weight, 0.0, top, points=kink, epsabs=1e-12, limit=200)
    return value


def slopes(cost_of_rows, x, step=1e-6):
    """The slopes of a cost of each row, by finite differences in one batch."""
    steps = step * np.eye(x.shape[1])
    up, down = ((x[:, None] + s).reshape(-1, x.shape[1]) for s in (steps, -steps))
    return (cost_of_rows(up) - cost_of_rows(down)).reshape(x.shape) / (2 * step)
