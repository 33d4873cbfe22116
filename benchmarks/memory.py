"""How much memory does value and gradient of a loss take, beside Keras's cross entropy?

The highest resident memory of the process during a step, less what was resident before
it: gradients included, inputs not. Each is measured in a process of its own, in its
second step, after compilation.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from large_vocabulary import SHAPE, SHORT, costs
from losses import CE, data, loss_step, losses, others
from steps import MODES, step
from timing import environment, options, save
from tqdm import tqdm

LOGITS = (512, 32000)
STATUS = Path("/proc/self/status")


def measured(question: str, mode: str, name: str, short: bool) -> int:
    """Returns the bytes that one step takes."""
    if question == "memory":
        shape = (8, 300) if short else LOGITS
        named = {**losses(), **others()}
        function = loss_step(named[name], mode, data(shape))
    else:
        named, leaves = costs(SHORT if short else SHAPE)
        function = step(named[name], mode, leaves)
    function()
    gc.collect()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    function()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(field)) * 1024


def cells(short: bool) -> Iterator[tuple[str, str, str, str]]:
    """Yields question, shape, mode and what is measured."""
    sizes = {
        "memory": (8, 300) if short else LOGITS,
        "large vocabulary memory": SHORT if short else SHAPE,
    }
    for question, shape in sizes.items():
        named = {**losses(), **others()}
        names = named if question == "memory" else costs(SHORT)[0]
        for mode in MODES[:1] if short else MODES:
            for name in [CE] if short else names:
                yield question, " x ".join(map(str, shape)), mode, name


def _in_process(question: str, mode: str, name: str, short: bool) -> int:
    task = json.dumps([question, mode, name, short])
    command = [sys.executable, __file__, "--one", task]
    # With oneDNN, TensorFlow takes memory from a pool that it never gives back.
    env = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    run = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(run.stdout.split()[-1])


def measure(short: bool, out: Path) -> None:
    """Measures and saves everything on this backend."""
    made: dict[str, list[dict[str, Any]]] = {}
    reference = 0
    for question, shape, mode, name in tqdm(list(cells(short)), desc="memory"):
        peak = _in_process(question, mode, name, short)
        reference = peak if name == CE else reference
        ratio = peak / reference if reference else None
        about = {"mode": mode, "shape": shape, "dtype": "float32"}
        row = {"name": name, "reference": CE, **about, "bytes": peak, "ratio": ratio}
        made.setdefault(question, []).append({**row, **environment()})
    for question, answered in made.items():
        save(answered, question, out)


if __name__ == "__main__":
    if "--one" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--one", type=json.loads)
        sys.stdout.write(f"{measured(*parser.parse_args().one)}\n")
    else:
        chosen = options(__doc__)
        measure(chosen.short, chosen.out)
