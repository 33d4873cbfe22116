"""Labels drawn with the probabilities of predictions."""

import numpy as np

# From so many classes on, looking a label up takes less time than comparing.
_MANY_CLASSES = 64


class Draw:
    """Labels of some rows, drawn with probabilities (n, K) again and again."""

    def __init__(self, prob: np.ndarray) -> None:
        upper = np.cumsum(prob, axis=-1)
        upper /= upper[:, -1:]
        self._shape = upper.shape
        # One sorted array for all rows, or one array for each class but the last.
        many = upper.shape[-1] > _MANY_CLASSES
        self._row = np.arange(len(upper))
        self._sorted = (upper + self._row[:, None]).ravel() if many else None
        self._upper = None if many else np.ascontiguousarray(upper[:, :-1].T)

    def __call__(self, times: int, rng: np.random.Generator) -> np.ndarray:
        num_rows, num_classes = self._shape
        drawn = rng.random((times, num_rows))
        if self._sorted is None:
            label = np.zeros(drawn.shape, "int16")
            for upper in self._upper:
                label += drawn >= upper
            return label
        drawn *= 1 - 1e-12  # the sum with a row's number would round to the next row
        label = np.searchsorted(self._sorted, drawn + self._row, side="right")
        return np.minimum(label - num_classes * self._row, num_classes - 1)
