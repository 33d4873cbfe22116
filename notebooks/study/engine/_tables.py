"""The results of many runs as tables."""

import dataclasses
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine._config import RunConfig
from engine._measures import NUM_BINS
from engine._run import RunResult
from keras_robust import _files
from keras_robust._inputs import checks
from keras_robust.calibration import ReliabilityBins

# What the tables are called, and the attribute of a result that each is made from.
TABLES = {
    "runs": "row",
    "reliability": "reliability",
    "losses": "losses",
    "epochs": "epochs",
    "recalibration": "recalibration",
    "trusted": "trusted",
    "acceptance": "acceptance",
}


def results_folder() -> Path:
    """Returns the folder of the committed results, wherever this is called from.

    Returns:
        The folder that the environment variable `KERAS_ROBUST_RESULTS` names, or else
        `results` in the clone that holds this engine.

    Raises:
        Nothing: whether there are rows, `read_results` says.

    Examples:
        >>> import engine
        >>> (engine.results_folder() / "study_runs.csv").exists()
        True
    """
    named = os.environ.get("KERAS_ROBUST_RESULTS")
    return Path(named) if named else Path(__file__).parents[3] / "results"


def runs_folder(results: Path) -> Path:
    """Returns the folder of runs that are not in the tables yet."""
    return results / "runs"


def table_path(results: Path, name: str) -> Path:
    """Returns the file of a table."""
    return results / f"study_{name}.csv"


def known_keys(results: Path) -> set[str]:
    """Returns the keys of all runs that were made."""
    written = {path.stem for path in runs_folder(results).glob("*.json")}
    table = table_path(results, "runs")
    if table.exists():
        written |= set(_read(table)["key"])
    return written


def read_results(results: Any) -> dict[str, pd.DataFrame]:
    """Reads the results of the study.

    Args:
        results: Folder of the results.

    Returns:
        pandas DataFrames: `"runs"`, a row for each run; and with the column `key`, by
        which they are joined, `"reliability"`, `"losses"`, `"epochs"`,
        `"recalibration"`, `"trusted"` and `"acceptance"`. See `RunResult`.

    Raises:
        FileNotFoundError: If there are no results.

    Examples:
        ```python
        tables = engine.read_results(engine.results_folder())
        runs, bins = tables["runs"], tables["reliability"]
        print(bins.merge(runs[["key", "loss", "noise_rate"]], on="key"))
        ```
    """
    results = Path(results)
    fresh = _own_files(results)
    tables = {name: _table(results, name, fresh) for name in TABLES}
    if tables["runs"].empty:
        raise FileNotFoundError(
            f"{results}: there are no results here. Make some with `python -m engine`, "
            "or name their folder in KERAS_ROBUST_RESULTS."
        )
    return tables


def write_tables(results: Any) -> None:
    """Writes all results into the tables, one CSV file each.

    The files of single runs, in the folder `runs`, may then be removed.

    Args:
        results: Folder of the results.

    Returns:
        None.

    Raises:
        FileNotFoundError: If there are no results.

    Examples:
        ```python
        engine.run_grid(engine.grid("gamma"), "my_results")
        engine.write_tables("my_results")
        ```
    """
    results = Path(results)
    tables = read_results(results)
    tables["runs"] = _exact(tables["runs"])
    _files.write_all(
        {
            table_path(results, name): table.to_csv(index=False, float_format="%.6g")
            for name, table in tables.items()
            if len(table)
        }
    )


def _exact(runs: pd.DataFrame) -> pd.DataFrame:
    # What was asked for, to the last digit: a rounded γ would be another run's.
    def text(value: Any) -> Any:
        exact = isinstance(value, float) and np.isfinite(value)
        return np.format_float_positional(value, trim="-") if exact else value

    asked = [field.name for field in dataclasses.fields(RunConfig)]
    return runs.assign(**{name: runs[name].map(text) for name in asked if name in runs})


def select_runs(runs: pd.DataFrame, configs: Iterable[RunConfig]) -> pd.DataFrame:
    """Returns the rows of some configurations, whatever encoder and backend.

    Args:
        runs: The table `"runs"` of `read_results`.
        configs: Configurations, as from `grid`.

    Returns:
        A DataFrame of those rows of `runs` that there are.

    Raises:
        ValueError: If a row holds no configuration.

    Examples:
        ```python
        runs = engine.read_results(engine.results_folder())["runs"]
        cells = engine.select_runs(runs, engine.grid("gamma"))
        ```
    """
    wanted = set(configs)
    rows = runs.to_dict("records")
    return runs[[RunConfig.from_row(row) in wanted for row in rows]]


