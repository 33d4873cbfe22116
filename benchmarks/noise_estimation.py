"""How far the estimates of label noise in `noise` are from the truth.

Four parts, each a name to pass to the script; without one, all:

- simulated: `estimate_rate` and `estimate_matrix` on models of known faults (clean
  errors, too little or too much confidence);
- digits: the same on a small Keras model of scikit-learn's digits, cross-validated;
- training: `NoiseAwareGamma` while it trains networks of three sizes on digits and on
  the words of CoNLL-2003, most of which are no entity;
- pairs: `matrix_from_pairs` on so many rows that were looked at again.

Writes one row for each estimate to results/noise_estimation.csv, in place of the rows
that the part had there:

    KERAS_BACKEND=jax python benchmarks/noise_estimation.py simulated digits
    KERAS_BACKEND=torch python benchmarks/noise_estimation.py training pairs

`error` is the estimated less the realised rate; for a matrix, the mean over its rows of
the total variation distance to the true row, and in the part `pairs` the mean absolute
error of its entries, rows weighted by how frequent the class is. Where a method
refuses, it is empty.
"""

import importlib.metadata
import io
import platform
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

import keras_robust
from keras_robust import GammaCE
from keras_robust.callbacks import NoiseAwareGamma
from keras_robust.noise import (
    estimate_matrix,
    estimate_rate,
    flip_labels,
    matrix_from_pairs,
    omission_matrix,
    pair_matrix,
    symmetric_matrix,
)

OUT = Path(__file__).parents[1] / "results" / "noise_estimation.csv"
METHODS = (
    ("agreement", 0.0),
    ("agreement", 0.5),
    ("agreement", 0.75),
    ("agreement", 0.9),
    ("anchor", 0.97),
    ("confident_joint", None),
)
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
SEEDS = (0, 1)
TEMPERATURES = {"calibrated": 1.0, "under-confident": 0.5, "over-confident": 2.0}
# How far the classes overlap, and what the model gets wrong of their log-odds.
QUALITIES = {"good": (0.8, 0.0), "poor": (1.0, 2.0)}
MAJORITY = 0.83  # the share of tokens outside entities in CoNLL-2003
ROWS = 6_000
EPOCHS = (1, 5, 30)
TRAINED_RATES = (0.0, 0.2, 0.4, 0.6)
TRAINED_SEEDS = range(5)
UNITS = (16, 64, 256)
BUCKETS = 2**12  # of hashed words and endings
PAIRS = (25, 50, 100, 200, 500)
PAIR_NOISES = {
    "omission": omission_matrix(9, 0.3),
    "symmetric": symmetric_matrix(9, 0.2),
    "pair": pair_matrix(9, 0.2),
}


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns probabilities (..., K)."""
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def noise_settings(num_classes: int) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yields the noises to measure: well below chance, and pair noise below a half."""
    for rate in RATES:
        if rate < (num_classes - 1) / num_classes - 0.05:
            yield "symmetric", rate, symmetric_matrix(num_classes, rate)
        if num_classes > 2 and 0 < rate < 0.5:
            yield "pair", rate, pair_matrix(num_classes, rate)


def measure(true: Any, given: Any, prob: Any, matrix: Any, about: dict) -> list[dict]:
    """Returns one row for each method and quantity."""
    about["model_error"] = float((prob.argmax(-1) != true).mean())
    about["rows"] = len(true)
    realised = float((given != true).mean())
    rows = []
    for method, quantile in METHODS:
        how = {"method": method, "quantile": quantile}
        try:
            rate = estimate_rate(given, prob, **how)
            row = {"truth": realised, "estimate": rate, "error": rate - realised}
        except ValueError:
            row = {"truth": realised}
        rows.append({"quantity": "rate", **how, **about, **row})
        if quantile in (0.0, 0.9):
            continue
        try:
            estimate = estimate_matrix(given, prob, **how)
            row = {"error": np.abs(estimate.matrix - matrix).sum(axis=1).mean() / 2}
        except ValueError:
            row = {}
        rows.append({"quantity": "matrix", **how, **about, **row})
    return rows


def simulated() -> Iterator[dict]:
    """Yields rows of simulated models: Gaussian classes, noisy posteriors, faults."""
    for num_classes in (2, 9):
        for majority in (1 / num_classes, MAJORITY):
            for noise, rate, matrix in noise_settings(num_classes):
                for seed in SEEDS:
                    for quality in QUALITIES:
                        setting = (num_classes, majority, matrix, quality, seed)
                        true, given, posterior = simulate(*setting)
                        for name, temperature in TEMPERATURES.items():
                            about = {
                                "data": "simulated",
                                "model": f"{quality}, {name}",
                                "num_classes": num_classes,
                                "majority": majority,
                                "noise": noise,
                                "rate": rate,
                                "seed": seed,
                            }
                            prob = softmax(temperature * np.log(posterior))
                            yield from measure(true, given, prob, matrix, about)


