"""Command line of the study: `python -m engine`."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from engine._config import RunConfig
from engine._floors import run_loss_floor
from engine._grid import run_grid, save_run
from engine._grids import GRID_NAMES, grid
from engine._images import fetch_cifar10n
from engine._kinds import run_kinds
from engine._loss_comparison import run_loss_comparison
from engine._photographs import run_photographs
from engine._run import run
from engine._tables import (
    read_results,
    results_folder,
    runs_folder,
    select_runs,
    write_tables,
)

_EXAMPLES = """examples:
  python -m engine grid f1 gamma --seeds 3
  python -m engine grid calibration --backend dask --scheduler tcp://...
  python -m engine run --noise-rate 0.6 --loss GCE --q 0.8
  python -m engine table --grid gamma
  python -m engine cifar10n
  python -m engine photographs --seeds 3
  python -m engine losses --seeds 5
  python -m engine floor --seeds 5
  python -m engine kinds --seeds 3

environment:
  KERAS_BACKEND           tensorflow, jax or torch
  KERAS_ROBUST_PRESET     encoder: a KerasHub preset, or a folder that holds one
                          (default: distil_bert_base_en_uncased)
  TFDS_DATA_DIR           where TensorFlow Datasets keeps CoNLL-2003 and CIFAR-10N
  KERAS_ROBUST_NOISEBENCH tab-separated file with the annotators' tags
  KERAS_ROBUST_RESULTS    folder of the results (default: that of the clone)
  KERAS_ROBUST_CACHE      word pieces, hidden states and warm-ups
                          (default: ~/.cache/keras_robust)
