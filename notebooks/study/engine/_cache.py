"""What is computed once and kept: word pieces and the output of layers that stay."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import keras
import numpy as np

from engine._batches import Batches
from engine._config import RunConfig
from engine._corpus import read_corpus
from engine._encoded import IGNORED, Encoded, encode
from engine._encoder import (
    Encoder,
    encoder_name,
    load_backbone,
    load_tokenizer,
    preset_name,
)
from keras_robust import _files


def cache_folder() -> Path:
    """Returns the folder that `KERAS_ROBUST_CACHE` names, or one in the home folder."""
    named = os.environ.get("KERAS_ROBUST_CACHE")
    folder = Path(named) if named else Path.home() / ".cache" / "keras_robust"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept(name: str, make: Callable[[], Any]) -> Any:
    """Returns what `make` makes, or what it made before under that name.

    It is written whole, so that several processes may make the same thing at once, and
    large arrays are read from disk as they are needed. Not by `joblib.Memory`: that
    empties a folder whenever the text of a function changes, under others' hands too.
    """
    path = cache_folder() / f"{name}.joblib"
    if not path.exists():
        made = make()
        _files.save_whole(path, lambda part: joblib.dump(made, part))
    return joblib.load(path, mmap_mode="r")


def corpus_name(config: RunConfig) -> str:
    """Returns the name of the corpus that a run learns from."""
    return "noisebench" if config.annotated else "conll2003"


def encoded_corpus(corpus: str, preset: str) -> dict[str, Encoded]:
    """Returns a corpus as word pieces: read and cut once, then kept on disk.

    Once it is there, neither TensorFlow Datasets nor TensorFlow is needed.
    """

    def make() -> dict[str, Encoded]:
        tokenizer, splits = load_tokenizer(preset), read_corpus(corpus)
        return {name: encode(split, tokenizer) for name, split in splits.items()}

    return kept(source_name(corpus, preset), make)


def hidden_states(
    config: RunConfig, split: str, encoded: Encoded, encoder: Encoder, preset: str
) -> np.ndarray | None:
    """Returns the output of the layers that stay, float16 of `(pieces, width)`.

    Computed once, without dropout, and kept on disk; None if every layer is trained.
    """
    if encoder.first is None:
        return None
    name = (
        f"{source_name(corpus_name(config), preset)}-{split}"
        f"-layer{encoder.first}-{config.dtype}-{keras.backend.backend()}"
    )
    return kept(name, lambda: _through_lower(encoded, encoder))


def _through_lower(encoded: Encoded, encoder: Encoder) -> np.ndarray:
    lower = encoder.lower()
    width = encoder.backbone.hidden_dim
    hidden = np.empty((len(encoded.token_ids), width), "float16")
    nothing = np.full(len(encoded.token_ids), IGNORED, "int32")
    batches = Batches(
        encoded,
        nothing,
        lambda token_ids, mask, where: encoder.token_inputs(token_ids, mask),
        batch_size=128,
    )
    for index in range(len(batches)):
        inputs, _ = batches[index]
        where, mask = batches.positions(index)
        hidden[where[mask]] = lower.predict_on_batch(inputs)[mask]
    return hidden


def prepare(configs: list[RunConfig], preset: str) -> None:
    """Fills the cache with all that these runs share."""
    needed = {(corpus_name(c), c.trainable_layers, c.dtype): c for c in configs}
    for config in needed.values():
        encoder = Encoder(load_backbone(preset, config.dtype), config.trainable_layers)
        corpus = encoded_corpus(corpus_name(config), preset)
        for split, encoded in corpus.items():
            encoder.check_lengths(encoded.lengths)
            hidden_states(config, split, encoded, encoder, preset)


def unavailable(
    config: RunConfig | None = None, *, preset: str | None = None
) -> str | None:
    """Returns why a run cannot be made here, or None if it can.

    It may have to download the data and the encoder, which then stay.

    Args:
        config: What to run; by default one on CoNLL-2003.
        preset: Encoder, see `run`.

    Returns:
        The reason in one line: a package, the data or the encoder that is missing.

    Raises:
        Nothing: what stands in the way is what it returns.

    Examples:
        ```python
        reason = engine.unavailable()
        if reason is None:
            engine.run(engine.RunConfig())
        ```
    """
    preset = preset or preset_name()
    try:
        encoded_corpus(corpus_name(config or RunConfig()), preset)
        load_backbone(preset, "float32")
    except (ImportError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def source_name(corpus: str, preset: str) -> str:
    """Returns what names data and encoder in the cache, and no others."""
    name = "".join(c if c.isalnum() or c in "._" else "-" for c in encoder_name(preset))
    table = os.environ.get("KERAS_ROBUST_NOISEBENCH", "")
    parts = [name, _fingerprint(preset), corpus]
    if corpus == "noisebench":
        parts.append(_fingerprint(table))
    return "-".join(filter(None, parts))


def _fingerprint(path: str) -> str:
    """Returns a hash that tells a file or a folder from others; "" if it is neither."""
    top = Path(path)
    files = [top] if top.is_file() else sorted(top.rglob("*")) if path else []
    facts = [
        (str(file.relative_to(top)), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file()
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12] if facts else ""
