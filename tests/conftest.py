"""What holds for every test. The first half has to happen before Keras is imported."""

import gc
import itertools
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Two devices on one CPU, for the tests of distributed training.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
# pytest has a process for each core: PyTorch's threads would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Most of what tests on JAX do is compile, and much of it is the same.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "jax-cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import keras
import pytest
from backend import two_cpus

if keras.backend.backend() == "tensorflow":
    two_cpus()


@pytest.fixture(autouse=True)
def _same_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _forget_what_was_compiled():
    # JAX keeps every program, more than a megabyte each. What it forgets here comes
    # back from the cache on disk.
    yield
    if keras.backend.backend() == "jax" and next(_TESTS) % 40 == 0:
        import jax

        jax.clear_caches()
        gc.collect()


_TESTS = itertools.count(1)


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
