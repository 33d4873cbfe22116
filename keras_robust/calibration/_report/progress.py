"""How far something got, for whoever waits."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any


def progress(count: int, what: str) -> Iterable[int]:
    """Yields 0 to count, and shows how far it got if that takes more than 2 seconds."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _plain_progress(count, what)
    return tqdm(range(count), desc=what, delay=2, leave=False, disable=None)


def _plain_progress(count: int, what: str) -> Iterator[int]:
    err: Any = sys.stderr
    shown, begun = -1, time.monotonic()
    for step in range(count):
        yield step
        percent = 100 * (step + 1) // count
        late = time.monotonic() - begun > 2
        if late and percent > shown and err is not None and err.isatty():
            err.write(f"\r{what}: {percent} %")
            shown = percent
    if shown >= 0:
        err.write("\r" + " " * (len(what) + 8) + "\r")
