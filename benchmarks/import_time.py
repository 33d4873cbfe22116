"""How long does the import take, beside Keras's own?

In fresh processes, in turns; wall time, as processes wait for files too.
"""

import subprocess
import sys
import time

import numpy as np
from steps import BACKEND
from timing import options, rows, save
from tqdm import trange

STATEMENTS = {
    "import keras": "import keras",
    "import keras_robust": "import keras_robust",
}


def seconds_of(statement: str) -> float:
    """Returns the wall time of a process that runs one statement."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    chosen = options(__doc__)
    taken: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in trange(1 if chosen.short else 9, desc=f"import, {BACKEND}"):
        for name, statement in STATEMENTS.items():
            taken[name].append(seconds_of(statement))
    seconds = {name: np.array(values) for name, values in taken.items()}
    about = {"mode": "process", "shape": "", "dtype": ""}
    save(rows(seconds, "import keras", **about), "import time", chosen.out)
