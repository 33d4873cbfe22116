"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Any, text: str) -> None:
    """Writes a text file, so that no half of it can stay."""
    write_all({path: text})


def write_all(texts: Mapping[Any, str]) -> None:
    """Writes text files under other names first: all of them, or none."""
    paths = {Path(path): text for path, text in texts.items()}
    for path in paths:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {path.parent}.")
        if path.is_dir():
            raise IsADirectoryError(f"{path}: this is a folder, not a file.")
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths}
    try:
        for path, part in parts.items():
            part.write_text(paths[path], encoding="utf-8")
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def save_whole(path: Path, save: Callable[[Path], Any]) -> None:
    """Saves a file under another name first; other processes may save it as well."""
    part = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    try:
        save(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
