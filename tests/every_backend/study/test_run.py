"""One small run of the study on the backend at hand; the rest is tested once."""

import engine
import keras
from tiny import quick, tiny_study


def test_a_run_is_made_on_this_backend(tmp_path):
    config = quick(loss="GammaCE", gamma_rule="estimated_rate", noise_rate=0.3)
    with tiny_study(tmp_path):
        row = engine.run(config, share_warmup=True).row
    assert row["backend"] == keras.backend.backend()
    # All O is right about 3 words in 5, and finds no entity.
    assert row["test_f1"] > 0.2
    assert row["test_accuracy"] > row["test_fraction_o"]
    assert abs(row["estimated_rate"] - row["dev_realised_rate"]) < 0.15
    assert len(list((tmp_path / "cache").glob("warmup-*"))) == 1
