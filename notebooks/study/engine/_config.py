"""What one run of the study is: a frozen configuration."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_robust._inputs import checks

LOSSES = ("CE", "GCE", "SGCE", "GammaCE", "ForwardCorrection")
GAMMA_RULES = ("fixed", "true_rate", "estimated_rate", "linear")
SCHEDULES = ("linear", "constant")
MATRIX_RULES = ("none", "true", "omission", "trusted", "estimated")
TARGETS = ("given", "posterior", "by_kind", "recounted", "relabelled")
# What a matrix says in full, before anything is drawn.
DRAWN_NOISES = ("symmetric", "pair", "omission")
ANNOTATORS = ("expert", "crowdbest", "crowd", "distant", "weak", "llm")
NOISES = (*DRAWN_NOISES, "boundary", *ANNOTATORS)
# Fields that came later: at their defaults they leave the keys of older rows alone.
_LATER = (
    "span_smoothing",
    "matrix_rule",
    "trusted_sentences",
    "train_on_trusted",
    "targets",
    "drop_issues",
    "loss_floor",
)
# What may differ between runs that share their warm-up, and what changes no training.
_NOT_IN_WARMUP = (
    "loss",
    "q",
    "smoothing",
    "gamma",
    "gamma_rule",
    "gate",
    "matrix_rule",
    "loss_floor",
    "trace",
)
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
            are made wrong: `"symmetric"` or `"pair"` at `noise_rate`; `"omission"`, an
            entity's tag given as O; `"boundary"`, one end of an entity moved by a
            word; or real, the annotations of NoiseBench: `"expert"`, `"crowdbest"`,
            `"crowd"`, `"distant"`, `"weak"`, `"llm"`. Defaults to `"symmetric"`.
        noise_rate: Probability in [0, 1] that a label is wrong, or for `"boundary"`
            an entity. Only for drawn noise.
        loss: `"CE"`, `"GCE"`, `"SGCE"`, `"GammaCE"` or `"ForwardCorrection"`.
            Defaults to `"CE"`.
        q: Exponent of GCE and SGCE, and of GCE under a matrix, in [0, 1].
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
        matrix_rule: Where the matrix of ForwardCorrection comes from: `"true"`, the
            training labels and the truth; `"trusted"`, the development sentences that
            were looked at again, by `noise.matrix_from_pairs`; `"omission"`, the share
            of their entities' tags that were given as O; `"estimated"`, the model
            after the warm-up and the noisy development labels, by
            `noise.estimate_matrix`. Defaults to `"none"`.
        trusted_sentences: Number of development sentences that were looked at again,
            drawn by `seed`. Their truth gives the matrix, a temperature and the
            likelihood by which a loss is chosen. Defaults to 0.
        train_on_trusted: Whether to train on them too, with their true labels.
        targets: What to train on: `"given"`, the given labels; or `"posterior"`, the
            probabilities of the true label given both the word and its given label, by
            `noise.LabelPosterior`, from models of the other half of the sentences and
            the sentences that were looked at again. With ForwardCorrection these models
            have its matrix; what is trained on the posterior has none. `"by_kind"`,
            the same with a matrix for words that begin with a capital letter, which the
            encoder does not see, and one for others. `"recounted"`, the posterior once
            more, with the matrix that that of the training words tells.
            `"relabelled"`, words given as O for which the probabilities
            of cross entropy, averaged over its epochs, say entity become that entity.
            Defaults to `"given"`.
        drop_issues: Whether to leave out the training labels that cleanlab finds
            wrong, by two models of half the sentences each. Defaults to False.
        loss_floor: Whether the mean of cross entropy over a batch is kept from falling
            below what even noise of the rate that the labels really have leaves of it
            (flooding). Defaults to False.
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
    matrix_rule: str = "none"
    trusted_sentences: int = 0
    train_on_trusted: bool = False
    targets: str = "given"
    drop_issues: bool = False
    loss_floor: bool = False
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
            "matrix_rule": MATRIX_RULES,
            "targets": TARGETS,
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
        for argument in ("trace", "train_on_trusted", "drop_issues", "loss_floor"):
            self._keep(argument, checks.flag)

    def _check_counts(self) -> None:
        fix = "Pass a whole number."
        smallest = {"warmup_epochs": 0, "epochs": 1, "batch_size": 1, "seed": 0}
        smallest["trusted_sentences"] = 0
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
            "q": ("GCE", "SGCE", "ForwardCorrection"),
            "smoothing": ("CE", "SGCE"),
            "gamma": ("GammaCE",),
            "gate": ("GammaCE",),
        }
        for argument, losses in belongs.items():
            if getattr(self, argument) and self.loss not in losses:
                self._refuse(argument, f"0 for the loss {self.loss}", "")
        self._check_matrix()
        if self.gamma_rule != "fixed" and (self.loss != "GammaCE" or self.gamma):
            expected = "'fixed' unless the loss is GammaCE without a `gamma`"
            self._refuse("gamma_rule", expected, "")
        if self.gamma_rule == "linear" and self.epochs < 2:
            expected = "at least 2 for gamma_rule='linear'"
            self._refuse("epochs", expected, "From 0 to 1 takes two.")
        if self.noise in ANNOTATORS and self.noise_rate:
            fix = "The rate of annotators' noise is what it is, and in the row."
            self._refuse("noise_rate", f"0 for the noise {self.noise!r}", fix)

    def _check_matrix(self) -> None:
        corrected = self.loss == "ForwardCorrection"
        if corrected != (self.matrix_rule != "none"):
            self._refuse("matrix_rule", "'none' unless for ForwardCorrection", "")
        if self.needs_trusted and not self.trusted_sentences:
            fix = "Pass how many sentences were looked at again, such as 100."
            self._refuse("trusted_sentences", "above 0 for what is asked", fix)
        for argument in ("drop_issues", "loss_floor"):
            if getattr(self, argument) and self.loss != "CE":
                self._refuse(argument, "False unless the loss is CE", "")
        if self.targets not in ("given", "posterior") and self.loss != "CE":
            self._refuse("targets", "'given' or 'posterior' unless the loss is CE", "")
        if self.train_on_trusted and self.span_smoothing:
            self._refuse("train_on_trusted", "False with `span_smoothing`", "")

    def _refuse(self, argument: str, expected: str, fix: str) -> None:
        received = f"{argument}={getattr(self, argument)!r}, loss={self.loss!r}"
        raise checks.invalid("RunConfig", argument, expected, received, fix)

    @property
    def needs_trusted(self) -> bool:
        """Whether training itself needs sentences that were looked at again."""
        counted = self.matrix_rule in ("omission", "trusted")
        corrected = self.targets in ("posterior", "by_kind", "recounted")
        return counted or self.train_on_trusted or corrected

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
        return self._by_default(*_NOT_IN_WARMUP).training()

    def plain(self) -> "RunConfig":
        """Returns the run on given labels, of which half the sentences judge others.

        It is of cross entropy, or of the matrix of this run.
        """
        others = ["targets", "drop_issues", "train_on_trusted", "trace"]
        if self.loss != "ForwardCorrection":
            others += _NOT_IN_WARMUP
        return self._by_default(*others).training()

    def training(self) -> "RunConfig":
        """Returns the run whose training is that of this one.

        Sentences that were looked at again may serve to measure only.
        """
        return self if self.needs_trusted else self._by_default("trusted_sentences")

    def _by_default(self, *names: str) -> "RunConfig":
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: fields[name] for name in names})


def _like(value: Any, default: Any) -> Any:
    if value is None or value != value:
        return None
    kind = int if default is None else type(default)
    return kind(value)
