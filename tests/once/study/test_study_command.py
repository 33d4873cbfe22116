"""The command `python -m engine`."""

import engine
import numpy as np
import pandas as pd
import pytest
from engine.__main__ import main, summary
from engine._grid import run_key, save_run
from tiny import QUICK, quick

SMALL = {**QUICK, "epochs": 1, "trainable_layers": 1}


def flags(**options):
    given = []
    for name, value in {**SMALL, **options}.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            given.append(flag)
        else:
            given += [flag, "all" if value is None else str(value)]
    return given


@pytest.fixture
def results(preset, tmp_path):
    return tmp_path / "results"


def lines(capsys):
    out, err = capsys.readouterr()
    return out.splitlines(), err.splitlines()


def test_a_run_is_made_from_flags_and_shown(results, capsys):
    arguments = flags(loss="GCE", q=0.6, noise_rate=0.25, seed=3)
    assert main(["run", "--results", str(results), *arguments]) == 0
    (head, cell), _ = lines(capsys)
    assert head.split()[:3] == ["noise", "realised", "loss"]
    assert cell.split()[0] == "symmetric"
    assert "GCE" in cell
    config = quick(loss="GCE", q=0.6, noise_rate=0.25, seed=3, epochs=1)
    runs = engine.read_results(results)["runs"]
    assert [engine.RunConfig.from_row(row) for _, row in runs.iterrows()] == [config]
    # The table of what is there, and of a grid that has nothing there.
    assert main(["table", "--results", str(results)]) == 0
    assert lines(capsys)[0] == [head, cell]
    assert main(["table", "--results", str(results), "--grid", "gamma"]) == 0
    assert "GCE" not in "".join(lines(capsys)[0])


def test_a_grid_is_made_and_not_made_again(results, capsys):
    # All that it would make is there, from another machine.
    changes = {**SMALL, "epochs": 2}
    configs = engine.grid("gamma", seeds=1, **changes)
    made = [
        engine.RunResult(
            {
                "key": run_key(config),
                **config.to_dict(),
                **dict.fromkeys(("encoder", "backend"), "x"),
                "gamma_used": 0.5,
                "train_realised_rate": config.noise_rate + 0.01,
                "test_f1": 0.5,
                "test_ece": 0.1,
                "test_mce_min_count_100": 0.1,
                "test_mean_confidence": 0.5,
                "predicted_confidence": 0.75,
            }
        )
        for config in configs
    ]
    (results / "runs").mkdir(parents=True)
    for result in made:
        save_run(result, results)
    command = ["grid", "gamma", "--seeds", "1", "--results", str(results)]
    assert main([*command, *flags(epochs=2)]) == 0
    shown, said = lines(capsys)
    assert said[0] == "gamma: 30 runs"
    assert len(shown) == 1 + 30
    assert (results / "study_runs.csv").exists()


def test_the_summary_is_the_mean_over_seeds():
    rows = [
        {
            **quick(seed=seed, noise_rate=rate).to_dict(),
            **dict.fromkeys(("encoder", "backend"), "x"),
            "gamma_used": np.nan,
            "train_realised_rate": rate,
            "test_f1": f1,
            "test_ece": 0.1,
            "test_mce_min_count_100": 0.1,
            "test_mean_confidence": 0.5,
            "predicted_confidence": 0.75,
        }
        for seed, rate, f1 in ((0, 0.2, 0.5), (1, 0.2, 0.7), (0, 0.0, 0.9))
    ]
    table = summary(pd.DataFrame(rows))
    assert table["seeds"].tolist() == [1, 2]
    np.testing.assert_allclose(table["test_f1"], [0.9, 0.6])
    np.testing.assert_allclose(table["realised"], [0.0, 0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--q", "0.5"], "RunConfig: `q` must be 0 for the loss CE"),
        (["run", "--epochs", "all"], "RunConfig: `epochs` must be an integer"),
        (["run", "--trainable-layers", "9"], "`trainable_layers` must be at most 2"),
        (["table"], "there are no results here"),
        (["grid", "f1", "--seeds", "0"], "grid: `seeds` must be at least 1"),
        (["grid", "f1", "--scheduler", "x"], "`scheduler` must be given with"),
        (["grid", "f1", "--jobs", "0"], "run_grid: `jobs` must be at least 1"),
    ],
)
def test_a_mistake_is_told_in_one_line(results, capsys, arguments, message):
    assert main([*arguments, "--results", str(results)]) == 2
    shown, said = lines(capsys)
    assert shown == []
    assert said[-1].startswith("engine: error: ")
    assert message in said[-1]
    assert len(said) == (
        2 if arguments[0] == "grid" and "--seeds" not in arguments else 1
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grid", "f2"], "invalid choice: 'f2'"),
        (["run", "--loss"], "argument --loss: expected one argument"),
        (["run", "--epochs", "many"], "argument --epochs: invalid"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_what_is_no_command_is_told(capsys, arguments, message):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_help_names_commands_and_the_environment(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    for word in ("grid", "run", "table", "KERAS_ROBUST_PRESET", "examples:"):
        assert word in said
