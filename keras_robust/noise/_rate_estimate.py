"""A noise rate that was estimated, with what is not known about it."""

import math

from keras_robust._inputs.options import checked_level


class RateEstimate(float):
    """A noise rate read off rows of labels, and how sure it is.

    Made by `estimate_rate`. It is a float, and taken for one everywhere. Its error and
    its interval are those of a share of so many rows: of the beta distribution with the
    parameters 1/2 + wrong and 1/2 + right (Jeffreys' prior). Errors of the model are
    not in them; they make the rate too high.

    Attributes:
        num_rows: Number of rows that counted.
        num_classes: Number of classes as which these rows were predicted. If it is 1,
            the model knows no other class, and nothing is known of the others.

    Examples:
        >>> from keras_robust.noise import RateEstimate
        >>> rate = RateEstimate(0.25, num_rows=300, num_classes=3)
        >>> rate
        RateEstimate(0.250 [0.204, 0.301], 300 rows)
        >>> rate + 0.5, round(rate.standard_error, 3)
        (0.75, 0.025)
    """

    __slots__ = ("num_classes", "num_rows")

    def __new__(cls, rate: float, num_rows: int, num_classes: int) -> "RateEstimate":
        """Makes the float and keeps what it is of."""
        self = super().__new__(cls, rate)
        self.num_rows, self.num_classes = num_rows, num_classes
        return self

    def __getnewargs__(self) -> tuple[float, int, int]:
        return float(self), self.num_rows, self.num_classes

    @property
    def standard_error(self) -> float:
        """Standard deviation of the rate, above 0 even where no row was wrong."""
        wrong, right = self._beta()
        total = wrong + right
        return math.sqrt(wrong * right / (total + 1)) / total

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """A credible interval of the rate, if the model were right about these rows.

        Args:
            level: Probability of the interval. Defaults to 0.95.

        Returns:
            Lower and upper end. The lower one is 0 where no row was wrong.

        Raises:
            ValueError: If `level` is not in (0, 1).
        """
        from scipy import special

        tail = (1 - checked_level("RateEstimate", level)) / 2
        low, high = special.betaincinv(*self._beta(), [tail, 1 - tail])
        return float(low) if self > 0 else 0.0, float(high)

    def _beta(self) -> tuple[float, float]:
        wrong = float(self) * self.num_rows
        return 0.5 + wrong, 0.5 + self.num_rows - wrong

    def __repr__(self) -> str:
        low, high = self.interval()
        return (
            f"RateEstimate({float(self):.3f} [{low:.3f}, {high:.3f}], "
            f"{self.num_rows:,} rows)"
        )
