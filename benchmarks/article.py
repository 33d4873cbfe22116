"""SGCE as the article's PyTorch listing computes it, for multi-class logits and q > 0.

It is here to be compared with: a softmax, powers of all of it and a matrix of smoothed
targets, each as large as the logits.
"""

from typing import Any


class ArticleSGCE:
    """The listing's steps, with its small constants and its mean over N * K."""

    def __init__(self, q: float, smoothing: float) -> None:
        self.q, self.smoothing, self.eps = q, smoothing, 1e-8

    def __call__(self, labels: Any, logits: Any, weight: Any = None) -> Any:
        """Returns the mean of the smoothed costs; weights are not in the listing."""
        labels = labels.long()
        valid = labels != -100
        logits, labels = logits[valid] + self.eps, labels[valid]
        prob = logits.softmax(dim=-1)
        powers = prob**self.q
        signed = (powers + self.eps).where(
            prob >= 0, -((prob.abs() ** self.q) + self.eps)
        )
        costs = (1.0 - signed) / (self.q + self.eps)
        spread = self.smoothing / (prob.size(-1) - 1.0)
        targets = prob.new_ones(prob.size()) * spread
        targets = targets.scatter_(-1, labels.unsqueeze(-1), 1.0 - self.smoothing)
        return (targets * costs + self.eps).mean()
