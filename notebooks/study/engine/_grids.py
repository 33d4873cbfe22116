"""The grids of the study, by name."""

import dataclasses
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from engine._config import ANNOTATORS, RunConfig
from keras_robust._inputs import checks

RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
EXPONENTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SMOOTHINGS = (0.0, 0.05, 0.1, 0.15, 0.2)


def _with_q(q: float, **options: Any) -> RunConfig:
    # At q = 0 GCE is cross entropy: one run, whatever grid it is in.
    loss = {"loss": "GCE", "q": q} if q else {"loss": "CE"}
    return RunConfig(**{**loss, **options})


def _smoothed(q: float, smoothing: float, **options: Any) -> RunConfig:
    if not smoothing:
        return _with_q(q, **options)
    if not q:
        return RunConfig(loss="CE", smoothing=smoothing, **options)
    return RunConfig(loss="SGCE", q=q, smoothing=smoothing, **options)


def _f1() -> Iterable[RunConfig]:
    return [_with_q(q, noise_rate=rate) for rate, q in product(RATES, EXPONENTS)]


def _f1_without_warmup() -> Iterable[RunConfig]:
    cells = product((0.0, 0.6), (0.4, 0.6, 0.8, 1.0))
    return [_with_q(q, noise_rate=rate, warmup_epochs=0) for rate, q in cells]


_LONG: tuple[dict[str, Any], ...] = (
    {"loss": "CE"},
    {"loss": "GCE", "q": 0.6},
    {"loss": "GammaCE", "gamma_rule": "true_rate"},
)


def _epochs() -> Iterable[RunConfig]:
    options = {"epochs": 10, "learning_rate_schedule": "constant", "trace": True}
    return [
        RunConfig(noise_rate=rate, **loss, **options)
        for rate, loss in product((0.6, 0.4), _LONG)
    ]


def _memorisation() -> list[RunConfig]:
    # Fewer sentences, seen often, and steps that grow small at the end: what a model
    # needs to learn labels by heart.
    options = {"epochs": 10, "train_sentences": 2500, "trace": True}
    return [RunConfig(noise_rate=0.6, **loss, **options) for loss in _LONG]


def _memorisation_floor() -> Iterable[RunConfig]:
    cross_entropy = _memorisation()[0]
    return [dataclasses.replace(cross_entropy, loss_floor=True)]


def _calibration() -> Iterable[RunConfig]:
    cells = product((0.0, 0.2, 0.6), (0.0, 0.6, 0.8), SMOOTHINGS)
    return [_smoothed(q, smoothing, noise_rate=rate) for rate, q, smoothing in cells]


def _gamma() -> Iterable[RunConfig]:
    ways: tuple[dict[str, Any], ...] = (
        {"gamma_rule": "true_rate"},
        {"gamma_rule": "estimated_rate"},
        {"gamma": 0.1},
        {"gamma": 0.8},
        {"gamma_rule": "true_rate", "gate": 0.2},
        {"gamma_rule": "linear"},
    )
    return [
        RunConfig(loss="GammaCE", noise_rate=rate, **way)
        for rate, way in product((0.0, 0.2, 0.4, 0.6, 0.8), ways)
    ]


def _annotators() -> Iterable[RunConfig]:
    losses: tuple[dict[str, Any], ...] = (
        {"loss": "CE"},
        {"loss": "GCE", "q": 0.6},
        {"loss": "SGCE", "q": 0.6, "smoothing": 0.1},
        {"loss": "GammaCE", "gamma_rule": "estimated_rate"},
    )
    return [
        RunConfig(noise=noise, **loss) for noise, loss in product(ANNOTATORS, losses)
    ]


def _corrected(matrix_rule: str, **options: Any) -> dict[str, Any]:
    return {"loss": "ForwardCorrection", "matrix_rule": matrix_rule, **options}


def _people() -> Iterable[RunConfig]:
    # Cross entropy, with which the others are compared, and what each of these makes
    # of sentences that were looked at again, GCE nothing.
    ways: tuple[dict[str, Any], ...] = (
        {"loss": "CE"},
        {"loss": "GCE", "q": 0.6},
        _corrected("omission"),
        _corrected("trusted"),
        {"loss": "CE", "targets": "posterior"},
    )
    return [
        RunConfig(noise=noise, trusted_sentences=100, **way)
        for way, noise in product(ways, ANNOTATORS)
    ]


def _people_others() -> Iterable[RunConfig]:
    others: tuple[dict[str, Any], ...] = (
        _corrected("true"),
        _corrected("estimated"),
        {"loss": "CE", "train_on_trusted": True},
        {"loss": "CE", "targets": "posterior", "train_on_trusted": True},
        {"loss": "CE", "targets": "by_kind"},
        {"loss": "CE", "targets": "by_kind", "train_on_trusted": True},
        {"loss": "CE", "targets": "recounted"},
        {"loss": "CE", "targets": "relabelled"},
        {"loss": "CE", "smoothing": 0.1},
        {"loss": "CE", "drop_issues": True},
        _corrected("trusted", train_on_trusted=True),
        _corrected("trusted", q=0.3),
    )
    return [
        RunConfig(noise=noise, trusted_sentences=100, **way)
        for way, noise in product(others, ANNOTATORS)
    ]


