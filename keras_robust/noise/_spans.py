"""Noise of token labels: annotators miss, mistype, misplace and invent entities."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.class_ids import counted_labels, integer_labels
from keras_robust.noise._noisy_labels import NoisyLabels


class _Span(NamedTuple):
    start: int
    end: int  # one past the last token
    type: str


def corrupt_spans(
    sequences: Any,
    tags: Sequence[str],
    *,
    drop: float = 0.0,
    retype: float = 0.0,
    shift: float = 0.0,
    invent: float = 0.0,
    seed: int | np.random.Generator,
    ignore_class: int | None = -100,
) -> NoisyLabels:
    """Corrupts entity spans as annotators do; what comes out is valid IOB2.

    Each entity is dropped with probability `drop`. One that stays gets another type
    with probability `retype`, and, independently, one of its ends moves by one token
    with probability `shift`: outwards or inwards, all possible moves equally likely,
    never past the sequence, into another entity, or to nothing (if no move is
    possible, it stays). Then each free token outside all entities begins an invented
    entity with probability `invent`, of a type drawn evenly and a length drawn from
    those of the input's entities, cut where the free tokens end.

    Args:
        sequences: A sequence of integer arrays of shape `(length,)`, one per sentence,
            or one array of shape `(N, length)` padded with `ignore_class`. Not
            modified.
        tags: Names of the tag ids, `["O", "B-PER", "I-PER", ...]`: "O" and a B- and an
            I- tag for each type.
        drop: Probability in [0, 1] that an entity is missed.
        retype: Probability in [0, 1] that an entity gets another type.
        shift: Probability in [0, 1] that an end of an entity moves by one token.
        invent: Probability in [0, 1] that a token outside begins a false entity.
        seed: Integer seed or `numpy.random.Generator`.
        ignore_class: Label of positions that are never touched and that do not break
            an entity (later word pieces, padding), or None. Defaults to -100.

    Returns:
        A `NoisyLabels`: `labels` in the form of `sequences`, the realised transition
        `matrix` between tags, and the `rate` of tokens changed.

    Raises:
        ValueError: If a probability is outside [0, 1], `tags` are not IOB2 names, or a
            sequence is not valid IOB2.
        TypeError: If labels are not integers, or there is no seed.

    Examples:
        >>> from keras_robust.noise import corrupt_spans
        >>> tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
        >>> noisy = corrupt_spans([[0, 1, 2, 0]], tags, retype=1.0, seed=0)
        >>> noisy.labels[0].tolist(), noisy.rate
        ([0, 3, 4, 0], 0.5)
    """
    owner = "corrupt_spans"
    rates = {"drop": drop, "retype": retype, "shift": shift, "invent": invent}
    fix = "Pass a probability, such as 0.1."
    rates = {k: checks.fraction(owner, k, v, fix=fix) for k, v in rates.items()}
    types = _entity_types(owner, tags)
    rng = checks.generator(owner, seed)
    ignore_class = checks.ignored_class(owner, ignore_class)
    sentences = [integer_labels(owner, "sequences", s) for s in sequences]
    counted = [
        counted_labels(owner, "sequences", s, ignore_class, len(tags))
        for s in sentences
    ]
    clean = [s[c].astype("int64") for s, c in zip(sentences, counted)]
    spans = [_read_spans(owner, s, tags, i) for i, s in enumerate(clean)]
    lengths = [span.end - span.start for found in spans for span in found] or [1]
    ids = {name: i for i, name in enumerate(tags)}
    noisy, flat = [], [np.zeros(0, "int64")]
    for sentence, keep, found in zip(sentences, counted, spans):
        size = int(keep.sum())
        kept = _change_spans(found, size, types, rates, rng)
        kept += _invent_spans(kept, size, types, rates["invent"], lengths, rng)
        flat.append(_write_spans(kept, size, ids))
        out = sentence.copy()
        out[keep] = flat[-1]
        noisy.append(out)
    padded = isinstance(sequences, np.ndarray) and sequences.ndim == 2
    labels = np.array(noisy, sequences.dtype) if padded else noisy
    if padded:
        labels = labels.reshape(sequences.shape)
    true = np.concatenate([np.zeros(0, "int64"), *clean])
    return NoisyLabels.compare(labels, true, np.concatenate(flat), len(tags))


def _entity_types(owner: str, tags: Sequence[str]) -> list[str]:
    types = [tag[2:] for tag in tags if tag.startswith("B-")]
    wanted = {"O"} | {f"{p}-{t}" for t in types for p in "BI"}
    if set(tags) != wanted or len(set(tags)) != len(tags):
        raise checks.invalid(
            owner,
            "tags",
            '"O" and, for each type, a "B-" and an "I-" tag',
            f"tags={list(tags)!r}",
            "List the names in the order of their ids, each once.",
        )
    return types


def _read_spans(
    owner: str, labels: np.ndarray, tags: Sequence[str], index: int
) -> list[_Span]:
    spans: list[_Span] = []
    for position, label in enumerate(labels):
        prefix, _, entity = tags[label].partition("-")
        if prefix == "B":
            spans.append(_Span(position, position + 1, entity))
        elif prefix == "I":
            if not spans or spans[-1][1:] != (position, entity):
                raise checks.invalid(
                    owner,
                    "sequences",
                    "valid IOB2",
                    f"{tags[label]} at token {position} of sequence {index}, which "
                    "continues no entity",
                    "An entity begins with its B- tag; convert IOB1 to IOB2 first.",
                )
            spans[-1] = spans[-1]._replace(end=position + 1)
    return spans


def _change_spans(
    spans: list[_Span],
    size: int,
    types: list[str],
    rates: dict[str, float],
    rng: np.random.Generator,
) -> list[_Span]:
    kept = [span for span in spans if rng.random() >= rates["drop"]]
    for i, span in enumerate(kept):
        others = [t for t in types if t != span.type]
        if rng.random() < rates["retype"] and others:
            span = span._replace(type=str(rng.choice(others)))
        if rng.random() < rates["shift"]:
            before = kept[i - 1].end if i else 0
            after = kept[i + 1].start if i + 1 < len(kept) else size
            moves = _possible_moves(span, before, after)
            if moves:
                start, end = moves[rng.integers(len(moves))]
                span = span._replace(start=start, end=end)
        kept[i] = span
    return kept


def _possible_moves(span: _Span, before: int, after: int) -> list[tuple[int, int]]:
    start, end, _ = span
    moves = [(start - 1, end), (start + 1, end), (start, end - 1), (start, end + 1)]
    return [(s, e) for s, e in moves if before <= s < e <= after]


def _invent_spans(
    spans: list[_Span],
    size: int,
    types: list[str],
    rate: float,
    lengths: list[int],
    rng: np.random.Generator,
) -> list[_Span]:
    if not rate or not types:
        return []
    free = np.ones(size, bool)
    for span in spans:
        free[span.start : span.end] = False
    invented = []
    for position in range(size):
        if free[position] and rng.random() < rate:
            end = position
            limit = position + int(rng.choice(lengths))
            while end < min(limit, size) and free[end]:
                free[end] = False
                end += 1
            invented.append(_Span(position, end, str(rng.choice(types))))
    return invented


def _write_spans(spans: list[_Span], size: int, ids: dict[str, int]) -> np.ndarray:
    labels = np.full(size, ids["O"], dtype="int64")
    for span in spans:
        labels[span.start : span.end] = ids[f"I-{span.type}"]
        labels[span.start] = ids[f"B-{span.type}"]
    return labels
