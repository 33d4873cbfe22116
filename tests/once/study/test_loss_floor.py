"""A floor under the loss: its height, its value, and what it is measured beside."""

import engine
import keras
import numpy as np
import pytest
from engine import _floors
from engine.__main__ import main
from engine._floors import WAYS, Setting
from engine._loss_floor import LossFloor
from scipy import optimize
from tiny import quick

from keras_robust import GCE, SGCE

CE = GCE(q=0.0, from_logits=True)
SMALL = {"labels": "digits", "rate": 0.4, "epochs": 3, "train": 100}


def test_the_floor_of_cross_entropy_is_the_entropy_of_the_noise():
    for rate, classes in ((0.4, 10), (0.6, 9), (0.01, 2)):
        known = -(1 - rate) * np.log(1 - rate) - rate * np.log(rate / (classes - 1))
        assert LossFloor(CE, rate, classes).floor == pytest.approx(known, rel=1e-6)
    assert LossFloor(CE, 0.0, 10).floor == 0


@pytest.mark.parametrize("loss", [GCE(q=0.6), SGCE(q=0.5, smoothing=0.1)])
def test_the_floor_is_the_least_that_a_search_finds(loss):
    loss = type(loss).from_config({**loss.get_config(), "from_logits": True})
    labels = np.array([[0.7, 0.1, 0.1, 0.1]], "float32")

    def mean(logit):
        return float(loss(labels, np.array([[logit, 0, 0, 0]], "float32")))

    found = optimize.minimize_scalar(mean, bounds=(0, 20), method="bounded")
    assert LossFloor(loss, 0.3, 4).floor == pytest.approx(found.fun, rel=1e-4)


def test_below_the_floor_the_batch_mean_is_mirrored():
    loss = LossFloor(CE, 0.4, 3)
    for logit in (0.0, 1.0, 5.0):
        y_pred = np.array([[logit, 0, 0], [0, logit, 0]], "float32")
        mean = float(CE([0, 1], y_pred))
        expected = max(mean, 2 * loss.floor - mean)
        assert float(loss([0, 1], y_pred)) == pytest.approx(expected, rel=1e-6)


def test_a_run_with_a_floor_has_that_of_its_own_rate(preset, monkeypatch):
    made = []

    class Watched(LossFloor):
        calls = 0

        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append((self, *arguments[1:]))

        def __call__(self, *arguments):
            self.calls += 1
            return super().__call__(*arguments)

    monkeypatch.setattr("engine._train.LossFloor", Watched)
    row = engine.run(quick(noise_rate=0.4, loss_floor=True)).row
    ((loss, rate, classes),) = made
    assert rate == row["train_realised_rate"]
    assert classes == 9
    assert loss.calls >= 240 / 8  # the second epoch of two, the first is the warm-up


def test_floors_are_measured_in_every_way_and_none_twice(tmp_path):
    settings = [Setting(**SMALL)]
    rows = engine.run_loss_floor(tmp_path, settings=settings, seeds=1)
    assert rows["way"].tolist() == [way for way in WAYS for _ in range(2)]
    assert rows["stop"].tolist() == ["last", "best"] * len(WAYS)
    assert (rows["accuracy"] > 0.15).all()  # chance is 0.1
    assert 0.3 < rows["rate_realised"][0] < 0.5
    floors = rows[rows["stop"] == "last"].set_index("way")["floor"]
    assert list(floors.index[floors.notna()]) == [w for w in WAYS if "floor" in w]
    assert floors["floor, rate - 0.1"] < floors["floor"] < floors["floor, rate + 0.1"]
    path = tmp_path / "study_loss_floor.csv"
    written = path.stat().st_mtime_ns
    again = engine.run_loss_floor(tmp_path, settings=settings, seeds=1)
    assert path.stat().st_mtime_ns == written
    assert again["accuracy"].tolist() == pytest.approx(rows["accuracy"].tolist())
    with pytest.raises(ValueError, match="`seeds` must be at least 1"):
        engine.run_loss_floor(tmp_path, seeds=0)


def test_the_best_epoch_is_that_of_keras_early_stopping():
    train, dev, _ = _floors._splits(Setting(**SMALL), 0, None)
    dev = dev[:12]  # so few that the best is met again, and the first one counts
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(30, "relu"), keras.layers.Dense(10)])
    model.compile(keras.optimizers.Adam(0.05), CE, metrics=["accuracy"])
    best = _floors._Best(dev)
    stop = keras.callbacks.EarlyStopping(
        "val_accuracy", mode="max", patience=20, restore_best_weights=True
    )
    history = model.fit(
        train.x,
        train.given,
        epochs=20,
        validation_data=(dev.x, dev.given),
        callbacks=[best, stop],
        verbose=0,
    )
    scores = history.history["val_accuracy"]
    assert scores.count(max(scores)) > 1
    assert 1 < best.epoch == stop.best_epoch + 1 < 20
    for mine, theirs in zip(best.weights, model.get_weights()):
        np.testing.assert_array_equal(mine, theirs)


def test_floors_are_made_by_a_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "engine.__main__.run_loss_floor",
        lambda results, seeds: _floors.run_loss_floor(
            results, settings=[Setting(**SMALL)], seeds=seeds
        ),
    )
    assert main(["floor", "--results", str(tmp_path), "--seeds", "1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["fitted", "accuracy", "ece", "ece_temperature"]
    assert len(shown) == 2 + 2 * len(WAYS)
