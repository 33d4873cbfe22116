"""The artists of a reliability diagram."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust.calibration._bins.bins import ReliabilityBins

# Okabe and Ito's palette, told apart by colour-blind readers and in grey.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
# What is drawn over what, for each notion.
AXES = {
    "top_label": ("confidence", "accuracy"),
    "positive": ("probability of class 1", "share of class 1"),
}


def bars(ax: Any, bins: ReliabilityBins, notion: str) -> tuple[Any, Any]:
    """Draws accuracy bars and hatched gaps; returns both containers."""
    seen = bins.count > 0
    left, width = bins.edges[:-1][seen], np.diff(bins.edges)[seen]
    accuracy, confidence = bins.accuracy[seen], bins.confidence[seen]
    accuracy_bars = ax.bar(
        left,
        accuracy,
        width,
        align="edge",
        color=BLUE,
        edgecolor="white",
        linewidth=0.6,
        label=AXES[notion][1],
    )
    gap_bars = ax.bar(
        left,
        np.abs(confidence - accuracy),
        width,
        bottom=np.minimum(accuracy, confidence),
        align="edge",
        facecolor="none",  # SVG would give its transparency to the hatching
        edgecolor=VERMILLION,
        hatch="////",
        linewidth=0.8,
        label=f"gap to mean {AXES[notion][0].split()[0]}",
    )
    return accuracy_bars, gap_bars


def fade_thin_bins(containers: Any, bins: ReliabilityBins, min_count: float) -> None:
    """Makes bars pale whose bins have a smaller count."""
    for bars_of_bins in containers:
        for bar, count in zip(bars_of_bins, bins.count[bins.count > 0]):
            if count < min_count:
                bar.set_alpha(0.25)


def whiskers(ax: Any, bins: ReliabilityBins, level: float, min_count: float) -> Any:
    """Draws the interval of each bin's accuracy in the middle of its bar."""
    shown = _at_least(bins, min_count)
    middle = (bins.edges[:-1] + bins.edges[1:])[shown] / 2
    return ax.errorbar(
        middle,
        bins.accuracy[shown],
        interval_lengths(bins, level, shown),
        fmt="none",
        ecolor="black",
        elinewidth=1,
        capsize=2,
        label=f"{level:.0%} interval of the bar's end",
    )


def band(ax: Any, bins: ReliabilityBins, level: float, min_count: float) -> Any:
    """Draws where each bin's accuracy would lie if the model were calibrated."""
    shown = _at_least(bins, min_count)
    low, high = (end[shown] for end in bins.consistency_interval(level))
    width = np.diff(bins.edges)[shown]
    return ax.bar(
        (bins.edges[:-1] + bins.edges[1:])[shown] / 2,
        high - low,
        0.5 * width,  # narrower than the bars, which stay visible beside it
        bottom=low,
        facecolor="#FFFFFFB0",
        edgecolor=GREY,
        linewidth=0.8,
        label=f"{level:.0%} of calibrated models",
    )


def curve(ax: Any, bins: ReliabilityBins, level: float | None, order: int) -> Any:
    """Draws accuracy against mean confidence as points, for several in one diagram."""
    seen = bins.count > 0
    return ax.errorbar(
        bins.confidence[seen],
        bins.accuracy[seen],
        None if level is None else interval_lengths(bins, level, seen),
        color=COLOURS[order % len(COLOURS)],
        marker=MARKERS[order % len(MARKERS)],
        markersize=5,
        linewidth=1.4,
        elinewidth=0.9,
        capsize=2,
    )


def _at_least(bins: ReliabilityBins, min_count: float) -> np.ndarray:
    """Returns which bins are neither empty nor pale."""
    return (bins.count > 0) & (bins.count >= min_count)


def interval_lengths(
    bins: ReliabilityBins, level: float, shown: np.ndarray
) -> np.ndarray:
    """Returns how far the interval reaches below and above accuracies."""
    low, high = (end[shown] for end in bins.accuracy_interval(level))
    accuracy = bins.accuracy[shown]
    return np.maximum([accuracy - low, high - accuracy], 0)


