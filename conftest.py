"""Doctests are looked for in what the current backend can import."""

import keras

# Modules that are named after a backend hold its own version of something.
collect_ignore_glob = [
    f"keras_robust/*/_{name}.py"
    for name in ("tensorflow", "jax", "torch")
    if name != keras.backend.backend()
]
