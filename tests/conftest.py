"""Test set-up that has to happen before Keras is imported."""

import os

# Two devices on one CPU, for the tests of distributed training.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest
from backend import two_cpus

if keras.backend.backend() == "tensorflow":
    two_cpus()


@pytest.fixture(autouse=True)
def _same_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def two_replicas():
    """TensorFlow's strategy with two CPUs: one for all tests of a process.

    A second one would number TensorFlow's collective operations from the start again,
    and a gradient would meet one of another shape.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture
def float64():
    """Makes float64 available, which JAX has only when asked."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


# Files that concern one backend run on that backend only.
collect_ignore_glob = [
    f"*_{name}.py"
    for name in ("tensorflow", "jax", "torch")
    if name != keras.backend.backend()
]
