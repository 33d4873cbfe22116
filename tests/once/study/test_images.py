"""CIFAR-10 and CIFAR-10N, where they can be had."""

import os
import sys

import engine
import keras
import numpy as np
import pandas as pd
import pytest
from engine import _images
from engine.__main__ import main
from engine._image_features import principal_components

COUNT = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not os.environ.get("TFDS_DATA_DIR"):
        pytest.skip("TFDS_DATA_DIR is not set: CIFAR-10N is not at hand")
    return tmp_path_factory.mktemp("cache")


def read(folder, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_ROBUST_CACHE", str(folder))
        return engine.read_cifar10n(*arguments)


@pytest.fixture(scope="module")
def train(folder):
    return read(folder, "train", COUNT)


def test_each_image_has_its_true_label_and_five_that_people_gave(train):
    assert train.images.shape == (COUNT, 32, 32, 3)
    assert train.images.dtype == "uint8"
    assert train.images.std() > 40
    names = {"clean", "aggre", "random1", "random2", "random3", "worse"}
    assert set(train.labels) == names
    assert train.names[:4] == ("airplane", "automobile", "bird", "cat")
    for labels in train.labels.values():
        assert labels.dtype == "int32"
        assert set(labels) == set(range(10))


def test_the_labels_are_as_wrong_as_the_paper_says(train):
    # Wei et al. (2022), table 1: 9.03, 17.23, 18.12, 17.64 and 40.21 % of 50,000.
    rates = {"aggre": 9.03, "random1": 17.23, "random2": 18.12, "random3": 17.64}
    clean = train.labels["clean"]
    for name, percent in {**rates, "worse": 40.21}.items():
        rate = percent / 100
        off = abs(np.mean(train.labels[name] != clean) - rate)
        assert off < 4 * np.sqrt(rate * (1 - rate) / COUNT)


def test_the_worse_label_is_wrong_where_one_of_the_three_is(train):
    clean = train.labels["clean"]
    wrong = [train.labels[f"random{i}"] != clean for i in (1, 2, 3)]
    np.testing.assert_array_equal(train.labels["worse"] != clean, np.any(wrong, axis=0))


def test_test_images_have_their_true_labels_only(folder):
    test = read(folder, "test", 50)
    assert list(test.labels) == ["clean"]
    assert test.images.shape == (50, 32, 32, 3)


def test_what_was_read_is_kept(folder, train, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # importing it raises
    again = read(folder, "train", COUNT)
    np.testing.assert_array_equal(again.images, train.images)
    np.testing.assert_equal(again.labels, train.labels)
    assert again.names == train.names
    with pytest.raises(ImportError, match="read_cifar10n needs tensorflow-datasets"):
        read(folder, "train", COUNT + 1)


def test_the_photographs_of_cifar10_are_those_of_cifar10n_where_it_is_at_hand(
    folder, train, monkeypatch
):
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(folder))
    plain = engine.read_cifar10("train", COUNT)
    np.testing.assert_array_equal(plain.images, train.images)
    assert list(plain.labels) == ["clean"]
    np.testing.assert_array_equal(plain.labels["clean"], train.labels["clean"])
    assert plain.names == train.names == _images._NAMES_OF_CLASSES


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """Neither a data set nor a network."""
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(tmp_path / "cache"))
    import tensorflow_datasets as tfds

    make = tfds.builder
    elsewhere = tmp_path / "data"
    monkeypatch.setattr(tfds, "builder", lambda name: make(name, data_dir=elsewhere))
    return tmp_path


def test_keras_has_cifar10_where_cifar10n_is_not(nothing, monkeypatch):
    images = np.arange(3 * 32 * 32 * 3, dtype="uint8").reshape(3, 32, 32, 3)
    labels = np.array([[6], [9], [3]], "uint8")
    parts = (images, labels), (images[:1], labels[:1])
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: parts)
    found = engine.read_cifar10("train", 2)
    np.testing.assert_array_equal(found.images, images[:2])
    assert [found.names[k] for k in found.labels["clean"]] == ["frog", "truck"]
    assert len(engine.read_cifar10("test").images) == 1

    def fails():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fails)
    with pytest.raises(OSError, match="CIFAR-10 cannot be downloaded: URL fetch"):
        engine.read_cifar10("train", 3)


def test_cifar10n_that_was_not_fetched_is_told_how_to_be(nothing):
    with pytest.raises(FileNotFoundError, match="python -m engine cifar10n"):
        engine.read_cifar10n("train", 3)


