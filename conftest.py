"""Doctests are looked for in what the current backend can import."""

import keras

collect_ignore = [
    f"keras_robust/_row_terms/_{name}.py"
    for name in ("tensorflow", "jax", "torch")
    if name != keras.backend.backend()
]
