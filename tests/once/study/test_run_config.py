"""A run's configuration: values, errors, names."""

import dataclasses
import json

import pytest
from engine import RunConfig
from tiny import quick

CORRECTED = {"loss": "ForwardCorrection", "matrix_rule": "true"}
# For each field a configuration, and another value for the field.
CHANGES = {
    "noise": ({}, "pair"),
    "noise_rate": ({}, 0.2),
    "loss": ({}, "GCE"),
    "q": ({"loss": "GCE", "q": 0.6}, 0.8),
    "smoothing": ({"loss": "SGCE", "smoothing": 0.1}, 0.2),
    "span_smoothing": ({}, 0.2),
    "gamma": ({"loss": "GammaCE", "gamma": 0.1}, 0.2),
    "gamma_rule": ({"loss": "GammaCE"}, "true_rate"),
    "gate": ({"loss": "GammaCE"}, 0.2),
    "matrix_rule": (CORRECTED, "estimated"),
    "trusted_sentences": ({}, 100),
    "train_on_trusted": ({"trusted_sentences": 100}, True),
    "targets": ({"trusted_sentences": 100}, "posterior"),
    "drop_issues": ({}, True),
    "loss_floor": ({}, True),
    "warmup_epochs": ({}, 0),
    "epochs": ({}, 4),
    "train_sentences": ({}, None),
    "dev_sentences": ({}, None),
    "test_sentences": ({}, 10),
    "trainable_layers": ({}, None),
    "learning_rate": ({}, 1e-4),
    "learning_rate_schedule": ({}, "constant"),
    "batch_size": ({}, 16),
    "seed": ({}, 1),
    "dtype": ({}, "float32"),
    "trace": ({}, True),
}
# That of noise rate 0.2 before `span_smoothing` was added.
OLD_KEY = "2846a93097931279"
# Those that change the main part only, or, of sentences looked at again, no training.
SHARED_BY_WARMUPS = (
    *("loss", "q", "smoothing", "gamma", "gamma_rule", "gate", "trace"),
    *("matrix_rule", "trusted_sentences", "loss_floor"),
)


