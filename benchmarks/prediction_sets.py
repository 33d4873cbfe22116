"""How often `calibration.PredictionSets` hold the true class, and what that costs.

Draws calibration sets over and over from a population of 100,000 rows, of which the
probabilities that are predicted are the true ones, or sharper (over-confident) or
flatter (under-confident) than they are. The threshold is that of `PredictionSets.fit`;
its coverage is the share of the whole population whose true class is in the set. Four
parts, each a name to pass to the script; without one, all:

- clean: true labels;
- noisy: noisy labels with their matrix; and for comparison the same noisy labels taken
  as they are (`naive`), and with `conservative=True`;
- groups: sentences whose words are alike, with `groups` and without;
- per_class: a threshold for each class, of which the least covered counts.

Writes one row for each setting to results/prediction_sets.csv, in place of the rows
that the part had there; half an hour on one core, seconds with --short:

    KERAS_BACKEND=torch python benchmarks/prediction_sets.py

`sets` is the number of calibration sets: 10,000, half as many with noisy labels, fewer
of large ones.
`coverage` is the mean over them, `standard_error` that of the mean, `scatter` their
standard deviation, `size` the mean number of classes in a set; `exact_coverage` the
expectation that theory has for scores that are never equal, `exact_size` the mean size
at the threshold that just covers what was asked, were the population known. `inside`
is the share of calibration sets of which 1,000 new rows lie in the band that
`evaluate` shows. `slack` is as `slack_`.
"""

import argparse
import functools
import importlib.metadata
import io
import itertools
import math
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

import keras_robust
from keras_robust.calibration import PredictionSets
from keras_robust.calibration._deciding.set_coverage import beta_binomial_interval
from keras_robust.noise import omission_matrix, symmetric_matrix

OUT = Path(__file__).parents[1] / "results" / "prediction_sets.csv"
COVERAGE = 0.9
MODELS = {"calibrated": 1.0, "over-confident": 2.0, "under-confident": 0.5}
CLASSES = (2, 9, 100)
ROWS = (50, 200, 1000, 5000)
METHODS = ("lac", "aps", "raps")
NOISES = {"symmetric": symmetric_matrix, "omission": omission_matrix}
RATES = (0.1, 0.2, 0.4)
NEW_ROWS = 1000
SETS = 10_000
# So many with noisy labels, and of this share of them two other ways too.
NOISY_SETS, COMPARED = 5_000, 0.25
SEED = 0


class Population(NamedTuple):
    """Rows to draw from, and the scores that their classes have."""

    prob: np.ndarray
    true: np.ndarray
    of_true: np.ndarray  # sorted
    of_all: np.ndarray  # sorted

    @classmethod
    def of(cls, num_classes: int, model: str, method: str, size: int) -> "Population":
        """Draws the rows: the same ones for every method and model."""
        rng = np.random.default_rng(SEED)
        real = rng.dirichlet(np.full(num_classes, min(0.3, 10 / num_classes)), size)
        true = drawn(real, rng)
        prob = np.maximum(real, 1e-12) ** MODELS[model]
        prob /= prob.sum(axis=1, keepdims=True)
        scores = PredictionSets(COVERAGE, method=method)._score.scores(prob)
        of_true = scores[np.arange(size), true]
        return cls(prob, true, np.sort(of_true), np.sort(scores, axis=None))

    def at(self, threshold: float) -> tuple[float, float]:
        """Returns the coverage of sets at a threshold, and their mean size."""
        counts = [np.searchsorted(x, threshold, "right") for x in self[2:]]
        return counts[0] / len(self.true), counts[1] / len(self.true)

    def exact_size(self) -> float:
        """Returns the mean size at the threshold that just covers enough."""
        place = math.ceil(COVERAGE * len(self.true)) - 1
        return self.at(self.of_true[place])[1]


