"""One run: a configuration in, rows out."""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from engine._accepting import acceptance_rows, risk_coverage_scores
from engine._cache import corpus_name, kept, source_name
from engine._config import DRAWN_NOISES, RunConfig
from engine._corpus import TAGS
from engine._data import Split, noise_matrix, posterior_targets, splits_of
from engine._encoded import IGNORED
from engine._encoder import (
    Encoder,
    encoder_name,
    load_backbone,
    preset_name,
)
from engine._environment import environment
from engine._measures import (
    estimated_rate,
    estimated_scores,
    logits_of,
    memorisation,
    recalibration_rows,
    reliability_rows,
    split_scores,
    trusted_rows_of,
    trusted_temperature,
)
from engine._train import Training, loss_of
from keras_robust import calibration
from keras_robust._inputs import checks


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
        trusted: For each sentence that was looked at again, the sum of its words' NLL.
        acceptance: What thresholds of confidence, fitted to the development split,
            accept of the test split.

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
    trusted: list[dict[str, Any]] = field(default_factory=list)
    acceptance: list[dict[str, Any]] = field(default_factory=list)

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
    trained = _trained(config.training(), preset, share_warmup)
    splits = prepared(config, preset)[1]
    logits = {name: trained.logits[name] for name in ("dev", "test")}
    trusted = trusted_rows_of(config, splits["dev"], logits["dev"])
    calibrators = _calibrators(config, trained, splits)
    if config.train_on_trusted:
        # The model knows these sentences: they calibrate one that does not.
        apart = replace(config, train_on_trusted=False).training()
        apart = _trained(apart, preset, share_warmup)
        calibrators["temperature_apart"] = trusted_temperature(
            config, splits["dev"], apart.logits["dev"]
        )
    row = {
        "key": run_key(config, preset),
        **config.to_dict(),
        "gamma_used": trained.gamma,
        "estimated_rate": trained.estimated_rate,
        "matrix_error": matrix_error(config, trained.matrix, splits),
        **_data_columns(splits),
        **_scores(splits, logits),
        "trusted_nll": _mean_nll(trusted),
        "dev_estimated_rate": estimated_rate(splits["dev"], logits["dev"]),
        **estimated_scores(splits["dev"], logits["dev"], _matrix(config, splits)),
        "predicted_confidence": predicted_confidence(
            config, trained.gamma, splits, trained.matrix
        ),
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
        losses=trained.losses,
        epochs=trained.epochs,
        recalibration=recalibration_rows(
            config,
            splits["dev"],
            logits["dev"],
            splits["test"],
            logits["test"],
            calibrators,
        ),
        trusted=trusted,
        acceptance=acceptance_rows(config, splits, logits, _matrix(config, splits)),
    )


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training leaves behind.

    Attributes:
        logits: Those of the words of the splits "dev" and "test".
        gamma, estimated_rate, matrix, losses: As in `Training`.
        epochs: Measures after some epochs, for a run with `trace=True`.
    """

    logits: dict[str, np.ndarray]
    gamma: float
    estimated_rate: float
    matrix: np.ndarray | None
    losses: list[dict[str, float]]
    epochs: list[dict[str, Any]]


def _trained(config: RunConfig, preset: str, share: bool) -> Trained:
    """Trains, or returns what the same training has left behind before."""
    if not share or config.trace:
        return _train(config, preset, share)
    source = source_name(corpus_name(config), preset)
    name = f"trained-{run_key(config, preset)}-{source}"
    return kept(name, lambda: _train(config, preset, share))


def _train(config: RunConfig, preset: str, share: bool) -> Trained:
    targets = _targets(config, preset, share)
    encoder, splits = prepared(config, preset)
    model = encoder.model()
    training = Training(config, model, splits, targets=targets)
    epochs: list[dict[str, Any]] = []

    def after_epoch(epoch: int, model: keras.Model) -> None:
        epochs.append({"epoch": epoch, **_traced(model, splits)})

    source = source_name(corpus_name(config), preset)
    shared = f"{run_key(config.warmup(), preset)}-{source}"
    training.run(after_epoch, keep=shared if share else None)
    return Trained(
        {name: logits_of(model, splits[name]) for name in ("dev", "test")},
        training.gamma,
        training.estimated_rate,
        training.matrix,
        training.losses,
        epochs,
    )


def prepared(config: RunConfig, preset: str) -> tuple[Encoder, dict[str, Split]]:
    """Returns the encoder and the splits of a run, seeds set."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    encoder = Encoder(load_backbone(preset, config.dtype), config.trainable_layers)
    return encoder, splits_of(config, encoder, preset)


def _targets(config: RunConfig, preset: str, share: bool) -> np.ndarray | None:
    """Returns what to train on where that is not the given labels."""
    if config.targets == "given" and not config.drop_issues:
        return None
    if config.targets == "relabelled":
        logits = _logits("epochs", _mean_over_epochs, config, preset, share)
    else:
        logits = logits_by_halves(config, preset, share)
    splits = prepared(config, preset)[1]
    if config.targets in ("posterior", "by_kind", "recounted"):
        return posterior_targets(config, splits, logits["train"], logits["dev"])
    train = splits["train"]
    if config.targets == "relabelled":
        found = logits["train"].argmax(axis=-1)
        targets = train.targets.copy()
        targets[train.words] = np.where(train.pairs[0] == 0, found, train.pairs[0])
        return targets
    filters = checks.optional_module("study", "cleanlab.filter", extra="noise")
    prob = softmax(logits["train"].astype("float64"), axis=-1)
    wrong = filters.find_label_issues(train.pairs[0], prob, n_jobs=1)
    targets = train.targets.copy()
    targets[train.words[wrong]] = IGNORED
    return targets