def reliability_bins(table: pd.DataFrame) -> ReliabilityBins:
    """Returns the bins of a run, or of several runs put together.

    Args:
        table: Rows of the table `"reliability"` of `read_results`: those of one split,
            of one run or more.

    Returns:
        A `ReliabilityBins`, for a `ReliabilityDisplay` or a measure.

    Raises:
        ValueError: If rows of several splits are mixed, or there are none.

    Examples:
        ```python
        table = engine.read_results(engine.results_folder())["reliability"]
        chosen = table[(table["key"] == key) & (table["split"] == "test")]
        ReliabilityDisplay(engine.reliability_bins(chosen)).plot()
        ```
    """
    if table["split"].nunique() != 1:
        raise checks.invalid(
            "reliability_bins",
            "table",
            "rows of one split",
            f"rows of {sorted(table['split'].unique())}",
            "Choose them first: `table[table['split'] == 'test']`.",
        )
    edges = np.arange(NUM_BINS + 1) / NUM_BINS
    place = np.rint(table["lower"].to_numpy() * NUM_BINS).astype(int)
    count = table["count"].to_numpy()
    sums = [
        np.bincount(place, weights=values, minlength=NUM_BINS)
        for values in (count, count * table["confidence"], count * table["accuracy"])
    ]
    with np.errstate(invalid="ignore"):
        return ReliabilityBins(edges, sums[0], sums[1] / sums[0], sums[2] / sums[0])


def trusted_difference(
    table: pd.DataFrame, key: str, other: str
) -> tuple[float, float]:
    """Returns by how much one model finds trusted labels less likely than another.

    Both have to be of the same sentences that were looked at again. It is the
    difference that `calibration.choose_by_likelihood` makes of the models themselves.

    Args:
        table: The table `"trusted"` of `read_results`.
        key: Key of a run.
        other: Key of the run that it is compared with.

    Returns:
        The NLL of a word less that of the other run, in nats, and its standard error
        over sentences.

    Raises:
        ValueError: If the runs are not of the same sentences, or there are none.

    Examples:
        >>> import pandas as pd
        >>> from engine import trusted_difference
        >>> rows = {"key": ["a", "a", "b", "b"], "sentence": [3, 8, 3, 8]}
        >>> rows |= {"words": [10, 5, 10, 5], "nll": [1.0, 2.0, 1.0, 3.5]}
        >>> difference, error = trusted_difference(pd.DataFrame(rows), "b", "a")
        >>> round(difference, 3), round(error, 3)
        (0.1, 0.133)
    """
    one, two = (table[table["key"] == k].set_index("sentence") for k in (key, other))
    if not len(one) or sorted(one.index) != sorted(two.index):
        raise checks.invalid(
            "trusted_difference",
            "other",
            "a run of the same sentences, of which there are some",
            f"{len(one)} sentences of {key}, {len(two)} of {other}",
            "Take runs of one seed, noise and number of trusted sentences.",
        )
    words, count = one["words"], len(one)
    gap = one["nll"] - two["nll"].reindex(one.index)
    mean = gap.sum() / words.sum()
    scatter = ((gap - mean * words) ** 2).sum() * count / (count - 1)
    return float(mean), float(np.sqrt(scatter) / words.sum())


def _table(results: Path, name: str, fresh: list[RunResult]) -> pd.DataFrame:
    path = table_path(results, name)
    parts = [_read(path)] if path.exists() else []
    # What is in a file of its own counts: a row of it in the table is the same.
    own = {result.row["key"] for result in fresh}
    parts = [part[~part["key"].isin(own)] for part in parts]
    rows = [row for result in fresh for row in _rows(result, name)]
    if rows:
        # As from a table, so that types do not depend on where a row is from.
        text = pd.DataFrame(rows).to_csv(index=False)
        parts.append(_read(io.StringIO(text)))
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame()
    return pd.concat(parts, ignore_index=True).sort_values("key", kind="stable")


def _own_files(results: Path) -> list[RunResult]:
    paths = sorted(runs_folder(results).glob("*.json"))
    return [RunResult.from_json(path.read_text(encoding="utf-8")) for path in paths]


def _rows(result: RunResult, name: str) -> Iterable[dict[str, Any]]:
    if name == "runs":
        return [result.row]
    key = {"key": result.row["key"]}
    return [{**key, **row} for row in getattr(result, TABLES[name])]


def _read(source: Any) -> pd.DataFrame:
    return pd.read_csv(source, dtype={"key": str})
