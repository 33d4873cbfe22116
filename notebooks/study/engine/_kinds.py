"""What it is worth to correct labels by kinds of words, told apart well or badly."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tqdm

from engine._config import ANNOTATORS, RunConfig
from engine._data import trusted_rows, words_of
from engine._encoder import preset_name
from engine._environment import environment
from engine._rows import add_rows, read_rows
from engine._run import logits_by_halves, prepared, run_key
from keras_robust import noise
from keras_robust._inputs import checks


def run_kinds(
    results: Any,
    *,
    annotators: Iterable[str] = ANNOTATORS,
    seeds: int = 3,
    preset: str | None = None,
    **changes: Any,
) -> pd.DataFrame:
    """Corrects labels by kinds of words, and writes how likely true labels become.

    `LabelPosterior` is fitted to the sentences that were looked at again and measured
    on the other development sentences, which the model has not seen either. Kinds:
    `"capital"`, words that begin with a capital letter, and others; `"shape"`, five:
    lower case, upper case, a capital first, with a digit, others; `"shape, place"`,
    these, first in their sentence or not; `"drawn"`, thirty that are drawn with dice
    and tell nothing. Ways: `"one kind"`, without any; `"by"`; and `"each by itself"`,
    as if there were no words but those of a kind. Rows that are there are not made
    again.

    Args:
        results: Folder; the rows go into `study_kinds.csv`.
        annotators: Whose labels. Defaults to all six.
        seeds: Number of seeds, from 0. Defaults to 3.
        preset: Encoder, see `run`.
        **changes: Fields of `RunConfig` to change, such as `train_sentences=None`.

    Returns:
        All rows, a pandas DataFrame.

    Raises:
        ValueError: If `seeds` is below 1, or a change is not possible.

    Examples:
        ```python
        rows = engine.run_kinds("my_results", annotators=["crowd"], seeds=1)
        print(rows.pivot_table("nll", "kinds", "way"))
        ```
    """
    checks.integer("run_kinds", "seeds", seeds, minimum=1, fix="Pass 3, say.")
    preset = preset or preset_name()
    path = Path(results) / "study_kinds.csv"
    made = read_rows(path)
    there = set(made["key"]) if len(made) else set()
    options = {"trusted_sentences": 100, "targets": "posterior", **changes}
    every = [
        RunConfig(noise=name, seed=seed, **options)
        for seed in range(seeds)
        for name in annotators
    ]
    configs = [config for config in every if run_key(config, preset) not in there]
    for config in tqdm.tqdm(configs, desc="kinds"):
        made = add_rows(path, made, list(_rows(config, preset)))
    return made


def _rows(config: RunConfig, preset: str) -> Iterator[dict[str, Any]]:
    dev_logits = logits_by_halves(config, preset)["dev"]
    dev = prepared(config, preset)[1]["dev"]
    given, clean = dev.pairs
    known = trusted_rows(config, dev, np.arange(len(given)))
    columns = given, clean, dev_logits
    words = words_of(config, "dev")
    kinds = {"none": None, **_kinds(words, dev.sentence_of_words)}
    same = {"key": run_key(config, preset), "noise": config.noise, "seed": config.seed}
    same |= environment(preset)
    for name, by in kinds.items():
        ways = (
            {"one kind": _by} if by is None else {"by": _by, "each by itself": _apart}
        )
        for way, correct in ways.items():
            soft = correct(columns, known, by)
            judged = np.setdiff1d(np.arange(len(given)), known)
            likely = soft[judged, clean[judged]].astype("float64")
            yield {
                "kinds": name,
                "number": 1 if by is None else len(np.unique(by[known])),
                "way": way,
                "nll": -np.log(likely).mean(),
                "accuracy": np.mean(soft[judged].argmax(axis=-1) == clean[judged]),
                "words": len(judged),
                **same,
            }


def _by(
    columns: Sequence[np.ndarray], known: np.ndarray, by: np.ndarray | None
) -> np.ndarray:
    """Returns probabilities of the true labels of all words."""
    given, _, logits = columns
    posterior = noise.LabelPosterior(from_logits=True)
    looked_at = None if by is None else by[known]
    posterior.fit(*(column[known] for column in columns), by=looked_at)
    with warnings.catch_warnings():  # of kinds without a word that was looked at
        warnings.simplefilter("ignore", UserWarning)
        return posterior.transform(given, logits, by=by)


def _apart(
    columns: Sequence[np.ndarray], known: np.ndarray, by: np.ndarray
) -> np.ndarray:
    """Returns the same, each kind by a posterior that knows no other."""
    given, _, logits = columns
    soft = _by(columns, known, None)
    for kind in np.unique(by[known]):
        here = by == kind
        posterior = noise.LabelPosterior(from_logits=True)
        own = known[here[known]]
        posterior.fit(*(column[own] for column in columns))
        soft[here] = posterior.transform(given[here], logits[here])
    return soft


def _kinds(words: Sequence[str], sentence: np.ndarray) -> dict[str, np.ndarray]:
    shape = np.array([_shape(word) for word in words])
    first = np.diff(sentence, prepend=-1) != 0
    return {
        "capital": np.array([word[:1].isupper() for word in words]),
        "shape": shape,
        "shape, place": np.char.add(shape, np.where(first, ", first", "")),
        "drawn": np.random.default_rng(7).integers(0, 30, len(words)),
    }


def _shape(word: str) -> str:
    tests: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("digit", lambda: any(letter.isdigit() for letter in word)),
        ("upper", word.isupper),
        ("capital", lambda: word[:1].isupper()),
        ("lower", word.islower),
    )
    return next((name for name, holds in tests if holds()), "other")
