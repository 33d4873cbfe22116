"""What a reader of a report is told of its measures and its diagrams."""

from keras_robust.calibration._display.artists import AXES

_BESIDE = """A measure of calibration is rarely 0, even for a calibrated model. Beside
each value stands what a perfectly calibrated model with the same probabilities would
show on as many rows: for errors the mean and the limit that 95 % of such models stay
below, for other measures the range of 95 % of them. Values outside it are <b>bold with
a star*</b>, for better or worse; the others are no evidence of miscalibration. """

HOW_TO_READ = {
    "top_label": f"""{_BESIDE}Read errors of calibration beside the accuracy: a useless
model can be calibrated.""",
    "positive": f"""{_BESIDE}Read errors of calibration beside the discrimination: a
useless model can be calibrated.""",
}

WHAT_IT_IS = {
    "accuracy": "share of rows whose likeliest class is the label",
    "event_rate": "share of rows whose label is class 1",
    "confidence": "mean of the probabilities that are measured",
    "signed_gap": "above 0 they are too high on average, below too low",
    "ece": "mean distance of probability and outcome, over bins",
    "ece_equal_mass": "the same, each bin with about as many rows",
    "ece_l2": "root of the mean squared distance: large gaps count more",
    "debiased_ece": "the same, with what chance adds taken off",
    "mce": "the worst bin, be it nearly empty",
    "smooth_ece": "the same question without a choice of bins",
    "classwise_ece": "the probabilities of every class, not of the predicted one alone",
    "nll": "log loss: how likely the labels are to the model; lower is better",
    "brier": "mean squared distance from what came true; lower is better",
    "brier_top_label": "the same, of the predicted class alone",
    "miscalibration": "what the best recalibration of the same order would gain",
    "discrimination": "what confidences tell right from wrong; higher is better",
    "uncertainty": "the score of one constant: a property of the labels",
    "aurc": "error rate if the least sure are left out; lower is better",
}


def caption(notion: str) -> str:
    """Returns how to read a diagram."""
    x, y = AXES[notion]
    if notion == "positive":
        over, under = "the probabilities are too high", "they are too low"
    else:
        over, under = "the model is over-confident", "it is under-confident"
    return f"""A blue bar ends at the {y} in its bin; the hatched part reaches to its
mean {x}. Where it is above the bar, {over}; where it is inside the bar, {under}.
Whiskers: 95 % interval of the bar's end. White boxes round the diagonal: where the
bars of 95 % of calibrated models would end. Below: how many predictions (the sum of
their weights) each bin holds."""