def test_cifar10n_is_fetched_by_a_command(nothing, monkeypatch, capsys):
    origin = nothing / "origin"
    (origin / "data").mkdir(parents=True)
    (origin / "side_info_cifar10N.csv").write_text("Image-batch\n")
    np.save(origin / "image_order_c10.npy", np.arange(3))
    given = {"worse_label": np.array([1, 2, 3]), "aggre_label": np.array([1, 2, 2])}
    np.save(origin / "data" / "CIFAR-10_human_ordered.npy", given)
    monkeypatch.setattr(_images, "_ORIGIN", f"{origin.as_uri()}/")
    seen = []
    monkeypatch.setattr(_images, "_prepare", lambda builder, by: seen.append(by))
    assert main(["cifar10n"]) == 0
    assert "CIFAR-10N is in" in capsys.readouterr().out
    # What TensorFlow Datasets' builder of it reads.
    names = {"side_info_cifar10N.csv", "image_order_c10.npy"}
    names |= {"CIFAR-10_human_annotations.csv"}
    assert names < {path.name for path in seen[0].iterdir()}
    table = pd.read_csv(seen[0] / "CIFAR-10_human_annotations.csv")
    assert table.to_dict("list") == {k: v.tolist() for k, v in given.items()}
    monkeypatch.setattr(_images, "_ORIGIN", (nothing / "nowhere").as_uri() + "/")
    assert main(["cifar10n"]) == 0  # what is there is not fetched again
    for path in seen[0].iterdir():
        path.unlink()
    assert main(["cifar10n"]) == 2
    assert capsys.readouterr().err.startswith("engine: error: ")


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`split` must be one of 'train', 'test'"):
        engine.read_cifar10n("dev")
    with pytest.raises(ValueError, match="`count` must be"):
        engine.read_cifar10n("train", 0)


def test_features_are_scaled_by_the_training_images_and_need_no_label():
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3)).astype("uint8")
    features = engine.patch_features(images, train=16, words=6, jobs=1)
    assert features.shape == (24, 24)
    np.testing.assert_allclose(features[:16].mean(0), 0, atol=0.01)
    assert 0.9 < features[:16].astype("float32").std() < 1.01
    again = engine.patch_features(images[:16], train=16, words=6, jobs=1)
    np.testing.assert_array_equal(again, features[:16])


def test_photographs_are_learnt_from_in_every_way_and_none_twice(folder, monkeypatch):
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(folder))
    sizes = {"train": 400, "dev": 100, "test": 200, "words": 20, "epochs": 4}
    options = {"labels": ("worse",), "trusted": 60, **sizes}
    rows = engine.run_photographs(folder, seeds=1, **options)
    assert rows["way"].tolist() == [
        "CE",
        "matrix",
        "corrected labels",
        "CE + the trusted",
    ]
    assert (rows["accuracy"] > 0.15).all()  # chance is 0.1
    assert rows["accuracy"].nunique() > 1
    assert (rows["ece_temperature"] < 0.5).all()
    assert 0.35 < rows["rate"][0] < 0.45
    written = (folder / "study_photographs.csv").stat().st_mtime_ns
    again = engine.run_photographs(folder, seeds=1, **options)
    assert (folder / "study_photographs.csv").stat().st_mtime_ns == written
    assert again["accuracy"].tolist() == pytest.approx(rows["accuracy"].tolist())
    with pytest.raises(ValueError, match="`epochs` must be at least 4"):
        engine.run_photographs(folder, epochs=3)


def test_losses_are_compared_on_components_of_the_same_features(folder, monkeypatch):
    monkeypatch.setenv("KERAS_ROBUST_CACHE", str(folder))
    sizes = {"train": 400, "dev": 100, "test": 200, "words": 20, "epochs": 20}
    options = {"labels": ["worse"], "losses": ["ForwardCorrection"], "others": False}
    rows = engine.run_loss_comparison(
        folder, seeds=1, trusted=60, components=16, **options, **sizes
    )
    assert rows["accuracy"][0] > 0.15  # chance is 0.1
    assert 0.35 < rows["rate"][0] < 0.45
    kept = {path.name for path in folder.glob("cifar10n-*.joblib")}
    assert {"cifar10n-features-400-100-200-20.joblib"} < kept
    assert "cifar10n-components-400-100-200-20-16.joblib" in kept


def test_components_are_learnt_from_training_rows_and_scaled_alike():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(90, 8)) * np.arange(8, 0, -1)).astype("float16")
    features[60:] *= 5
    found = principal_components(features, train=60, components=3)
    assert found.dtype == "float32"
    assert found.shape == (90, 3)
    learnt = found[:60:3]
    np.testing.assert_allclose(learnt.mean(0), 0, atol=1e-4)
    variance = learnt.var(0, ddof=1)
    assert variance.mean() == pytest.approx(1, rel=1e-3)
    assert (np.diff(variance) < 0).all()
    np.testing.assert_allclose(np.corrcoef(learnt.T), np.eye(3), atol=1e-3)
