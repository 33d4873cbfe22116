"""The study of noise, robustness and calibration on CoNLL-2003 and NoiseBench."""

from keras_robust.study._cache import unavailable
from keras_robust.study._config import RunConfig
from keras_robust.study._grid import run_grid
from keras_robust.study._grids import grid
from keras_robust.study._images import LabelledImages, read_cifar10n
from keras_robust.study._run import RunResult, run
from keras_robust.study._tables import (
    read_results,
    reliability_bins,
    select_runs,
    write_tables,
)

__all__ = [
    "LabelledImages",
    "RunConfig",
    "RunResult",
    "grid",
    "read_cifar10n",
    "read_results",
    "reliability_bins",
    "run",
    "run_grid",
    "select_runs",
    "unavailable",
    "write_tables",
]
