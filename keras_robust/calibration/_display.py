"""Reliability diagrams."""

from typing import Any

import numpy as np

from keras_robust.calibration._axes import new_axes, split_off_lower_part
from keras_robust.calibration._binning import bin_predictions
from keras_robust.calibration._bins import ReliabilityBins
from keras_robust.calibration._options import checked_min_count

# Okabe and Ito's palette, told apart by colour-blind readers and in grey.
_BLUE, _VERMILLION, _GREY = "#0072B2", "#D55E00", "#666666"


class ReliabilityDisplay:
    """Reliability diagram: accuracy against confidence, with the counts below.

    Make one with `from_predictions` or `from_metric`; the constructor takes bins that
    are there already. How to read it: a bar ends at the accuracy of its bin, the
    hatched part reaches to its mean confidence. Hatching above a bar's end is
    over-confidence, hatching inside the bar under-confidence; on the diagonal both are
    equal. Bins without predictions are blank. The lower panel tells how many
    predictions (the sum of their weights) a bar stands for: mistrust thin ones.

    Args:
        bins: A `ReliabilityBins`.
        min_count: Draw bins with a smaller count pale, and leave them out of the MCE.
            Defaults to 0.
        name: Title of the diagram, or None.

    Attributes:
        bins: The table that is drawn.
        ax_: Axes of the diagram, after `plot`.
        count_ax_: Axes of the counts.
        figure_: Their figure.
        accuracy_: Container of the accuracy bars.
        gap_: Container of the hatched bars.
        counts_: Container of the count bars.
        diagonal_: The diagonal.
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
        self, bins: ReliabilityBins, *, min_count: float = 0, name: str | None = None
    ) -> None:
        if not isinstance(bins, ReliabilityBins):
            raise TypeError(
                "ReliabilityDisplay: `bins` must be a ReliabilityBins. "
                f"Received: an object of type {type(bins).__name__}. "
                "Make one with `bin_predictions` or use `from_predictions`."
            )
        self.bins = bins
        self.min_count = checked_min_count("ReliabilityDisplay", min_count)
        self.name = name

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Any,
        *,
        num_bins: int = 15,
        from_logits: bool = False,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
        min_count: float = 0,
        name: str | None = None,
        ax: Any = None,
    ) -> "ReliabilityDisplay":
        """Bins predictions and draws them.

        Args:
            y_true: Labels, as in `bin_predictions`.
            y_prob: Probabilities, or logits with `from_logits=True`.
            num_bins: Number of bins. Defaults to 15.
            from_logits: Whether `y_prob` holds logits. Defaults to False.
            sample_weight: Optional weights.
            ignore_class: Label of positions to leave out, or None. Defaults to -100.
            min_count: Draw bins with a smaller count pale, and leave them out of the
                MCE. Defaults to 0.
            name: Title of the diagram, or None.
            ax: Matplotlib axes to draw in, or None for a new figure.

        Returns:
            The display, drawn.

        Raises:
            ValueError: As `bin_predictions`.
            ImportError: If matplotlib is not installed.
        """
        bins = bin_predictions(
            y_true,
            y_prob,
            num_bins=num_bins,
            from_logits=from_logits,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
        )
        return cls(bins, min_count=min_count, name=name).plot(ax)

    @classmethod
    def from_metric(
        cls,
        metric: Any,
        *,
        min_count: float | None = None,
        name: str | None = None,
        ax: Any = None,
    ) -> "ReliabilityDisplay":
        """Draws what a streamed metric has seen.

        Args:
            metric: An `ExpectedCalibrationError` or `MaximumCalibrationError`.
            min_count: Draw bins with a smaller count pale, and leave them out of the
                MCE. None takes the metric's own, or 0.
            name: Title of the diagram, or None.
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
        return cls(bins, min_count=min_count, name=name).plot(ax)

    def plot(self, ax: Any = None) -> "ReliabilityDisplay":
        """Draws the diagram into `ax`, or into a new figure.

        Args:
            ax: Matplotlib axes; the counts take the lower part of their room. None
                makes a new figure with pyplot.

        Returns:
            The display itself, its artists kept as attributes.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        if ax is None:
            ax = new_axes()
        self.ax_, self.figure_ = ax, ax.figure
        self.count_ax_ = split_off_lower_part(ax)
        self._draw_reliability(ax)
        self._draw_counts(self.count_ax_)
        return self

    def _draw_reliability(self, ax: Any) -> None:
        bins = self.bins
        seen = bins.count > 0
        left, width = bins.edges[:-1][seen], 1 / bins.num_bins
        accuracy, confidence = bins.accuracy[seen], bins.confidence[seen]
        self.accuracy_ = ax.bar(
            left,
            accuracy,
            width,
            align="edge",
            color=_BLUE,
            edgecolor="white",
            linewidth=0.6,
            label="accuracy",
        )
        self.gap_ = ax.bar(
            left,
            np.abs(confidence - accuracy),
            width,
            bottom=np.minimum(accuracy, confidence),
            align="edge",
            color="#D55E0040",
            edgecolor=_VERMILLION,
            hatch="////",
            linewidth=0.8,
            label="gap to mean confidence",
        )
        (self.diagonal_,) = ax.plot(
            [0, 1], [0, 1], "--", color=_GREY, linewidth=1, label="calibrated"
        )
        self.text_ = ax.text(
            0.97,
            0.04,
            f"ECE {bins.ece():.3f}\nMCE {bins.mce(self.min_count):.3f}"
            f"\nn {bins.total:,.0f}",
            transform=ax.transAxes,
            ha="right",
            va="bottom",
            fontsize="small",
            bbox={"facecolor": "white", "edgecolor": _GREY, "alpha": 0.85},
        )
        ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=self.name or "")
        ax.tick_params(labelbottom=False)
        ax.legend(fontsize="small")
        # After the legend, which takes its colours from the first bars.
        for bar, gap, count in zip(self.accuracy_, self.gap_, bins.count[seen]):
            if count < self.min_count:
                bar.set_alpha(0.25)
                gap.set_alpha(0.25)

    def _draw_counts(self, ax: Any) -> None:
        bins = self.bins
        seen = bins.count > 0
        self.counts_ = ax.bar(
            bins.edges[:-1][seen],
            bins.count[seen],
            1 / bins.num_bins,
            align="edge",
            color=_GREY,
            edgecolor="white",
            linewidth=0.6,
        )
        if seen.any():
            ax.set_yscale("log")
            ax.set_ylim(bins.count[seen].min() / 2, bins.count.max() * 2)
        ax.set(xlabel="confidence", ylabel="count")
