"""What one run of the study is: a frozen configuration."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_robust._inputs import checks

LOSSES = ("CE", "GCE", "SGCE", "GammaCE")
GAMMA_RULES = ("fixed", "true_rate", "estimated_rate", "linear")
SCHEDULES = ("linear", "constant")
UNIFORM_NOISES = ("symmetric", "pair")
ANNOTATORS = ("expert", "crowdbest", "crowd", "distant", "weak", "llm")
NOISES = (*UNIFORM_NOISES, "boundary", *ANNOTATORS)
# Fields that came later: at their defaults they leave the keys of older rows alone.
_LATER = ("span_smoothing",)
# Others would need their loss scaled, or cannot be kept in NumPy files.
DTYPES = ("float32", "mixed_bfloat16")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run: data, noise, loss, optimisation, seed.

    Frozen, hashable, and made of plain values, so that it can be written, read back and
    compared. The same configuration gives the same row on the same backend, versions
    and hardware.

    Args:
        noise: How the training labels (and the noisy copy of the development labels)
            are made wrong: `"symmetric"` or `"pair"` at `noise_rate`; `"boundary"`,
            one end of an entity moved by a word; or real, the annotations of
            NoiseBench: `"expert"`, `"crowdbest"`, `"crowd"`, `"distant"`, `"weak"`,
            `"llm"`. Defaults to `"symmetric"`.
        noise_rate: Probability in [0, 1] that a label is wrong, or for `"boundary"`
            an entity. Only for drawn noise.
        loss: `"CE"`, `"GCE"`, `"SGCE"` or `"GammaCE"`. Defaults to `"CE"`.
        q: Exponent of GCE and SGCE, in [0, 1].
        smoothing: Label smoothing of CE and SGCE, in [0, 1).
        span_smoothing: Smoothing of training targets over neighbouring words, in
            [0, 1), as `noise.SpanSmoothing` does; in the warm-up too.
        gamma: γ of GammaCE in [0, 1], for `gamma_rule="fixed"`.
        gamma_rule: Where γ comes from: `"fixed"`, `gamma`; `"true_rate"`, γ* of the
            noise rate that the labels really have; `"estimated_rate"`, γ* of the rate
            estimated after the warm-up from the noisy development labels alone;
            `"linear"`, from 0 in the first epoch to 1 in the last. Defaults to
            `"fixed"`.
        gate: Gate b of GammaCE in [0, 1]. Defaults to 0.
        warmup_epochs: Epochs of plain cross entropy before the loss takes over.
            Defaults to 1.
        epochs: Epochs in all, the warm-up included. Defaults to 3.
        train_sentences: Number of training sentences, drawn by `seed`; None for all.
            Defaults to 5000.
        dev_sentences: Number of development sentences, always the same; None for all.
            Defaults to 1000.
        test_sentences: The same of test sentences. Defaults to None.
        trainable_layers: Number of the encoder's top layers that are trained; the
            output of the layers below is computed once and cached. None trains the
            whole encoder. Defaults to 4.
        learning_rate: Peak learning rate of AdamW. Defaults to 5e-4.
        learning_rate_schedule: `"linear"`, falling to 0 over all epochs, or
            `"constant"`. Defaults to `"linear"`.
        batch_size: Sentences a step. Defaults to 32.
        seed: Seed of everything that is drawn: the sentences, the noise, the head's
            first weights, dropout, the order of batches. Defaults to 0.
        dtype: Dtype policy of the encoder, `"mixed_bfloat16"` or `"float32"`; logits
            are always float32. Defaults to `"mixed_bfloat16"`.
        trace: Whether to measure, memorisation included, after epochs 1, 2, 3, 5, 10,
            20, ... too, rather than after the last only. Defaults to False.

    Raises:
        ValueError: If a value is outside its range, or does not belong to the loss.
        TypeError: If a value is of the wrong type.

    Examples:
        >>> from engine import RunConfig
        >>> config = RunConfig(noise_rate=0.6, loss="GammaCE", gamma_rule="true_rate")
        >>> RunConfig(**config.to_dict()) == config
        True
    """

    noise: str = "symmetric"
    noise_rate: float = 0.0
    loss: str = "CE"
    q: float = 0.0
    smoothing: float = 0.0
    span_smoothing: float = 0.0
    gamma: float = 0.0
    gamma_rule: str = "fixed"
    gate: float = 0.0
    warmup_epochs: int = 1
    epochs: int = 3
    train_sentences: int | None = 5000
    dev_sentences: int | None = 1000
    test_sentences: int | None = None
    trainable_layers: int | None = 4
    learning_rate: float = 5e-4
    learning_rate_schedule: str = "linear"
    batch_size: int = 32
    seed: int = 0
    dtype: str = "mixed_bfloat16"
    trace: bool = False

    def __post_init__(self) -> None:
        self._check_values()
        self._check_counts()
        self._check_combinations()

    def _check_values(self) -> None:
        for argument, choices in {
            "noise": NOISES,
            "loss": LOSSES,
            "gamma_rule": GAMMA_RULES,
            "learning_rate_schedule": SCHEDULES,
            "dtype": DTYPES,
        }.items():
            value = getattr(self, argument)
            checks.choice("RunConfig", argument, value, choices, fix="")
        fix = "Pass a share, such as 0.2."
        for argument in ("noise_rate", "q", "gamma", "gate"):
            self._keep(argument, checks.fraction, fix=fix)
        for argument in ("smoothing", "span_smoothing"):
            self._keep(argument, checks.fraction, fix=fix, include_one=False)
        self._keep("learning_rate", checks.positive, fix="Pass a rate, such as 5e-4.")
        self._keep("trace", checks.flag)

    def _check_counts(self) -> None:
        fix = "Pass a whole number."
        smallest = {"warmup_epochs": 0, "epochs": 1, "batch_size": 1, "seed": 0}
        for argument, minimum in smallest.items():
            self._keep(argument, checks.integer, minimum=minimum, fix=fix)
        sizes = ("train_sentences", "dev_sentences", "test_sentences")
        for argument in (*sizes, "trainable_layers"):
            if getattr(self, argument) is not None:
                self._keep(argument, checks.integer, minimum=1, fix=fix)

    def _keep(self, argument: str, check: Any, **options: Any) -> None:
        value = check("RunConfig", argument, getattr(self, argument), **options)
        object.__setattr__(self, argument, value)

    def _check_combinations(self) -> None:
        if self.warmup_epochs > self.epochs:
            raise checks.invalid(
                "RunConfig",
                "warmup_epochs",
                f"at most `epochs`={self.epochs}",
                f"warmup_epochs={self.warmup_epochs}",
                "The warm-up is part of the epochs.",
            )
        belongs = {
            "q": ("GCE", "SGCE"),
            "smoothing": ("CE", "SGCE"),
            "gamma": ("GammaCE",),
            "gate": ("GammaCE",),
        }
        for argument, losses in belongs.items():
            if getattr(self, argument) and self.loss not in losses:
                self._refuse(argument, f"0 for the loss {self.loss}", "")
        if self.gamma_rule != "fixed" and (self.loss != "GammaCE" or self.gamma):
            expected = "'fixed' unless the loss is GammaCE without a `gamma`"
            self._refuse("gamma_rule", expected, "")
        if self.gamma_rule == "linear" and self.epochs < 2:
            expected = "at least 2 for gamma_rule='linear'"
            self._refuse("epochs", expected, "From 0 to 1 takes two.")
        if self.noise in ANNOTATORS and self.noise_rate:
            fix = "The rate of annotators' noise is what it is, and in the row."
            self._refuse("noise_rate", f"0 for the noise {self.noise!r}", fix)

    def _refuse(self, argument: str, expected: str, fix: str) -> None:
        received = f"{argument}={getattr(self, argument)!r}, loss={self.loss!r}"
        raise checks.invalid("RunConfig", argument, expected, received, fix)

    @property
    def annotated(self) -> bool:
        """Whether the noise is that of NoiseBench's annotators."""
        return self.noise in ANNOTATORS

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, for JSON or a table."""
        return dataclasses.asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "RunConfig":
        """Returns the configuration of a row of results.

        Args:
            row: A mapping that holds the fields, as a row of the table `"runs"` does;
                what a CSV file has made of whole numbers and None is put right.
        """
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        given = {
            name: _like(row.get(name, default), default)
            for name, default in fields.items()
        }
        # Not there in rows that are older than they.
        missing = {name: fields[name] for name in _LATER if given[name] is None}
        return cls(**given | missing)

    def key(self, **extra: Any) -> str:
        """Returns 16 hexadecimal digits that name this configuration.

        Args:
            **extra: What else tells runs apart, such as the backend.
        """
        named = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in _LATER or getattr(self, field.name) != field.default
        }
        text = json.dumps({**named, **extra}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def warmup(self) -> "RunConfig":
        """Returns the run of which the first `warmup_epochs` are those of this one.

        Runs that differ in their loss only share their warm-up.
        """
        plain = {
            field.name: field.default
            for field in dataclasses.fields(self)
            if field.name
            in ("loss", "q", "smoothing", "gamma", "gamma_rule", "gate", "trace")
        }
        return dataclasses.replace(self, **plain)


def _like(value: Any, default: Any) -> Any:
    if value is None or value != value:
        return None
    kind = int if default is None else type(default)
    return kind(value)
