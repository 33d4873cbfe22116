"""Grids by name, and the results of many runs as tables."""

import json
from pathlib import Path

import engine
import numpy as np
import pandas as pd
import pytest
from engine import RunConfig, RunResult
from engine._grid import _spread_warmups, run_key, save_run
from engine._grids import GRID_NAMES
from engine._tables import TABLES, known_keys, runs_folder, table_path
from tiny import quick

from keras_robust import noise

SIZES = {
    "f1": 6 * 6,
    "f1_without_warmup": 2 * 4,
    "epochs": 2 * 3,
    "memorisation": 3,
    "calibration": 3 * 3 * 5,
    "gamma": 5 * 6,
    "annotators": 6 * 4,
    "spans": 2 + 5,
    "people": 5 * 6,
    "people_others": 12 * 6,
    "people_sizes": 2 * 4 * 2,
    "people_without_warmup": 3 * 2,
    "uneven": 4 * 2 * 2,
    "acceptance": 3 * 5 + 2 * 6,
    "memorisation_floor": 1,
}


@pytest.mark.parametrize("name", GRID_NAMES)
def test_a_grid_has_a_run_for_each_cell_and_seed(name):
    configs = engine.grid(name)
    assert len(configs) == len(set(configs)) == 3 * SIZES[name]
    assert len({config.key() for config in configs}) == len(configs)
    assert [config.seed for config in configs] == sorted([0, 1, 2] * SIZES[name])


def test_a_run_in_two_grids_is_made_once():
    rates = {name: set() for name in ("f1", "calibration")}
    for name, found in rates.items():
        found |= {config.key() for config in engine.grid(name, seeds=1)}
    # Without smoothing: cross entropy and GCE at q 0.6 and 0.8, at three rates.
    assert len(rates["f1"] & rates["calibration"]) == 3 * 3
    every = {c.key() for name in GRID_NAMES for c in engine.grid(name, seeds=1)}
    # And cross entropy on clean labels is in `spans` too, and of `acceptance` all but
    # three cells are in others.
    assert len(every) == sum(SIZES.values()) - 3 * 3 - 1 - 24


def test_the_f1_grid_is_noise_rate_times_q():
    cells = {(c.noise_rate, c.q) for c in engine.grid("f1", seeds=1)}
    steps = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert cells == {(rate, q) for rate in steps for q in steps}
    entropy = [c for c in engine.grid("f1", seeds=1) if not c.q]
    assert {c.loss for c in entropy} == {"CE"}


def test_changes_reach_every_run_of_a_grid():
    configs = engine.grid("gamma", seeds=2, train_sentences=None, epochs=5)
    assert {(c.train_sentences, c.epochs) for c in configs} == {(None, 5)}


def test_a_grid_of_no_such_name_raises():
    with pytest.raises(ValueError, match="`name` must be one of 'f1', 'gamma'"):
        engine.grid("f2")
    with pytest.raises(ValueError, match="`seeds` must be at least 1"):
        engine.grid("f1", seeds=0)
    with pytest.raises(ValueError, match="`epochs` must be at least 1"):
        engine.grid("f1", epochs=0)


def test_neighbours_share_no_warmup():
    configs = _spread_warmups([c for n in GRID_NAMES for c in engine.grid(n, seeds=1)])
    shared = [c.warmup() for c in configs]
    distinct = len(set(shared))
    assert len(set(shared[:distinct])) == distinct


def result(key, loss="CE", traced=False, **row):
    config = quick(loss=loss, trace=traced)
    return RunResult(
        row={"key": key, **config.to_dict(), "gamma_used": None, "f1": 1 / 3, **row},
        reliability=[{"split": "dev", "lower": 0.9, "count": 5}] * 2,
        losses=[{"epoch": k / 10, "loss": float(k)} for k in range(3)],
        epochs=[{"epoch": k, "memorised": None} for k in range(2)] if traced else [],
        recalibration=[{"method": "analytic", "ece": 0.1}],
        trusted=[{"sentence": 7, "words": 3, "nll": 0.5}],
        acceptance=[{"unit": "word", "labels": "clean", "asked": 0.9}],
    )


def save(folder, *results):
    runs_folder(folder).mkdir(parents=True, exist_ok=True)
    for made in results:
        save_run(made, folder)


def remove_files(folder):
    for path in runs_folder(folder).iterdir():
        path.unlink()


def lengths(folder):
    return {name: len(table) for name, table in engine.read_results(folder).items()}


def test_tables_and_single_files_are_joined_without_loss_or_repetition(tmp_path):
    one, two = result("a1"), result("b2", traced=True)
    three = result("0003", loss="GammaCE", gamma_used=0.2)
    save(tmp_path, one)
    engine.write_tables(tmp_path)
    assert not table_path(tmp_path, "epochs").exists()
    save(tmp_path, two)
    joined = engine.read_results(tmp_path)
    assert list(joined["runs"]["key"]) == ["a1", "b2"]
    engine.write_tables(tmp_path)
    remove_files(tmp_path)
    save(tmp_path, three)
    counts = dict(zip(TABLES, (3, 6, 9, 2, 3, 3, 3)))
    assert lengths(tmp_path) == counts
    engine.write_tables(tmp_path)
    assert lengths(tmp_path) == counts
    remove_files(tmp_path)
    assert lengths(tmp_path) == counts
    assert known_keys(tmp_path) == {"a1", "b2", "0003"}
    runs = engine.read_results(tmp_path)["runs"].set_index("key")
    np.testing.assert_allclose(runs["f1"], 1 / 3, rtol=1e-5)
    assert runs.loc["0003", "gamma_used"] == 0.2
    assert np.isnan(runs.loc["a1", "gamma_used"])


