"""The committed rows of the study are rows of this code."""

from pathlib import Path

import engine
import numpy as np

RESULTS = Path(__file__).parents[3] / "results"
TABLES = engine.read_results(RESULTS)
ROWS = TABLES["runs"].to_dict("records")


def test_each_row_has_the_key_of_its_configuration():
    for row in ROWS:
        config = engine.RunConfig.from_row(row)
        key = config.key(encoder=row["encoder"], backend=row["backend"])
        assert row["key"] == key


def test_the_errors_are_those_of_the_reliability_tables():
    bins = TABLES["reliability"]
    for row in ROWS:
        for split in ("dev", "test"):
            chosen = bins[(bins["key"] == row["key"]) & (bins["split"] == split)]
            table = engine.reliability_bins(chosen)
            assert table.total == row[f"{split}_words"]
            np.testing.assert_allclose(table.ece(), row[f"{split}_ece"], rtol=1e-3)


def test_rows_say_how_they_were_made():
    for row in ROWS:
        for name in ("encoder", "backend_version", "keras_version", "hardware"):
            assert isinstance(row[name], str)
            assert "/" not in row[name]
