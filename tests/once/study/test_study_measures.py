"""What is measured, against numbers counted by hand."""

import keras
import numpy as np
import pytest
from engine._corpus import TAGS
from engine._data import Split, splits_of
from engine._encoded import Encoded
from engine._encoder import Encoder, load_backbone
from engine._measures import (
    calibration_scores,
    entity_scores,
    estimated_scores,
    logits_of,
    memorisation,
    recalibration_rows,
    split_scores,
)
from engine._run import predicted_confidence
from tiny import quick


def split_of(*sentences, given=None):
    """A split of words of one piece each, between two special tokens."""
    rows = [[-100, *(TAGS.index(tag) for tag in s.split()), -100] for s in sentences]
    labels = np.array([label for row in rows for label in row], "int32")
    wrong = labels.copy()
    if given is not None:
        wrong[labels != -100] = [TAGS.index(tag) for tag in given.split()]
    lengths = np.array([len(row) for row in rows])
    encoded = Encoded(np.zeros(len(labels), "int32"), lengths, {"clean": labels})
    return Split(encoded, labels, wrong, wrong, None, None, np.arange(len(labels)))


def tags(text):
    return np.array([TAGS.index(tag) for tag in text.split()])


def test_entities_are_counted_by_spans_and_types():
    split = split_of(
        "B-PER I-PER O B-LOC",
        "B-ORG O",
        "O B-MISC I-MISC",
    )
    # Right: PER, MISC. Wrong type: LOC as ORG. Missed: ORG. Invented: LOC.
    predicted = tags("B-PER I-PER O B-ORG  O B-LOC  O B-MISC I-MISC")
    scores = entity_scores(split, predicted)
    assert scores["precision"] == pytest.approx(2 / 4)
    assert scores["recall"] == pytest.approx(2 / 4)
    assert scores["f1"] == scores["f1_strict"] == pytest.approx(0.5)


def test_strictly_an_entity_begins_with_b():
    split = split_of("B-PER I-PER O", "B-LOC O")
    # The first is I-PER I-PER: an entity by default, none in strict IOB2.
    scores = entity_scores(split, tags("I-PER I-PER O  B-LOC O"))
    assert scores["f1"] == 1.0
    # One of two found, nothing wrong: F1 = 2 * 1 * 1/2 / (1 + 1/2).
    assert scores["f1_strict"] == pytest.approx(2 / 3)


def test_entities_do_not_run_on_into_the_next_sentence():
    split = split_of("O B-PER", "B-PER O")
    assert entity_scores(split, tags("O B-PER  I-PER O"))["f1"] == 1.0
    split = split_of("O B-PER I-PER", "O O O")
    assert entity_scores(split, tags("O B-PER I-PER O O O"))["f1_strict"] == 1.0


def test_where_no_entity_is_found_f1_is_zero():
    scores = entity_scores(split_of("B-PER O", "O O"), tags("O O O O"))
    assert scores == {"f1": 0, "f1_strict": 0, "precision": 0, "recall": 0}


def test_memorised_are_the_wrong_labels_that_are_predicted():
    split = split_of("O O O", "B-PER O", given="B-LOC B-PER O  O O")
    # Wrong are words 0, 1 and 3, given as B-LOC, B-PER, O: the first is predicted as
    # it was given, the second as it is, the third as something else.
    logits = 5.0 * np.eye(9, dtype="float32")[tags("B-LOC O B-ORG  B-MISC O")]
    scores = memorisation(split, logits)
    assert scores["memorised"] == pytest.approx(1 / 3)
    assert scores["resisted"] == pytest.approx(1 / 3)


def test_without_wrong_labels_nothing_is_memorised():
    scores = memorisation(split_of("O O"), np.zeros((2, 9), "float32"))
    assert np.isnan(list(scores.values())).all()


