"""Doctests and notebooks: only what can run here."""

import keras
import pytest

# Modules that are named after a backend hold its own version of something.
collect_ignore_glob = [
    f"keras_robust/*/_{name}.py"
    for name in ("tensorflow", "jax", "torch")
    if name != keras.backend.backend()
]


def pytest_collection_modifyitems(items):
    """The notebook on human noise is about CIFAR-10N: without it there is none."""
    for item in items:
        if item.path.name == "08_human_noise.ipynb":
            from keras_robust import study

            try:
                study.read_cifar10n("test", 1)
            except (ImportError, OSError, ValueError, AssertionError) as error:
                item.add_marker(pytest.mark.skip(reason=f"no CIFAR-10N: {error}"))
