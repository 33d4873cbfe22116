"""The command line: `keras-robust report`."""

from keras_robust._cli._main import main

__all__ = ["main"]
