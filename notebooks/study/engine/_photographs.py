"""CIFAR-10N: what rows that were looked at again make of people's labels."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tqdm

from engine._cache import kept
from engine._environment import environment
from engine._hidden_layer import OPTIONS, HiddenLayer, logits_of, scores
from engine._image_features import patch_features
from engine._images import read_cifar10n
from engine._rows import add_rows, read_rows
from keras_robust import GCE, ForwardCorrection, noise
from keras_robust._inputs import checks

LABELS = ("aggre", "random1", "worse")
WAYS = ("CE", "matrix", "corrected labels", "CE + the trusted")


def run_photographs(
    results: Any,
    *,
    labels: Iterable[str] = LABELS,
    seeds: int = 3,
    trusted: int = 500,
    train: int = 30_000,
    dev: int = 5_000,
    test: int = 10_000,
    words: int = 800,
    epochs: int = 8,
) -> pd.DataFrame:
    """Trains on the labels that people gave to photographs, and writes rows.

    A hidden layer on features that were learnt without labels (`patch_features`), as in
    the notebook on human noise: 512 units, dropout, AdamW, nothing tuned. The ways:
    `"CE"`, cross entropy; `"matrix"`, `ForwardCorrection` by `matrix_from_pairs` after
    three epochs of it; `"corrected labels"`, `LabelPosterior`; `"CE + the trusted"`,
    cross entropy with the rows that were looked at again among the training rows, the
    temperature from the same. Rows that are there are not made again.

    Args:
        results: Folder; the rows go into `study_photographs.csv`.
        labels: Whose labels: `"aggre"`, `"random1"`, `"worse"`, or others of
            `read_cifar10n`. Defaults to these three.
        seeds: Number of seeds, from 0. Defaults to 3.
        trusted: Number of the `dev` images that were looked at again, drawn by the
            seed. Defaults to 500.
        train: Number of training images. Defaults to 30,000.
        dev: Number of further ones for development. Defaults to 5,000.
        test: Number of test images. Defaults to 10,000.
        words: See `patch_features`. Defaults to 800.
        epochs: Number of epochs, at least 4. Defaults to 8.

    Returns:
        All rows, a pandas DataFrame.

    Raises:
        ImportError: If TensorFlow Datasets or scikit-learn is missing.
        ValueError: If `epochs` is below 4.

    Examples:
        ```python
        rows = engine.run_photographs("my_results", seeds=1)
        print(rows.groupby(["labels", "way"])[["accuracy", "ece_temperature"]].mean())
        ```
    """
    fix = "Three are the warm-up."
    checks.integer("run_photographs", "epochs", epochs, minimum=4, fix=fix)
    path = Path(results) / "study_photographs.csv"
    sizes = {"trusted": trusted, "train": train, "dev": dev, "words": words}
    sizes |= {"epochs": epochs}
    made = read_rows(path)
    cells = [(name, seed) for seed in range(seeds) for name in labels]
    cells = [cell for cell in cells if not _there(made, *cell, sizes)]
    data = _Photographs(train, dev, test, words) if cells else None
    for name, seed in tqdm.tqdm(cells, desc="photographs"):
        found = _runs(data, name, seed, trusted, epochs)
        made = add_rows(path, made, [{**row, **sizes} for row in found])
    return made


def _there(made: pd.DataFrame, name: str, seed: int, sizes: dict[str, int]) -> bool:
    if made.empty:
        return False
    same = (made["labels"] == name) & (made["seed"] == seed)
    for column, value in sizes.items():
        same &= made[column] == value
    return set(made.loc[same, "way"]) >= set(WAYS)


class _Photographs:
    """Features, and the labels of all."""

    def __init__(self, train: int, dev: int, test: int, words: int) -> None:
        known = read_cifar10n("train", train + dev)
        new = read_cifar10n("test", test)
        images = np.concatenate([known.images, new.images])
        features = kept(
            f"cifar10n-features-{train}-{dev}-{test}-{words}",
            lambda: patch_features(images, train=train, words=words, jobs=1),
        )
        self.train, self.labels = train, known.labels
        self.known, self.new = features[: train + dev], features[train + dev :]
        self.test_labels = new.labels["clean"]


def _runs(
    data: _Photographs, name: str, seed: int, trusted: int, epochs: int
) -> Iterator[dict[str, Any]]:
    given, clean = data.labels[name], data.labels["clean"]
    rng = np.random.default_rng([seed, 3])
    size = len(given) - data.train
    again = data.train + np.sort(rng.permutation(size)[:trusted])
    matrix = noise.matrix_from_pairs(given[again], clean[again], 10)
    rows = np.arange(data.train)
    layer, plain = HiddenLayer(epochs=epochs), GCE(q=0.0, **OPTIONS)
    told = {"labels": name, "seed": seed}
    told["rate"] = float(np.mean(given[: data.train] != clean[: data.train]))
    off = np.abs(
        matrix.matrix - noise.NoisyLabels.compare(None, clean, given, 10).matrix
    )
    told["matrix_error"] = float(off.sum(axis=1).mean() / 2)
    for way in WAYS:
        started = time.perf_counter()
        where, targets, loss = rows, given[rows], plain
        if way == "matrix":
            loss = ForwardCorrection(matrix, **OPTIONS)
        if way == "corrected labels":
            targets = _corrected(data, given, clean, again, matrix, seed, layer)
        if way == "CE + the trusted":
            where = np.concatenate([rows, again])
            targets = np.concatenate([targets, clean[again]])
        warm = way == "matrix"
        model = layer.trained(data.known[where], targets, loss, seed, warm=warm)
        known = logits_of(model, data.known[again])
        yield {
            **told,
            "way": way,
            **scores(data.test_labels, logits_of(model, data.new), clean[again], known),
            **environment(),
            "seconds": time.perf_counter() - started,
        }


def _corrected(
    data: _Photographs,
    given: np.ndarray,
    clean: np.ndarray,
    again: np.ndarray,
    matrix: Any,
    seed: int,
    layer: HiddenLayer,
) -> np.ndarray:
    """Returns soft targets of the training rows, each half by a model of the other."""
    targets = np.empty((data.train, 10), "float32")
    plain = GCE(q=0.0, **OPTIONS)
    for half in (0, 1):
        seen, judged = (
            np.arange(half, data.train, 2),
            np.arange(1 - half, data.train, 2),
        )
        model = layer.trained(data.known[seen], given[seen], plain, seed)
        posterior = noise.LabelPosterior(matrix, from_logits=True)
        posterior.fit(given[again], clean[again], logits_of(model, data.known[again]))
        logits = logits_of(model, data.known[judged])
        targets[judged] = posterior.transform(given[judged], logits)
    return targets