def simulate(
    num_classes: int, majority: float, matrix: np.ndarray, quality: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns true and given labels, and what a model makes of the noisy posterior."""
    rng = np.random.default_rng(seed)
    overlap, wobble = QUALITIES[quality]
    prior = np.full(num_classes, (1 - majority) / (num_classes - 1))
    prior[0] = majority
    means = rng.normal(size=(num_classes, 12))
    true = rng.choice(num_classes, ROWS, p=prior)
    x = means[true] + overlap * rng.normal(size=(ROWS, 12))
    distance = ((x[:, None] - means) ** 2).sum(axis=-1)
    scores = np.log(prior) - distance / (2 * overlap**2)
    clean = softmax(scores + wobble * rng.normal(size=scores.shape))
    noisy = np.log(np.maximum(clean @ matrix, 1e-6))
    given = flip_labels(true, matrix, seed=rng).labels
    return true, given, softmax(noisy + 0.05 * rng.normal(size=noisy.shape))


def digits() -> Iterator[dict]:
    """Yields rows of a Keras model on digits, and on 8 and 9 against all others."""
    x, true = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    for labels in (true, np.maximum(true - 7, 0)):
        num_classes, majority = int(labels.max()) + 1, (labels == 0).mean()
        for noise, rate, matrix in noise_settings(num_classes):
            for seed in SEEDS:
                given = flip_labels(labels, matrix, seed=seed).labels
                after = cross_validated(x, given, num_classes, seed)
                for epochs, prob in after.items():
                    about = {
                        "data": "digits",
                        "model": f"{epochs} epochs",
                        "num_classes": num_classes,
                        "majority": majority,
                        "noise": noise,
                        "rate": rate,
                        "seed": seed,
                    }
                    yield from measure(labels, given, prob, matrix, about)


def cross_validated(
    x: np.ndarray, given: np.ndarray, num_classes: int, seed: int
) -> dict[int, np.ndarray]:
    """Returns out-of-sample probabilities after each of EPOCHS."""
    keras.utils.set_random_seed(seed)
    prob = {epochs: np.zeros((len(x), num_classes)) for epochs in EPOCHS}
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for train, test in folds.split(x, given):
        layers = [
            keras.Input(x.shape[1:]),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(num_classes),
        ]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(5e-3), loss)
        done = 0
        for epochs in EPOCHS:
            fit = {"epochs": epochs - done, "batch_size": 32, "verbose": 0}
            model.fit(x[train], given[train], **fit)
            done = epochs
            prob[epochs][test] = softmax(model.predict(x[test], verbose=0))
    return prob


def training() -> Iterator[dict]:
    """Yields rows of `NoiseAwareGamma`, used as the guide to the losses shows it."""
    for data, load, epochs in (("digits", digit_rows, 15), ("words", word_rows, 5)):
        x, true, held, first = load()
        num_classes = int(true.max()) + 1
        for units in UNITS:
            for rate in TRAINED_RATES:
                for seed in TRAINED_SEEDS:
                    noise = symmetric_matrix(num_classes, rate)
                    given = flip_labels(true, noise, seed=seed).labels
                    keras.utils.set_random_seed(seed)
                    model = keras.Sequential(first(units))
                    model.add(keras.layers.Dense(num_classes))
                    about = {
                        "quantity": "rate",
                        "method": "NoiseAwareGamma",
                        "data": data,
                        "model": f"{units} units, {epochs} epochs",
                        "num_classes": num_classes,
                        "majority": np.bincount(true).max() / len(true),
                        "noise": "symmetric",
                        "rate": rate,
                        "seed": seed,
                        "truth": float((given != true).mean()),
                    }
                    yield about | aware(model, x, given, true, held, epochs)


def aware(
    model: keras.Model,
    x: np.ndarray,
    given: np.ndarray,
    true: np.ndarray,
    held: int,
    epochs: int,
) -> dict:
    """Trains on all but the last `held` rows; returns what the callback found."""
    callback = NoiseAwareGamma((x[-held:], given[-held:]), batch_size=1000)
    model.compile(keras.optimizers.Adam(5e-3), GammaCE(gamma=0.0, from_logits=True))
    how = {"epochs": epochs, "batch_size": 32 if len(x) < 5000 else 256, "verbose": 0}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = model.fit(x[:-held], given[:-held], callbacks=[callback], **how)
    predicted = model.predict(x[-held:], batch_size=1000, verbose=0).argmax(axis=-1)
    rate = callback.rate_
    found = {"first": history.history["noise_rate"][1], "estimate": rate}
    if rate is not None:
        truth = float((given != true).mean())
        found |= {"error": rate - truth, "standard_error": rate.standard_error}
        found["rows"] = rate.num_rows
    found["falling"] = any("still fell" in str(one.message) for one in caught)
    return found | {"model_error": float((predicted != true[-held:]).mean())}


def digit_rows() -> tuple[np.ndarray, np.ndarray, int, Any]:
    """Returns x, true labels, the number of held-out rows, and a network's start."""
    x, true = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(true))
    x, true = (x[order] / 16).astype("float32"), true[order]

    def first(units: int) -> list:
        return [keras.Input(x.shape[1:]), keras.layers.Dense(units, "relu")]

    return x, true, 797, first


