"""How much longer does the first `fit` take with a calibration error?

CPU seconds of the first step of a small model, to trace and to compile, in a new
process in which the same model without a metric has been fitted before.
"""

import subprocess
import sys
import time

import numpy as np
from fit import ACCURACY, ECE, compiled, epoch
from losses import CE
from steps import MODES
from timing import options, rows, save
from tqdm import tqdm

ONE = "--one"


def seconds(mode: str, name: str) -> float:
    """Returns the seconds of one, in this process."""
    epoch(*compiled()[CE], mode, 1)()
    fit = epoch(*compiled()[name], mode, 1)
    started = time.process_time()
    fit()
    return time.process_time() - started


def in_process(mode: str, name: str) -> float:
    """Returns the seconds of one, in a new process."""
    command = [sys.executable, __file__, ONE, mode, name]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(run.stdout.split()[-1])


if __name__ == "__main__":
    if ONE in sys.argv:
        sys.stdout.write(f"{seconds(*sys.argv[-2:])}\n")
        raise SystemExit
    chosen = options(__doc__)
    made = []
    for mode in tqdm(MODES[:1] if chosen.short else MODES, desc="first fit"):
        taken = {ACCURACY: [], ECE: []}
        for _ in range(1 if chosen.short else 5):
            for name in taken:
                taken[name].append(in_process(mode, name))
        about = {"mode": mode, "shape": "128 x 10", "dtype": "float32"}
        arrays = {name: np.array(found) for name, found in taken.items()}
        made += rows(arrays, ACCURACY, **about)
    save(made, "first fit", chosen.out)