def test_a_table_that_was_not_written_in_time_is_made_good(tmp_path):
    # As after a stop between the table of runs and the others.
    save(tmp_path, result("a"), result("b"))
    engine.write_tables(tmp_path)
    table_path(tmp_path, "losses").unlink()
    assert lengths(tmp_path)["losses"] == 6
    save(tmp_path, result("c"))
    pd.DataFrame([{"key": "c"}]).to_csv(table_path(tmp_path, "runs"), index=False)
    assert lengths(tmp_path)["losses"] == 9
    assert lengths(tmp_path)["runs"] == 3


def test_types_do_not_depend_on_where_a_row_is_from(tmp_path):
    save(tmp_path, result("a"))
    before = engine.read_results(tmp_path)["runs"]
    engine.write_tables(tmp_path)
    remove_files(tmp_path)
    after = engine.read_results(tmp_path)["runs"]
    # A table may hold 0.0 as 0.
    pd.testing.assert_frame_equal(before, after, check_dtype=False, rtol=1e-5)
    for runs in (before, after):
        assert runs["gamma_used"].dtype == runs["q"].astype(float).dtype


def test_a_row_is_its_configuration_after_a_table_too(tmp_path):
    configs = [quick(), quick(train_sentences=7, trace=True), quick(noise="llm")]
    gamma = noise.gamma_from_noise_rate(9, 0.3)  # 0.05357142857142857
    configs.insert(0, quick(loss="GammaCE", gamma=gamma, learning_rate=1.23456789e-5))
    rows = [result(c.key(), **c.to_dict()) for c in configs]
    save(tmp_path, *rows)
    engine.write_tables(tmp_path)
    remove_files(tmp_path)
    runs = engine.read_results(tmp_path)["runs"]
    for _, row in runs.iterrows():
        config = RunConfig.from_row(row)
        assert config.key() == row["key"]
    chosen = engine.select_runs(runs, configs[:2])
    assert set(chosen["key"]) == {c.key() for c in configs[:2]}
    assert engine.select_runs(runs, [quick(seed=9)]).empty


def test_bins_of_several_runs_are_put_together():
    rows = [
        {"split": "test", "lower": 0.6, "count": 30, "confidence": 0.7, "accuracy": 1},
        {"split": "test", "lower": 0.9, "count": 10, "confidence": 0.9, "accuracy": 1},
        {"split": "test", "lower": 0.6, "count": 10, "confidence": 0.6, "accuracy": 0},
    ]
    bins = engine.reliability_bins(pd.DataFrame(rows))
    assert bins.count.tolist() == [0, 0, 0, 0, 0, 0, 40, 0, 0, 10]
    # Of the 40: confidence (30 * 0.7 + 10 * 0.6) / 40, accuracy 30 / 40.
    np.testing.assert_allclose(bins.confidence[6], 0.675)
    np.testing.assert_allclose(bins.accuracy[6], 0.75)
    np.testing.assert_allclose(bins.ece(), (40 * 0.075 + 10 * 0.1) / 50)
    rows[1]["split"] = "dev"
    with pytest.raises(ValueError, match="`table` must be rows of one split"):
        engine.reliability_bins(pd.DataFrame(rows))
    with pytest.raises(ValueError, match="`table` must be rows of one split"):
        engine.reliability_bins(pd.DataFrame(rows[:0], columns=list(rows[0])))


def test_the_results_are_those_of_the_clone_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_ROBUST_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert engine.results_folder() == Path(__file__).resolve().parents[3] / "results"
    assert len(engine.read_results(engine.results_folder())["runs"]) > 300
    monkeypatch.setenv("KERAS_ROBUST_RESULTS", "elsewhere")
    assert engine.results_folder() == Path("elsewhere")


def test_without_results_there_are_no_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match="in KERAS_ROBUST_RESULTS"):
        engine.read_results(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="there are no results here"):
        engine.write_tables(tmp_path)


def test_a_grid_of_which_only_the_tables_are_there_is_not_run_again(tmp_path, preset):
    configs = [quick(seed=seed, noise_rate=0.5) for seed in range(2)]
    keys = [run_key(config, preset) for config in configs]
    save(tmp_path, *[result(key) for key in keys])
    engine.write_tables(tmp_path)
    remove_files(tmp_path)
    assert engine.run_grid(configs, tmp_path) == 0
    assert not list(runs_folder(tmp_path).iterdir())


def test_numbers_that_are_none_are_null():
    made = RunResult({"a": float("nan"), "b": np.float32(0.5), "c": float("inf")})
    assert json.loads(made.to_json())["row"] == {"a": None, "b": 0.5, "c": None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "spark"}, "`backend` must be one of 'loky', 'dask'"),
        ({"backend": "dask"}, "`scheduler` must be given with backend='dask'"),
        ({"scheduler": "tcp://x:1"}, "`scheduler` must be given with backend='dask'"),
        ({"jobs": 0}, "`jobs` must be at least 1"),
    ],
)
def test_bad_arguments_of_a_grid_raise(tmp_path, preset, options, message):
    with pytest.raises(ValueError, match=message):
        engine.run_grid([quick()], tmp_path / "r", **options)
