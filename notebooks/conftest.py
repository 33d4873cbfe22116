"""Notebooks: some are about data without which there is no notebook."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def pytest_collection_modifyitems(items):
    """Finds the data, and skips a notebook where they are not to be had."""
    needs: dict[str, Callable[[], object]] = {
        "02_your_own_tagger.ipynb": _conll2003,
        "03_labels_from_several_people.ipynb": _votes,
        "08_human_noise.ipynb": lambda: _cifar10n(1),
    }
    for item in items:
        find = needs.get(item.path.name)
        if find is not None:
            try:
                find()
            except Exception as error:  # whatever a download raises
                item.add_marker(pytest.mark.skip(reason=f"no data: {error}"))


def _cifar10n(count: int):
    import engine

    return engine.read_cifar10n("train", count)


def _conll2003() -> None:
    if "CONLL2003" not in os.environ:
        import keras

        url = "https://data.deepai.org/conll2003.zip"
        keras.utils.get_file("conll2003.zip", url, extract=True)


def _votes() -> None:
    """Puts the first photographs into a file, in place of the notebook's downloads."""
    if "CIFAR10N" not in os.environ:
        short = os.environ.get("KERAS_ROBUST_SHORT", "0") != "0"
        rows = _cifar10n(900 if short else 17_000)
        votes = [rows.labels[f"random{i}"] for i in (1, 2, 3)]
        path = Path(tempfile.mkdtemp()) / "cifar10n.npz"
        made = {"x": rows.images, "true": rows.labels["clean"]}
        np.savez(path, votes=np.stack(votes, axis=1), **made)
        os.environ["CIFAR10N"] = str(path)
