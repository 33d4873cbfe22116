"""Whether `AcceptanceThreshold` keeps its promise, and what that costs.

Four parts, each a name to pass to the script; without one, all:

- clean: simulated calibration sets of models that are calibrated, over-confident,
  under-confident, or wrong where they are surest;
- noisy: the same with noisy labels, or with rows that come in groups;
- sequences: what other choices of the ranks that are tested would accept;
- widths: how far below the accuracy four bounds are.

Writes one row for each setting to results/acceptance.csv, in place of the rows that the
part had there, and takes some minutes on one core:

    KERAS_BACKEND=torch python benchmarks/acceptance.py clean noisy sequences widths

`missed` is the share of sets whose threshold accepts, of all rows there are, less than
`accuracy` right; it should be at most 1 - confidence. `naive_missed` is the same of the
lowest threshold that reaches the accuracy on the set itself. `share` is the mean share
of all rows that is accepted, `oracle` the largest that could be, `none` the share of
sets of which nothing is accepted.
"""

import argparse
import io
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import scipy
from scipy.special import bdtr, betaincinv
from tqdm import tqdm

import keras_robust
from keras_robust._inputs.matrices import Correction, correction
from keras_robust.calibration._bins.events import Events
from keras_robust.calibration._deciding.bounds import (
    BettingTest,
    Terms,
    binomial_ranks,
)
from keras_robust.calibration._deciding.operating_point import operating_point
from keras_robust.noise import omission_matrix, symmetric_matrix

OUT = Path(__file__).parents[1] / "results" / "acceptance.csv"
CONFIDENCE = 0.95
SIZES = (50, 200, 1000, 5000)
NUM_CLASSES = (2, 9, 100)
SPREAD = {2: 4.0, 9: 5.0, 100: 6.0}  # of the logits: easy and hard rows
# By which the logits of a calibrated model are multiplied.
MODELS = {"calibrated": 1, "over-confident": 2, "under-confident": 0.5, "dip": 1}
NOISES = [
    (kind, rate) for kind in ("symmetric", "omission") for rate in (0.1, 0.2, 0.4)
]
POOL = 20_000
SETS, SHORT_SETS = 10_000, 200
# Half of the groups are wrong as a whole, or right.
ALIKE, GROUP_SIZE = 0.5, 5