def test_every_field_is_tested():
    assert list(CHANGES) == [field.name for field in dataclasses.fields(RunConfig)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_configuration_is_the_same_after_json(name):
    options, value = CHANGES[name]
    config = RunConfig(**{**options, name: value})
    again = RunConfig(**json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.key() == config.key()
    assert RunConfig.from_row(config.to_dict()) == config


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_field_changes_the_key(name):
    options, value = CHANGES[name]
    before, after = RunConfig(**options), RunConfig(**{**options, name: value})
    assert before.key() != after.key()
    assert len(after.key()) == 16


def test_rows_from_before_a_field_keep_their_keys_and_are_read():
    row = RunConfig(noise_rate=0.2).to_dict()
    assert RunConfig(noise_rate=0.2).key() == OLD_KEY
    # In a table with newer rows, what the older ones lack is NaN.
    assert RunConfig.from_row({**row, "span_smoothing": float("nan")}).key() == OLD_KEY
    del row["span_smoothing"]
    assert RunConfig.from_row(row).key() == OLD_KEY


def test_what_is_looked_at_again_to_measure_only_changes_no_training():
    measured = RunConfig(trusted_sentences=100)
    assert measured.training() == RunConfig()
    posterior = {"targets": "posterior", "trusted_sentences": 9}
    assert RunConfig(loss="GCE", q=0.6, **posterior).plain() == RunConfig()
    corrected = RunConfig(**CORRECTED, **posterior)
    assert corrected.plain() == RunConfig(**CORRECTED)
    counted = RunConfig(**{**CORRECTED, "matrix_rule": "trusted"}, trusted_sentences=9)
    assert counted.training() == counted


def test_a_key_tells_backends_apart():
    config = RunConfig()
    keys = {config.key(), config.key(backend="jax"), config.key(backend="torch")}
    assert len(keys) == 3


def test_whole_numbers_and_numpys_are_the_same_configuration():
    import numpy as np

    config = RunConfig(noise_rate=0.0, epochs=np.int64(3), trace=np.bool_(False))
    assert config == RunConfig(noise_rate=0)
    assert config.key() == RunConfig(noise_rate=0).key()


@pytest.mark.parametrize("name", CHANGES)
def test_runs_that_differ_in_their_loss_only_share_the_warmup(name):
    options, value = CHANGES[name]
    before, after = RunConfig(**options), RunConfig(**{**options, name: value})
    same = before.warmup() == after.warmup()
    assert same == (name in SHARED_BY_WARMUPS)


def test_the_warmup_is_its_own_warmup():
    config = quick(loss="GammaCE", gamma_rule="linear", gate=0.1, noise_rate=0.4)
    assert config.warmup() == quick(noise_rate=0.4)
    assert config.warmup().warmup() == config.warmup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"noise": "loud"},
            "`noise` must be one of 'symmetric', 'pair', 'omission', 'boundary', 'exp",
        ),
        ({"loss": "MAE"}, "`loss` must be one of 'CE', 'GCE', 'SGCE', 'GammaCE'"),
        ({"gamma_rule": "best"}, "`gamma_rule` must be one of 'fixed'"),
        ({"learning_rate_schedule": "cosine"}, "must be one of 'linear', 'constant'"),
        ({"dtype": "int8"}, "`dtype` must be one of 'float32', 'mixed_bfloat16'"),
        ({"noise_rate": 1.5}, r"`noise_rate` must be in \[0, 1\]"),
        ({"noise_rate": float("nan")}, r"`noise_rate` must be in \[0, 1\]"),
        ({"loss": "GCE", "q": -0.1}, r"`q` must be in \[0, 1\]"),
        ({"loss": "SGCE", "smoothing": 1.0}, r"`smoothing` must be in \[0, 1\)"),
        ({"loss": "GammaCE", "gamma": 2.0}, r"`gamma` must be in \[0, 1\]"),
        ({"loss": "GammaCE", "gate": 2.0}, r"`gate` must be in \[0, 1\]"),
        ({"learning_rate": 0.0}, "`learning_rate` must be finite and above 0"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must be at least 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"train_sentences": 0}, "`train_sentences` must be at least 1"),
        ({"dev_sentences": 0}, "`dev_sentences` must be at least 1"),
        ({"test_sentences": 0}, "`test_sentences` must be at least 1"),
        ({"trainable_layers": 0}, "`trainable_layers` must be at least 1"),
        ({"warmup_epochs": 4}, "`warmup_epochs` must be at most `epochs`=3"),
        ({"q": 0.5}, "`q` must be 0 for the loss CE"),
        ({"loss": "GammaCE", "smoothing": 0.1}, "`smoothing` must be 0 for the loss"),
        ({"loss": "GCE", "gamma": 0.1}, "`gamma` must be 0 for the loss GCE"),
        ({"loss": "SGCE", "gate": 0.1}, "`gate` must be 0 for the loss SGCE"),
        ({"gamma_rule": "true_rate"}, "must be 'fixed' unless the loss is GammaCE"),
        (
            {"loss": "GammaCE", "gamma_rule": "linear", "gamma": 0.1},
            "must be 'fixed' unless the loss is GammaCE without a `gamma`",
        ),
        (
            {"loss": "GammaCE", "gamma_rule": "linear", "epochs": 1},
            "`epochs` must be at least 2 for gamma_rule='linear'",
        ),
        ({"matrix_rule": "true"}, "must be 'none' unless for ForwardCorrection"),
        ({"loss": "ForwardCorrection"}, "must be 'none' unless for ForwardCorrection"),
        ({"targets": "posterior"}, "`trusted_sentences` must be above 0"),
        ({**CORRECTED, "drop_issues": True}, "`drop_issues` must be False unless"),
        ({"loss": "GCE", "loss_floor": True}, "`loss_floor` must be False unless"),
        ({"train_on_trusted": True}, "`trusted_sentences` must be above 0"),
        ({**CORRECTED, "matrix_rule": "trusted"}, "`trusted_sentences` must be above"),
        (
            {"train_on_trusted": True, "trusted_sentences": 1, "span_smoothing": 0.1},
            "`train_on_trusted` must be False with `span_smoothing`",
        ),
        ({"noise": "weak", "noise_rate": 0.1}, "`noise_rate` must be 0 for the noise"),
    ],
)
def test_a_bad_value_raises(options, message):
    with pytest.raises(ValueError, match="RunConfig: .*" + message):
        RunConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"noise_rate": "0.5"},
        {"epochs": 2.5},
        {"epochs": None},
        {"seed": True},
        {"trace": 1},
        {"train_sentences": "all"},
        {"trainable_layers": 1.0},
    ],
)
def test_a_value_of_the_wrong_type_raises(options):
    with pytest.raises(TypeError, match=f"RunConfig: `{next(iter(options))}` must be"):
        RunConfig(**options)
