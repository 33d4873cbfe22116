"""What an article says, beside what the seeds of the study say."""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from keras_robust._inputs import checks

COLUMNS = ["claim", "article", "ours", "difference", "interval", "inside"]
COLUMNS += ["inside_one_run", "verdict", "criterion", "seeds"]


def seeds_interval(values: Any, *, one_run: bool = False) -> tuple[float, float]:
    """Returns Student's 95% interval for the mean over seeds.

    Args:
        values: One number for each seed, shape (seeds,). To compare two settings, their
            difference seed by seed.
        one_run: Whether to return the interval for one further run instead, which
            varies as much as one of the seeds does.

    Returns:
        The two ends, as floats; NaN with fewer than two seeds.

    Raises:
        ValueError: If `values` has not one dimension.

    Examples:
        >>> import engine
        >>> print("{:.3f} to {:.3f}".format(*engine.seeds_interval([0.1, 0.2, 0.3])))
        -0.048 to 0.448
    """
    values = np.asarray(values, "float64")
    if values.ndim != 1:
        raise checks.invalid(
            "seeds_interval",
            "values",
            "one number for each seed",
            f"values of shape {values.shape}",
            "Pass the column of one setting.",
        )
    count = len(values)
    if count < 2:
        return math.nan, math.nan
    spread = values.std(ddof=1) * math.sqrt(1 / count + one_run)
    half = stats.t.ppf(0.975, count - 1) * spread
    return float(values.mean() - half), float(values.mean() + half)


def _to(ends: tuple[float, float], digits: int) -> str:
    return " to ".join(f"{end:z.{digits}f}" for end in ends)


def _said(ends: tuple[float, float]) -> str:
    low, high = ends
    if low == high:
        return f"{low:g}"
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"


class Claims:
    """The claims of an article, each with our number and a verdict.

    A verdict follows from the interval that `seeds_interval` gives. A claim that is a
    number *holds* if the number lies in it; a claim about a difference, if the interval
    of the difference, seed by seed, lies on the claim's side. If a claim says both, it
    holds *in part* where one is so.

    Examples:
        >>> import engine
        >>> claims = engine.Claims()
        >>> claims.number("the error", 0.25, [0.1, 0.2, 0.3], digits=2)
        >>> print(*claims.table()[["difference", "interval", "verdict"]].iloc[0])
        -0.05 -0.05 to 0.45 holds
    """

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def number(
        self,
        claim: str,
        article: float | tuple[float, float],
        values: Any,
        *,
        digits: int,
        also: tuple[str, bool] | None = None,
        ratio: bool = False,
        note: str = "",
    ) -> None:
        """Adds a claim that is a number.

        Args:
            claim: Its words.
            article: The article's number, or the two ends of its range.
            values: Ours, one for each seed, shape (seeds,).
            digits: How many digits to show after the point.
            also: What else the claim says, in words, and whether it is so.
            ratio: Whether `values` are ratios, whose logarithms are averaged.
            note: What to say beside our number.

        Returns:
            Nothing.

        Raises:
            ValueError: If `values` has not one dimension.
        """
        low, high = article if isinstance(article, tuple) else (article, article)
        values = np.asarray(values, "float64")
        scaled, back = (np.log(values), np.exp) if ratio else (values, float)
        mean = back(scaled.mean())
        found = {
            one_run: tuple(map(back, seeds_interval(scaled, one_run=one_run)))
            for one_run in (False, True)
        }
        off = mean - min(max(mean, low), high)
        inside = {k: a <= high and low <= b for k, (a, b) in found.items()}
        spread = ""
        if len(values) > 1 and not ratio:
            spread = f" ± {values.std(ddof=1):.{digits}f}"
        criterion = "the article's number lies in the interval"
        true = [inside[False]]
        if also:
            criterion += f", and {also[0]}"
            true.append(bool(also[1]))
        self._add(
            claim,
            _said((low, high)),
            f"{mean:z.{digits}f}{spread}{note}",
            criterion,
            len(values),
            holds=all(true),
            in_part=any(true),
            difference=f"{off:+.{digits}f}" if off else "none",
            interval=_to(found[False], digits),
            inside="yes" if inside[False] else "no",
            inside_one_run="yes" if inside[True] else "no",
        )

    def statement(
        self,
        claim: str,
        article: str,
        ours: str,
        criterion: str,
        *,
        seeds: int,
        holds: bool,
        in_part: bool = False,
    ) -> None:
        """Adds a claim without a number.

        Args:
            claim: Its words.
            article: Where the article says so: in its text or in a figure.
            ours: What the runs say.
            criterion: When the claim holds, and when in part.
            seeds: How many seeds the runs have.
            holds: Whether it holds.
            in_part: Whether it holds in part, if not as a whole.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        self._add(claim, article, ours, criterion, seeds, holds=holds, in_part=in_part)

    def unjudged(self, claim: str, article: str, why: str, verdict: str) -> None:
        """Adds a claim that no run says anything of.

        Args:
            claim: Its words.
            article: Where the article says so.
            why: Why there is no verdict.
            verdict: What to write in its place.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        self._add(claim, article, why, "", None, verdict=verdict)

    def _add(
        self,
        claim: str,
        article: str,
        ours: str,
        criterion: str,
        seeds: int | None,
        *,
        holds: bool = False,
        in_part: bool = False,
        verdict: str = "",
        **numbers: str,
    ) -> None:
        found = "holds" if holds else "holds in part" if in_part else "does not hold"
        row = {"claim": claim, "article": article, "ours": ours, "seeds": seeds}
        row |= {"verdict": verdict or found, "criterion": criterion}
        self._rows.append(row | numbers)

    def table(self) -> pd.DataFrame:
        """Returns the claims as a table, one a row, in the order they came.

        Returns:
            The columns `claim`, `article`, `ours`, `verdict`, `criterion` and `seeds`;
            for claims that are numbers also `difference` (ours minus the article's, or
            minus the nearer end of its range), `interval` (that of the seeds' mean),
            `inside` (whether the article's number lies in it) and `inside_one_run`
            (whether it lies in that of one further run).

        Raises:
            Nothing.
        """
        table = pd.DataFrame(self._rows, columns=COLUMNS)
        return table.astype({"seeds": "Int64"})

    def summary(self) -> pd.DataFrame:
        """Returns the claims as a page shows them, five columns wide.

        Returns:
            The columns `claim`, `article`, `ours`, `verdict` and `criterion` of
            `table`, as text; where a claim is a number, `ours` has its interval, too.

        Raises:
            Nothing.
        """
        table = self.table().astype(object).fillna("")
        number = table["inside"] != ""
        table.loc[number, "ours"] += ", interval " + table.loc[number, "interval"]
        return table[["claim", "article", "ours", "verdict", "criterion"]]
