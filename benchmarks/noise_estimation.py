"""How far `noise.estimate_rate` and `noise.estimate_matrix` are from the truth.

Simulated models of known faults (clean errors, too little or too much confidence), and
a small Keras model on scikit-learn's digits, cross-validated. Writes one row for each
estimate to results/noise_estimation.csv:

    KERAS_BACKEND=jax python benchmarks/noise_estimation.py

`error` is the estimated less the realised rate; for a matrix, the mean over its rows of
the total variation distance to the true row. Where a method refuses, it is empty.
"""

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

import keras_robust
from keras_robust.noise import (
    estimate_matrix,
    estimate_rate,
    flip_labels,
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


def main() -> None:
    """Measures, writes the rows and shows their summary."""
    rows = pd.DataFrame([*simulated(), *digits()]).assign(**versions())
    rows.to_csv(OUT, index=False, float_format="%.3g")
    size = rows.assign(error=rows["error"].abs(), refused=rows["error"].isna())
    keys = ["quantity", "noise", "data", "method", "quantile", "rate"]
    about = {"error": ["mean", "max"], "refused": "sum", "seed": "size"}
    sys.stdout.write(
        size.groupby(keys, dropna=False).agg(about).round(3).to_string() + "\n"
    )


if __name__ == "__main__":
    main()
