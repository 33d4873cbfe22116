"""Tests of whether enough of what is accepted is right, for rows and for groups.

Rows stand in the order of their confidence, the surest first, and a test of rank r is
about the first r. Labels have no part in which ranks are tested.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

# From one rank to the next: each test more is one more chance to stop too early.
_STEP = 1.05
# How alike rows of a group are taken to be where the size of a bet is chosen. The test
# holds for any; in this range its power hardly depends on it.
_ALIKE = 0.2
# A bet of all would be ruined by one row.
_LARGEST_BET = 0.99


class Terms(NamedTuple):
    """What each row counts, in the order of confidence.

    Attributes:
        value: 1 or 0 for right or wrong, or what has that expectation, float64 (N,).
        least: The smallest value that each could have, float64 (N,).
        unit: What is drawn at random, as numbers from 0: the row's own, or its group's.
        of_right: Mean square of the value of a right row.
        of_wrong: The same of a wrong row.
        ends: The two values there are, if no row can have another; else None.
        agree: The share of right rows that have the larger of the two.
    """

    value: np.ndarray
    least: np.ndarray
    unit: np.ndarray
    of_right: float = 1.0
    of_wrong: float = 0.0
    ends: tuple[float, float] | None = (0.0, 1.0)
    agree: float = 1.0


def spaced(ranks: np.ndarray) -> np.ndarray:
    """Returns ascending ranks of which each is a step beyond the one before it."""
    kept: list[int] = []
    at = 0
    while at < len(ranks):
        kept.append(int(ranks[at]))
        at = max(at + 1, int(np.searchsorted(ranks, kept[-1] * _STEP)))
    return np.array(kept, "int64")


@functools.lru_cache(maxsize=256)
def binomial_ranks(
    size: int, rate: float, error: float, agree: float = 1.0
) -> tuple[np.ndarray, int]:
    """Returns the ranks to test up to `size`, and the least that is worth a test.

    A rank is worth it where rows of which all are right, which hit with the chance
    `agree`, pass more often than not. Where labels are clean they always hit, and it is
    the least rank at which any rows could pass. The first that is tested is one at
    which they nearly always pass, and from then on those at which one more miss is
    allowed than before.
    """
    needed, _ = _first_rank(rate, error, agree, 0.5)
    if needed > size:
        return np.zeros(0, "int64"), needed
    rank, misses = _first_rank(rate, error, agree, 0.9)
    ranks = []
    while rank <= size:
        ranks.append(rank)
        beyond = max(math.ceil(rank * _STEP), rank + 1)
        misses = max(misses, _allowed(beyond - 1, rate, error)) + 1
        rank = _least_rank(misses, rate, error)
    tested = np.union1d(ranks, [size]).astype("int64")
    tested.setflags(write=False)  # calls of the same numbers share it
    return tested, needed


def _first_rank(
    rate: float, error: float, agree: float, often: float
) -> tuple[int, int]:
    """Returns the first rank that right rows pass so often, and how many may miss."""
    allowed = 0
    while True:
        rank = _least_rank(allowed, rate, error)
        if agree == 1 or _chance(allowed, rank, agree) >= often:
            return rank, allowed
        allowed = max(allowed + 1, int(allowed * 1.02))


def _least_rank(misses: int, rate: float, error: float) -> int:
    """Returns the least n with P(at most so many misses of n at `rate`) <= `error`."""
    low, high = misses, misses + 1  # `low` is too few
    while _chance(misses, high, rate) > error:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _chance(misses, middle, rate) > error:
            low = middle
        else:
            high = middle
    return high


def _chance(misses: int, rank: int, rate: float) -> float:
    """Returns the chance of at most so many misses, of more rows than that."""
    from scipy.special import betainc

    return float(betainc(float(rank - misses), misses + 1.0, rate))  # bdtr has 32 bits


def _allowed(rank: int, rate: float, error: float) -> int:
    """Returns how many of so many rows may miss, -1 if none may."""
    low, high = -1, rank  # `high` are too many
    while high - low > 1:
        middle = (low + high) // 2
        if _chance(middle, rank, rate) > error:
            high = middle
        else:
            low = middle
    return low


class BinomialTest:
    """The exact test of independent rows that count one of two values.

    Of a mean of at least `accuracy`, at the level `error` (Clopper and Pearson, 1934).
    """

    def __init__(self, terms: Terms, accuracy: float, error: float) -> None:
        low, high = terms.ends
        self._ends, self._error = (low, high), error
        self._rate = (accuracy - low) / (high - low)
        self._misses = np.cumsum(terms.value < (low + high) / 2)
        self.ranks, self.needed = binomial_ranks(
            len(terms.value), self._rate, error, terms.agree
        )

    def passes(self, rank: int) -> bool:
        """Returns whether the first `rank` rows show it."""
        from scipy.special import bdtr

        return bool(bdtr(self._misses[rank - 1], rank, 1 - self._rate) <= self._error)

    def lower(self, rank: int) -> float:
        """Returns the lower bound of the mean of the first `rank` rows."""
        from scipy.special import betaincinv

        hits = rank - int(self._misses[rank - 1])
        share = betaincinv(hits, rank - hits + 1, self._error) if hits else 0.0
        return self._ends[0] + (self._ends[1] - self._ends[0]) * float(share)


class BettingTest:
    """The test by betting: of any bounded values, of rows or of groups.

    Somebody bets on right rows, at odds that are fair if the mean is `accuracy`: the
    capital, product of 1 + bet · (sum of value - accuracy in a unit), does not grow on
    average if the mean is less. It reaches 1/error with a chance of at most `error`
    then (Ville, 1939), at any time, the units being taken in an order drawn at random.

    The bet is the best for sums that scatter as they are to be expected to, which
    neither labels nor chance take part in.
    """

    def __init__(
        self, terms: Terms, accuracy: float, error: float, rng: np.random.Generator
    ) -> None:
        self._terms, self._accuracy = terms, accuracy
        self._goal = math.log(1 / error)
        self._count = int(terms.unit.max(initial=-1)) + 1
        unit = rng.permutation(self._count)[terms.unit]
        self._row = np.argsort(unit, kind="stable")
        self._unit = unit[self._row]
        self._sums = functools.lru_cache(maxsize=1)(self._sums_of_units)
        size = len(terms.value)
        worth = self._gain(size) >= self._goal
        self.ranks = np.array([size] if worth else [], "int64")
        # As for the exact test: from where rows that are right nearly always pass.
        ranks = np.union1d(spaced(np.arange(1, size + 1)), self.ranks) if worth else ()
        for at, rank in enumerate(ranks):
            if self._gain(rank) >= 2 * self._goal:
                self.ranks = ranks[at:]
                break

    @property
    def needed(self) -> int:
        """About how many units are worth a test, if all are like these."""
        copies, size = 1.0, len(self._terms.value)
        while self._gain(size, copies) < self._goal:
            copies *= 1.02
        return math.ceil(copies * self._count)

    def passes(self, rank: int) -> bool:
        """Returns whether the first `rank` rows show it."""
        return self._shows(rank, self._accuracy)

    def lower(self, rank: int) -> float:
        """Returns the lower bound of the mean of the first `rank` rows."""
        low, high = self._accuracy, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            if self._shows(rank, middle):
                low = middle
            else:
                high = middle
        return low

    def _shows(self, rank: int, accuracy: float) -> bool:
        size, value, _ = self._sums(rank)
        bet = self._bet(rank, accuracy)
        capital = np.cumsum(np.log1p(bet * (value - accuracy * size)))
        return bool(capital.max() >= self._goal)

    def _sums_of_units(self, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns of each unit of the first rows how many it has, and their sums."""
        rows = self._row[inside := self._row < rank]
        unit = self._unit[inside]
        start = np.flatnonzero(np.r_[True, unit[1:] != unit[:-1]])
        columns = (np.ones(rank), self._terms.value[rows], self._terms.least[rows])
        return tuple(np.add.reduceat(column, start) for column in columns)

    def _bet(self, rank: int, accuracy: float, copies: float = 1.0) -> float:
        size, _, least = self._sums(rank)
        terms = self._terms
        of_one = accuracy * terms.of_right + (1 - accuracy) * terms.of_wrong
        of_one -= accuracy**2
        of_two = _ALIKE * accuracy * (1 - accuracy)
        variance = copies * float((size * of_one + size * (size - 1) * of_two).sum())
        worst = float((least - accuracy * size).min())
        return min(math.sqrt(2 * self._goal / variance), _LARGEST_BET / -worst)

    def _gain(self, rank: int, copies: float = 1.0) -> float:
        """Returns what rows of which all are right add to log capital, about."""
        bet, size = self._bet(rank, self._accuracy, copies), self._sums(rank)[0]
        ahead = size * (1 - self._accuracy)
        squares = size * (self._terms.of_right - 1) + ahead**2
        return copies * float((bet * ahead - bet**2 / 2 * squares).sum())


def suitable_test(
    terms: Terms, accuracy: float, error: float, *, grouped: bool
) -> BinomialTest | BettingTest:
    """Returns the test of terms: the exact one where there is one."""
    if terms.ends is not None and not grouped:
        return BinomialTest(terms, accuracy, error)
    # The same rows give the same threshold.
    return BettingTest(terms, accuracy, error, np.random.default_rng(0))
