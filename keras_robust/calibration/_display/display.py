"""Reliability diagrams."""

from typing import Any

import numpy as np

from keras_robust._inputs.options import (
    checked_axis,
    checked_batch_size,
    checked_binning,
    checked_level,
    checked_min_count,
    checked_notion,
    checked_num_bins,
    checked_steps,
)
from keras_robust._inputs.predicted import predicted
from keras_robust.calibration._bins.binning import bin_events
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.events import read_batches, read_events
from keras_robust.calibration._bins.measured_value import MeasuredValue
from keras_robust.calibration._display import artists


class ReliabilityDisplay:
    """Reliability diagram: accuracy against confidence, with the counts below.

    Make one with `from_predictions` or `from_metric`; the constructor takes bins that
    are there already. How to read it: a bar ends at the accuracy of its bin, the
    hatched part reaches to its mean confidence. Hatching above a bar's end is
    over-confidence, hatching inside the bar under-confidence; on the diagonal both are
    equal. Bins without predictions are blank. The lower panel tells how many
    predictions (the sum of their weights) a bar stands for: mistrust thin ones. The
    whiskers are Wilson's interval of the bin's accuracy. The white boxes round the
    diagonal show where the accuracy of a calibrated model with these counts would lie:
    a bar that ends inside its box says nothing against calibration. The text gives the
    ECE and, beside it, what it would be on average if the model were calibrated.

    Of bins that were made with a noise matrix, bars are estimates for the true labels:
    they may end below 0 or above 1, and whiskers and boxes are those of such estimates
    (`ReliabilityBins.accuracy_interval` and `consistency_interval`).

    Args:
        bins: A `ReliabilityBins`.
        min_count: Draw bins with a smaller count pale and without whiskers, and leave
            them out of the MCE. Defaults to 0.
        level: Probability of whiskers and boxes, or None to draw neither. Defaults to
            0.95.
        notion: What the bins are about, for the labels: `"top_label"` or `"positive"`.
            Defaults to `"top_label"`.
        name: Title of the diagram, or None.
        ece: The ECE to write, beside its null value, as a `MeasuredValue`: such as
            `calibration_report(...)["ece"]`, whose null is drawn row by row. None for
            `bins.null_ece()`.

    Attributes:
        bins: The table that is drawn.
        ax_: Axes of the diagram, after `plot`.
        count_ax_: Axes of the counts.
        figure_: Their figure.
        accuracy_: Container of the accuracy bars.
        gap_: Container of the hatched bars.
        counts_: Container of the count bars.
        diagonal_: The diagonal.
        whiskers_: Container of the whiskers, or None.
        band_: Container of the boxes round the diagonal, or None.
        text_: The text with ECE, MCE and n.

    Examples:
        >>> from keras_robust.calibration import ReliabilityDisplay
        >>> display = ReliabilityDisplay.from_predictions(
        ...     [0, 1, 1], [[0.9, 0.1], [0.3, 0.7], [0.8, 0.2]], name="my model"
        ... )
        >>> display.ax_.get_title()
        'my model'
    """

    def __init__(
        self,
        bins: ReliabilityBins,
        *,
        min_count: float = 0,
        level: float | None = 0.95,
        notion: str = "top_label",
        name: str | None = None,
        ece: MeasuredValue | None = None,
    ) -> None:
        if not isinstance(bins, ReliabilityBins):
            raise TypeError(
                "ReliabilityDisplay: `bins` must be a ReliabilityBins. "
                f"Received: an object of type {type(bins).__name__}. "
                "Make one with `bin_predictions` or use `from_predictions`."
            )
        if not isinstance(ece, MeasuredValue | None):
            raise TypeError(
                "ReliabilityDisplay: `ece` must be a MeasuredValue or None. "
                f"Received: an object of type {type(ece).__name__}. "
                "Pass what `null_ece` or a report gives."
            )
        self.bins, self.ece = bins, ece
        self.min_count = checked_min_count("ReliabilityDisplay", min_count)
        self.level = (
            None if level is None else checked_level("ReliabilityDisplay", level)
        )
        self.notion = checked_notion("ReliabilityDisplay", notion)
        self.name = name

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Any,
        *,
        num_bins: int = 15,
        binning: str = "equal_width",
        notion: str = "top_label",
        from_logits: bool = False,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
        axis: int = -1,
        noise_matrix: Any = None,
        min_count: float = 0,
        level: float | None = 0.95,
        name: str | None = None,
        ax: Any = None,
    ) -> "ReliabilityDisplay":
        """Bins predictions and draws them.

        Args:
            y_true: Labels, as in `bin_predictions`.
            y_prob: Predictions, as in `bin_predictions`.
            num_bins: As in `bin_predictions`. Defaults to 15.
            binning: As in `bin_predictions`. Defaults to `"equal_width"`.
            notion: As in `bin_predictions`. Defaults to `"top_label"`.
            from_logits: As in `bin_predictions`. Defaults to False.
            sample_weight: As in `bin_predictions`.
            ignore_class: As in `bin_predictions`. Defaults to -100.
            axis: As in `bin_predictions`. Defaults to -1.
            noise_matrix: As in `bin_predictions`: the diagram is then for true labels,
                and says so. Defaults to None.
            min_count: As in `ReliabilityDisplay`. Defaults to 0.
            level: As in `ReliabilityDisplay`. Defaults to 0.95.
            name: As in `ReliabilityDisplay`.
            ax: Matplotlib axes to draw in, or None for a new figure.

        Returns:
            The display, drawn.

        Raises:
            ValueError: As `bin_predictions`, or if weights sum to less than half the
                number of rows: in intervals they count as repetitions.
            ImportError: If matplotlib is not installed.
        """
        owner = "ReliabilityDisplay"
        num_bins = checked_num_bins(owner, num_bins)
        binning = checked_binning(owner, binning)
        events = read_events(
            owner,
            y_true,
            y_prob,
            notion=notion,
            from_logits=from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
            axis=axis,
            noise_matrix=noise_matrix,
            repetitions=True,
        )
        bins = bin_events(events, num_bins, binning)
        return cls(
            bins, min_count=min_count, level=level, notion=notion, name=name
        ).plot(ax)

    @classmethod
    def from_model(
        cls,
        model: Any,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
        axis: int = -1,
        noise_matrix: Any = None,
        batch_size: int = 32,
        steps: int | None = None,
        output: str | int | None = None,
        num_bins: int = 15,
        binning: str = "equal_width",
        notion: str = "top_label",
        from_logits: bool = False,
        min_count: float = 0,
        level: float | None = 0.95,
        name: str | None = None,
        ax: Any = None,
    ) -> "ReliabilityDisplay":
        """Lets a model predict, bins its predictions and draws them.

        Args:
            model: A Keras model.
            x: Inputs as `model.predict` takes them; or, without `y`, a dataset that
                yields `(x, y)` or `(x, y, sample_weight)` batches: a `PyDataset`, a
                `tf.data.Dataset`, a PyTorch `DataLoader`, a generator.
            y: Labels, as in `bin_predictions`. Defaults to None.
            sample_weight: Optional weights, with `y`.
            ignore_class: Label of positions to leave out, or None. Keras masks are not
                seen: padding needs this label or weight 0. Defaults to -100.
            axis: Axis of the classes in what the model returns. Defaults to -1.
            noise_matrix: As in `from_predictions`. Defaults to None.
            batch_size: Rows that are predicted at a time, with `y`. Defaults to 32.
            steps: Number of batches to read of a dataset; one that does not end needs
                it. Defaults to None, all, but of data that do not tell their length
                10,000 at most.
            output: Name or number of the output to look at, of a model with several.
                Labels and weights may be dicts or lists, as in `fit`. Defaults to None.
            num_bins: As in `bin_predictions`. Defaults to 15.
            binning: As in `bin_predictions`. Defaults to `"equal_width"`.
            notion: As in `bin_predictions`. Defaults to `"top_label"`.
            from_logits: Whether the model returns logits. Defaults to False.
            min_count: As in `ReliabilityDisplay`. Defaults to 0.
            level: As in `ReliabilityDisplay`. Defaults to 0.95.
            name: Title of the diagram, or None for the model's name.
            ax: Matplotlib axes to draw in, or None for a new figure.

        Returns:
            The display, drawn.

        Raises:
            ValueError: As `bin_predictions`, or if a dataset has no labels or no end,
                or the model several outputs and `output` is None.
            TypeError: If an argument is of the wrong type, or labels are ragged.
            ImportError: If matplotlib is not installed.
        """
        owner = "ReliabilityDisplay"
        num_bins = checked_num_bins(owner, num_bins)
        binning = checked_binning(owner, binning)
        batches = predicted(
            owner,
            model,
            x if y is None else (x, y, sample_weight),
            argument="x",
            from_logits=from_logits,
            ignore_class=ignore_class,
            batch_size=checked_batch_size(owner, batch_size),
            steps=checked_steps(owner, steps),
            axis=checked_axis(owner, axis),
            output=output,
        )
        notion = checked_notion(owner, notion)
        events = read_batches(owner, batches, notion=notion, noise_matrix=noise_matrix)
        bins = bin_events(events, num_bins, binning)
        name = getattr(model, "name", None) if name is None else name
        return cls(
            bins, min_count=min_count, level=level, notion=notion, name=name
        ).plot(ax)

    @classmethod
    def from_metric(
        cls,
        metric: Any,
        *,
        min_count: float | None = None,
        level: float | None = 0.95,
        name: str | None = None,
        ax: Any = None,
    ) -> "ReliabilityDisplay":
        """Draws what a streamed metric has seen.

        Args:
            metric: An `ExpectedCalibrationError` or `MaximumCalibrationError`.
            min_count: As in `ReliabilityDisplay`. None takes the metric's own, or 0.
            level: As in `ReliabilityDisplay`. Defaults to 0.95.
            name: As in `ReliabilityDisplay`.
            ax: Matplotlib axes to draw in, or None for a new figure.

        Returns:
            The display, drawn.

        Raises:
            TypeError: If `metric` has no `bin_statistics`.
            ImportError: If matplotlib is not installed.
        """
        if not hasattr(metric, "bin_statistics"):
            raise TypeError(
                "ReliabilityDisplay: `metric` must have a method `bin_statistics`. "
                f"Received: an object of type {type(metric).__name__}. "
                "Pass an ExpectedCalibrationError or a MaximumCalibrationError."
            )
        if min_count is None:
            min_count = getattr(metric, "min_count", 0)
        bins = metric.bin_statistics()
        if not isinstance(bins, ReliabilityBins):
            raise TypeError(
                "ReliabilityDisplay: `metric` must have one table. Received: a "
                f"{type(metric).__name__}, which has {len(bins)}. Draw them one by "
                "one: ReliabilityDisplay(metric.bin_statistics()[k]).plot()."
            )
        notion = getattr(metric, "notion", "top_label")
        return cls(
            bins, min_count=min_count, level=level, notion=notion, name=name
        ).plot(ax)

    def plot(self, ax: Any = None, *, legend: bool = True) -> "ReliabilityDisplay":
        """Draws the diagram into `ax`, or into a new figure.

        Args:
            ax: Matplotlib axes; the counts take the lower part of their room. None
                makes a new figure with pyplot.
            legend: Whether to explain the artists. Defaults to True.

        Returns:
            The display itself, its artists kept as attributes.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        own_figure = ax is None
        ax = artists.new_axes() if own_figure else ax
        self.ax_, self.figure_ = ax, ax.figure
        self.count_ax_ = artists.split_off_lower_part(ax)
        bins, level, least = self.bins, self.level, self.min_count
        self.accuracy_, self.gap_ = artists.bars(ax, bins, self.notion)
        self.band_ = None if level is None else artists.band(ax, bins, level, least)
        self.diagonal_ = artists.diagonal(ax)
        if level is None:
            self.whiskers_ = None
        else:
            self.whiskers_ = artists.whiskers(ax, bins, level, least)
        self.text_ = artists.text(ax, self._summary())
        self.counts_ = artists.count_bars(self.count_ax_, bins)
        artists.finish(ax, self.count_ax_, [bins], self.name, self.notion)
        if legend:
            artists.legend(ax, own_figure)
        # After the legend, which takes its colours from the first bars.
        artists.fade_thin_bins((self.accuracy_, self.gap_), bins, least)
        return self

    def to_frame(self) -> Any:
        """The table that is drawn, as `ReliabilityBins.to_frame`.

        Returns:
            A pandas DataFrame, a row for each bin.

        Raises:
            ImportError: If pandas is not installed.
        """
        return self.bins.to_frame()

    def _summary(self) -> str:
        bins, ece = self.bins, self.ece or self.bins.null_ece()
        null = (
            "" if np.isnan(ece.null_mean) else f"(if calibrated {ece.null_mean:.3f})\n"
        )
        return (
            f"ECE {ece.value:.3f}\n{null}"
            f"MCE {bins.mce(self.min_count):.3f}\nn {bins.total:,.0f}"
        )