def test_calibration_of_a_split_by_definition():
    rng = np.random.default_rng(5)
    words = " ".join(rng.choice(TAGS, 900))
    split = split_of(words)
    logits = (2 * rng.normal(size=(900, 9))).astype("float32")
    logits[np.arange(900), tags(words)] += 2
    prob = np.exp(logits.astype("float64"))
    prob /= prob.sum(-1, keepdims=True)
    top, hit = prob.max(-1), prob.argmax(-1) == tags(words)
    bins = np.minimum((top * 10).astype(int), 9)
    gaps = {k: hit[bins == k].mean() - top[bins == k].mean() for k in set(bins)}
    counts = np.bincount(bins, minlength=10)
    scores = split_scores(split, logits)
    expected = {
        "accuracy": hit.mean(),
        "fraction_o": np.mean(prob.argmax(-1) == 0),
        "mean_confidence": top.mean(),
        "median_confidence": np.median(top),
        "ece": sum(counts[k] * abs(gap) for k, gap in gaps.items()) / 900,
        "mce": max(map(abs, gaps.values())),
        "mce_min_count_100": max(abs(g) for k, g in gaps.items() if counts[k] >= 100),
        "signed_gap": top.mean() - hit.mean(),
        "nll": -np.log(prob[np.arange(900), tags(words)]).mean(),
        "brier": np.sum((prob - np.eye(9)[tags(words)]) ** 2, axis=-1).mean(),
    }
    assert scores["mce"] != scores["mce_min_count_100"]
    for name, value in expected.items():
        np.testing.assert_allclose(scores[name], value, rtol=1e-6, err_msg=name)


