"""The command `keras-robust`: chooses a backend for Keras, then hands over.

A module of its own, because importing `keras_robust` imports Keras, and Keras with its
default backend fails where only another one is installed.
"""

import importlib.util
import os
import sys

# Quickest to import first; the command computes with NumPy only.
_BACKENDS = ("jax", "torch", "tensorflow")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    if not _choose_backend():
        sys.stderr.write(
            "keras-robust: error: Keras needs one of jax, torch and tensorflow: "
            "pip install 'keras-robust[jax,calibration]'\n"
        )
        return 2
    from keras_robust._cli.main import main as run

    return run(arguments)


def _choose_backend() -> bool:
    """Sets KERAS_BACKEND unless the user has; returns whether there is one.

    Not what Keras's configuration file says: nothing here depends on the backend, and
    Keras writes "tensorflow" into it where there is none.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "KERAS_BACKEND" in os.environ:
        return True
    for name in _BACKENDS:
        if importlib.util.find_spec(name) is not None:
            os.environ["KERAS_BACKEND"] = name
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
