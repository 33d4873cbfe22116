"""The losses of the literature and ours, side by side."""

import engine
import keras
import numpy as np
import pandas as pd
import pytest
from engine import __main__ as command
from engine import _loss_comparison
from engine._compared_losses import NAMES, OURS, compared
from engine._hidden_layer import HiddenLayer

from keras_robust import GCE
from keras_robust.noise import symmetric_matrix

SMALL = {"labels": ["symmetric"], "seeds": 1, "train": 256, "epochs": 4}


def test_losses_are_trained_at_two_settings_and_none_twice(tmp_path):
    losses = ["truncated GCE", "GammaCE, estimated rate"]
    options = {**SMALL, "losses": losses}
    rows = engine.run_loss_comparison(tmp_path, **options, others=False)
    assert rows["loss"].tolist() == losses
    assert rows["authors"].all()
    assert rows["parameters"].tolist() == ["q=0.7, cutoff=0.5", ""]
    assert np.isfinite(rows["estimated_rate"]).tolist() == [False, True]
    assert rows["rate"].between(0.2, 0.6).all()
    assert (rows["accuracy"] > 0.15).all()  # chance is 0.1
    rows = engine.run_loss_comparison(tmp_path, **options)
    assert len(rows) == 4
    assert rows["authors"].tolist() == [True, True, False, False]
    written = (tmp_path / "study_loss_comparison.csv").stat().st_mtime_ns
    again = engine.run_loss_comparison(tmp_path, **options)
    assert (tmp_path / "study_loss_comparison.csv").stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(again, rows, rtol=1e-5)
    with pytest.raises(ValueError, match="`epochs` must be at least 4"):
        engine.run_loss_comparison(tmp_path, epochs=3)


def test_a_run_that_is_lost_is_all_that_is_lost(tmp_path, monkeypatch):
    trained = []

    def run(rows, layer, seed, one):
        trained.append(one.loss)
        if trained == ["CE", "GCE"]:
            raise KeyboardInterrupt
        return {"loss": one.loss, "parameters": one.parameters, "authors": True}

    monkeypatch.setattr(_loss_comparison, "_run", run)
    options = {**SMALL, "losses": ["CE", "GCE", "SCE"], "others": False}
    with pytest.raises(KeyboardInterrupt):
        engine.run_loss_comparison(tmp_path, **options)
    rows = engine.run_loss_comparison(tmp_path, **options)
    assert rows["loss"].tolist() == ["CE", "GCE", "SCE"]
    assert trained == ["CE", "GCE", "GCE", "SCE"]
    # Other sizes are other runs.
    rows = engine.run_loss_comparison(tmp_path, **{**options, "dropout": False})
    assert rows["dropout"].tolist() == 3 * [True] + 3 * [False]


def test_every_loss_has_its_authors_parameters_and_those_with_any_others():
    first = {one.loss: one.parameters for one in compared(NAMES, authors=True)}
    assert first == {
        **dict.fromkeys(["CE", *OURS[2:]], ""),
        "GCE": "q=0.7",
        "SGCE": "q=0.5, smoothing=0.1",
        "SCE": "alpha=0.1, beta=1",
        "NCERCE": "alpha=1, beta=1",
        "truncated GCE": "q=0.7, cutoff=0.5",
        "label smoothing": "smoothing=0.1",
    }
    others = compared(NAMES, authors=False)
    assert {one.loss for one in others} == {n for n, given in first.items() if given}
    assert all(one.parameters != first[one.loss] for one in others)
    (cut,) = compared(["truncated GCE"], authors=True)
    assert (cut.first.q, cut.first.cutoff) == (0.7, 0.0)
    (undoes,) = compared(["GammaCE, true rate"], authors=True)
    assert undoes.made(0.4, None).gamma == pytest.approx(0.4 / (9 * 0.6))


def test_label_smoothing_is_that_of_keras():
    (one,) = compared(["label smoothing"], authors=True)
    labels = np.arange(4)
    logits = np.random.default_rng(0).normal(size=(4, 10)).astype("float32")
    ours = one.made(0.4, symmetric_matrix(10, 0.4))(labels, logits)
    theirs = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1
    )(keras.ops.one_hot(labels, 10), logits)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def made_rows():
    """Of three seeds, with known differences from one to the other."""
    settings = [
        ("CE", "", True, 0.50, 0.90, 0.20),
        ("GCE", "q=0.7", True, 0.52, 0.92, 0.10),
        ("GCE", "q=0.2", False, 0.53, 0.93, 0.30),
        ("SGCE", "q=0.5, smoothing=0.1", True, 0.51, 0.95, 0.01),
        ("SCE", "alpha=0.1, beta=1", True, 0.40, 0.94, 0.05),
        ("SCE", "alpha=1, beta=1", False, 0.30, 0.99, 0.00),
    ]
    rows = []
    for labels, worse in (("worse", 0.0), ("aggre", 0.2)):
        for seed in range(3):
            for loss, parameters, authors, noisy, accuracy, ece in settings:
                off = 0.001 * seed * (loss == "SCE")
                rows.append(
                    {
                        "labels": labels,
                        "seed": seed,
                        "loss": loss,
                        "parameters": parameters,
                        "authors": authors,
                        "noisy_accuracy": noisy + 0.01 * seed,
                        "accuracy": accuracy + off - worse * (loss == "SCE"),
                        "ece": ece,
                        "ece_temperature": ece + 0.1 * (loss == "SCE"),
                        "nll_temperature": 1.0,
                    }
                )
    return pd.DataFrame(rows)


