"""What is measured of a model: entities, calibration, memorisation."""

import warnings
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from engine._config import RunConfig
from engine._corpus import TAGS
from engine._data import Split, trusted_of, trusted_rows, trusted_sentences
from keras_robust import calibration, noise
from keras_robust._inputs import checks

NUM_BINS = 10
MIN_COUNT = 100


def logits_of(model: keras.Model, split: Split) -> np.ndarray:
    """Returns float32 logits of shape `(words, K)`, in the order of the words."""
    logits = np.empty((len(split.clean), len(TAGS)), "float32")
    batches = split.batches(128)
    for index in range(len(batches)):
        inputs, _ = batches[index]
        where, mask = batches.positions(index)
        logits[where[mask]] = model.predict_on_batch(inputs)[mask]
    return logits[split.words]


def entity_scores(split: Split, predicted: np.ndarray) -> dict[str, float]:
    """Returns precision, recall and F1 of entities by seqeval, in [0, 1].

    `f1_strict` holds tags to IOB2: an entity has to begin with a B- tag.
    """
    scores = checks.optional_module(
        "study", "seqeval.metrics.sequence_labeling", extra="study"
    )
    scheme = checks.optional_module("study", "seqeval.scheme", extra="study").IOB2
    words = np.add.reduceat(split.clean != -100, split.encoded.offsets)
    true, given = (
        [[TAGS[tag] for tag in tags] for tags in np.split(flat, np.cumsum(words)[:-1])]
        for flat in (split.clean[split.words], predicted)
    )
    options = {"average": "micro", "zero_division": 0}
    precision, recall, f1, _ = scores.precision_recall_fscore_support(
        true, given, **options
    )
    strict = scores.f1_score(true, given, mode="strict", scheme=scheme, **options)
    return {
        "f1": float(f1),
        "f1_strict": float(strict),
        "precision": float(precision),
        "recall": float(recall),
    }


