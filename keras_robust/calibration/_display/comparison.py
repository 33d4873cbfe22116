"""Several models in one reliability diagram."""

from collections.abc import Mapping
from typing import Any

from keras_robust._inputs import checks
from keras_robust._inputs.options import (
    checked_binning,
    checked_level,
    checked_notion,
    checked_num_bins,
)
from keras_robust.calibration._bins.binning import bin_events
from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._bins.events import read_events
from keras_robust.calibration._display import artists


class ReliabilityComparison:
    """Reliability diagram of several models, or of one before and after calibration.

    Make one with `from_predictions`, or from tables that are there already: those of
    streamed metrics (`metric.bin_statistics()`) or of displays (`display.bins`).

    How to read it: a point is a bin; it lies at its mean confidence and its accuracy,
    with Wilson's interval as a whisker (for bins of a noise matrix,
    `ReliabilityBins.accuracy_interval`). Points below the diagonal are over-confident,
    above it under-confident. The legend gives each ECE and, beside it, what it would be
    on average if that model were calibrated. The outlines below count predictions.

    Args:
        bins: A mapping of names to `ReliabilityBins`, drawn in its order.
        level: Probability of the whiskers, or None to draw none. Defaults to 0.95.
        notion: What the bins are about, for the labels. Defaults to `"top_label"`.
        name: Title of the diagram, or None.

    Attributes:
        bins: The tables that are drawn, by name.
        ax_: Axes of the diagram, after `plot`.
        count_ax_: Axes of the counts.
        figure_: Their figure.
        curves_: Containers of the points and whiskers, by name.
        counts_: Outlines of the counts, by name.
        diagonal_: The diagonal.

    Examples:
        >>> from keras_robust.calibration import ReliabilityComparison
        >>> before, after = [[0.9, 0.1], [0.3, 0.7]], [[0.8, 0.2], [0.4, 0.6]]
        >>> display = ReliabilityComparison.from_predictions(
        ...     [0, 0], {"before": before, "after": after}
        ... )
        >>> list(display.curves_)
        ['before', 'after']
    """

    def __init__(
        self,
        bins: Mapping[str, ReliabilityBins],
        *,
        level: float | None = 0.95,
        notion: str = "top_label",
        name: str | None = None,
    ) -> None:
        self.bins = checked_mapping("ReliabilityComparison", "bins", bins)
        if not all(isinstance(b, ReliabilityBins) for b in self.bins.values()):
            raise TypeError(
                "ReliabilityComparison: `bins` must map names to ReliabilityBins. "
                f"Received: {[type(b).__name__ for b in self.bins.values()]}. "
                "Make them with `bin_predictions` or use `from_predictions`."
            )
        owner = "ReliabilityComparison"
        self.level = None if level is None else checked_level(owner, level)
        self.notion = checked_notion(owner, notion)
        self.name = name

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Mapping[str, Any],
        *,
        num_bins: int = 15,
        binning: str = "equal_width",
        notion: str = "top_label",
        from_logits: bool = False,
        sample_weight: Any = None,
        ignore_class: int | None = -100,
        axis: int = -1,
        noise_matrix: Any = None,
        level: float | None = 0.95,
        name: str | None = None,
        ax: Any = None,
    ) -> "ReliabilityComparison":
        """Bins the predictions of several models for the same labels and draws them.

        Args:
            y_true: Labels, as in `bin_predictions`.
            y_prob: A mapping of names to predictions, as in `bin_predictions`.
            num_bins: As in `bin_predictions`. Defaults to 15.
            binning: As in `bin_predictions`. Defaults to `"equal_width"`.
            notion: As in `bin_predictions`. Defaults to `"top_label"`.
            from_logits: As in `bin_predictions`. Defaults to False.
            sample_weight: As in `bin_predictions`.
            ignore_class: As in `bin_predictions`. Defaults to -100.
            axis: As in `bin_predictions`. Defaults to -1.
            noise_matrix: As in `bin_predictions`: the diagram is then for true labels,
                and says so. Defaults to None.
            level: As in `ReliabilityComparison`. Defaults to 0.95.
            name: As in `ReliabilityComparison`.
            ax: Matplotlib axes to draw in, or None for a new figure.

        Returns:
            The comparison, drawn.

        Raises:
            ValueError: As `bin_predictions`, or if there is no model, or weights are
                no repetitions, as in `ReliabilityDisplay.from_predictions`.
            ImportError: If matplotlib is not installed.
        """
        owner = "ReliabilityComparison"
        y_prob = checked_mapping(owner, "y_prob", y_prob)
        num_bins = checked_num_bins(owner, num_bins)
        binning = checked_binning(owner, binning)
        bins, said = {}, set()
        for model, prob in y_prob.items():
            events = read_events(
                owner,
                y_true,
                prob,
                notion=notion,
                from_logits=from_logits,
                sample_weight=sample_weight,
                ignore_class=ignore_class,
                axis=axis,
                noise_matrix=noise_matrix,
                argument=f"y_prob[{model!r}]",
                repetitions=True,
                said=said,
            )
            bins[model] = bin_events(events, num_bins, binning)
        return cls(bins, level=level, notion=notion, name=name).plot(ax)

    def plot(self, ax: Any = None) -> "ReliabilityComparison":
        """Draws the diagram into `ax`, or into a new figure.

        Args:
            ax: Matplotlib axes; the counts take the lower part of their room. None
                makes a new figure with pyplot.

        Returns:
            The comparison itself, its artists kept as attributes.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        ax = artists.new_axes() if ax is None else ax
        self.ax_, self.figure_ = ax, ax.figure
        self.count_ax_ = artists.split_off_lower_part(ax)
        self.diagonal_ = artists.diagonal(ax)
        self.curves_, self.counts_ = {}, {}
        for order, (name, bins) in enumerate(self.bins.items()):
            self.curves_[name] = artists.curve(ax, bins, self.level, order)
            self.counts_[name] = artists.count_steps(self.count_ax_, bins, order)
        tables = self.bins.values()
        artists.finish(ax, self.count_ax_, tables, self.name, self.notion)
        labels = [_with_ece(name, bins) for name, bins in self.bins.items()]
        legend = ax.legend(list(self.curves_.values()), labels, fontsize="small")
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold dollars
        return self

    def to_frame(self) -> Any:
        """The tables that are drawn, below one another, with a first column `model`.

        Returns:
            A pandas DataFrame, a row for each model and bin.

        Raises:
            ImportError: If pandas is not installed.
        """
        pandas = checks.optional_module("ReliabilityComparison", "pandas")
        frames = []
        for name, bins in self.bins.items():
            frames.append(bins.to_frame())
            frames[-1].insert(0, "model", name)
        return pandas.concat(frames, ignore_index=True)


def checked_mapping(owner: str, argument: str, values: Any) -> dict[str, Any]:
    """Returns a mapping of names as a dict with at least one entry."""
    if not isinstance(values, Mapping):
        raise TypeError(
            f"{owner}: `{argument}` must map names to what is compared. Received: an "
            f"object of type {type(values).__name__}. Pass a dict such as "
            "{'before': ..., 'after': ...}."
        )
    if not values:
        fix = "Pass a dict with an entry for each model."
        raise checks.invalid(owner, argument, "not empty", f"{argument}={{}}", fix)
    named = {str(name): value for name, value in values.items()}
    if len(named) < len(values):
        fix = "Rename one."
        expected = "of different names, as text"
        raise checks.invalid(owner, argument, expected, f"{list(values)}", fix)
    return named


def _with_ece(name: str, bins: ReliabilityBins) -> str:
    ece = bins.null_ece()
    return f"{name}: ECE {ece.value:.3f} (if calibrated {ece.null_mean:.3f})"