def _people_sizes() -> Iterable[RunConfig]:
    sizes, noises = (25, 50, 200, 500), ("crowd", "llm")
    return [
        RunConfig(noise=noise, trusted_sentences=size, targets=targets)
        for targets, size, noise in product(("given", "posterior"), sizes, noises)
    ]


def _people_without_warmup() -> Iterable[RunConfig]:
    options = {"trusted_sentences": 100, "warmup_epochs": 0}
    ways = ({"loss": "GCE", "q": 0.6}, _corrected("omission"), _corrected("trusted"))
    return [
        RunConfig(noise=noise, **options, **way)
        for way, noise in product(ways, ("crowd", "llm"))
    ]


def _uneven() -> Iterable[RunConfig]:
    rules = ("trusted", "true", "estimated")
    ways = ({"loss": "CE"}, *map(_corrected, rules))
    return [
        RunConfig(noise=noise, noise_rate=rate, trusted_sentences=100, **way)
        for way, noise, rate in product(ways, ("pair", "omission"), (0.2, 0.4))
    ]


def _acceptance() -> Iterable[RunConfig]:
    losses: tuple[dict[str, Any], ...] = (
        {"loss": "CE"},
        {"loss": "GCE", "q": 0.6},
        {"loss": "SGCE", "q": 0.6, "smoothing": 0.1},
        {"loss": "CE", "span_smoothing": 0.2},
        {"loss": "GammaCE", "gamma_rule": "true_rate"},
    )
    drawn = [
        RunConfig(noise_rate=rate, **loss)
        for rate, loss in product((0.0, 0.2, 0.4), losses)
    ]
    ways = ({"loss": "CE"}, _corrected("trusted"))
    people = [
        RunConfig(noise=noise, trusted_sentences=100, **way)
        for way, noise in product(ways, ANNOTATORS)
    ]
    return [*drawn, *people]


def _spans() -> Iterable[RunConfig]:
    noisy: tuple[dict[str, Any], ...] = (
        {"loss": "CE"},
        {"loss": "CE", "smoothing": 0.2},
        {"loss": "CE", "span_smoothing": 0.2},
        {"loss": "GCE", "q": 0.6},
        {"loss": "GCE", "q": 0.6, "span_smoothing": 0.2},
    )
    boundary = [
        RunConfig(noise="boundary", noise_rate=0.5, **options) for options in noisy
    ]
    return [RunConfig(), RunConfig(span_smoothing=0.2), *boundary]


_GRIDS: dict[str, Callable[[], Iterable[RunConfig]]] = {
    "f1": _f1,
    "gamma": _gamma,
    "calibration": _calibration,
    "epochs": _epochs,
    "memorisation": _memorisation,
    "annotators": _annotators,
    "f1_without_warmup": _f1_without_warmup,
    "spans": _spans,
    "people": _people,
    "people_others": _people_others,
    "people_sizes": _people_sizes,
    "people_without_warmup": _people_without_warmup,
    "uneven": _uneven,
    "acceptance": _acceptance,
    "memorisation_floor": _memorisation_floor,
}
GRID_NAMES = tuple(_GRIDS)


def grid(name: str, *, seeds: int = 3, **changes: Any) -> list[RunConfig]:
    """Returns the runs of a grid of the study.

    Args:
        name: `"f1"`, noise rate times q of GCE; `"f1_without_warmup"`, some of it
            without the warm-up of cross entropy; `"epochs"`, ten epochs, measured
            after each; `"memorisation"`, the same on half the sentences, with a
            learning rate that falls; `"calibration"`, noise rate times q times
            smoothing; `"gamma"`, noise rate times ways to choose γ; `"annotators"`,
            four losses on the noise of six annotators; `"spans"`, targets smoothed
            along spans where half of the entities have a wrong end; `"people"`, what
            a hundred sentences that were looked at again make of the labels of six
            annotators; `"people_others"`, other ways, with them and without;
            `"people_sizes"`, 25 to 500 such sentences; `"people_without_warmup"`;
            `"uneven"`, drawn noise that is not even over the classes; `"acceptance"`,
            what can be accepted of models, under drawn noise and of people's labels;
            `"memorisation_floor"`, cross entropy of `"memorisation"` with a floor.
        seeds: Number of seeds, from 0. Defaults to 3.
        **changes: Fields of `RunConfig` to change in every run, such as
            `train_sentences=None`.

    Returns:
        A list of `RunConfig`, seed by seed.

    Raises:
        ValueError: If there is no such grid, or a change is not possible.

    Examples:
        >>> import engine
        >>> len(engine.grid("f1"))
        108
        >>> engine.grid("gamma", seeds=1, epochs=5)[0].epochs
        5
    """
    checks.choice("grid", "name", name, GRID_NAMES, fix="")
    seeds = checks.integer("grid", "seeds", seeds, minimum=1, fix="Pass 3, say.")
    plain = [config.to_dict() for config in _GRIDS[name]()]
    return [
        RunConfig(**{**config, **changes, "seed": seed})
        for seed in range(seeds)
        for config in plain
    ]