def logits_by_halves(
    config: RunConfig, preset: str, share: bool = True
) -> dict[str, np.ndarray]:
    """Returns the words' logits, of plain models that have not seen their labels."""
    return _logits("halves", _halves, config, preset, share)


def _logits(
    way: str,
    how: Callable[[RunConfig, str], dict[str, np.ndarray]],
    config: RunConfig,
    preset: str,
    share: bool,
) -> dict[str, np.ndarray]:
    plain, source = config.plain(), source_name(corpus_name(config), preset)
    name = f"{way}-{run_key(plain, preset)}-{source}"
    make = functools.partial(how, plain, preset)
    return kept(name, make) if share else make()


def _mean_over_epochs(config: RunConfig, preset: str) -> dict[str, np.ndarray]:
    """Returns the training words' probabilities, averaged over the epochs."""
    encoder, splits = prepared(config, preset)
    train, found = splits["train"], []

    def after_epoch(_: int, model: keras.Model) -> None:
        found.append(softmax(logits_of(model, train).astype("float64"), axis=-1))

    traced = replace(config, trace=True)
    Training(traced, encoder.model(), splits).run(after_epoch)
    return {"train": np.mean(found, axis=0)}


def _halves(config: RunConfig, preset: str) -> dict[str, np.ndarray]:
    """Returns the training words' logits, each by a model of the other half.

    Those of the development words are of one of the two models.
    """
    logits: dict[str, np.ndarray] = {}
    for half in (0, 1):
        encoder, splits = prepared(config, preset)
        train = splits["train"]
        other = np.arange(len(train.encoded)) % 2 == half
        seen, judged = (train.take(np.flatnonzero(x)) for x in (~other, other))
        model = encoder.model()
        Training(config, model, {**splits, "train": seen}).run(lambda *_: None)
        found = logits.setdefault("train", np.empty((len(train.words), len(TAGS)), "f"))
        found[other[train.sentence_of_words]] = logits_of(model, judged)
        logits.setdefault("dev", logits_of(model, splits["dev"]))
    return logits


def _mean_nll(trusted: list[dict[str, Any]]) -> float:
    words = sum(row["words"] for row in trusted)
    return sum(row["nll"] for row in trusted) / words if trusted else float("nan")


def matrix_error(
    config: RunConfig, matrix: np.ndarray | None, splits: dict[str, Split]
) -> float:
    """Returns how far a matrix is from the true one, NaN without a matrix.

    That is the total variation distance of two rows, averaged over the classes.
    """
    if matrix is None:
        return float("nan")
    return float(np.abs(matrix - _matrix(config, splits)).sum(axis=1).mean() / 2)


def predicted_confidence(
    config: RunConfig,
    gamma: float,
    splits: dict[str, Split],
    matrix: np.ndarray | None = None,
) -> float:
    """Returns the mean confidence at the minimum of the loss, were words all sure.

    That is the largest probability of the loss's minimiser for the labels that a word
    of each true class is given, averaged over the words of the test split. NaN for
    targets that are no labels.
    """
    if config.targets != "given":
        return float("nan")
    loss = loss_of(config, 0.0 if np.isnan(gamma) else gamma, matrix)
    test = splits["test"]
    share = np.bincount(test.clean[test.words], minlength=len(TAGS)) / len(test.words)
    believed = loss.minimizer(_matrix(config, splits)).max(axis=-1)
    return float(share @ believed)


def _data_columns(splits: dict[str, Split]) -> dict[str, Any]:
    sizes = {f"{name}_sentences_used": len(s.encoded) for name, s in splits.items()}
    words = {f"{name}_words": len(s.words) for name, s in splits.items()}
    rates = {f"{name}_realised_rate": splits[name].rate for name in ("train", "dev")}
    given, clean = splits["train"].pairs
    wrong = given != clean
    kinds = {
        "train_missed": wrong & (given == 0),
        "train_invented": wrong & (clean == 0),
    }
    shares = {name: float(kind.mean()) for name, kind in kinds.items()}
    return {**sizes, **words, **rates, **shares}


def _scores(splits: dict[str, Split], logits: dict[str, Any]) -> dict[str, float]:
    return {
        f"{name}_{measure}": value
        for name, scores in logits.items()
        for measure, value in {
            **split_scores(splits[name], scores),
            **risk_coverage_scores(splits[name], scores),
        }.items()
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
    if config.noise in DRAWN_NOISES:
        return noise_matrix(config)
    realised = splits["train"].matrix
    unseen = np.isnan(realised).any(axis=1, keepdims=True)
    return np.where(unseen, np.eye(len(TAGS)), realised)


def _calibrators(
    config: RunConfig, trained: Trained, splits: dict[str, Split]
) -> dict[str, Any]:
    # Where a loss does not tell the posterior, or noise leaves nothing, there is none;
    # with a matrix in the loss, or corrected labels, there is nothing to undo.
    if trained.matrix is not None or config.targets != "given":
        return {}
    loss = loss_of(config, 0.0 if np.isnan(trained.gamma) else trained.gamma)
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
