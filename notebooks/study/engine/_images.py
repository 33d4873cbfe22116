"""CIFAR-10N: photographs with their true labels and those that people gave."""

from dataclasses import dataclass

import numpy as np

from engine._cache import kept
from keras_robust._inputs import checks

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

    What was read is kept in the folder `KERAS_ROBUST_CACHE`; once it is there, neither
    TensorFlow Datasets nor TensorFlow is needed.

    Args:
        split: `"train"` (50,000 images) or `"test"` (10,000).
        count: Number of images, the first ones; None for all. Defaults to None.

    Returns:
        A `LabelledImages`.

    Raises:
        ImportError: If TensorFlow Datasets is not installed.
        ValueError: If there is no such split, or `count` is below 1.

    Examples:
        ```python
        train = engine.read_cifar10n("train", 10_000)
        wrong = train.labels["worse"] != train.labels["clean"]
        print(wrong.mean())
        ```
    """
    owner = "read_cifar10n"
    checks.choice(owner, "split", split, ("train", "test"), fix="")
    if count is not None:
        count = checks.integer(owner, "count", count, minimum=1, fix="Pass 1000, say.")
    name = f"cifar10n-{split}-{count or 'all'}"
    return kept(name, lambda: _from_datasets(split, count))


def _from_datasets(split: str, count: int | None) -> LabelledImages:
    tfds = checks.optional_module("read_cifar10n", "tensorflow_datasets", extra="study")
    builder = tfds.builder("cifar10_n")
    builder.download_and_prepare()
    rows = builder.as_dataset(split=split if count is None else f"{split}[:{count}]")
    # All at once: TensorFlow need not make a batch of them.
    rows = list(tfds.as_numpy(rows))
    given = _NAMES if split == "train" else ["label"]
    labels = {_NAMES[n]: np.array([row[n] for row in rows], "int32") for n in given}
    images = np.stack([row["image"] for row in rows])
    return LabelledImages(images, labels, tuple(builder.info.features["label"].names))