"""
_SHOWN = (
    "noise",
    "realised",
    "loss",
    "q",
    "smoothing",
    "gamma_rule",
    "gate",
    "gamma_used",
    "seeds",
    "test_f1",
    "test_ece",
    "test_mce_min_count_100",
    "test_mean_confidence",
    "predicted_confidence",
)
_SHOWN_OF_NETWORKS = ("accuracy", "ece", "ece_temperature", "nll_temperature")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. The same command goes on from here.\n")
        return 130
    except BrokenExecutor:
        sys.stderr.write("\nA worker was killed. The same command goes on from here.\n")
        return 1
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.stderr.write(f"engine: error: {error}\n")
        return 2
    return 0


def summary(table: Any) -> Any:
    """Returns the mean over seeds of what matters, a row for each cell of a grid."""
    settings = [
        field.name for field in dataclasses.fields(RunConfig) if field.name != "seed"
    ]
    cells = table.groupby([*settings, "encoder", "backend"], dropna=False, sort=False)
    means = cells.mean(numeric_only=True).reset_index()
    means["seeds"] = cells.size().to_numpy()
    means["realised"] = means["train_realised_rate"]
    return means[list(_SHOWN)].sort_values(["noise", "realised"], kind="stable")


def _run_grids(options: argparse.Namespace) -> None:
    changes = _changes(options)
    for name in options.grids:
        configs = grid(name, seeds=options.seeds, **changes)
        sys.stderr.write(f"{name}: {len(configs)} runs\n")
        run_grid(
            configs,
            options.results,
            jobs=options.jobs,
            backend=options.backend,
            scheduler=options.scheduler,
        )
        write_tables(options.results)
        _show(options.results, configs)


def _run_one(options: argparse.Namespace) -> None:
    config = RunConfig(**_changes(options))
    runs_folder(options.results).mkdir(parents=True, exist_ok=True)
    save_run(run(config), options.results)
    write_tables(options.results)
    _show(options.results, [config])


def _show_table(options: argparse.Namespace) -> None:
    configs = None
    if options.grid is not None:
        configs = grid(options.grid, seeds=options.seeds, **_changes(options))
    _show(options.results, configs)


def _show(results: Path, configs: list[RunConfig] | None) -> None:
    table = read_results(results)["runs"]
    if configs is not None:
        table = select_runs(table, configs)
    text = summary(table).to_string(index=False, float_format="{:.4g}".format)
    sys.stdout.write(text + "\n")


def _fetch_cifar10n(options: argparse.Namespace) -> None:
    sys.stdout.write(f"CIFAR-10N is in {fetch_cifar10n()}\n")


def _run_photographs(options: argparse.Namespace) -> None:
    rows = run_photographs(options.results, seeds=options.seeds)
    means = rows.groupby(["labels", "way"]).mean(numeric_only=True)
    shown = means[list(_SHOWN_OF_NETWORKS)]
    sys.stdout.write(shown.to_string(float_format="{:.4g}".format) + "\n")


def _run_loss_comparison(options: argparse.Namespace) -> None:
    rows = run_loss_comparison(options.results, seeds=options.seeds)
    means = rows.groupby(["labels", "loss", "parameters"], sort=False, dropna=False)
    shown = means.mean(numeric_only=True)[list(_SHOWN_OF_NETWORKS)]
    sys.stdout.write(shown.to_string(float_format="{:.4g}".format) + "\n")


def _run_loss_floor(options: argparse.Namespace) -> None:
    rows = run_loss_floor(options.results, seeds=options.seeds)
    cells = rows.groupby(["labels", "rate", "batch", "way", "stop"], sort=False)
    shown = cells[["fitted", "accuracy", "ece", "ece_temperature"]].mean()
    sys.stdout.write(shown.to_string(float_format="{:.4g}".format) + "\n")


def _run_kinds(options: argparse.Namespace) -> None:
    rows = run_kinds(options.results, seeds=options.seeds)
    shown = rows.groupby(["kinds", "way"], sort=False)[["number", "nll", "accuracy"]]
    sys.stdout.write(shown.mean().to_string(float_format="{:.4g}".format) + "\n")


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(RunConfig)}
    given = {k: v for k, v in vars(options).items() if k in names and v is not None}
    return {name: None if value == "all" else value for name, value in given.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine",
        description="Noise, robustness and calibration on CoNLL-2003.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    grids = commands.add_parser("grid", help="make the runs of grids, and go on")
    grids.add_argument("grids", nargs="+", choices=GRID_NAMES, metavar="GRID")
    grids.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    grids.add_argument("--backend", choices=("loky", "dask"), default="loky")
    grids.add_argument("--scheduler", help="address of the Dask scheduler")
    grids.set_defaults(action=_run_grids)
    single = commands.add_parser("run", help="make one run")
    single.set_defaults(action=_run_one)
    table = commands.add_parser("table", help="print what was found")
    table.add_argument("--grid", choices=GRID_NAMES)
    table.set_defaults(action=_show_table)
    fetch = commands.add_parser("cifar10n", help="download and prepare CIFAR-10N")
    fetch.set_defaults(action=_fetch_cifar10n)
    photographs = commands.add_parser("photographs", help="make those of CIFAR-10N")
    photographs.set_defaults(action=_run_photographs)
    photographs.add_argument("--seeds", type=int, default=3, help="default: 3")
    losses = commands.add_parser(
        "losses", help="compare losses on digits and CIFAR-10N"
    )
    losses.set_defaults(action=_run_loss_comparison)
    losses.add_argument("--seeds", type=int, default=5, help="default: 5")
    floor = commands.add_parser("floor", help="train for long, with a floor or without")
    floor.set_defaults(action=_run_loss_floor)
    floor.add_argument("--seeds", type=int, default=5, help="default: 5")
    kinds = commands.add_parser("kinds", help="correct labels by kinds of words")
    kinds.set_defaults(action=_run_kinds)
    kinds.add_argument("--seeds", type=int, default=3, help="default: 3")
    for command in (photographs, losses, floor, kinds):
        _add_results(command)
    for command in (grids, single, table):
        _add_settings(command, with_seeds=command is not single)
    return parser


def _add_settings(command: argparse.ArgumentParser, *, with_seeds: bool) -> None:
    _add_results(command)
    if with_seeds:
        command.add_argument("--seeds", type=int, default=3, help="default: 3")
    group = command.add_argument_group("settings of a run, by default its own")
    for field in dataclasses.fields(RunConfig):
        if with_seeds and field.name == "seed":
            continue
        flag = "--" + field.name.replace("_", "-")
        if field.type == "bool" or field.type is bool:
            group.add_argument(flag, action="store_true", default=None)
        else:
            group.add_argument(flag, type=_type_of(field), default=None)


def _add_results(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--results",
        type=Path,
        default=results_folder(),
        help="folder (default: %(default)s)",
    )


def _type_of(field: dataclasses.Field) -> Any:
    if field.default is not None and type(field.default) is not int:
        return type(field.default)
    return _count


def _count(text: str) -> Any:
    return text if text == "all" else int(text)


if __name__ == "__main__":
    sys.exit(main())
