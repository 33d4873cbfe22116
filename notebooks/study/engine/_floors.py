"""What a floor under cross entropy is worth, beside stopping early."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tqdm

from engine._environment import environment
from engine._images import read_cifar10n
from engine._loss_floor import LossFloor
from keras_robust import GCE, GammaCE, _files, calibration, noise
from keras_robust._inputs import checks

CLASSES = 10
_SMALL_BATCH = 32
_OPTIONS = {"from_logits": True}
# By how much the rate that the floor is told is off.
_FLOORS = {"floor": 0.0, "floor, rate - 0.1": -0.1, "floor, rate + 0.1": 0.1}
WAYS = ("CE", *_FLOORS, "GammaCE")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Labels to learn, and how long.

    Attributes:
        data: `"digits"` or `"cifar10n"`.
        labels: Whose labels: `"symmetric"`, drawn, or a name of `read_cifar10n`.
        rate: Share of wrong labels to draw; NaN for people's, which have one.
        batch_size: Rows a step.
        epochs: Number of epochs, enough to learn labels by heart.
    """

    data: str
    labels: str = "symmetric"
    rate: float = float("nan")
    batch_size: int = 256
    epochs: int = 60


SETTINGS = (
    *(
        Setting(data="digits", rate=rate, batch_size=size)
        for rate in (0.2, 0.4, 0.6)
        for size in (_SMALL_BATCH, 256)
    ),
    Setting(data="cifar10n", rate=0.4),
    Setting(data="cifar10n", labels="random1"),
    Setting(data="cifar10n", labels="worse"),
)