def drawn(prob: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a class for each row of probabilities."""
    above = prob.cumsum(axis=1) < rng.random((len(prob), 1))
    return above.sum(axis=1).clip(max=prob.shape[1] - 1)


def settings(methods: tuple, short: bool) -> list[tuple]:
    """Returns all of (number of classes, model, method, rows)."""
    classes, rows = (CLASSES[:2], ROWS[1:2]) if short else (CLASSES, ROWS)
    return list(itertools.product(classes, MODELS, methods, rows))


def about(setting: tuple, sets: int) -> dict[str, Any]:
    """Returns the columns that say what a row is of."""
    names = ("num_classes", "model", "method", "rows")
    return {**dict(zip(names, setting)), "sets": sets, "seed": SEED}


def summary(name: str, pairs: list) -> dict[str, float]:
    """Returns what coverages and sizes are over calibration sets, as columns."""
    if not pairs:
        return {}
    coverage, size = np.array(pairs).T
    name = f"{name}_" if name else ""
    return {
        f"{name}coverage": coverage.mean(),
        f"{name}standard_error": coverage.std() / math.sqrt(len(coverage)),
        f"{name}scatter": coverage.std(),
        f"{name}size": size.mean(),
    }


def clean(short: bool) -> Iterator[dict]:
    """Yields rows of true labels."""
    for setting in tqdm(settings(METHODS, short), "clean"):
        num_classes, _, method, rows = setting
        population = populations(*setting[:3], short)
        rng = np.random.default_rng([SEED, rows])
        sets = number_of(num_classes * rows, short, 500_000_000)
        pairs = []
        for _ in range(sets):
            where = rng.integers(len(population.true), size=rows)
            made = PredictionSets(COVERAGE, method=method)
            made.fit(population.true[where], population.prob[where])
            pairs.append(population.at(made.threshold_[0]))
        low, high = beta_binomial_interval(COVERAGE, rows, NEW_ROWS)
        coverage = np.array(pairs)[:, 0]
        found = rng.binomial(NEW_ROWS, coverage) / NEW_ROWS
        yield {
            **about(setting, sets),
            **summary("", pairs),
            "exact_coverage": math.ceil((rows + 1) * COVERAGE) / (rows + 1),
            "exact_size": population.exact_size(),
            "inside": ((found >= low) & (found <= high)).mean(),
        }


def noisy(short: bool) -> Iterator[dict]:
    """Yields rows of noisy labels: with the matrix, without, and on the safe side."""
    # Of two classes the sets of all models are the same.
    chosen = [
        (num_classes, model, *others)
        for num_classes, model, *others in settings(METHODS[:2], short)
        if num_classes > 2 or model == "calibrated"
    ]
    for setting in tqdm(chosen, "noisy"):
        for noise, rate in itertools.product(NOISES, RATES):
            if setting[2] == "lac" or rate == 0.2:
                yield of_noise(setting, noise, rate, short)


def of_noise(setting: tuple, noise: str, rate: float, short: bool) -> dict:
    """Returns the row of one noise."""
    num_classes, _, method, rows = setting
    matrix = NOISES[noise](num_classes, rate)
    population = populations(*setting[:3], short)
    rng = np.random.default_rng([SEED, rows])
    sets = min(NOISY_SETS, number_of(num_classes * rows, short, 20_000_000))
    ways = {
        "": {"noise_matrix": matrix},
        "naive": {},
        "conservative": {"noise_matrix": matrix, "conservative": True},
    }
    pairs, slack = {way: [] for way in ways}, math.nan
    for place in range(sets):
        where = rng.integers(len(population.true), size=rows)
        given = drawn(matrix[population.true[where]], rng)
        for way, options in ways.items():
            if way and place >= COMPARED * sets:
                continue
            made = PredictionSets(COVERAGE, method=method, **options)
            try:
                made.fit(given, population.prob[where])
            except ValueError:  # too few rows to be on the safe side
                continue
            pairs[way].append(population.at(made.threshold_[0]))
            slack = slack if way else made.slack_
    row = {"noise": noise, "rate": rate, "slack": slack, **about(setting, sets)}
    for way, found in pairs.items():
        row |= summary(way, found)
    return {**row, "exact_size": population.exact_size()}


def groups(short: bool) -> Iterator[dict]:
    """Yields rows of sentences: some hard, some easy, of 1 to 60 words."""
    rng = np.random.default_rng(SEED)
    sentences = 500 if short else 20_000
    length = rng.integers(1, 61, sentences)
    # The longer a sentence, the surer the model is of all its words.
    hard = np.exp(rng.normal(scale=0.7, size=sentences) - length / 30)
    sentence = np.repeat(np.arange(sentences), length)
    prob = rng.dirichlet(np.ones(9), len(sentence)) ** (3 / hard[sentence])[:, None]
    prob[:, 0] *= 20
    prob /= prob.sum(axis=1, keepdims=True)
    true = drawn(prob, rng)
    # Each sentence counts 1, whatever its length.
    share = 1 / (length[sentence] * sentences)
    scores = 1 - prob[np.arange(len(true)), true]
    order = np.argsort(scores)
    covered = np.append(0, share[order].cumsum())
    of_true, of_all = scores[order], np.sort(1 - prob, axis=None)
    first = np.append(0, np.cumsum(length))
    sets = number_of(1, short, SETS)
    for rows in tqdm((20, 50, 200), "groups"):
        pairs = {"": [], "naive": []}
        for _ in range(sets):
            chosen = rng.integers(sentences, size=rows)
            where = np.concatenate([np.arange(first[g], first[g + 1]) for g in chosen])
            member = np.repeat(np.arange(rows), length[chosen])
            for way, group in zip(pairs, (member, None)):
                made = PredictionSets(COVERAGE)
                made.fit(true[where], prob[where], groups=group)
                limit = made.threshold_[0]
                size = np.searchsorted(of_all, limit, "right") / len(prob)
                place = np.searchsorted(of_true, limit, "right")
                pairs[way].append((covered[place], size))
        setting = (9, "sentences", "lac", rows)
        row = {way: summary(way, found) for way, found in pairs.items()}
        yield {**about(setting, sets), **row[""], **row["naive"]}


def per_class(short: bool) -> Iterator[dict]:
    """Yields rows of a threshold for each class: of all, and of the least covered."""
    num_classes = 9
    rng = np.random.default_rng(SEED)
    size = 5_000 if short else 100_000
    # One class in four is of the first, one in forty of the last.
    real = rng.dirichlet(0.3 * np.geomspace(2, 0.2, num_classes), size)
    true, prob = drawn(real, rng), np.maximum(real, 1e-12)
    prob /= prob.sum(axis=1, keepdims=True)
    of_true = [np.sort(1 - prob[true == k, k]) for k in range(num_classes)]
    cases = itertools.product((500, 2000, 5000), (("none", 0.0), ("symmetric", 0.2)))
    for rows, (noise, rate) in tqdm(list(cases), "per_class"):
        matrix = symmetric_matrix(num_classes, rate)
        sets, found, always = number_of(rows, short, 10_000_000), [], []
        for _ in range(sets):
            where = rng.integers(size, size=rows)
            given = drawn(matrix[true[where]], rng)
            made = PredictionSets(
                COVERAGE, per_class=True, noise_matrix=matrix if rate else None
            )
            with warnings.catch_warnings():  # of classes with too few rows
                warnings.simplefilter("ignore", UserWarning)
                made.fit(given, prob[where])
            limits = made.threshold_
            found.append(
                [
                    np.searchsorted(scores, limit, "right") / len(scores)
                    for scores, limit in zip(of_true, limits)
                ]
            )
            always.append(np.isinf(limits).mean())
        means = np.mean(found, axis=0)
        yield {
            **about((num_classes, "calibrated", "lac", rows), sets),
            "noise": noise,
            "rate": rate,
            "coverage": means.mean(),
            "least": means.min(),
            "always_in": np.mean(always),
        }


@functools.lru_cache(maxsize=1)
def populations(num_classes: int, model: str, method: str, short: bool) -> Population:
    """Returns the rows to draw from; the last ones are kept."""
    return Population.of(num_classes, model, method, 2_000 if short else 100_000)


def number_of(scores: int, short: bool, most: int) -> int:
    """Returns how many calibration sets to draw, of so many scores each."""
    return 4 if short else max(200, min(SETS, most // scores))


def versions() -> dict[str, str]:
    """Returns what the rows depend on."""
    return {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "keras_robust": keras_robust.__version__,
        "numpy": np.__version__,
        "scipy": importlib.metadata.version("scipy"),
        "python": platform.python_version(),
    }


PARTS = {"clean": clean, "noisy": noisy, "groups": groups, "per_class": per_class}


def main() -> None:
    """Simulates, and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    parser.add_argument("--short", action="store_true", help="a few sets, for tests")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    for part in args.parts or PARTS:
        rows = pd.DataFrame(PARTS[part](args.short)).assign(part=part, **versions())
        rounded = rows.to_csv(index=False, float_format="%.5g")
        made = pd.read_csv(io.StringIO(rounded), dtype=str)
        if args.out.exists():
            others = pd.read_csv(args.out, dtype=str)
            made = pd.concat([others[others["part"] != part], made])
        made.to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
