"""Where a reliability diagram is drawn."""

from typing import Any


def new_axes() -> Any:
    """Returns the axes of a new figure; says what to install without matplotlib."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "ReliabilityDisplay needs matplotlib: pip install 'keras-robust[plot]'."
        ) from error
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
