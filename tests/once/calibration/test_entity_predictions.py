"""Entities as rows, counted as seqeval counts them."""

import numpy as np
import pytest
from scipy.special import softmax
from seqeval.metrics import sequence_labeling, v1
from seqeval.scheme import BILOU, IOB2, IOBES

from keras_robust.calibration import (
    PredictionSets,
    ReliabilityDisplay,
    area_under_risk_coverage,
    bin_predictions,
    calibration_report,
    entity_predictions,
)
from keras_robust.noise import corrupt_spans

SCHEMES = {"IOB2": IOB2, "IOBES": IOBES, "BILOU": BILOU, "conlleval": None}
PREFIXES = {"IOB2": "BI", "IOBES": "BIES", "BILOU": "BILU", "conlleval": "BI"}
TYPES = ["PER", "LOC"]
BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def by_seqeval(true, predicted, scheme):
    """Precision of each type."""
    how = {"average": None, "zero_division": 0}
    if scheme == "conlleval":
        return sequence_labeling.precision_recall_fscore_support(
            true, predicted, **how
        )[0]
    how |= {"scheme": SCHEMES[scheme]}
    return v1.precision_recall_fscore_support(true, predicted, **how)[0]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("valid", [True, False])
def test_the_share_of_rows_that_are_right_is_the_precision_of_seqeval(scheme, valid):
    rng = np.random.default_rng(1)
    names = ["O", *(f"{p}-{t}" for t in TYPES for p in PREFIXES[scheme])]
    share = np.full(len(names), 0.5 / (len(names) - 1))
    share[0] = 0.5
    lengths = rng.integers(0 if valid else 1, 9, 400)
    true = [rng.choice(len(names), size, p=share) for size in lengths]
    if valid and scheme == "IOB2":  # as taggers' labels are, and as the study's
        true = [np.where(s % 2 == 0, 0, s) for s in true]
        true = [x.copy() for x in corrupt_spans(true, names, shift=0.9, seed=0).labels]
    # Mostly right, so that spans of several tokens are.
    wrong = [rng.random(size) < 0.15 for size in lengths]
    told = [
        np.where(w, rng.choice(len(names), len(w), p=share), t)
        for w, t in zip(wrong, true)
    ]
    prob = [
        0.6 * np.eye(len(names))[t] + 0.4 * rng.dirichlet(share + 1, len(t))
        for t in told
    ]
    rows = entity_predictions(true, prob, tags=names, scheme=scheme)
    as_names = [
        [[names[k] for k in sentence] for sentence in tags]
        for tags in (true, [p.argmax(-1) for p in prob])
    ]
    precision = by_seqeval(*as_names, scheme)
    found = [rows[rows.type == name].correct.mean() for name in sorted(TYPES)]
    np.testing.assert_allclose(found, precision, rtol=1e-12)
    assert 0.1 < rows.correct.mean() < 1
    assert (rows.end - rows.start).max() > 1
    # From the other side the rows that are right are as many.
    back = entity_predictions(
        [p.argmax(-1) for p in prob], [np.eye(len(names))[t] for t in true],
        tags=names, scheme=scheme,
    )  # fmt: skip
    assert back.correct.sum() == rows.correct.sum()


PROB = np.array(
    [
        [0.05, 0.9, 0.05, 0, 0],  # B-PER
        [0.3, 0, 0.7, 0, 0],  # I-PER
        [0.1, 0.1, 0, 0.8, 0],  # B-LOC
        [0.6, 0, 0, 0, 0.4],  # O
        [0.2, 0, 0, 0.5, 0.3],  # B-LOC
        [0.2, 0, 0, 0.2, 0.6],  # I-LOC
    ]
)
LABELS = np.array([1, 2, 3, 4, 3, 0])


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        ("min", [0.7, 0.8, 0.5]),
        ("mean", [0.8, 0.8, 0.55]),
        ("product", [0.63, 0.8, 0.3]),
    ],
)
def test_the_confidence_is_that_of_the_tags_of_its_tokens(confidence, expected):
    rows = entity_predictions(LABELS[None], PROB[None], tags=BIO, confidence=confidence)
    np.testing.assert_allclose(rows.confidence, np.array(expected)[:, None])
    assert rows.type.tolist() == ["PER", "LOC", "LOC"]
    assert rows.correct.tolist() == [1, 0, 0]  # the LOCs are one longer, one shorter
    assert rows.start.tolist() == [0, 2, 4]
    assert rows.end.tolist() == [2, 3, 6]
    assert len(rows) == 3


def test_ignored_tokens_do_not_break_an_entity_and_sentences_do():
    # A later word piece after each word; the second sentence begins with an I- tag.
    pieces = np.full((2, 8), -100)
    pieces[0, :6:2] = LABELS[:3]
    pieces[1, :6:2] = LABELS[3:]
    prob = np.full((2, 8, 5), 0.2)
    prob[0, :6:2], prob[1, :6:2] = PROB[:3], PROB[3:]
    padded = entity_predictions(pieces, prob, tags=BIO)
    sentence = [0, 0, 0, 1, 1, 1]
    flat = entity_predictions(LABELS, PROB, tags=BIO, groups=sentence)
    lists = entity_predictions(
        [LABELS[:3].tolist(), LABELS[3:].tolist()], [PROB[:3], PROB[3:]], tags=BIO
    )
    logits = entity_predictions(
        LABELS, np.log(PROB + 1e-9), tags=BIO, groups=sentence, from_logits=True
    )
    for rows in (padded, flat, lists, logits):
        assert rows.sentence.tolist() == [0, 0, 1]
        assert rows.start.tolist() == [0, 2, 1]
        assert rows.end.tolist() == [2, 3, 3]
        # The label's I-LOC begins no entity, so the first LOC is right.
        assert rows.correct.tolist() == [1, 1, 0]
        np.testing.assert_allclose(rows.confidence[:, 0], [0.7, 0.8, 0.5], rtol=1e-6)
    # Sentences by other numbers, and not in a row.
    order = [3, 0, 4, 1, 5, 2]
    mixed = entity_predictions(
        LABELS[order], PROB[order], tags=BIO, groups=np.array([-7, 9])[[1, 0] * 3]
    )
    assert mixed.sentence.tolist() == [-7, -7, 9]
    assert mixed.start.tolist() == [0, 2, 1]


