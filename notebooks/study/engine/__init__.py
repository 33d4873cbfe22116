"""The study of noise, robustness and calibration on CoNLL-2003 and NoiseBench."""

from engine._accepting import kept_thresholds
from engine._cache import unavailable
from engine._claims import Claims, seeds_interval
from engine._comparison_table import loss_comparison
from engine._config import RunConfig
from engine._floors import run_loss_floor
from engine._grid import run_grid
from engine._grids import grid
from engine._image_features import patch_features
from engine._images import (
    LabelledImages,
    fetch_cifar10n,
    read_cifar10,
    read_cifar10n,
)
from engine._kinds import run_kinds
from engine._loss_comparison import run_loss_comparison
from engine._photographs import run_photographs
from engine._run import RunResult, run
from engine._tables import (
    read_results,
    reliability_bins,
    results_folder,
    select_runs,
    trusted_difference,
    write_tables,
)
from engine._template_plane import TemplatePlane

__all__ = [
    "Claims",
    "LabelledImages",
    "RunConfig",
    "RunResult",
    "TemplatePlane",
    "fetch_cifar10n",
    "grid",
    "kept_thresholds",
    "loss_comparison",
    "patch_features",
    "read_cifar10",
    "read_cifar10n",
    "read_results",
    "reliability_bins",
    "results_folder",
    "run",
    "run_grid",
    "run_kinds",
    "run_loss_comparison",
    "run_loss_floor",
    "run_photographs",
    "seeds_interval",
    "select_runs",
    "trusted_difference",
    "unavailable",
    "write_tables",
]
