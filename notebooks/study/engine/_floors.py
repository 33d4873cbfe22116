"""What a floor under cross entropy is worth, beside stopping early."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tqdm

from engine._environment import environment
from engine._hidden_layer import OPTIONS, HiddenLayer, logits_of, scores
from engine._loss_comparison import RowSource, digits_split
from engine._loss_floor import LossFloor
from engine._rows import add_rows, read_rows
from keras_robust import GCE, GammaCE, noise
from keras_robust._inputs import checks

_CLASSES, _TRUSTED = 10, 100
# By how much the rate that the floor is told is off.
_FLOORS = {"floor": 0.0, "floor, rate - 0.1": -0.1, "floor, rate + 0.1": 0.1}
WAYS = ("CE", *_FLOORS, "GammaCE")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Labels that are learnt by heart.

    Attributes:
        labels: `"digits"` or `"symmetric"`, digits or photographs whose labels are
            flipped at `rate`; or those of `read_cifar10n`, such as `"worse"`.
        rate: The rate of flipped labels; 0 for people's, who err at their own.
        batch: Rows a step.
        epochs: Number of epochs.
        train: Number of training rows.
    """

    labels: str
    rate: float = 0.0
    batch: int = 256
    epochs: int = 30
    train: int = 10_000


_DIGITS: dict[str, Any] = {"labels": "digits", "epochs": 60, "train": 1_000}
SETTINGS = (
    *(Setting(rate=rate, **_DIGITS) for rate in (0.2, 0.4, 0.6)),
    Setting(rate=0.4, batch=32, **_DIGITS),
    Setting(labels="symmetric", rate=0.4),
    Setting(labels="random1"),
    Setting(labels="worse"),
)


def run_loss_floor(
    results: Any, *, settings: Iterable[Setting] = SETTINGS, seeds: int = 5
) -> pd.DataFrame:
    """Trains for long on wrong labels, with a floor under the loss; writes rows.

    The network is that of `run_loss_comparison`, without dropout, so that it learns
    labels by heart: with cross entropy; with cross entropy whose mean over a batch is
    kept above what even noise of the true rate leaves of it (flooding), and of rates
    0.1 off; and with `GammaCE` at γ* of the true rate. Each is measured after its last
    epoch, and where it agreed best with noisy development labels, as
    `EarlyStopping("val_accuracy", restore_best_weights=True)` of Keras finds it. Rows
    that are there are not made again.

    Args:
        results: Folder; the rows go into `study_loss_floor.csv`.
        settings: What to learn. Defaults to the study's.
        seeds: Number of seeds, from 0. Defaults to 5.

    Returns:
        All rows, a pandas DataFrame.

    Raises:
        ImportError: If TensorFlow Datasets or scikit-learn is missing.
        ValueError: If `seeds` is below 1.

    Examples:
        ```python
        rows = engine.run_loss_floor("my_results", seeds=1)
        print(rows.groupby(["labels", "way", "stop"])[["accuracy", "ece"]].mean())
        ```
    """
    checks.integer("run_loss_floor", "seeds", seeds, minimum=1, fix="Pass 5, say.")
    path = Path(results) / "study_loss_floor.csv"
    made = read_rows(path)
    cells = [(setting, seed) for seed in range(seeds) for setting in settings]
    cells = [cell for cell in cells if not _there(made, *cell)]
    data = RowSource(30_000, 5_000, 10_000, 800, 512)
    for setting, seed in tqdm.tqdm(cells, desc="loss floor"):
        splits = _splits(setting, seed, data)
        made = add_rows(path, made, list(_runs(setting, seed, *splits)))
    return made


def _there(made: pd.DataFrame, setting: Setting, seed: int) -> bool:
    if made.empty:
        return False
    told = {**asdict(setting), "seed": seed}
    same = (made[list(told)] == pd.Series(told)).all(axis=1)
    return set(made.loc[same, "way"]) == set(WAYS)


@dataclass(frozen=True)
class _Rows:
    """Inputs, true labels, given labels."""

    x: np.ndarray
    clean: np.ndarray
    given: np.ndarray

    def __getitem__(self, where: Any) -> "_Rows":
        return _Rows(self.x[where], self.clean[where], self.given[where])


def _splits(setting: Setting, seed: int, data: RowSource) -> tuple[_Rows, ...]:
    """Returns rows to learn, for development, and with true labels."""
    if setting.labels == "digits":
        x, clean, test_x, test_labels = digits_split(seed)
    else:
        both, labels, test_labels = data.photographs
        clean = labels["clean"]
        x, test_x = both[: len(clean)], both[len(clean) :]
    if setting.rate:
        matrix = noise.symmetric_matrix(_CLASSES, setting.rate)
        given = noise.flip_labels(clean, matrix, seed=seed).labels
    else:
        given = labels[setting.labels]
    rows = _Rows(x, clean, given)
    if setting.labels == "digits":
        learnt, dev = slice(setting.train), slice(setting.train, None)
    else:  # others of them for each seed
        first = data.sizes[0]
        order = np.random.default_rng([seed, 5]).permutation(first)
        learnt, dev = np.sort(order[: setting.train]), slice(first, None)
    return rows[learnt], rows[dev], _Rows(test_x, test_labels, test_labels)


def _runs(
    setting: Setting, seed: int, train: _Rows, dev: _Rows, test: _Rows
) -> Iterator[dict[str, Any]]:
    # Digits have few inputs: it takes a wider layer, and larger steps.
    units, speed = (512, 1e-2) if setting.labels == "digits" else (256, 3e-3)
    layer = HiddenLayer(units, setting.epochs, 0, setting.batch, speed, (0.0, 0.0))
    wrong = train.given != train.clean
    rate = float(np.mean(wrong))
    for way in WAYS:
        started = time.perf_counter()
        loss: Any = GCE(q=0.0, **OPTIONS)
        if way in _FLOORS:
            loss = LossFloor(loss, rate + _FLOORS[way], _CLASSES)
        if way == "GammaCE":
            loss = GammaCE.from_noise_rate(_CLASSES, rate, **OPTIONS)
        best = _Best(dev)
        model = layer.trained(train.x, train.given, loss, seed, callbacks=[best])
        for stop in ("last", "best"):
            if stop == "best":
                model.set_weights(best.weights)
            learnt = logits_of(model, train.x).argmax(-1) == train.given
            known = logits_of(model, dev.x)
            trusted = known[:_TRUSTED], dev.clean[:_TRUSTED]
            yield {
                **asdict(setting),
                "seed": seed,
                "rate_realised": rate,
                "way": way,
                "floor": getattr(loss, "floor", None),
                "stop": stop,
                "epoch": setting.epochs if stop == "last" else best.epoch,
                "dev_noisy": _share(known, dev.given),
                "fitted": float(np.mean(learnt)),
                "memorised": float(np.mean(learnt[wrong])),
                **scores(test.clean, logits_of(model, test.x), *trusted[::-1]),
                **environment(),
                "seconds": time.perf_counter() - started,
            }


def _share(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(logits.argmax(-1) == labels))


class _Best(keras.callbacks.Callback):
    """Keeps the weights that agree best with held-out labels, and goes on."""

    def __init__(self, dev: _Rows) -> None:
        super().__init__()
        self.dev, self.score, self.epoch = dev, -1.0, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks at them."""
        score = _share(logits_of(self.model, self.dev.x), self.dev.given)
        if score > self.score:
            self.score, self.epoch = score, epoch + 1
            self.weights = self.model.get_weights()