def diagonal(ax: Any) -> Any:
    """Draws the line of calibration."""
    (line,) = ax.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="calibrated")
    return line


def text(ax: Any, words: str) -> Any:
    """Writes into the lower right corner, where calibrated bars leave room."""
    return ax.text(
        0.97,
        0.04,
        words,
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": GREY, "alpha": 0.85},
    )


def count_bars(ax: Any, bins: ReliabilityBins) -> Any:
    """Draws the counts as bars."""
    seen = bins.count > 0
    return ax.bar(
        bins.edges[:-1][seen],
        bins.count[seen],
        np.diff(bins.edges)[seen],
        align="edge",
        color=GREY,
        edgecolor="white",
        linewidth=0.6,
    )


def count_steps(ax: Any, bins: ReliabilityBins, order: int) -> Any:
    """Draws the counts as an outline, for several in one diagram."""
    counts = np.where(bins.count > 0, bins.count, np.nan)
    return ax.stairs(
        counts, bins.edges, color=COLOURS[order % len(COLOURS)], linewidth=1.4
    )


def finish(
    ax: Any,
    count_ax: Any,
    tables: Iterable[ReliabilityBins],
    name: str | None,
    notion: str,
) -> None:
    """Sets limits, labels and scales of the diagram and of the counts below."""
    x, y = AXES[notion]
    tables = list(tables)
    low, high = 0, 1
    if any(bins.corrected for bins in tables):
        y += "\nfor true labels, estimated"
        # What is estimated may be below 0 or above 1.
        seen = np.concatenate([bins.accuracy[bins.count > 0] for bins in tables])
        low, high = seen.min(initial=low), seen.max(initial=high)
        margin = 0.04 * (high - low)
        low, high = low - margin * (low < 0), high + margin * (high > 1)
    ax.set(xlim=(0, 1), ylim=(low, high), ylabel=y)
    ax.set_title(name or "", parse_math=False)  # a name may hold dollars
    ax.tick_params(labelbottom=False)
    counts = np.concatenate([bins.count for bins in tables])
    counts = counts[counts > 0]
    if len(counts):
        if counts.max() >= 10 * counts.min():
            count_ax.set_yscale("log")
            count_ax.set_ylim(counts.min() / 2, counts.max() * 2)
        else:
            count_ax.set_ylim(0, counts.max() * 1.1)
    count_ax.set(xlabel=x, ylabel="count")


def legend(ax: Any, own_figure: bool) -> None:
    """Explains the artists: beside the diagram where the figure is its own."""
    handles, labels = ax.get_legend_handles_labels()
    if own_figure:
        ax.figure.legend(
            handles, labels, loc="outside lower center", ncols=2, fontsize="small"
        )
    else:
        ax.legend(handles, labels, loc="upper left", fontsize="x-small")


def new_axes() -> Any:
    """Returns the axes of a new figure; says what to install without matplotlib."""
    plt = checks.optional_module(
        "ReliabilityDisplay", "matplotlib.pyplot", extra="plot"
    )
    return plt.subplots(figsize=(4.8, 6), layout="constrained")[1]


def split_off_lower_part(ax: Any) -> Any:
    """Returns new axes in the lower part of the room of `ax`, which shrinks."""
    spec = ax.get_subplotspec()
    if spec is None:  # axes placed by hand have no grid to split
        from mpl_toolkits.axes_grid1 import make_axes_locatable

        divider = make_axes_locatable(ax)
        return divider.append_axes("bottom", size="28%", pad=0.12, sharex=ax)
    upper, lower = spec.subgridspec(2, 1, height_ratios=(3.5, 1), hspace=0.08)
    ax.set_subplotspec(upper)
    return ax.figure.add_subplot(lower, sharex=ax)
