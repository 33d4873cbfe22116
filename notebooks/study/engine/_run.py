"""One run: a configuration in, rows out."""

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from engine._cache import corpus_name, source_name
from engine._config import UNIFORM_NOISES, RunConfig
from engine._corpus import TAGS
from engine._data import Split, noise_matrix, splits_of
from engine._encoder import (
    Encoder,
    encoder_name,
    load_backbone,
    preset_name,
)
from engine._environment import environment
from engine._measures import (
    logits_of,
    memorisation,
    recalibration_rows,
    reliability_rows,
    split_scores,
)
from engine._train import Training, loss_of
from keras_robust import calibration


@dataclass(frozen=True)
class RunResult:
    """What a run has shown.

    Attributes:
        row: One flat row: the configuration, what was measured on the development and
            the test split, versions, hardware and the seconds it took.
        reliability: Reliability tables, a row for each split and bin.
        losses: The training loss, a row for each tenth of an epoch.
        epochs: Measures after some epochs, for a run with `trace=True`.
        recalibration: Measures on the test split after each recalibration.

    Examples:
        >>> import engine
        >>> result = engine.RunResult(row={"loss": "CE", "test_f1": 0.75})
        >>> engine.RunResult.from_json(result.to_json()).row["test_f1"]
        0.75
    """

    row: dict[str, Any]
    reliability: list[dict[str, Any]] = field(default_factory=list)
    losses: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    recalibration: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> str:
        """Returns strict JSON; NaN becomes null."""
        return json.dumps(_plain(asdict(self)), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "RunResult":
        """Reads what `to_json` wrote."""
        return cls(**json.loads(text))


def run_key(config: RunConfig, preset: str | None = None) -> str:
    """Returns what names a run: its configuration, the encoder and the backend."""
    encoder = encoder_name(preset or preset_name())
    return config.key(encoder=encoder, backend=keras.backend.backend())


def run(
    config: RunConfig, *, preset: str | None = None, share_warmup: bool = False
) -> RunResult:
    """Trains one model and measures it.

    Args:
        config: What to run.
        preset: KerasHub preset of the encoder, or a folder; by default what the
            environment variable `KERAS_ROBUST_PRESET` names, and without it
            `"distil_bert_base_en_uncased"`.
        share_warmup: Whether to keep the model after the warm-up on disk, for other
            runs that differ in their loss only, or to start from one that was kept; the
            row is the same. Defaults to False.

    Returns:
        A `RunResult`.

    Raises:
        ImportError: If a package of the extra `study` is missing.
        ValueError: If the configuration does not fit the encoder.

    Examples:
        ```python
        import engine

        config = engine.RunConfig(noise_rate=0.6, loss="GCE", q=0.8)
        print(engine.run(config).row["test_f1"])
        ```
    """
    started = time.perf_counter()
    preset = preset or preset_name()
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    backbone = load_backbone(preset, config.dtype)
    encoder = Encoder(backbone, config.trainable_layers)
    splits = splits_of(config, encoder, preset)
    model = encoder.model()
    training = Training(config, model, splits)
    epochs: list[dict[str, Any]] = []

    def after_epoch(epoch: int, model: keras.Model) -> None:
        epochs.append({"epoch": epoch, **_traced(model, splits)})

    source = source_name(corpus_name(config), preset)
    shared = f"{run_key(config.warmup(), preset)}-{source}"
    training.run(after_epoch, keep=shared if share_warmup else None)
    logits = {name: logits_of(model, splits[name]) for name in ("dev", "test")}
    row = {
        "key": run_key(config, preset),
        **config.to_dict(),
        "gamma_used": training.gamma,
        "estimated_rate": training.estimated_rate,
        **_data_columns(splits),
        **_scores(splits, logits),
        "predicted_confidence": predicted_confidence(config, training.gamma, splits),
        **environment(preset),
        "seconds": time.perf_counter() - started,
    }
    return RunResult(
        row=row,
        reliability=[
            {"split": name, **bin_}
            for name, scores in logits.items()
            for bin_ in reliability_rows(splits[name], scores)
        ],
        losses=training.losses,
        epochs=epochs,
        recalibration=recalibration_rows(
            splits["dev"],
            logits["dev"],
            splits["test"],
            logits["test"],
            _calibrators(config, training.gamma, splits),
        ),
    )


def predicted_confidence(
    config: RunConfig, gamma: float, splits: dict[str, Split]
) -> float:
    """Returns the mean confidence at the minimum of the loss, were words all sure.

    That is the largest probability of the loss's minimiser for the labels that a word
    of each true class is given, averaged over the words of the test split.
    """
    loss = loss_of(config, 0.0 if np.isnan(gamma) else gamma)
    test = splits["test"]
    share = np.bincount(test.clean[test.words], minlength=len(TAGS)) / len(test.words)
    believed = loss.minimizer(_matrix(config, splits)).max(axis=-1)
    return float(share @ believed)


def _data_columns(splits: dict[str, Split]) -> dict[str, Any]:
    sizes = {f"{name}_sentences_used": len(s.encoded) for name, s in splits.items()}
    words = {f"{name}_words": len(s.words) for name, s in splits.items()}
    rates = {f"{name}_realised_rate": splits[name].rate for name in ("train", "dev")}
    return {**sizes, **words, **rates}


def _scores(splits: dict[str, Split], logits: dict[str, Any]) -> dict[str, float]:
    return {
        f"{name}_{measure}": value
        for name, scores in logits.items()
        for measure, value in split_scores(splits[name], scores).items()
    }


def _traced(model: keras.Model, splits: dict[str, Split]) -> dict[str, float]:
    dev, test = splits["dev"], splits["test"]
    dev_logits, test_logits = logits_of(model, dev), logits_of(model, test)
    given = dev.given[dev.words]
    return {
        **memorisation(splits["train"], logits_of(model, splits["train"])),
        "dev_noisy_accuracy": float(np.mean(dev_logits.argmax(-1) == given)),
        "dev_noisy_nll": calibration.negative_log_likelihood(
            given, dev_logits, from_logits=True
        ),
        **{f"dev_{k}": v for k, v in split_scores(dev, dev_logits).items()},
        **{f"test_{k}": v for k, v in split_scores(test, test_logits).items()},
    }


def _matrix(config: RunConfig, splits: dict[str, Split]) -> np.ndarray:
    if config.noise in UNIFORM_NOISES:
        return noise_matrix(config)
    realised = splits["train"].matrix
    unseen = np.isnan(realised).any(axis=1, keepdims=True)
    return np.where(unseen, np.eye(len(TAGS)), realised)


def _calibrators(
    config: RunConfig, gamma: float, splits: dict[str, Split]
) -> dict[str, Any]:
    # Where a loss does not tell the posterior, or noise leaves nothing, there is none.
    loss = loss_of(config, 0.0 if np.isnan(gamma) else gamma)
    try:
        loss.check_invertible()
    except ValueError:
        return {}
    made = {"analytic": calibration.AnalyticCalibration(loss, from_logits=True)}
    matrix = _matrix(config, splits)
    if np.linalg.cond(matrix) < 1e3:
        made["analytic_matrix"] = calibration.AnalyticCalibration(
            loss, matrix, from_logits=True
        )
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
