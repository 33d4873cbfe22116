"""How often prediction sets hold the true class, and how large they are."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_robust._inputs import checks

_SHOWN = 20


@dataclass(frozen=True)
class SetCoverage:
    """What prediction sets were worth. Made by `PredictionSets.evaluate`.

    Attributes:
        asked: The coverage that was asked for.
        count: Rows that counted, by their weights; groups, where they were given.
        coverage: Share of rows whose set holds the true class.
        mean_size: Mean number of classes in a set.
        empty: Share of sets with no class.
        single: Share of sets with one class.
        null_lower: Lower end of the 95 % interval of the coverage of so many rows, over
            calibration sets and rows: that of the beta-binomial distribution. It is
            exact for clean labels without equal scores, and NaN where it is not known:
            with noise, weights, groups, soft labels, or `per_class`.
        null_upper: Its upper end. Equal scores can put the coverage above it.
        by_class: The same by the true class: float64 arrays of shape `(K,)` by the
            names `"count"`, `"coverage"`, `"mean_size"`, `"empty"` and `"single"`. NaN
            for a class of no rows.

    Examples:
        >>> from keras_robust.calibration import PredictionSets
        >>> prob = [[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]] * 10
        >>> measured = PredictionSets(0.8).fit([0, 1, 1] * 10, prob).evaluate(
        ...     [0, 1, 0], prob[:3]
        ... )
        >>> measured.coverage, measured.by_class["count"].tolist()
        (1.0, [2.0, 1.0])
    """

    asked: float
    count: float
    coverage: float
    mean_size: float
    empty: float
    single: float
    null_lower: float
    null_upper: float
    by_class: dict[str, np.ndarray]

    @classmethod
    def of(
        cls, sets: np.ndarray, mass: np.ndarray, asked: float, fitted: float
    ) -> "SetCoverage":
        """Measures sets.

        Args:
            sets: Bool array of shape `(N, K)`.
            mass: How much each class counts as the true one, of the same shape.
            asked: The coverage that was asked for.
            fitted: How many rows the sets were fitted to; NaN if they do not tell the
                band.

        Returns:
            A `SetCoverage`.
        """
        size = sets.sum(axis=-1)
        rows = {"mean_size": size, "empty": size == 0, "single": size == 1}
        weight, count = mass.sum(axis=-1), mass.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Where noise is undone, a class may have no mass left, or less.
            known = np.where(count > 0, count, np.nan)
            by_class = {
                "count": count,
                "coverage": (mass * sets).sum(axis=0) / known,
                **{name: value @ mass / known for name, value in rows.items()},
            }
            total = weight.sum()
            means = {
                name: float(value @ weight / total) for name, value in rows.items()
            }
            coverage = float((mass * sets).sum() / total)
        low = high = math.nan
        if not math.isnan(fitted):
            low, high = beta_binomial_interval(asked, int(fitted), len(sets))
        return cls(
            asked, float(total), coverage, **means, null_lower=low, null_upper=high,
            by_class=by_class,
        )  # fmt: skip

    def to_frame(self) -> Any:
        """Returns a pandas.DataFrame with a row for all, and one for each class.

        Returns:
            A frame with the index `class`, the first row being `"all"`.

        Raises:
            ImportError: If pandas is not installed.
        """
        pandas = checks.optional_module("SetCoverage", "pandas")
        rows = {name: [getattr(self, name), *by] for name, by in self.by_class.items()}
        classes = range(len(self.by_class["count"]))
        return pandas.DataFrame(
            rows, index=pandas.Index(["all", *classes], name="class")
        )

    def __repr__(self) -> str:
        band = ""
        if not math.isnan(self.null_lower):
            band = f" (by chance {self.null_lower:.4g} to {self.null_upper:.4g})"
        lines = [
            f"SetCoverage: {self.coverage:.4g} of {self.count:g} where {self.asked:g} "
            f"was asked for{band}",
            "class     count  coverage  mean size   empty  single",
        ]
        overall = {name: np.array([getattr(self, name)]) for name in self.by_class}
        size = len(self.by_class["count"])
        lines += [_line("all", overall, 0)]
        lines += [_line(str(k), self.by_class, k) for k in range(min(size, _SHOWN))]
        if size > _SHOWN:
            lines.append(f"... and {size - _SHOWN} more: see `by_class`")
        return "\n".join(lines)


def _line(name: str, values: dict[str, np.ndarray], k: int) -> str:
    count, *others = (float(values[key][k]) for key in values)
    coverage, size, empty, single = others
    return (
        f"{name:6} {count:8.6g}  {coverage:8.4f}  {size:9.4f}  {empty:6.4f}  "
        f"{single:6.4f}"
    )


def beta_binomial_interval(
    asked: float, fitted: int, count: int
) -> tuple[float, float]:
    """Returns the 95 % interval of the coverage of `count` new rows.

    Over calibration sets of `fitted` rows, without equal scores.
    """
    from scipy import stats

    above = math.ceil((fitted + 1) * asked * (1 - 1e-9))
    hits = stats.betabinom(count, above, fitted + 1 - above)
    total = np.cumsum(hits.pmf(np.arange(count + 1)))
    low, high = np.searchsorted(total, [0.025, 0.975])
    return low / count, high / count