def word_rows(sentences: int = 1500) -> tuple[np.ndarray, np.ndarray, int, Any]:
    """The same of words: each with its neighbours, its ending and its shape, hashed."""
    import tensorflow_datasets as tfds

    def bucket(kind: str, text: str) -> int:
        return zlib.crc32(f"{kind} {text}".encode()) % BUCKETS

    x, true = [], []
    for row in tfds.load("conll2003", split="train").take(sentences):
        words = [word.decode() for word in row["tokens"].numpy()]
        true += row["ner"].numpy().tolist()
        padded = ["", *words, ""]
        for before, word, after in zip(padded, words, padded[2:]):
            shape = "".join("Aa"[c.islower()] if c.isalpha() else c for c in word[:4])
            kinds = {"before": before.lower(), "word": word.lower()}
            kinds |= {"after": after.lower(), "end": word[-3:], "shape": shape}
            x.append([bucket(kind, text) for kind, text in kinds.items()])
    x, true = np.array(x, "int32"), np.array(true)

    def first(units: int) -> list:
        return [
            keras.Input(x.shape[1:], dtype="int32"),
            keras.layers.Embedding(BUCKETS, units // 4),
            keras.layers.Flatten(),
            keras.layers.Dense(units, "relu"),
        ]

    return x, true, len(x) // 3, first


def pairs() -> Iterator[dict]:
    """Yields rows of matrices of rows that were looked at again, as of words."""
    share = np.r_[MAJORITY, np.full(8, (1 - MAJORITY) / 8)]
    for noise, matrix in PAIR_NOISES.items():
        for size in PAIRS:
            for seed in range(50):
                rng = np.random.default_rng(seed)
                true = rng.choice(9, size, p=share)
                given = flip_labels(true, matrix, seed=rng).labels
                estimate = matrix_from_pairs(given, true, 9)
                off = np.abs(estimate.matrix - matrix).mean(axis=1)
                yield {
                    "quantity": "matrix",
                    "method": "matrix_from_pairs",
                    "data": "simulated",
                    "num_classes": 9,
                    "majority": MAJORITY,
                    "noise": noise,
                    "rate": 1 - matrix[1, 1],
                    "seed": seed,
                    "rows": size,
                    "error": share @ off,
                }


def versions() -> dict[str, str]:
    """Returns what the rows depend on."""
    backend = keras.backend.backend()
    return {
        "backend": backend,
        "keras": keras.__version__,
        "keras_robust": keras_robust.__version__,
        "cleanlab": importlib.metadata.version("cleanlab"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


PARTS = {
    "simulated": simulated,
    "digits": digits,
    "training": training,
    "pairs": pairs,
}


def main() -> None:
    """Measures, writes the rows and shows their summary."""
    for part in sys.argv[1:] or PARTS:
        rows = pd.DataFrame(PARTS[part]()).assign(part=part, **versions())
        rows["estimate"] = rows.get("estimate", pd.Series(dtype=float)).astype(float)
        others = pd.read_csv(OUT, dtype=str) if OUT.exists() else pd.DataFrame()
        if len(others):
            others = others[others["part"] != part]
        rounded = rows.to_csv(index=False, float_format="%.3g")
        rows_as_text = pd.read_csv(io.StringIO(rounded), dtype=str)
        pd.concat([others, rows_as_text]).to_csv(OUT, index=False)
        size = rows.assign(error=rows["error"].abs(), refused=rows["error"].isna())
        keys = ["quantity", "noise", "data", "method", "rate"]
        keys += {"pairs": ["rows"], "training": ["model"]}.get(part, ["quantile"])
        about = {"error": ["mean", "max"], "refused": "sum", "seed": "size"}
        sys.stdout.write(
            size.groupby(keys, dropna=False).agg(about).round(3).to_string() + "\n"
        )


if __name__ == "__main__":
    main()