def test_a_sentence_of_no_words_has_no_entity_and_one_row_is_still_rows():
    expected = entity_predictions([LABELS.tolist()], [PROB], tags=BIO)
    for empty in ([], np.zeros((0, 5))):
        rows = entity_predictions(
            [[], LABELS.tolist(), []], [empty, PROB.tolist(), empty], tags=BIO
        )
        assert rows.sentence.tolist() == [1] * len(expected)
        assert rows.confidence.tolist() == expected.confidence.tolist()
    assert [len(row) for row in rows] == [1] * len(rows)
    assert rows[-1].type.tolist() == ["LOC"]


def test_no_entity_no_row():
    rows = entity_predictions([[0, 1]], np.eye(5)[[[0, 0]]], tags=BIO)
    assert len(rows) == 0
    assert rows.confidence.shape == (0, 1)
    assert repr(rows) == "EntityPredictions(0 entities)"
    assert len(rows.to_frame()) == 0


def tagged(sentences=400, length=12, seed=0):
    """A tagger that is over-confident, of sentences some of which are hard."""
    rng = np.random.default_rng(seed)
    tags = rng.choice(5, (sentences, length), p=[0.6, 0.1, 0.1, 0.1, 0.1])
    hard = rng.random((sentences, 1, 1)) < 0.3
    logits = np.where(hard, 1.5, 4) * np.eye(5)[tags] + rng.normal(
        size=(sentences, length, 5)
    )
    return tags, softmax(2 * logits, -1)


def test_all_measures_diagrams_and_sets_take_the_rows():
    rows = entity_predictions(*tagged(), tags=BIO)
    y, prob = rows.correct, rows.confidence
    bins = bin_predictions(y, prob, notion="positive")
    assert bins.total == len(rows)
    precision = np.nansum(bins.accuracy * bins.count) / bins.total
    assert precision == pytest.approx(rows.correct.mean())
    assert bins.signed_gap() > 0
    for name in TYPES:
        of_type = rows[rows.type == name]
        display = ReliabilityDisplay.from_predictions(
            of_type.correct, of_type.confidence, notion="positive"
        )
        assert display.bins.total == (rows.type == name).sum()
    assert 0 < area_under_risk_coverage(y, prob) < 1
    report = calibration_report(y, prob, notion="positive", num_resamples=20)
    assert report["ece"].value == pytest.approx(bins.ece())
    sets = PredictionSets(0.9).fit(y, prob, groups=rows.sentence)
    assert sets.transform(prob).shape == (len(rows), 2)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"scheme": "IOB1"}, "`scheme` must be one of 'IOB2', 'IOBES', 'BILOU', 'conl"),
        ({"confidence": "max"}, "`confidence` must be one of 'min', 'mean', 'product'"),
        ({"tags": ["O", "S-PER", "I-PER", "B-LOC", "I-LOC"]}, r"Received: \['S-PER'\]"),
        (
            {"tags": ["O", "PER", "I-PER", "B-LOC", "I-LOC"]},
            "`tags` must be names of I",
        ),
        (
            {"tags": ["O", "B-PER", "B-PER", "B-LOC", "I-LOC"]},
            "names of IOB2, each once",
        ),
        ({"tags": ["B-X", "B-PER", "I-PER", "B-LOC", "I-LOC"]}, "names of IOB2"),
        ({"tags": BIO[:3]}, "`tags` must be as many as the 5 classes"),
        (
            {"tags": BIO, "scheme": "BILOU", "groups": [0] * 5},
            "`groups` must be one for",
        ),
        ({"y_true": LABELS[:, None], "y_prob": PROB}, "or flat with `groups`"),
        (
            {"y_true": [[1, 2], [0]], "y_prob": [PROB[:2], PROB[:1, :4]]},
            r"shapes \[\(2, 5\), \(1, 4\)\]",
        ),
        (  # batches
            {"y_true": [LABELS[None]] * 2, "y_prob": [PROB[None]] * 2},
            "each of shape .* Batches of padded sentences: concatenate",
        ),
        ({"y_true": LABELS}, r"of shape \(sentences, length\), or flat with `groups`"),
        ({"y_true": LABELS[None] + 4}, "`y_true` must be whole class ids"),
        ({"y_true": np.eye(5)[LABELS][None]}, "`y_true` must be of tag ids"),
        ({"y_prob": PROB[None] * np.nan}, "with no NaN"),
        ({"y_prob": PROB[None] / 2}, "`y_prob` must be .*1"),
        ({"y_true": [[1, 2], [0]]}, "`y_prob` must be of the sentences of `y_true`"),
        (
            {"y_true": [[1, 2], [0]], "y_prob": [PROB[:1], PROB[:2]]},
            r"shapes \[\(1, 5\), \(2, 5\)\] for labels of \[\(2,\), \(1,\)\]",
        ),
    ],
)
def test_bad_input_is_an_error(how, match):
    given = {"y_true": LABELS[None], "y_prob": PROB[None], "tags": BIO, **how}
    with pytest.raises(ValueError, match=f"entity_predictions: .*{match}"):
        entity_predictions(given.pop("y_true"), given.pop("y_prob"), **given)
