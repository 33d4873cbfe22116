"""Entities as rows: a confidence each, and whether it is right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric
from keras_robust._inputs.groups import group_of_positions
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
)
from keras_robust.calibration._deciding.tag_schemes import Tags

_OWNER = "entity_predictions"
_CONFIDENCES: dict[str, Callable[[np.ndarray], float]] = {
    "min": np.min,
    "mean": np.mean,
    "product": np.prod,
}


@dataclass(frozen=True, eq=False)
class EntityPredictions:
    """A row for each entity that was predicted. Made by `entity_predictions`.

    They are predictions of a binary problem, "is this entity right?", with one column:
    `(rows.correct, rows.confidence)` go wherever labels and predictions go, with
    `notion="positive"` where there is a notion. `rows[rows.type == "PER"]` are those of
    one type.

    Attributes:
        correct: 1 where the labels have an entity of the same tokens and type, else 0:
            int64 array of shape `(M,)`.
        confidence: Float64 array of shape `(M, 1)`.
        type: Array of strings of shape `(M,)`.
        sentence: The sentence each is in, int64 of shape `(M,)`: what to pass as
            `groups`.
        start: Its first token, counted from 0 within the sentence, ignored tokens left
            out. int64 of shape `(M,)`.
        end: The token after its last one.

    Examples:
        >>> from keras_robust.calibration import entity_predictions
        >>> prob = [[[0.1, 0.8, 0.1], [0.1, 0.9, 0.0]], [[0.4, 0.6, 0.0]] * 2]
        >>> tags = ["O", "B-PER", "B-LOC"]
        >>> rows = entity_predictions([[1, 1], [1, 0]], prob, tags=tags)
        >>> rows
        EntityPredictions(4 entities, precision=0.7500, confidence=0.7250, PER: 4)
        >>> rows[rows.sentence == 1].correct.tolist()
        [1, 0]
    """

    correct: np.ndarray
    confidence: np.ndarray
    type: np.ndarray
    sentence: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.correct)

    def __getitem__(self, where: Any) -> "EntityPredictions":
        """Returns some of the rows: by a mask, an index, indices or a slice."""
        columns = (getattr(self, f.name) for f in fields(self))
        if isinstance(where, (int, np.integer)):
            where = [where]  # one row: still rows
        return EntityPredictions(*(column[where] for column in columns))

    def to_frame(self) -> Any:
        """Returns a pandas.DataFrame with a column for each attribute.

        Returns:
            A frame with a row for each entity.

        Raises:
            ImportError: If pandas is not installed.
        """
        pandas = checks.optional_module("EntityPredictions", "pandas")
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        columns["confidence"] = self.confidence[:, 0]
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        if not len(self):
            return "EntityPredictions(0 entities)"
        names, counts = np.unique(self.type, return_counts=True)
        types = ", ".join(f"{name}: {count}" for name, count in zip(names, counts))
        return (
            f"EntityPredictions({len(self)} entities, precision="
            f"{self.correct.mean():.4f}, confidence={self.confidence.mean():.4f}, "
            f"{types})"
        )


def entity_predictions(
    y_true: Any,
    y_prob: Any,
    *,
    tags: Sequence[str],
    scheme: str = "IOB2",
    confidence: str = "min",
    groups: Any = None,
    from_logits: bool = False,
    ignore_class: int | None = -100,
) -> EntityPredictions:
    """Returns a row for each predicted entity: how sure, of which type, right or not.

    A tagger's user accepts entities, not tags. The rows go into every measure, diagram
    and threshold of this package: calibration by type of entity, say.

    The predicted tags are the likeliest ones. An entity is right if the labels have one
    of the same tokens and the same type: seqeval's counting, whose precision is the
    share of rows that are right. Entities that are missed have no row.

    Args:
        y_true: Tag ids: of shape `(sentences, length)`, padded with `ignore_class`; a
            list of sequences of their own lengths; or of shape `(words,)` with
            `groups`.
        y_prob: The predictions of these tags, with an axis of K tags more.
        tags: Names of the K tag ids in their order, `["O", "B-PER", "I-PER", ...]`.
        scheme: `"IOB2"`, `"IOBES"` or `"BILOU"`, read strictly, as seqeval does with
            `mode="strict"`: tags that make no whole entity are none. `"conlleval"` is
            IOB2 in which an I- tag may begin an entity, seqeval's default. Defaults to
            `"IOB2"`.
        confidence: How sure the model is of an entity, from the probabilities of its
            tokens' tags: `"min"`, the least of them; `"mean"`; or `"product"`, the
            probability that all are right if each errs by itself, too low for long
            entities, whose tokens err together. Defaults to `"min"`.
        groups: For flat labels the sentence of each word: integers of their shape.
            Defaults to None: sentences are the first axis.
        from_logits: Whether `y_prob` holds logits. Defaults to False.
        ignore_class: Label of tokens that are left out and do not break an entity
            (later word pieces, padding), or None. Defaults to -100.

    Returns:
        An `EntityPredictions`. Rows of one sentence are alike: pass `rows.sentence` as
        `groups`.

    Raises:
        ValueError: As `bin_predictions`; if `tags` are not names of the scheme or not
            K, or flat labels come without `groups`.
        TypeError: If labels or predictions are no numbers.

    Examples:
        >>> from keras_robust.calibration import bin_predictions, entity_predictions
        >>> prob = [[[0.1, 0.8, 0.1], [0.3, 0.0, 0.7], [0.1, 0.9, 0.0]]]
        >>> rows = entity_predictions([[1, 2, 0]], prob, tags=["O", "B-PER", "I-PER"])
        >>> print(rows.to_frame())
           correct  confidence type  sentence  start  end
        0        1         0.7  PER         0      0    2
        1        0         0.9  PER         0      2    3
        >>> bins = bin_predictions(rows.correct, rows.confidence, notion="positive")
        >>> round(bins.ece(), 4)
        0.6

    Reference:
        Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003 Shared Task",
        CoNLL 2003, for what counts as right.
    """
    names = Tags(_OWNER, tags, scheme)
    fix = "min is that of the least sure token."
    confidence = checks.choice(
        _OWNER, "confidence", confidence, tuple(_CONFIDENCES), fix=fix
    )
    y_true, y_prob, groups = _flat(y_true, y_prob, groups)
    tokens = read_predictions(
        _OWNER,
        y_true,
        y_prob,
        from_logits=from_logits,
        sample_weight=None,
        ignore_class=ignore_class,
    )
    checked_distributions(_OWNER, tokens)
    _check_classes(tokens, names)
    sentence = groups[tokens.row]
    order = np.argsort(sentence, kind="stable")
    sentence, label = sentence[order], tokens.label[order]
    predicted = tokens.prob[order].argmax(axis=-1)
    sure = tokens.prob[order, predicted]
    how = _CONFIDENCES[confidence]
    rows = []
    bounds = np.flatnonzero(np.diff(sentence)) + 1
    for part in np.split(np.arange(len(sentence)), bounds):
        right = set(names.spans(label[part].tolist()))
        for span in names.spans(predicted[part].tolist()):
            own = how(sure[part][span.start : span.end])
            rows.append((span in right, own, span, sentence[part[0]]))
    return EntityPredictions(
        correct=np.array([row[0] for row in rows], "int64"),
        confidence=np.array([row[1] for row in rows], "float64")[:, None],
        type=np.array([row[2].type for row in rows], "U"),
        sentence=np.array([row[3] for row in rows], "int64"),
        start=np.array([row[2].start for row in rows], "int64"),
        end=np.array([row[2].end for row in rows], "int64"),
    )


def _flat(y_true: Any, y_prob: Any, groups: Any) -> tuple[Any, Any, np.ndarray]:
    """Returns labels, predictions and sentences, those of lists end to end."""
    ragged = isinstance(y_true, (list, tuple)) and any(map(np.ndim, y_true))
    if ragged and groups is None:
        labels = [numeric(_OWNER, "y_true", one) for one in y_true]
        probs = [numeric(_OWNER, "y_prob", one) for one in y_prob]
        classes = next((one.shape[-1] for one in probs if one.size), 0)
        # An empty list has no axis of classes.
        probs = [one if one.size else one.reshape(0, classes) for one in probs]
        wanted = [(*one.shape[:1], classes) for one in labels]
        found = [one.shape for one in probs]
        if found != wanted:
            what = "of the sentences of `y_true`, each of shape (length, K)"
            received = (
                f"shapes {found[:5]} for labels of {[x.shape for x in labels][:5]}"
            )
            fix = "Batches of padded sentences: concatenate them to one array."
            raise checks.invalid(_OWNER, "y_prob", what, received, fix)
        groups = np.repeat(np.arange(len(labels)), [len(one) for one in labels])
        return np.concatenate(labels), np.concatenate(probs), groups
    labels = numeric(_OWNER, "y_true", y_true)
    if groups is not None:
        return labels, y_prob, group_of_positions(_OWNER, groups, labels.shape)
    if labels.ndim < 2 or np.ndim(y_prob) == 2:
        what = "of shape (sentences, length), or flat with `groups`"
        fix = "Pass the number of its sentence for each word as `groups`."
        raise checks.invalid(
            _OWNER, "y_true", what, f"y_true.shape={labels.shape}", fix
        )
    size = int(np.prod(labels.shape[1:]))
    return labels, y_prob, np.repeat(np.arange(len(labels)), size)


def _check_classes(tokens: Predictions, names: Tags) -> None:
    if tokens.label.ndim != 1:
        raise checks.invalid(
            _OWNER,
            "y_true",
            "of tag ids",
            "one-hot or soft labels",
            "Pass `y_true.argmax(-1)`, with ignore_class where there is no label.",
        )
    if tokens.prob.shape[-1] != len(names.names):
        raise checks.invalid(
            _OWNER,
            "tags",
            f"as many as the {tokens.prob.shape[-1]} classes of `y_prob`",
            f"{len(names.names)} names",
            "List the names in the order of their ids, each once.",
        )
