"""What can be accepted of a model: thresholds fitted on development labels."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from engine._config import RunConfig
from engine._corpus import TAGS
from engine._data import Split, trusted_of, trusted_sentences
from keras_robust import calibration, noise

ACCURACIES = (0.9, 0.95)


def risk_coverage_scores(split: Split, logits: np.ndarray) -> dict[str, float]:
    """Returns the area under the risk-coverage curve, of words and of entities."""
    entities = entities_of(split, logits, split.clean)
    return {
        "aurc": calibration.area_under_risk_coverage(
            split.clean[split.words], logits, from_logits=True
        ),
        "entity_aurc": calibration.area_under_risk_coverage(
            entities.correct, entities.confidence, notion="positive"
        )
        if len(entities)
        else float("nan"),
    }


def entities_of(
    split: Split, logits: np.ndarray, labels: np.ndarray
) -> calibration.EntityPredictions:
    """Returns the predicted entities, right or not by labels of the pieces."""
    return calibration.entity_predictions(
        labels[split.words],
        logits,
        tags=TAGS,
        scheme="conlleval",
        groups=split.sentence_of_words,
        from_logits=True,
    )


def acceptance_rows(
    config: RunConfig,
    splits: dict[str, Split],
    logits: dict[str, np.ndarray],
    matrix: np.ndarray,
) -> list[dict[str, Any]]:
    """Returns a row for each threshold of acceptance: what it keeps on the test split.

    Of words and of entities (`unit`), for each of `ACCURACIES`, fitted on true, on
    noisy, and on noisy development labels whose noise is undone (`labels`). The noise
    of words is undone by `matrix`; that of entities is in whether they look right, and
    its matrix is counted in all development sentences. Where sentences were looked at
    again, both are counted in these.

    `share` and `accuracy` are those of what is accepted on the test split, by true
    labels; NaN for an accuracy of nothing, and for thresholds that cannot be had.
    """
    rows = []
    if config.trusted_sentences:
        pairs = trusted_of(config, splits["dev"]).pairs
        matrix = noise.matrix_from_pairs(*pairs, len(TAGS)).matrix
    for unit in (_words(splits, logits, matrix), _entities(config, splits, logits)):
        given = {"clean": unit.clean, "noisy": unit.noisy, "undone": unit.noisy}
        for labels, y_true in given.items():
            for asked in ACCURACIES:
                known = unit.matrix if labels == "undone" else None
                row = {"unit": unit.name, "labels": labels, "asked": asked}
                rows.append({**row, **_kept(asked, y_true, unit, known)})
    return rows


class _Unit(NamedTuple):
    """What is accepted or not: predictions of both splits, and their labels."""

    name: str
    form: dict[str, Any]
    clean: np.ndarray
    noisy: np.ndarray
    dev: np.ndarray
    groups: np.ndarray
    test: np.ndarray
    right: np.ndarray
    matrix: np.ndarray


def _words(splits: dict[str, Split], logits: dict[str, Any], matrix: Any) -> _Unit:
    dev, test = splits["dev"], splits["test"]
    given, true = dev.pairs
    right = logits["test"].argmax(axis=-1) == test.clean[test.words]
    groups = dev.sentence_of_words
    both = (logits["dev"], groups, logits["test"])
    return _Unit("word", {"from_logits": True}, true, given, *both, right, matrix)


def _entities(
    config: RunConfig, splits: dict[str, Split], logits: dict[str, Any]
) -> _Unit:
    dev, test = splits["dev"], splits["test"]
    clean, noisy = (entities_of(dev, logits["dev"], y) for y in (dev.clean, dev.given))
    new = entities_of(test, logits["test"], test.clean)
    both = (clean.confidence, clean.sentence, new.confidence)
    return _Unit(
        "entity",
        {"notion": "positive"},
        clean.correct,
        noisy.correct,
        *both,
        new.correct == 1,
        matrix_of_entities(config, dev, clean, noisy),
    )


def _kept(
    asked: float, y_true: np.ndarray, unit: _Unit, matrix: np.ndarray | None
) -> dict[str, float]:
    """Returns what a threshold is, and accepts of the test split."""
    try:
        threshold = calibration.AcceptanceThreshold(
            asked, noise_matrix=matrix, **unit.form
        )
        with warnings.catch_warnings():  # that nothing is accepted: the share says so
            warnings.simplefilter("ignore", UserWarning)
            threshold.fit(y_true, unit.dev, groups=unit.groups)
        taken = threshold.accept(unit.test)
    except ValueError:  # too few sentences, no entity, or noise that hides all
        taken = np.zeros(0, bool)
    if not taken.size:
        return dict.fromkeys(("threshold", "share", "accuracy"), np.nan)
    return {
        "threshold": threshold.threshold_,
        "share": float(taken.mean()),
        "accuracy": float(unit.right[taken].mean()) if taken.any() else np.nan,
    }


def matrix_of_entities(
    config: RunConfig,
    dev: Split,
    clean: calibration.EntityPredictions,
    noisy: calibration.EntityPredictions,
) -> np.ndarray:
    """Returns how often a right entity looks right by noisy labels, and a wrong one."""
    if not len(clean):
        return np.full((2, 2), np.nan)
    known = np.ones(len(clean), bool)
    if config.trusted_sentences:
        known = np.isin(clean.sentence, trusted_sentences(config, dev))
    return noise.matrix_from_pairs(noisy.correct[known], clean.correct[known], 2).matrix


def kept_thresholds(table: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Counts thresholds of acceptance that keep on the test split what was asked.

    Args:
        table: The table `"acceptance"` of `read_results`; merged with that of the runs
            for columns of it.
        by: Columns to count by, besides what was accepted, the labels that thresholds
            were fitted to, and the accuracy that was asked for. Defaults to none.

    Returns:
        A frame with a row for each of these: `runs` with a threshold, in how many it
        `accepts` anything, in how many of these it is `kept`, and the mean `share` that
        all accept.

    Raises:
        KeyError: If there is no such column.

    Examples:
        >>> import pandas as pd
        >>> from engine import kept_thresholds
        >>> rows = {"unit": "entity", "labels": "noisy", "asked": 0.9}
        >>> rows |= {"share": [0.5, 0.4, 0.0], "accuracy": [0.92, 0.88, None]}
        >>> kept_thresholds(pd.DataFrame(rows)).to_dict("records")
        [{'runs': 3, 'accepts': 2, 'kept': 1, 'share': 0.3}]
    """
    kept = table.assign(
        accepts=table["share"] > 0, kept=table["accuracy"] >= table["asked"]
    )
    groups = kept.groupby([*by, "unit", "labels", "asked"])
    return groups.agg(
        runs=("share", "count"),
        accepts=("accepts", "sum"),
        kept=("kept", "sum"),
        share=("share", "mean"),
    )