def calibration_scores(labels: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    """Returns what calibration measures say of probabilities of shape `(words, K)`."""
    bins = calibration.bin_predictions(labels, prob, num_bins=NUM_BINS)
    return {
        "ece": bins.ece(),
        "mce": bins.mce(),
        f"mce_min_count_{MIN_COUNT}": bins.mce(min_count=MIN_COUNT),
        "signed_gap": bins.signed_gap(),
        "nll": calibration.negative_log_likelihood(labels, prob),
        "brier": calibration.brier_score(labels, prob),
    }


def split_scores(split: Split, logits: np.ndarray) -> dict[str, float]:
    """Returns all measures of a split's predictions, on its true labels."""
    labels, predicted = split.clean[split.words], logits.argmax(-1)
    prob = softmax(logits.astype("float64"), axis=-1)
    confidence = prob.max(-1)
    return {
        **entity_scores(split, predicted),
        "accuracy": float(np.mean(predicted == labels)),
        "fraction_o": float(np.mean(predicted == 0)),
        "mean_confidence": float(confidence.mean()),
        "median_confidence": float(np.median(confidence)),
        **calibration_scores(labels, prob),
    }


def reliability_rows(split: Split, logits: np.ndarray) -> list[dict[str, float]]:
    """Returns the reliability table: a row for each bin that is not empty."""
    bins = calibration.bin_predictions(
        split.clean[split.words], logits, num_bins=NUM_BINS, from_logits=True
    )
    frame = bins.to_frame()
    return frame[frame["count"] > 0].to_dict("records")


def memorisation(split: Split, logits: np.ndarray) -> dict[str, float]:
    """Returns how much of the wrong training labels a model has learnt by heart.

    `memorised` is the share of wrongly labelled words of which it predicts the wrong
    label that was given; `resisted` the share of which it predicts the true one.
    """
    clean, given = split.clean[split.words], split.given[split.words]
    wrong = clean != given
    if not wrong.any():
        return {"memorised": float("nan"), "resisted": float("nan")}
    predicted = logits.argmax(-1)[wrong]
    return {
        "memorised": float(np.mean(predicted == given[wrong])),
        "resisted": float(np.mean(predicted == clean[wrong])),
    }


def trusted_rows_of(
    config: RunConfig, dev: Split, logits: np.ndarray
) -> list[dict[str, float]]:
    """Returns a row for each sentence that was looked at again.

    Its words, its entities' tags, and the sum of its words' NLL, each at the
    temperature of other sentences: what `calibration.choose_by_likelihood` compares.
    """
    if not config.trusted_sentences:
        return []
    trusted = trusted_of(config, dev)
    labels, sentence = trusted.pairs[1], trusted.sentence_of_words
    choice = calibration.choose_by_likelihood(
        labels,
        {"run": trusted_rows(config, dev, logits)},
        from_logits=True,
        groups=sentence,
    )
    columns = {
        "sentence": trusted_sentences(config, dev),
        "words": np.bincount(sentence),
        "entities": np.bincount(sentence, labels > 0).astype(int),
        "nll": np.bincount(sentence, choice.row_nll["run"]),
    }
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def estimated_rate(split: Split, logits: np.ndarray) -> float:
    """Returns the noise rate that given labels and predictions show; NaN if none."""
    with warnings.catch_warnings():  # of models that know one class only
        warnings.simplefilter("ignore", UserWarning)
        try:
            rate = noise.estimate_rate(split.pairs[0], logits, from_logits=True)
        except ValueError:  # no better than chance
            return float("nan")
    return float(rate)


def estimated_scores(
    split: Split, logits: np.ndarray, matrix: np.ndarray
) -> dict[str, float]:
    """Returns ECE and accuracy on true labels, as noisy ones and their matrix tell.

    NaN where the matrix leaves too little to tell.
    """
    given, options = split.pairs[0], {"from_logits": True, "num_bins": NUM_BINS}
    names = ("dev_ece_from_noisy", "dev_accuracy_from_noisy")
    try:
        bins = calibration.bin_predictions(
            given, logits, noise_matrix=matrix, **options
        )
    except ValueError:
        return dict.fromkeys(names, float("nan"))
    hits = np.nansum(bins.count * bins.accuracy) / bins.count.sum()
    return dict(zip(names, (bins.ece(), float(hits))))


def trusted_temperature(
    config: RunConfig, dev: Split, dev_logits: np.ndarray
) -> calibration.TemperatureScaling:
    """Returns the temperature of the sentences that were looked at again."""
    scaling = calibration.TemperatureScaling(from_logits=True)
    labels = trusted_of(config, dev).pairs[1]
    return scaling.fit(labels, trusted_rows(config, dev, dev_logits))


def recalibration_rows(
    config: RunConfig,
    dev: Split,
    dev_logits: np.ndarray,
    test: Split,
    test_logits: np.ndarray,
    calibrators: dict[str, Any],
) -> list[dict[str, Any]]:
    """Returns a row for each way to mend the confidences of the test split.

    Temperatures are fitted to the noisy and to the true development labels, and to the
    true labels of the sentences that were looked at again, if there are any; others
    come ready made.
    """
    fitted = {"temperature_clean": dev.clean, "temperature_noisy": dev.given}
    for name, labels in fitted.items():
        scaling = calibration.TemperatureScaling(from_logits=True)
        calibrators = {name: scaling.fit(labels[dev.words], dev_logits), **calibrators}
    if config.trusted_sentences:
        scaling = trusted_temperature(config, dev, dev_logits)
        calibrators = {"temperature_trusted": scaling, **calibrators}
    labels = test.clean[test.words]
    return [
        {
            "method": name,
            "temperature": getattr(calibrator, "temperature_", float("nan")),
            **calibration_scores(labels, calibrator.transform(test_logits)),
        }
        for name, calibrator in calibrators.items()
    ]
