"""What the comparison of losses comes to: means, and differences over seeds."""

import numpy as np
import pandas as pd

from engine._claims import seeds_interval
from engine._compared_losses import NAMES, OURS

MEASURES = ("accuracy", "ece", "ece_temperature", "nll_temperature")
_CELL = ["labels", "loss"]


def loss_comparison(rows: pd.DataFrame, *, chosen: bool = False) -> pd.DataFrame:
    """Returns the losses side by side, as means and as differences over seeds.

    The best of GCE, SGCE, GammaCE and ForwardCorrection is the one with the highest
    mean accuracy on *noisy* development labels, which needs neither true labels nor
    the test rows. Every other loss is compared with it seed by seed.

    Args:
        rows: Rows of `run_loss_comparison`. A seed of which some are missing is left
            out.
        chosen: Whether each loss has those parameters with which its mean accuracy on
            noisy development labels is highest, or those of its authors. Defaults to
            False.

    Returns:
        A pandas DataFrame with a row for each of `labels` and `loss`, the index:
        `seeds`, their number; `ours`, whether the loss is among those of which the
        best is taken, and `best`, whether it is that; the means of `accuracy`, `ece`,
        `ece_temperature`, `nll_temperature` and `noisy_accuracy`; for the first four
        the mean difference to the best, `accuracy_difference` and so on, and half of
        the width of its 95 % interval, `accuracy_half`; `better`, whether both
        accuracy and ECE are better than those of the best by more than that, and
        `better_temperature`, the same with the ECE after the temperature.

    Raises:
        KeyError: If columns are missing.

    Examples:
        ```python
        rows = pd.read_csv("results/study_loss_comparison.csv")
        table = engine.loss_comparison(rows, chosen=True)
        print(table.loc["worse", ["accuracy", "ece", "best", "better"]])
        ```
    """
    rows = _complete(rows if chosen else rows[rows["authors"]])
    # Of equal ones the first, which is the authors'. One for all seeds, or differences
    # over seeds would be those of parameters.
    setting = [*_CELL, "parameters"]
    rows = rows.fillna({"parameters": ""})
    mean = rows.groupby(setting, sort=False)["noisy_accuracy"].mean()
    best = pd.MultiIndex.from_tuples(mean.groupby(_CELL, sort=False).idxmax())
    picked = rows[pd.MultiIndex.from_frame(rows[setting]).isin(best)]
    parts = {
        name: _compared(part) for name, part in picked.groupby("labels", sort=False)
    }
    return pd.concat(parts, names=_CELL)


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the seeds that have as many as the one that has most."""
    found = rows.groupby(["labels", "seed"])["loss"].transform("size")
    return rows[found == found.groupby(rows["labels"]).transform("max")]


def _compared(picked: pd.DataFrame) -> pd.DataFrame:
    """Returns the losses of the same labels, compared with the best of ours."""
    by_seed = picked.pivot(index="seed", columns="loss")
    names = [name for name in NAMES if name in set(picked["loss"])]
    means = picked.groupby("loss")[[*MEASURES, "noisy_accuracy"]].mean().loc[names]
    ours = means.index.isin(OURS)
    best = means.loc[ours, "noisy_accuracy"].idxmax()
    table = means.assign(ours=ours, best=means.index == best, seeds=len(by_seed))
    for measure in MEASURES:
        off = by_seed[measure].sub(by_seed[measure][best], axis=0)[names]
        ends = np.array([seeds_interval(off[name]) for name in names])
        table[f"{measure}_difference"] = off.mean()
        table[f"{measure}_half"] = (ends[:, 1] - ends[:, 0]) / 2
    more = table["accuracy_difference"] > table["accuracy_half"]
    for column, ece in (("better", "ece"), ("better_temperature", "ece_temperature")):
        table[column] = more & (table[f"{ece}_difference"] < -table[f"{ece}_half"])
    return table