def run_loss_floor(
    results: Any, *, settings: Iterable[Setting] = SETTINGS, seeds: int = 5
) -> pd.DataFrame:
    """Trains long on wrong labels, with a floor under the loss or without; writes rows.

    A network without dropout, two hidden layers of 256 units, that learns the labels by
    heart: by cross entropy; with a floor (`LossFloor`) by the true rate, and by one
    that is 0.1 off; by `GammaCE` at γ* of the true rate. Each is measured after its
    last epoch, and after the one in which it agreed best with noisy held-out labels, as
    `keras.callbacks.EarlyStopping("val_accuracy", restore_best_weights=True)` with much
    patience finds it. Rows that are there are not made again.

    Args:
        results: Folder; the rows go into `study_loss_floor.csv`.
        settings: What to train on. Defaults to the study's.
        seeds: Number of seeds, from 0. Defaults to 5.

    Returns:
        All rows, a pandas DataFrame.

    Raises:
        ImportError: If scikit-learn is missing, or what the data need.
        ValueError: If `seeds` is below 1.

    Examples:
        ```python
        rows = engine.run_loss_floor("my_results", seeds=1)
        print(rows.groupby(["rate_drawn", "way"])[["accuracy", "best_accuracy"]].mean())
        ```
    """
    checks.integer("run_loss_floor", "seeds", seeds, minimum=1, fix="Pass 5, say.")
    path = Path(results) / "study_loss_floor.csv"
    made = pd.read_csv(path) if path.exists() else pd.DataFrame()
    cells = [(setting, seed) for seed in range(seeds) for setting in settings]
    cells = [cell for cell in cells if not _there(made, *cell)]
    for setting, seed in tqdm.tqdm(cells, desc="loss floor"):
        found = pd.DataFrame(list(_runs(setting, seed)))
        made = pd.concat([made, found], ignore_index=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        _files.write_whole(path, made.to_csv(index=False, float_format="%.6g"))
    return made


def _told(setting: Setting, seed: int) -> dict[str, Any]:
    return {
        "data": setting.data,
        "labels": setting.labels,
        "rate_drawn": setting.rate,
        "batch_size": setting.batch_size,
        "epochs": setting.epochs,
        "seed": seed,
    }


def _there(made: pd.DataFrame, setting: Setting, seed: int) -> bool:
    if made.empty:
        return False
    told = _told(setting, seed)
    same = np.ones(len(made), bool)
    for column, value in told.items():
        column = made[column]
        same &= (column == value) | (column.isna() if value != value else False)
    return set(made.loc[same, "way"]) >= set(WAYS)


@dataclass(frozen=True)
class _Rows:
    """Features, true labels, given labels."""

    x: np.ndarray
    clean: np.ndarray
    given: np.ndarray

    def __getitem__(self, where: Any) -> "_Rows":
        return _Rows(self.x[where], self.clean[where], self.given[where])

    @property
    def rate(self) -> float:
        return float(np.mean(self.clean != self.given))


def _splits(setting: Setting, seed: int) -> tuple[_Rows, _Rows, _Rows]:
    """Returns rows for training, for stopping early, and with true labels."""
    rng = np.random.default_rng([seed, 5])
    return (_digits if setting.data == "digits" else _photographs)(setting, rng)


def _digits(
    setting: Setting, rng: np.random.Generator
) -> tuple[_Rows, _Rows, _Rows]:
    datasets = checks.optional_module("run_loss_floor", "sklearn.datasets", extra="study")
    x, clean = datasets.load_digits(return_X_y=True)
    order = rng.permutation(len(x))
    x, clean = (x[order] / 16).astype("float32"), clean[order]
    rows = _Rows(x, clean, _drawn(clean, setting.rate, rng))
    return rows[:1000], rows[1000:1300], rows[1300:]


def _photographs(
    setting: Setting, rng: np.random.Generator
) -> tuple[_Rows, _Rows, _Rows]:
    x = np.load("/tmp/h/floor/pcs.npy")
    known, new = read_cifar10n("train", 35_000), read_cifar10n("test", 10_000)
    clean = known.labels["clean"]
    drawn = setting.labels == "symmetric"
    given = _drawn(clean, setting.rate, rng) if drawn else known.labels[setting.labels]
    rows = _Rows(x[: len(clean)], clean, given)
    true = new.labels["clean"]
    some = np.sort(rng.permutation(30_000)[:10_000])
    return rows[some], rows[30_000:], _Rows(x[len(clean) :], true, true)


def _drawn(clean: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    other = (clean + rng.integers(1, CLASSES, len(clean))) % CLASSES
    return np.where(rng.random(len(clean)) < rate, other, clean)


def _runs(setting: Setting, seed: int) -> Iterator[dict[str, Any]]:
    train, dev, test = _splits(setting, seed)
    plain = GCE(q=0.0, **_OPTIONS)
    for way in WAYS:
        started = time.perf_counter()
        loss: Any = plain
        if way in _FLOORS:
            loss = LossFloor(plain, train.rate + _FLOORS[way], CLASSES)
        if way == "GammaCE":
            gamma = noise.gamma_from_noise_rate(CLASSES, train.rate)
            loss = GammaCE(gamma=gamma, **_OPTIONS)
        watch = _Watch(train, dev, test, loss if way == "GammaCE" else plain)
        _train(setting, seed, loss, train, watch)
        yield {
            **_told(setting, seed),
            "rate": train.rate,
            "way": way,
            "floor": loss.floor if way in _FLOORS else float("nan"),
            **watch.last,
            **{f"best_{name}": value for name, value in watch.best.items()},
            **environment(),
            "seconds": time.perf_counter() - started,
        }


def _train(
    setting: Setting, seed: int, loss: Any, train: _Rows, watch: "_Watch"
) -> None:
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(256, activation="relu") for _ in range(2)]
    inputs = keras.Input(train.x.shape[1:])
    model = keras.Sequential([inputs, *layers, keras.layers.Dense(CLASSES)])
    # Larger batches, larger steps: else they see the labels too seldom to know them.
    rate = 1e-3 * (setting.batch_size / _SMALL_BATCH) ** 0.5
    torch = keras.backend.backend() == "torch"
    model.compile(
        keras.optimizers.Adam(rate), loss, jit_compile=False if torch else "auto"
    )
    model.fit(
        train.x,
        train.given,
        batch_size=setting.batch_size,
        epochs=setting.epochs,
        callbacks=[watch],
        verbose=0,
    )


class _Watch(keras.callbacks.Callback):
    """Measures after each epoch; keeps the last one, and the best on noisy labels."""

    def __init__(self, train: _Rows, dev: _Rows, test: _Rows, loss: Any) -> None:
        super().__init__()
        self.train_rows, self.dev, self.test = train, dev, test
        matrix = noise.symmetric_matrix(CLASSES, train.rate)
        self.undo = calibration.AnalyticCalibration(loss, matrix, **_OPTIONS)
        self.last: dict[str, float] = {}
        self.best: dict[str, float] = {"dev_noisy": -1.0}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logits = self._logits(self.dev)
        noisy = float(np.mean(logits.argmax(-1) == self.dev.given))
        last = epoch + 1 == self.params["epochs"]
        if last or noisy > self.best["dev_noisy"]:
            scores = self._scores(noisy) | {"epoch": epoch + 1}
            self.last = scores
            if noisy > self.best["dev_noisy"]:
                self.best = scores

    def _logits(self, rows: _Rows) -> np.ndarray:
        return self.model.predict(rows.x, batch_size=10_000, verbose=0)

    def _scores(self, noisy: float) -> dict[str, float]:
        train, test, true = self.train_rows, self._logits(self.test), self.test.clean
        learnt = self._logits(train).argmax(-1) == train.given
        wrong = train.given != train.clean
        raw = calibration.bin_predictions(true, test, num_bins=10, **_OPTIONS)
        undone = self.undo.transform(test)
        undone = calibration.bin_predictions(true, undone, num_bins=10)
        return {
            "dev_noisy": noisy,
            "fitted": float(np.mean(learnt)),
            "memorised": float(np.mean(learnt[wrong])),
            "accuracy": float(np.mean(test.argmax(-1) == true)),
            "ece": raw.ece(),
            "ece_undone": undone.ece(),
        }
