"""From predictions to a report on their calibration."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.matrices import Correction, correction
from keras_robust._inputs.options import (
    checked_notion,
    checked_num_bins,
    checked_num_resamples,
)
from keras_robust._inputs.predictions import (
    Predictions,
    checked_distributions,
    read_predictions,
    with_class_ids,
)
from keras_robust._inputs.row_weights import check_repetitions
from keras_robust.calibration._bins.events import Events, events_of
from keras_robust.calibration._display.comparison import checked_mapping
from keras_robust.calibration._report.accepting import accepting, checked_accuracies
from keras_robust.calibration._report.measures import measured
from keras_robust.calibration._report.report import CalibrationReport
from keras_robust.calibration._report.verdict import mended, of_models

_OWNER = "calibration_report"


def calibration_report(
    y_true: Any,
    y_prob: Any,
    *,
    num_bins: int = 15,
    notion: str = "top_label",
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = -100,
    axis: int = -1,
    noise_matrix: Any = None,
    accept_at: Any = (0.9, 0.95, 0.99),
    num_resamples: int = 500,
    seed: Any = 0,
) -> CalibrationReport:
    """Measures the calibration of one model or several in every way at once.

    Each measure comes with its *null value*: what a perfectly calibrated model with the
    same probabilities would show on as many rows. Labels are drawn `num_resamples`
    times with those probabilities (consistency resampling). An error below its null's
    95 % quantile says nothing against the model. Soft targets, other than one-hot ones,
    are not drawn by chance: with them no measure has a null value.

    It begins with a verdict in words on each model, and says whether a temperature
    would mend it, as far as the labels tell.

    With a `noise_matrix` all of it is about the *true* labels, estimated from noisy
    ones. The null values are what a calibrated model would show on as many labels with
    that noise, undone in the same way. Means over rows (accuracy, gap, likelihood,
    Brier score) have a 95 % interval as well, and the number of rows with true labels
    that would tell as much. Errors of calibration have none, as a bootstrap would add a
    second scatter: their null value says what is chance. The parts of the Brier score
    (CORP) are left out: an isotonic fit would follow terms outside [0, 1]. The
    likelihood is NaN where a probability is 0, as every class may be the true one: pass
    logits.

    Args:
        y_true: Labels, as in `bin_predictions`.
        y_prob: Predictions, as in `bin_predictions`; or a dict of names to predictions,
            for several models or before and after recalibration.
        num_bins: Number of bins. Defaults to 15.
        notion: As in `bin_predictions`. Defaults to `"top_label"`.
        from_logits: As in `bin_predictions`. Defaults to False.
        sample_weight: As in `bin_predictions`. For the null values a weighted row is
            one row, drawn once. They count as repetitions: ones that sum to less than
            half the number of rows raise.
        ignore_class: As in `bin_predictions`. Defaults to -100.
        axis: As in `bin_predictions`. Defaults to -1.
        noise_matrix: As in `bin_predictions`; labels are then class ids or one-hot.
            Defaults to None: labels are taken as they are.
        accept_at: Shares of accepted predictions that must be right: for each of them
            the report has the threshold that an `AcceptanceThreshold` would find on
            these rows, each taken by itself. Not with soft targets, nor with weights
            that are no whole numbers. Defaults to (0.9, 0.95, 0.99); None for none.
        num_resamples: How often labels are drawn for the null values. Defaults to 500.
        seed: Integer, or a `numpy.random.Generator`. Defaults to 0.

    Returns:
        A `CalibrationReport`.

    Raises:
        ValueError: As `bin_predictions`; if nothing is left to measure.

    Examples:
        >>> from keras_robust.calibration import calibration_report
        >>> before = [[0.9, 0.1], [0.3, 0.7], [0.8, 0.2], [0.4, 0.6]]
        >>> after = [[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.45, 0.55]]
        >>> report = calibration_report(
        ...     [0, 1, 1, 1], {"before": before, "after": after}, num_resamples=99
        ... )
        >>> round(report["after", "brier"].value, 4)
        0.2231

        Of labels of which a fifth is wrong:

        >>> matrix = [[0.8, 0.2], [0.2, 0.8]]
        >>> report = calibration_report(
        ...     [0, 0, 0, 0, 1], [[0.9, 0.1]] * 5, noise_matrix=matrix, num_resamples=99
        ... )
        >>> round(report["accuracy"].value, 4), round(report["accuracy"].lower, 4)
        (1.0, 0.3467)

    Reference:
        Bröcker, Smith, "Increasing the Reliability of Reliability Diagrams", Weather
        and Forecasting 22, 2007, for consistency resampling.
    """
    from keras_robust import __version__  # defined after its packages are imported

    num_bins = checked_num_bins(_OWNER, num_bins)
    notion = checked_notion(_OWNER, notion)
    num_resamples = checked_num_resamples(_OWNER, num_resamples)
    undone = correction(_OWNER, noise_matrix)
    accuracies = checked_accuracies(_OWNER, accept_at)
    named = isinstance(y_prob, Mapping)
    models = checked_mapping(_OWNER, "y_prob", y_prob if named else {"model": y_prob})
    results, bins, would, accepted, settings = {}, {}, {}, {}, {}
    said: set[str] = set()
    for name, scores in models.items():
        argument = f"y_prob[{name!r}]" if named else "y_prob"
        predictions = read_predictions(
            _OWNER,
            y_true,
            scores,
            from_logits=from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            axis=axis,
            argument=argument,
            said=said,
        )
        events = _checked_events(predictions, argument, notion, undone)
        if undone is not None:
            predictions = with_class_ids(_OWNER, predictions)
        drawn = num_resamples if _are_hard(predictions.label) else 0
        results[name], bins[name] = measured(
            predictions,
            events,
            num_bins=num_bins,
            notion=notion,
            num_resamples=drawn,
            rng=checks.generator(_OWNER, seed),
            undone=undone,
        )
        asked = accuracies if drawn else ()
        accepted[name] = accepting(events, asked, undone)
        would[name] = None
        if drawn and undone is None and results[name]["ece"][1].outside:
            would[name] = mended(predictions, events, num_bins)
        if settings and settings["num_classes"] != predictions.prob.shape[-1]:
            raise checks.invalid(
                _OWNER,
                "y_prob",
                "of the same classes for every model",
                f"{settings['num_classes']} and {predictions.prob.shape[-1]} classes",
                "Make a report for each.",
            )
        settings = {
            "n": len(events.weight),
            "weight": float(events.weight.sum()),
            "num_classes": predictions.prob.shape[-1],
        }
    settings |= {"num_bins": num_bins, "notion": notion, "num_resamples": drawn}
    if undone is not None:
        settings["noise_matrix"] = undone.matrix.tolist()
    settings["version"] = __version__
    verdicts = of_models(results, would, notion)
    return CalibrationReport(results, bins, verdicts, settings, accepted)


def _are_hard(label: np.ndarray) -> bool:
    return label.ndim == 1 or bool(((label == 0) | (label == 1)).all())


def _checked_events(
    predictions: Predictions, argument: str, notion: str, undone: Correction | None
) -> Events:
    checked_distributions(_OWNER, predictions, argument)
    events = events_of(_OWNER, predictions, notion, undone)
    if not len(events.confidence):
        fix = "Every row is ignored or has weight 0."
        raise checks.invalid(_OWNER, "y_true", "not empty", "no counted row", fix)
    total = float(events.weight.sum())
    check_repetitions(_OWNER, len(events.weight), total)
    return events
