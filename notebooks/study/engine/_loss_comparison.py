"""The losses of the literature and ours, on the same rows and seeds."""

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tqdm

from engine._cache import kept
from engine._compared_losses import NAMES, Compared, compared
from engine._environment import environment
from engine._hidden_layer import HiddenLayer, logits_of, scores
from engine._image_features import patch_features, principal_components
from engine._images import read_cifar10n
from engine._rows import add_rows, read_rows
from keras_robust import noise
from keras_robust._inputs import checks

LABELS = ("symmetric", "aggre", "random1", "worse")
_FILE = "study_loss_comparison.csv"
_RATE = 0.4
# What tells a run from others.
_KEY = ["labels", "seed", "loss", "parameters"]


def run_loss_comparison(
    results: Any,
    *,
    labels: Iterable[str] = LABELS,
    seeds: int = 5,
    losses: Iterable[str] = NAMES,
    others: bool = True,
    trusted: int = 100,
    train: int = 30_000,
    dev: int = 5_000,
    test: int = 10_000,
    words: int = 800,
    components: int = 512,
    epochs: int = 8,
    dropout: bool = True,
) -> pd.DataFrame:
    """Trains with each loss on wrong labels, and writes rows.

    A hidden layer of 256 units with dropout, trained by AdamW, on the principal
    components of the features of `run_photographs`; of scikit-learn's digits, on the
    pixels, with three times the epochs. `ForwardCorrection` has the matrix of
    `matrix_from_pairs`, on digits the one that the noise was drawn by. The rate of
    `GammaCE` is the true one, or that of `NoiseAwareGamma` after three epochs; the
    truncated GCE begins with as many without a cutoff. Each loss is trained at the
    parameters of its authors, then at a few others. Rows that are there are not made
    again.

    Args:
        results: Folder; the rows go into `study_loss_comparison.csv`.
        labels: Whose labels: `"symmetric"` is digits, whose labels are flipped at a
            rate of 0.4, the others those of `read_cifar10n`. Defaults to `"symmetric"`,
            `"aggre"`, `"random1"`, `"worse"`.
        seeds: Number of seeds, from 0; of the network, of the trusted rows and, on
            digits, of the split and the noise. Defaults to 5.
        losses: Names of losses. Defaults to all.
        others: Whether to train at others than the authors' parameters. Defaults to
            True.
        trusted: Number of development rows whose true labels are known, for the
            temperature and the matrix. Defaults to 100.
        train: Number of training images. Defaults to 30,000; of digits, 1,000 at
            most.
        dev: Number of further ones for development. Defaults to 5,000; of
            digits, all that are left, 297.
        test: Number of test images. Defaults to 10,000; of digits, 500.
        words: See `patch_features`. Defaults to 800.
        components: Number of principal components. Defaults to 512.
        epochs: Number of epochs, at least 4. Defaults to 8.
        dropout: Whether to train with dropout; without it, wrong labels are learnt by
            heart. Defaults to True.

    Returns:
        All rows, a pandas DataFrame: one for each loss, setting and seed.

    Raises:
        ImportError: If TensorFlow Datasets or scikit-learn is missing.
        ValueError: If `epochs` is below 4.

    Examples:
        ```python
        rows = engine.run_loss_comparison("my_results", labels=["symmetric"], seeds=1)
        print(rows.groupby("loss", sort=False)[["accuracy", "ece"]].first())
        ```
    """
    fix = "Three are the warm-up."
    checks.integer("run_loss_comparison", "epochs", epochs, minimum=4, fix=fix)
    path = Path(results) / _FILE
    sizes = {"trusted": trusted, "train": train, "dev": dev, "words": words}
    sizes |= {"components": components, "epochs": epochs, "dropout": dropout}
    made = read_rows(path).fillna({"parameters": ""})
    there = _there(made, sizes)
    losses, labels = list(losses), list(labels)
    cells = [
        (name, seed, one)
        for authors in (True, False)[: 1 + others]
        for seed in range(seeds)
        for name in labels
        for one in compared(losses, authors=authors)
        if (name, seed, one.loss, one.parameters) not in there
    ]
    data = RowSource(train, dev, test, words, components)
    rates = (0.0, 0.3 if dropout else 0.0)
    photographs = HiddenLayer(256, epochs, 3, 512, 3e-3, rates)
    digits = HiddenLayer(256, 3 * epochs, 9, 64, 3e-3, rates)
    for name, seed, one in tqdm.tqdm(cells, desc="losses"):
        rows = data.rows(name, seed, trusted)
        layer = digits if name == "symmetric" else photographs
        found = _run(rows, layer, seed, one)
        told = {"labels": name, "seed": seed, "rate": rows.rate}
        made = add_rows(path, made, [{**told, **found, **sizes}])
    return made


