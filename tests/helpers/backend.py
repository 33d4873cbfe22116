"""What the three backends do differently, for tests."""

import keras
import numpy as np

BACKEND = keras.backend.backend()


def two_cpus():
    """Splits the CPU into two devices for TensorFlow, before anything runs there."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)


def to_numpy(x):
    return keras.ops.convert_to_numpy(
        keras.ops.cast(x, "float64" if wide(x) else "float32")
    )


def wide(x):
    return keras.backend.standardize_dtype(x.dtype) == "float64"


def value_and_grad(function, x, dtype="float32"):
    """Returns function(x), a scalar, and its gradient, as NumPy arrays."""
    x = keras.ops.convert_to_tensor(x, dtype=dtype)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        grad = tape.gradient(value, x)
    elif BACKEND == "jax":
        import jax

        value, grad = jax.value_and_grad(function)(x)
    else:
        x = x.detach().clone().requires_grad_(True)
        value = function(x)
        value.backward()
        value, grad = value.detach(), x.grad
    return to_numpy(value), to_numpy(grad)


def with_mask(y_pred, mask):
    """Returns predictions that carry a Keras mask, as a masking layer's output does."""
    from keras.src.backend import set_keras_mask

    y_pred = keras.ops.convert_to_tensor(y_pred)
    set_keras_mask(y_pred, keras.ops.convert_to_tensor(np.asarray(mask, bool)))
    return y_pred


def jit_modes():
    """Values of `jit_compile` to test; on PyTorch True has a slow test of its own."""
    return [False] if BACKEND == "torch" else [True, False]


def compiled(function, jit):
    """Returns a function of tensors as Keras compiles it, with `jit_compile=jit`."""
    if BACKEND == "jax" and jit:
        import jax

        return jax.jit(function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=jit)
    return function


def quickly_compiled(how):
    """Returns options for `compile`, without XLA on TensorFlow unless they ask for it.

    There, compiling each step of many small models takes most of the time.
    """
    quick = BACKEND == "tensorflow" and "jit_compile" not in how
    return {**how, "jit_compile": False} if quick else how
