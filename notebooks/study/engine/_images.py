"""CIFAR-10 and CIFAR-10N: photographs, true labels and those that people gave."""

import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from engine._cache import cache_folder, kept
from keras_robust import _files
from keras_robust._inputs import checks

_NAMES_OF_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
# The labels' own repository, and the files of it that TensorFlow Datasets asks for.
_ORIGIN = "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/main/"
_BY_HAND = (
    "side_info_cifar10N.csv",
    "image_order_c10.npy",
    "data/CIFAR-10_human_ordered.npy",
)

# TensorFlow Datasets' names of the labels, and ours, which are the paper's.
_NAMES = {
    "label": "clean",
    "aggre_label": "aggre",
    "random_label1": "random1",
    "random_label2": "random2",
    "random_label3": "random3",
    "worse_label": "worse",
}


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Photographs with several labels each.

    Attributes:
        images: uint8 array of shape `(N, 32, 32, 3)`.
        labels: For each annotator an int32 array of shape `(N,)`, class ids in
            [0, 10): `"clean"`, the truth; `"random1"`, `"random2"`, `"random3"`, three
            people; `"aggre"`, their majority; `"worse"`, one who was wrong if any was.
            The test images have `"clean"` only.
        names: The names of the classes.

    Examples:
        >>> import numpy as np
        >>> from engine import LabelledImages
        >>> blank = np.zeros((2, 32, 32, 3), "uint8")
        >>> made = LabelledImages(blank, {"clean": np.array([3, 5])}, ("airplane",))
        >>> made.labels["clean"].tolist()
        [3, 5]
    """

    images: np.ndarray
    labels: dict[str, np.ndarray]
    names: tuple[str, ...]


def read_cifar10n(split: str = "train", count: int | None = None) -> LabelledImages:
    """Reads CIFAR-10N (Wei et al., 2022) through TensorFlow Datasets.

    Its labels have to be fetched first, by `python -m engine cifar10n`. What was read
    is kept in the folder `KERAS_ROBUST_CACHE`; once it is there, neither TensorFlow
    Datasets nor TensorFlow is needed.

    Args:
        split: `"train"` (50,000 images) or `"test"` (10,000).
        count: Number of images, the first ones; None for all. Defaults to None.

    Returns:
        A `LabelledImages`.

    Raises:
        ImportError: If TensorFlow Datasets is not installed.
        FileNotFoundError: If the data were not fetched.
        ValueError: If there is no such split, or `count` is below 1.

    Examples:
        ```python
        train = engine.read_cifar10n("train", 10_000)
        wrong = train.labels["worse"] != train.labels["clean"]
        print(wrong.mean())
        ```
    """
    count = _checked("read_cifar10n", split, count)
    return kept(_kept_name(split, count), lambda: _from_datasets(split, count))


def read_cifar10(split: str = "train", count: int | None = None) -> LabelledImages:
    """Reads CIFAR-10: photographs with their true labels.

    They are those of CIFAR-10N, where that is at hand; else Keras downloads them (170
    MB). What was read is kept in the folder `KERAS_ROBUST_CACHE`.

    Args:
        split: `"train"` (50,000 images) or `"test"` (10,000).
        count: Number of images, the first ones; None for all. Defaults to None.

    Returns:
        A `LabelledImages` with the labels `"clean"`.

    Raises:
        OSError: If it cannot be downloaded.
        ValueError: If there is no such split, or `count` is below 1.

    Examples:
        ```python
        train = engine.read_cifar10("train", 10_000)
        print(train.images.shape, train.names[train.labels["clean"][0]])
        ```
    """
    count = _checked("read_cifar10", split, count)
    if (cache_folder() / f"{_kept_name(split, count)}.joblib").exists() or _prepared():
        both = read_cifar10n(split, count)
        return LabelledImages(both.images, {"clean": both.labels["clean"]}, both.names)
    name = f"cifar10-{split}-{count or 'all'}"
    return kept(name, lambda: _from_keras(split, count))


def fetch_cifar10n() -> Path:
    """Downloads what CIFAR-10N needs, and lets TensorFlow Datasets prepare it.

    Three files from the labels' own repository, of which one is converted to CSV, as
    TensorFlow Datasets' page of `cifar10_n` says; it then downloads the images itself
    (163 MB) and writes both to `TFDS_DATA_DIR`. Files that are there stay.

    Returns:
        The folder that holds the data.

    Raises:
        ImportError: If TensorFlow Datasets is not installed.
        OSError: If something cannot be downloaded.

    Examples:
        ```python
        engine.fetch_cifar10n()  # or: python -m engine cifar10n
        wrong = engine.read_cifar10n("train")
        ```
    """
    builder = _builder("fetch_cifar10n")
    if not builder.is_prepared():
        folder = cache_folder() / "cifar10n"
        folder.mkdir(exist_ok=True)
        for name in _BY_HAND:
            _download(_ORIGIN + name, folder / Path(name).name)
        _convert(folder)
        _prepare(builder, folder)
    return Path(builder.data_dir)


def _checked(owner: str, split: str, count: int | None) -> int | None:
    checks.choice(owner, "split", split, ("train", "test"), fix="These are all.")
    if count is None:
        return None
    return checks.integer(owner, "count", count, minimum=1, fix="Pass 1000, say.")


def _kept_name(split: str, count: int | None) -> str:
    return f"cifar10n-{split}-{count or 'all'}"


def _builder(owner: str) -> Any:
    tfds = checks.optional_module(owner, "tensorflow_datasets", extra="study")
    return tfds.builder("cifar10_n")


def _prepared() -> bool:
    try:
        return _builder("read_cifar10").is_prepared()
    except ImportError:
        return False


def _from_datasets(split: str, count: int | None) -> LabelledImages:
    builder = _builder("read_cifar10n")
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"CIFAR-10N is not in {builder.data_dir}. Fetch it by `python -m engine "
            "cifar10n`, or name the folder that holds it in TFDS_DATA_DIR."
        )
    import tensorflow_datasets as tfds

    rows = builder.as_dataset(split=split if count is None else f"{split}[:{count}]")
    # All at once: TensorFlow need not make a batch of them.
    rows = list(tfds.as_numpy(rows))
    given = _NAMES if split == "train" else ["label"]
    labels = {_NAMES[n]: np.array([row[n] for row in rows], "int32") for n in given}
    images = np.stack([row["image"] for row in rows])
    return LabelledImages(images, labels, tuple(builder.info.features["label"].names))


def _from_keras(split: str, count: int | None) -> LabelledImages:
    try:
        parts = dict(zip(("train", "test"), keras.datasets.cifar10.load_data()))
    except Exception as error:  # Keras raises no other
        raise OSError(f"CIFAR-10 cannot be downloaded: {error}") from error
    images, labels = (part[:count] for part in parts[split])
    clean = labels.ravel().astype("int32")
    return LabelledImages(images, {"clean": clean}, _NAMES_OF_CLASSES)


def _download(url: str, path: Path) -> None:
    def write(part: Path) -> None:
        with urllib.request.urlopen(url) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file)

    if not path.exists():
        _files.save_whole(path, write)


def _convert(folder: Path) -> None:
    # A pickled dict of the authors of the data set, who publish no other form of it.
    ordered = np.load(folder / "CIFAR-10_human_ordered.npy", allow_pickle=True)
    table = pd.DataFrame(ordered.item())
    table.to_csv(folder / "CIFAR-10_human_annotations.csv", index=False)


def _prepare(builder: Any, folder: Path) -> None:
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=config)