def test_differences_are_those_to_the_best_of_ours_by_noisy_labels():
    table = engine.loss_comparison(made_rows())
    assert list(table.index.unique("labels")) == ["worse", "aggre"]
    found = table.loc["worse"]
    assert found.index.tolist() == ["CE", "GCE", "SGCE", "SCE"]
    # SGCE is more accurate on the test rows, which nobody would have known.
    assert found.index[found["best"]].tolist() == ["GCE"]
    assert (found["seeds"] == 3).all()
    sce = found.loc["SCE"]
    assert sce["accuracy"] == pytest.approx(0.941)
    assert sce["accuracy_difference"] == pytest.approx(0.021)
    # Student's quantile for two degrees of freedom, a standard deviation of 0.001.
    assert sce["accuracy_half"] == pytest.approx(4.302653 * 0.001 / np.sqrt(3))
    assert sce["ece_difference"] == pytest.approx(-0.05)
    assert found["better"].tolist() == [False, False, True, True]
    assert not found["better_temperature"]["SCE"]  # 0.15, where GCE has 0.1
    assert not table.loc["aggre", "better"]["SCE"]  # less accurate


def test_parameters_are_chosen_by_noisy_labels_once_for_all_seeds():
    rows = made_rows()
    other = (rows["loss"] == "SCE") & ~rows["authors"]
    late = rows["seed"] == 2
    rows.loc[rows["loss"] == "SCE", "noisy_accuracy"] = 0.5
    rows.loc[other & late, "noisy_accuracy"] = 0.99
    rows.loc[other & ~late, "noisy_accuracy"] = 0.3  # in the mean it is better
    found = engine.loss_comparison(rows, chosen=True).loc["worse"]
    assert found.loc["GCE", "ece"] == pytest.approx(0.3)
    of_other = rows[other & (rows["labels"] == "worse")]
    assert found.loc["SCE", "accuracy"] == pytest.approx(of_other["accuracy"].mean())
    rows.loc[other & ~late, "noisy_accuracy"] = 0.2  # now it is not
    found = engine.loss_comparison(rows, chosen=True).loc["worse"]
    assert found.loc["SCE", "accuracy"] == pytest.approx(0.941)
    # Of equal ones, the authors'.
    rows["noisy_accuracy"] = 0.5
    found = engine.loss_comparison(rows, chosen=True).loc["worse"]
    assert found.loc["GCE", "ece"] == pytest.approx(0.1)


def test_a_seed_that_is_not_complete_is_left_out():
    rows = made_rows()
    gone = (rows["labels"] == "worse") & (rows["seed"] == 1) & (rows["loss"] == "SCE")
    table = engine.loss_comparison(rows[~gone], chosen=True)
    assert (table.loc["worse", "seeds"] == 2).all()
    assert (table.loc["aggre", "seeds"] == 3).all()
    assert table.loc["worse"].loc["SCE", "accuracy"] == pytest.approx(0.941)


def test_the_command_shows_what_was_found(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        command,
        "run_loss_comparison",
        lambda folder, **options: seen.append((folder, options)) or made_rows(),
    )
    assert command.main(["losses", "--results", str(tmp_path), "--seeds", "2"]) == 0
    assert seen == [(tmp_path, {"seeds": 2})]
    assert "cutoff" not in (said := capsys.readouterr().out)
    assert "alpha=0.1, beta=1" in said


def test_the_warm_up_is_part_of_the_epochs_and_of_one_optimizer():
    first, loss = GCE(q=0.0, from_logits=True), GCE(from_logits=True)
    seen = []
    follow = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(follow.model.loss)
    )
    layer = HiddenLayer(units=2, epochs=3, warmup=1, batch=4)
    x, y = np.ones((8, 3), "float32"), np.arange(8)
    model = layer.trained(x, y, loss, 0, first=first, callbacks=[follow])
    assert seen == [first, loss, loss]
    assert int(model.optimizer.iterations) == 3 * 2
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)