def test_temperatures_are_fitted_on_true_and_on_given_development_labels():
    # All logits are one number times a one-hot vector, so that the best temperature
    # for a share r of right labels has exp(5 / T) = 8 r / (1 - r).
    n = 1000
    truth, given = np.zeros(n, int), np.zeros(n, int)
    truth[: n // 10] = given[: n // 2] = 1
    words = [" ".join(np.array(TAGS)[labels]) for labels in (truth, given)]
    dev, test = split_of(words[0], given=words[1]), split_of(words[0])
    logits = np.tile(5 * np.eye(9)[0], (n, 1)).astype("float32")
    rows = recalibration_rows(quick(), dev, logits, test, logits, {})
    found = {row["method"]: row for row in rows}
    for method, right in (("temperature_clean", 0.9), ("temperature_noisy", 0.5)):
        expected = 5 / np.log(8 * right / (1 - right))
        assert found[method]["temperature"] == pytest.approx(expected, rel=1e-3)
        assert found[method]["ece"] == pytest.approx(0.9 - right, abs=1e-3)
        brier = 0.9 * (1 - right) ** 2 + 0.1 * (right**2 + 1)
        assert found[method]["brier"] == pytest.approx(brier, abs=0.05)


@pytest.fixture(scope="module")
def encoder(preset):
    return Encoder(load_backbone(preset, "float32"), 1)


def test_training_from_hidden_states_computes_what_the_whole_encoder_does(
    preset, encoder
):
    split = splits_of(quick(), encoder, preset)["test"]
    model = encoder.model()
    logits = logits_of(model, split)
    whole = keras.Model(
        encoder.backbone.input,
        model.get_layer("logits")(encoder.backbone.output["sequence_output"]),
    )
    expected = []
    for words in np.split(split.encoded.token_ids, split.encoded.offsets[1:]):
        mask = np.ones((1, len(words)), bool)
        inputs = encoder.token_inputs(words[None], mask)
        expected.append(whole.predict_on_batch(inputs)[0])
    expected = np.concatenate(expected)[split.words]
    # Hidden states are kept in float16, of 11 bits.
    np.testing.assert_allclose(logits, expected, rtol=0.01, atol=0.01)
    assert np.abs(expected).max() > 0.5
    assert (logits.argmax(-1) == expected.argmax(-1)).mean() > 0.99


def test_the_layers_that_are_trained_are_the_top_ones(preset, encoder):
    names = {v.path.split("/")[0] for v in encoder.model().trainable_variables}
    assert names == {"transformer_layer_1", "logits"}
    whole = Encoder(load_backbone(preset, "float32"), None).model()
    names = {v.path.split("/")[0] for v in whole.trainable_variables}
    assert {"token_embedding", "transformer_layer_0", "logits"} < names
    assert not any("pooled" in name for name in names)


@pytest.mark.parametrize("trainable_layers", [1, None])
def test_logits_are_float32_whatever_the_policy(preset, trainable_layers):
    backbone = load_backbone(preset, "mixed_bfloat16")
    model = Encoder(backbone, trainable_layers).model()
    assert model.output.dtype == "float32"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


# Every word is sure of its tag, and is given as it with 1 - r, else as another.
@pytest.mark.parametrize(
    ("options", "gamma", "right"),
    [
        ({"noise_rate": 0.6}, 0.0, 0.4),
        # p_k ∝ π_k^(1 / (1 - q)).
        ({"noise_rate": 0.6, "loss": "GCE", "q": 0.6}, 0.0, [0.4**2.5, 0.075**2.5]),
        ({"noise_rate": 0.6, "loss": "GCE", "q": 0.8}, 0.0, [0.4**5, 0.075**5]),
        ({"noise_rate": 0.6, "loss": "GCE", "q": 1.0}, 0.0, 1.0),
        # π becomes (1 - s) π + s (1 - π) / (K - 1).
        ({"noise_rate": 0.6, "smoothing": 0.1}, 0.0, 0.9 * 0.4 + 0.1 * 0.6 / 8),
        (
            {"noise_rate": 0.6, "loss": "SGCE", "q": 0.5, "smoothing": 0.1},
            0.0,
            [(0.36 + 0.0075) ** 2, (0.9 * 0.075 + 0.1 * 0.925 / 8) ** 2],
        ),
        # At γ* = r / (8 (1 - r)) the noise is undone.
        ({"noise_rate": 0.6, "loss": "GammaCE"}, 0.1875, 1.0),
        ({"noise_rate": 0.2, "loss": "GammaCE"}, 0.03125, 1.0),
        ({"noise_rate": 0.6, "loss": "GammaCE"}, float("nan"), 0.4),
        ({"noise_rate": 1.0}, 0.0, 1 / 8),
        ({"noise": "pair", "noise_rate": 0.3}, 0.0, 0.7),
    ],
)
def test_the_predicted_confidence_is_that_of_theory(options, gamma, right):
    splits = {"test": split_of("O O B-PER I-PER O", "B-LOC O")}
    if isinstance(right, list):
        right = right[0] / (right[0] + 8 * right[1])
    confidence = predicted_confidence(quick(**options), gamma, splits)
    assert confidence == pytest.approx(right, rel=1e-9)


def test_for_real_noise_the_predicted_confidence_is_of_the_realised_matrix():
    # O is always given right, half of B-PER as O; other tags do not occur.
    train = split_of("O O B-PER B-PER", given="O O B-PER O")
    splits = {"train": train, "test": split_of("O O O B-PER")}
    confidence = predicted_confidence(quick(noise="weak"), float("nan"), splits)
    assert confidence == pytest.approx(3 / 4 * 1.0 + 1 / 4 * 0.5)


def test_scores_on_true_labels_are_read_off_noisy_ones():
    # Half of B-PER is given as O: of each label's expectation, none is lost.
    split = split_of("O O B-PER B-PER", given="O O B-PER O")
    matrix = np.eye(9)
    matrix[1, :2] = 0.5
    logits = 10 * np.eye(9)[[0, 0, 1, 0]]  # the last word is missed
    found = estimated_scores(split, logits, matrix)
    # By hand: T⁻¹[O] = (1, 0), T⁻¹[B-PER] = (-1, 2), so 1 + 1 + 2 + 1 over 4.
    assert found["dev_accuracy_from_noisy"] == pytest.approx(5 / 4)
    assert found["dev_ece_from_noisy"] == pytest.approx(1 / 4, abs=1e-3)
    flat = np.full((9, 9), 1 / 9)
    assert np.isnan(list(estimated_scores(split, logits, flat).values())).all()


def test_calibration_scores_of_a_sure_and_right_model_are_zero():
    labels = np.arange(9)
    scores = calibration_scores(labels, np.eye(9))
    assert scores["ece"] == scores["mce"] == scores["nll"] == scores["brier"] == 0
