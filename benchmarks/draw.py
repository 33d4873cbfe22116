"""Draws the losses' ratios, of time and memory, from the committed rows.

python benchmarks/draw.py
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from bars import COLUMNS
from matplotlib.axes import Axes
from timing import options

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "benchmarks.png"
CE = "SparseCategoricalCrossentropy"
# Okabe and Ito's colours, told apart by the markers too.
STYLES = {
    CE: ("black", "o", "Keras's cross entropy"),
    "GCE(.6)": ("#0072B2", "s", "GCE"),
    "GammaCE(.1)": ("#E69F00", "^", "GammaCE"),
    "GammaCE(.1, b=.2)": ("#CC79A7", "v", "GammaCE, gated"),
    "SGCE(.6, .1)": ("#009E73", "D", "SGCE"),
    "article's SGCE": ("#D55E00", "x", "the article's SGCE (PyTorch)"),
}


def draw(rows: pd.DataFrame, figure: Path) -> None:
    """Writes the figure: time by number of classes, and memory."""
    mpl.rcParams.update({"font.size": 10, "axes.grid": True, "grid.alpha": 0.3})
    fig, axes = plt.subplots(1, 4, figsize=(11, 3.6), sharey=True, layout="constrained")
    for ax, (title, (backend, mode)) in zip(axes, COLUMNS.items()):
        here = rows[(rows["backend"] == backend) & (rows["mode"] == mode)]
        _time(ax, here[(here["question"] == "losses") & (here["labels"] == "all")])
        ax.set_title(title)
    axes[0].set_ylabel("time ÷ time of cross entropy")
    handles, labels = axes[-1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(figure, dpi=120)
    plt.close(fig)


def _time(ax: Axes, rows: pd.DataFrame) -> None:
    classes = rows["shape"].str.split(" x ").str[-1].astype(int)
    for name, (color, marker, label) in STYLES.items():
        part = rows[rows["name"] == name].assign(classes=classes).sort_values("classes")
        ax.plot(part["classes"], part["ratio"], marker=marker, color=color, label=label)
    ax.set(xscale="log", yscale="log", xlabel="number of classes")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


if __name__ == "__main__":
    draw(pd.read_csv(options(__doc__).out), FIGURE)
