"""One object with every measure of calibration, for one model or several."""

import json
import math
from typing import Any

from keras_robust import _files
from keras_robust._inputs import checks
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._report import figures, html, text
from keras_robust.calibration._report.accepting import (
    Accepting,
    measures_of,
    rows_of,
)
from keras_robust.calibration._report.measures import Measure


class CalibrationReport:
    """Every measure of calibration of one model or several, with its null value.

    Made by `calibration_report`. It prints as a table, in a notebook as HTML; one
    measure is `report["ece"]`, or `report["before", "ece"]` of several models, a
    `MeasuredValue`.

    Attributes:
        models: Names of the models.
        measures: Names of the measures, the same for every model.
        bins: A dict of names to `ReliabilityBins`, of equal width.
        verdicts: A dict of names to what the measures say of a model, in words.
        accepting: A dict of names to what may be accepted: `points`, for each accuracy
            asked for a threshold, the share accepted, its accuracy and lower bound;
            and the risk-coverage curve (`coverage`, `risk`, and the band of calibrated
            models, `low` to `high`). None where there is none.
        settings: What the report was made with: `n`, `weight` (sum of weights),
            `num_classes`, `num_bins`, `notion`, `num_resamples`, `version`; and
            `noise_matrix`, if it was given one.

    Examples:
        >>> from keras_robust.calibration import calibration_report
        >>> prob = [[0.9, 0.1], [0.3, 0.7], [0.8, 0.2], [0.4, 0.6]]
        >>> report = calibration_report([0, 1, 1, 1], prob, num_resamples=99)
        >>> round(report["ece"].value, 4), report["ece"].num_resamples
        (0.4, 99)
    """

    def __init__(
        self,
        results: dict[str, dict[str, tuple[Measure, MeasuredValue]]],
        bins: dict[str, ReliabilityBins],
        verdicts: dict[str, str],
        settings: dict[str, Any],
        accepted: dict[str, Accepting | None],
    ) -> None:
        self._results = results
        self.bins = bins
        self.verdicts = verdicts
        self.settings = settings
        self.accepting = accepted
        self.models = tuple(results)
        self.measures = tuple(results[self.models[0]])

    def __getitem__(self, key: str | tuple[str, str]) -> MeasuredValue:
        """Returns a measure: `report["ece"]`, or `report["before", "ece"]`."""
        model, measure = key if isinstance(key, tuple) else (self.models[0], key)
        if not isinstance(key, tuple) and len(self.models) > 1:
            raise KeyError(
                f"Several models: pass (model, measure). Models: {self.models}"
            )
        if model not in self._results or measure not in self.measures:
            raise KeyError(
                f"No {key!r}. Models: {self.models}; measures: {self.measures}"
            )
        return self._results[model][measure][1]

    def rows(self) -> list[dict[str, Any]]:
        """The report as plain rows, one for each model and measure.

        Returns:
            Dicts with `model`, `measure`, `value`, `null_mean`, `null_lower`,
            `null_upper`, `p_value`, `n` and `num_bins` (None without bins); with a
            noise matrix `lower`, `upper` and `effective_rows` as well.
        """
        more = ("lower", "upper", "effective_rows") if self.corrected else ()
        return [
            {
                "model": model,
                "measure": name,
                "value": value.value,
                "null_mean": value.null_mean,
                "null_lower": value.null_lower,
                "null_upper": value.null_upper,
                "p_value": value.p_value,
                "n": self.settings["n"],
                "num_bins": measure.num_bins,
                **{field: getattr(value, field) for field in more},
            }
            for model, results in self._results.items()
            for name, (measure, value) in results.items()
        ]

    def operating_points(self) -> list[dict[str, Any]]:
        """Thresholds of confidence from which on so many predictions are right.

        Returns:
            A dict for each model and accuracy: `model`, `accept_at`, `threshold`
            (infinity if nothing may be accepted), `share`, `accuracy`, `lower`,
            `num_accepted` and `needed` (how many rows any threshold needs, if these
            are too few, else None).
        """
        return rows_of(self.accepting)

    @property
    def corrected(self) -> bool:
        """Whether it is about true labels, estimated from noisy ones."""
        return "noise_matrix" in self.settings

    def entry(self, model: str, measure: str) -> tuple[bool, MeasuredValue]:
        """Whether a measure is an error (only large values are bad), and its value."""
        kind, value = self._results[model][measure]
        return kind.is_error, value

    def num_bins(self, measure: str) -> list[int | None]:
        """How many bins each model has in a measure; None for measures without."""
        return [results[measure][0].num_bins for results in self._results.values()]

    def titles(self) -> dict[str, str]:
        """What each measure is called where people read it."""
        first = self._results[self.models[0]]
        return {name: measure.title for name, (measure, _) in first.items()}

    def to_frame(self) -> Any:
        """The report as a tidy pandas DataFrame, with the columns of `rows`.

        Returns:
            A DataFrame, a row for each model and measure. At its end four for each
            operating point: `threshold_at_0.9`, `share_at_0.9`, `accuracy_at_0.9` and
            its lower bound `accuracy_bound_at_0.9`.

        Raises:
            ImportError: If pandas is not installed.
        """
        rows = self.rows()
        frame = checks.optional_module("CalibrationReport", "pandas").DataFrame(
            [*rows, *measures_of(self.operating_points(), rows[0])]
        )
        return frame.astype({"num_bins": "Int64"})

    def to_json(self, path: Any = None) -> str:
        """The report as strict JSON: settings, verdicts, measures and bins.

        Numbers that JSON does not know are strings: "Infinity", "-Infinity", "NaN".

        Args:
            path: File to write to as well, or None. Defaults to None.

        Returns:
            The JSON text.
        """
        tables = {
            model: {
                "edges": bins.edges.tolist(),
                "count": bins.count.tolist(),
                "confidence": bins.confidence.tolist(),
                "accuracy": bins.accuracy.tolist(),
            }
            for model, bins in self.bins.items()
        }
        content = {"settings": self.settings, "verdicts": self.verdicts}
        content |= {"measures": self.rows(), "bins": tables}
        content["operating_points"] = self.operating_points()
        text = json.dumps(_plain(content), indent=1, allow_nan=False)
        return _written(text, path)

    def to_html(self, path: Any = None, *, title: str = "Calibration report") -> str:
        """The report as one HTML page with its figure inside.

        Args:
            path: File to write to as well, or None. Defaults to None.
            title: Title of the page. Defaults to `"Calibration report"`.

        Returns:
            The HTML text.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return _written(html.page(self, title), path)

    def plot(self) -> Any:
        """Draws a reliability diagram for each model, side by side.

        Returns:
            The Matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return figures.diagrams(self)

    def __repr__(self) -> str:
        return text.table(self)

    def _repr_html_(self) -> str:
        return html.measures_table(self) + html.verdicts(self)


def _written(text: str, path: Any) -> str:
    if path is not None:
        _files.write_whole(path, text)
    return text


def _plain(value: Any) -> Any:
    """Returns nested values with numbers that JSON lacks as strings."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    return value