class Population(NamedTuple):
    """All rows there are, the surest first.

    Attributes:
        prob: Probabilities of the true classes, shape `(POOL, K)`.
        top: The class that is predicted.
        right: The probability that it is the true one.
    """

    prob: np.ndarray
    top: np.ndarray
    right: np.ndarray

    def accuracy(self, share: np.ndarray) -> np.ndarray:
        """Returns the accuracy of the surest rows, of so large a share."""
        sums = np.r_[0.0, np.cumsum(self.right)] / POOL
        return np.interp(share, np.arange(POOL + 1) / POOL, sums) / share

    def oracle(self, accuracy: float) -> float:
        """Returns the largest share of rows of that accuracy."""
        shares = np.arange(1, POOL + 1) / POOL
        good = shares[self.accuracy(shares) >= accuracy]
        return float(good.max(initial=0.0))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns probabilities (..., K)."""
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def population(model: str, num_classes: int, seed: int = 0) -> Population:
    """Returns the rows of a model that orders them well but not perfectly."""
    rng = np.random.default_rng(seed)
    logits = SPREAD[num_classes] * rng.normal(size=(POOL, num_classes))
    prob = softmax(logits)
    seen = softmax(MODELS[model] * (logits + 0.5 * rng.normal(size=logits.shape)))
    top, row = seen.argmax(axis=-1), np.arange(POOL)
    order = np.argsort(-seen[row, top], kind="stable")
    prob, top = prob[order], top[order]
    if model == "dip":  # of the surest rows every fourth is wrong
        surest = slice(POOL // 50)
        other = (top[surest] + 1) % num_classes
        prob[surest] = 0.0
        prob[row[surest], top[surest]] = 0.75
        prob[row[surest], other] = 0.25
    return Population(prob, top, prob[row, top])


def of_sets(
    people: Population, accepted: np.ndarray, place: np.ndarray, accuracy: float
) -> dict[str, float]:
    """Returns what thresholds after so many of the sorted places (S, n) lead to."""
    row = np.arange(len(place))
    last = place[row, np.maximum(accepted, 1) - 1]
    ends = np.c_[place, np.full(len(place), 1.0)]
    after = ends[row, accepted]
    share = np.where(accepted == place.shape[1], 1.0, (last + after) / 2)
    share = np.where(accepted == 0, 0.0, share)
    missed = (accepted > 0) & (people.accuracy(np.maximum(share, 1e-9)) < accuracy)
    return {
        "missed": missed.mean(),
        "share": share.mean(),
        "none": (accepted == 0).mean(),
    }


def exact(
    hit: np.ndarray, rate: float, agree: float = 1.0, error: float = 1 - CONFIDENCE
) -> np.ndarray:
    """Returns how many rows each set accepts, of hits (S, n) in order of confidence.

    The same as `operating_point` does for one set, for many at once.
    """
    ranks, _ = binomial_ranks(hit.shape[1], rate, error, agree)
    if not len(ranks):
        return np.zeros(len(hit), int)
    misses = np.cumsum(~hit, axis=1, dtype="int32")[:, ranks - 1]
    passes = bdtr(misses, ranks, 1 - rate) <= error
    return np.r_[0, ranks][np.minimum.accumulate(passes, axis=1).sum(axis=1)]


def naive(right: np.ndarray, accuracy: float) -> np.ndarray:
    """Returns how many rows reach the accuracy on the set itself, at most."""
    rank = np.arange(1, right.shape[1] + 1)
    good = np.cumsum(right, axis=1) >= accuracy * rank
    return np.where(good, rank, 0).max(axis=1)


def batches(sets: int, size: int) -> Iterator[int]:
    """Yields how many sets to simulate at once."""
    step = max(1, 2_000_000 // size)
    yield from (min(step, sets - start) for start in range(0, sets, step))


def mean_of(parts: list[dict], counts: list[int]) -> dict[str, float]:
    """Returns the mean of parts that stand for so many sets."""
    frame = pd.DataFrame(parts)
    return dict(zip(frame, np.average(frame, axis=0, weights=counts)))


def clean(sets: int) -> Iterator[dict]:
    """Yields a row for each model and size, with true labels."""
    for num_classes in NUM_CLASSES:
        for model in MODELS:
            people = population(model, num_classes)
            for size in SIZES:
                for accuracy in (0.9, 0.95) if size > 58 else (0.9,):
                    rng = np.random.default_rng(size)
                    parts, counts = [], list(batches(sets, size))
                    for count in counts:
                        place = np.sort(rng.random((count, size)), axis=1)
                        right = people.right[(place * POOL).astype("int32")]
                        right = rng.random((count, size)) < right
                        found = of_sets(people, exact(right, accuracy), place, accuracy)
                        chosen = naive(right, accuracy)
                        other = of_sets(people, chosen, place, accuracy)
                        parts.append(found | {"naive_missed": other["missed"]})
                    yield {
                        **about(model, num_classes, size, accuracy, sets, people),
                        "labels": "clean",
                        "bound": "binomial",
                        **mean_of(parts, counts),
                    }


def about(
    model: str,
    num_classes: int,
    size: int,
    accuracy: float,
    sets: int,
    people: Population,
) -> dict:
    """Returns what every row says of its setting."""
    return {
        "model": model,
        "num_classes": num_classes,
        "rows": size,
        "accuracy": accuracy,
        "confidence": CONFIDENCE,
        "sets": sets,
        "oracle": people.oracle(accuracy),
    }


def noisy(sets: int) -> Iterator[dict]:
    """Yields a row for each kind of noise, and for rows in groups."""
    accuracy = 0.9
    for model in ("calibrated", "over-confident", "under-confident"):
        for num_classes in NUM_CLASSES:
            people = population(model, num_classes)
            for size in (1000, 5000):
                one_by_one = sets * 1000 // (3 * size + 2000)  # takes long
                for kind, rate in NOISES:
                    if kind == "symmetric" and num_classes == 2 and rate == 0.4:
                        continue  # nearly chance
                    matrix = matrix_of(kind, num_classes, rate)
                    some = sets if kind == "symmetric" else one_by_one
                    yield {
                        **about(model, num_classes, size, accuracy, some, people),
                        "labels": kind,
                        "rate": rate,
                        **one_noise(people, kind, matrix, size, accuracy, some),
                    }
                yield {
                    **about(model, num_classes, size, accuracy, one_by_one, people),
                    "labels": "grouped",
                    "bound": "betting",
                    **grouped(people, size, accuracy, one_by_one),
                }


def matrix_of(kind: str, num_classes: int, rate: float) -> np.ndarray:
    """Returns the matrix of a noise."""
    make = {"symmetric": symmetric_matrix, "omission": omission_matrix}[kind]
    return make(num_classes, rate)


def one_noise(
    people: Population,
    kind: str,
    matrix: np.ndarray,
    size: int,
    accuracy: float,
    sets: int,
) -> dict[str, float]:
    """Returns what noisy labels lead to."""
    rng = np.random.default_rng(size)
    undone = correction("acceptance", matrix)
    given = np.cumsum(people.prob @ matrix, axis=1)
    agree = np.diff(np.c_[np.zeros(POOL), given], axis=1)
    agree = agree[np.arange(POOL), people.top]
    low, high = undone.ends
    parts, counts = [], list(batches(sets, size))
    for count in counts:
        place = np.sort(rng.random((count, size)), axis=1)
        row = (place * POOL).astype("int32")
        if kind == "symmetric":
            hit = rng.random((count, size)) < agree[row]
            rate = (accuracy - low) / (high - low)
            accepted = exact(hit, rate, float(matrix[0, 0]))
        else:
            accepted = np.array(
                [
                    one_set(people, undone, given, *one, accuracy, rng)
                    for one in zip(place, row)
                ]
            )
        parts.append(of_sets(people, accepted, place, accuracy))
    bound = "binomial" if kind == "symmetric" else "betting"
    return {"bound": bound, **mean_of(parts, counts)}


def one_set(
    people: Population,
    undone: Correction,
    given: np.ndarray,
    place: np.ndarray,
    row: np.ndarray,
    accuracy: float,
    rng: np.random.Generator,
) -> int:
    """Returns how many rows a set with noisy labels accepts."""
    upper = given[row]
    label = (rng.random((len(row), 1)) * upper[:, -1:] >= upper).sum(axis=1)
    order = rng.permutation(len(row))  # as rows come
    top = people.top[row][order]
    correct = undone.inverse[label[order], top]
    events = events_of(1 - place[order], correct, top, undone.ends)
    return operating_point(events, accuracy, CONFIDENCE, undone).num_accepted


def events_of(
    confidence: np.ndarray,
    correct: np.ndarray,
    top: np.ndarray,
    ends: tuple[float, float] | None = None,
) -> Events:
    """Returns rows as the package takes them."""
    weight = np.ones(len(confidence))
    return Events(confidence, correct, weight, np.dtype("float64"), top, ends)


def grouped(
    people: Population, size: int, accuracy: float, sets: int
) -> dict[str, float]:
    """Returns what rows in groups lead to, half of which go wrong together."""
    rng = np.random.default_rng(size)
    accepted, places = [], []
    for _ in range(sets):
        members = 1 + rng.poisson(GROUP_SIZE - 1, 2 * size // GROUP_SIZE)
        group = np.repeat(np.arange(len(members)), members)[:size]
        place, luck = rng.random(size), rng.random(size)
        together = (rng.random(len(members)) < ALIKE)[group]
        luck = np.where(together, rng.random(len(members))[group], luck)
        right = luck < people.right[(place * POOL).astype("int32")]
        top = np.zeros(size, "int64")
        events = events_of(1 - place, right.astype("float64"), top)
        point = operating_point(events, accuracy, CONFIDENCE, None, group)
        accepted.append(point.num_accepted)
        places.append(np.sort(place))
    return of_sets(people, np.array(accepted), np.array(places), accuracy)


def sequences(sets: int) -> Iterator[dict]:
    """Yields what the ranks of the package accept, all ranks, and several starts."""
    size, error, sets = 1000, 1 - CONFIDENCE, sets // 5
    for num_classes in NUM_CLASSES:
        people = population("calibrated", num_classes)
        for accuracy in (0.9, 0.95):
            rng = np.random.default_rng(size)
            place = np.sort(rng.random((sets, size)), axis=1)
            right = rng.random(place.shape) < people.right[(place * POOL).astype(int)]
            ranks, first = binomial_ranks(size, accuracy, error)
            every = np.arange(first, size + 1)
            starts = np.unique(np.searchsorted(ranks, [first, 2 * first, 4 * first]))
            for name, tested, begin in (
                ("those of the package", ranks, [0]),
                ("every rank", every, [0]),
                ("three starts", ranks, starts),
            ):
                levels = np.zeros(len(tested))
                levels[begin] = error / len(begin)
                accepted = in_turn(right, tested, levels, accuracy)
                yield {
                    **about("calibrated", num_classes, size, accuracy, sets, people),
                    "labels": "clean",
                    "bound": "binomial",
                    "sequence": name,
                    **of_sets(people, accepted, place, accuracy),
                }


def in_turn(
    hit: np.ndarray, ranks: np.ndarray, levels: np.ndarray, rate: float
) -> np.ndarray:
    """Returns how many rows each set accepts, if the rank tests begin at levels.

    A test that passes hands its level on to the next (Wiens, 2003).
    """
    misses = np.cumsum(~hit, axis=1, dtype="int32")
    accepted, level = np.zeros(len(hit), int), np.zeros(len(hit))
    for rank, own in zip(ranks, levels):
        level += own
        passes = bdtr(misses[:, rank - 1], rank, 1 - rate) <= level + 1e-12
        accepted = np.where(passes, rank, accepted)
        level = np.where(passes, level, 0.0)
    return accepted


def widths(sets: int) -> Iterator[dict]:
    """Yields how far below a true accuracy of 0.97 the bounds are, on average."""
    sets, accuracy, num_classes = max(sets // 200, 5), 0.97, 9
    for kind, rate in [("clean", 0.0), *NOISES]:
        matrix = np.eye(9) if kind == "clean" else matrix_of(kind, num_classes, rate)
        undone = correction("acceptance", matrix)
        for size in (200, 1000, 5000):
            rng, found = np.random.default_rng(size), []
            for _ in range(sets):
                top = rng.integers(0, num_classes, size)
                other = (top + rng.integers(1, num_classes, size)) % num_classes
                true = np.where(rng.random(size) < accuracy, top, other)
                upper = matrix.cumsum(axis=1)[true]
                label = (rng.random((size, 1)) * upper[:, -1:] >= upper).sum(axis=1)
                found.append(bounds(undone.inverse[label, top], undone, top))
            for bound, values in pd.DataFrame(found).items():
                yield {
                    "labels": kind,
                    "rate": rate,
                    "rows": size,
                    "accuracy": accuracy,
                    "confidence": CONFIDENCE,
                    "sets": sets,
                    "num_classes": num_classes,
                    "bound": bound,
                    "width": accuracy - values.mean(),
                }


def bounds(value: np.ndarray, undone: Correction, top: np.ndarray) -> dict[str, float]:
    """Returns lower bounds of the mean of values, by name."""
    error, (low, high) = 1 - CONFIDENCE, undone.ends
    size, part = len(value), (value.mean() - low) / (high - low)
    grid = np.linspace(0, 1, 2001)[1:-1]  # means, of values in [0, 1]

    def least(p_value: np.ndarray) -> float:
        shown = grid[(p_value <= error) & (grid < part)]
        return low + (high - low) * float(shown.max(initial=0.0))

    wrong = np.maximum(1 - part, 1e-12)
    divergence = wrong * np.log(wrong / (1 - grid)) + part * np.log(part / grid)
    bentkus = np.e * bdtr(np.ceil(size * wrong), size, 1 - grid)
    spread = np.sqrt(2 * value.var(ddof=1) * np.log(2 / error) / size)
    bernstein = value.mean() - spread
    bernstein -= 7 * (high - low) * np.log(2 / error) / (3 * (size - 1))
    matrix, inverse = undone
    squares = matrix @ inverse**2
    right = np.diag(squares)
    terms = Terms(
        value,
        inverse.min(axis=0)[top],
        np.arange(size),
        float(right[top].mean()),
        float(((squares.sum(axis=0) - right) / (len(matrix) - 1))[top].mean()),
    )
    betting = BettingTest(terms, 0.01, error, np.random.default_rng(0)).lower(size)
    found = {
        "Hoeffding-Bentkus": least(np.minimum(np.exp(-size * divergence), bentkus)),
        "empirical Bernstein": bernstein,
        "betting": betting,
    }
    if len(np.unique(value.round(9))) < 3 and np.ptp(right) < 1e-9:
        hits = round(size * part)
        share = float(betaincinv(hits, size - hits + 1, error))
        found["binomial"] = low + (high - low) * share
    return found


def versions() -> dict[str, str]:
    """Returns what the rows depend on."""
    return {
        "keras": keras.__version__,
        "keras_robust": keras_robust.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }


PARTS = {"clean": clean, "noisy": noisy, "sequences": sequences, "widths": widths}


def main() -> None:
    """Simulates, writes the rows and shows their summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--short", action="store_true", help="few sets, to try it")
    options = parser.parse_args()
    sets = SHORT_SETS if options.short else SETS
    for part in options.parts or PARTS:
        made = PARTS[part](sets)
        rows = pd.DataFrame(tqdm(made, part)).assign(part=part, seed=0, **versions())
        others = pd.DataFrame()
        if options.out.exists():
            others = pd.read_csv(options.out, dtype=str)
            others = others[others["part"] != part]
        rounded = rows.to_csv(index=False, float_format="%.4g")
        as_text = pd.read_csv(io.StringIO(rounded), dtype=str)
        pd.concat([others, as_text]).to_csv(options.out, index=False)
        shown = [
            name for name in ("missed", "share", "oracle", "width") if name in rows
        ]
        keys = ["labels", "rate", "bound", "sequence", "rows"]
        keys = [name for name in keys if name in rows]
        summary = rows.groupby(keys, dropna=False)[shown].mean().round(4)
        sys.stdout.write(f"{summary.to_string()}\n")


if __name__ == "__main__":
    main()
