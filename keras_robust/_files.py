"""Files that are written whole or not at all."""

import os
from pathlib import Path
from typing import Any


def write_whole(path: Any, text: str) -> None:
    """Writes a text file under another name first, so that no half of it can stay."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}.")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: this is a folder, not a file.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