def _there(made: pd.DataFrame, sizes: dict[str, Any]) -> set[tuple]:
    if made.empty:
        return set()
    same = (made[list(sizes)] == pd.Series(sizes)).all(axis=1)
    return set(made.loc[same, _KEY].itertuples(index=False, name=None))


@dataclass(frozen=True)
class _Split:
    """Rows of one seed: what is learnt from, what for development, what for testing."""

    x: np.ndarray
    given: np.ndarray
    rate: float
    dev_x: np.ndarray
    dev_given: np.ndarray
    trusted: np.ndarray  # which of them
    trusted_labels: np.ndarray
    test_x: np.ndarray
    test_labels: np.ndarray
    matrix: Any


class RowSource:
    """Where the rows come from; photographs are read when they are needed."""

    def __init__(self, train: int, dev: int, test: int, words: int, size: int) -> None:
        self.sizes, self.words, self.size = (train, dev, test), words, size

    @cached_property
    def photographs(self) -> tuple[np.ndarray, Any, np.ndarray]:
        """Components, and labels of training and of test images."""
        train, dev, test = self.sizes
        known = read_cifar10n("train", train + dev)
        new = read_cifar10n("test", test)
        name = f"{train}-{dev}-{test}-{self.words}"

        def features() -> np.ndarray:
            images = np.concatenate([known.images, new.images])
            return patch_features(images, train=train, words=self.words, jobs=1)

        x = kept(
            f"cifar10n-components-{name}-{self.size}",
            lambda: principal_components(
                kept(f"cifar10n-features-{name}", features),
                train=train,
                components=self.size,
            ),
        )
        return np.array(x), known.labels, new.labels["clean"]

    def rows(self, name: str, seed: int, trusted: int) -> _Split:
        """Returns the rows of a seed."""
        rng = np.random.default_rng([seed, 3])
        if name == "symmetric":
            matrix = noise.symmetric_matrix(10, _RATE)
            x, clean, test_x, test_labels = digits_split(seed)
            given = noise.flip_labels(clean, matrix, seed=seed).labels
            train = min(self.sizes[0], 1000)
        else:
            both, labels, test_labels = self.photographs
            given, clean, train = labels[name], labels["clean"], self.sizes[0]
            x, test_x = both[: len(clean)], both[len(clean) :]
            matrix = None
        dev_given, dev_clean = given[train:], clean[train:]
        again = np.sort(rng.permutation(len(dev_given))[:trusted])
        if matrix is None:
            matrix = noise.matrix_from_pairs(dev_given[again], dev_clean[again], 10)
        return _Split(
            x=x[:train],
            given=given[:train],
            rate=float(np.mean(given[:train] != clean[:train])),
            dev_x=x[train:],
            dev_given=dev_given,
            trusted=again,
            trusted_labels=dev_clean[again],
            test_x=test_x,
            test_labels=test_labels,
            matrix=matrix,
        )


def digits_split(seed: int) -> tuple[np.ndarray, ...]:
    """Returns 1,297 rows to learn from and 500 for testing, others for each seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype("float32"), y.astype("int32")
    split = train_test_split(x, y, test_size=500, stratify=y, random_state=seed)
    return split[0], split[2], split[1], split[3]


def _run(rows: _Split, layer: HiddenLayer, seed: int, one: Compared) -> dict[str, Any]:
    started = time.perf_counter()
    loss = one.made(rows.rate, rows.matrix)
    watching = one.callbacks(rows.dev_x, rows.dev_given, layer.warmup)
    with warnings.catch_warnings():
        # That the estimate was still falling: the row has the rate that it came to.
        warnings.filterwarnings("ignore", message="NoiseAwareGamma")
        model = layer.trained(
            rows.x, rows.given, loss, seed, first=one.first, callbacks=watching
        )
    estimated = watching[0].rate_ if watching else None
    dev = logits_of(model, rows.dev_x)
    found = logits_of(model, rows.test_x)
    return {
        "loss": one.loss,
        "parameters": one.parameters,
        "authors": one.authors,
        "estimated_rate": np.nan if estimated is None else float(estimated),
        "noisy_accuracy": float(np.mean(dev.argmax(-1) == rows.dev_given)),
        **scores(rows.test_labels, found, rows.trusted_labels, dev[rows.trusted]),
        **environment(),
        "seconds": time.perf_counter() - started,
    }
