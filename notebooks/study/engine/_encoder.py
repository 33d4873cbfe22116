"""A pretrained encoder from KerasHub, with a head of token labels."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from engine._corpus import TAGS
from keras_robust._inputs import checks

DEFAULT_PRESET = "distil_bert_base_en_uncased"
# Names of folders that say nothing: that of the folder above is taken.
_UNTELLING = ("model", "preset", "encoder", "weights", "0_Transformer")


def preset_name() -> str:
    """Returns the preset that `KERAS_ROBUST_PRESET` names, or the default one."""
    return os.environ.get("KERAS_ROBUST_PRESET") or DEFAULT_PRESET


def encoder_name(preset: str) -> str:
    """Returns what an encoder is called in rows: of a folder, no more than its name."""
    if "://" in preset or not Path(preset).is_dir():
        return preset
    folder = Path(preset).resolve()
    return folder.parent.name if folder.name in _UNTELLING else folder.name


def load_tokenizer(preset: str) -> Any:
    """Loads a preset's tokenizer, which must cut words into WordPieces."""
    hub = checks.optional_module("study", "keras_hub", extra="study")
    tokenizer = hub.models.Tokenizer.from_preset(preset)
    if not isinstance(tokenizer, hub.tokenizers.WordPieceTokenizer):
        raise checks.invalid(
            "study",
            "KERAS_ROBUST_PRESET",
            "an encoder whose tokenizer cuts words into WordPieces",
            f"{preset!r} with a {type(tokenizer).__name__}",
            "BERT, DistilBERT and MiniLM have one.",
        )
    return tokenizer


def load_backbone(preset: str, dtype: str) -> keras.Model:
    """Loads a preset's pretrained encoder."""
    hub = checks.optional_module("study", "keras_hub", extra="study")
    return hub.models.Backbone.from_preset(preset, dtype=dtype)


class Encoder:
    """The parts of a pretrained encoder: layers that stay, and layers to train.

    Args:
        backbone: A backbone of KerasHub.
        trainable_layers: Number of top layers to train; None for everything, the
            embeddings included.
    """

    def __init__(self, backbone: keras.Model, trainable_layers: int | None) -> None:
        self.backbone = backbone
        depth = backbone.num_layers
        if trainable_layers is not None and trainable_layers > depth:
            raise checks.invalid(
                "RunConfig",
                "trainable_layers",
                f"at most {depth}, the encoder's layers, or None",
                f"trainable_layers={trainable_layers}",
                "None trains the embeddings too.",
            )
        self.first = None if trainable_layers is None else depth - trainable_layers

    def check_lengths(self, lengths: np.ndarray) -> None:
        """Raises if a sentence has more pieces than the encoder has positions."""
        longest, limit = int(lengths.max()), self.backbone.max_sequence_length
        if longest > limit:
            raise ValueError(
                f"study: a sentence has {longest} word pieces, the encoder takes "
                f"{limit}. Sentences are never cut: split it, or take another encoder."
            )

    def token_inputs(self, token_ids: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
        """Returns what the whole encoder takes."""
        every = {
            "token_ids": token_ids,
            "padding_mask": mask,
            "segment_ids": np.zeros_like(token_ids),
        }
        return {name: every[name] for name in self.backbone.input}

    def lower(self) -> keras.Model:
        """Returns the layers that are not trained, from tokens to hidden states."""
        below = "embeddings_dropout"
        if self.first:
            below = f"transformer_layer_{self.first - 1}"
        return keras.Model(self.backbone.input, self.backbone.get_layer(below).output)

    def model(self) -> keras.Model:
        """Returns the model to train; its outputs are float32 logits."""
        if self.first is None:
            # Not the backbone as a layer: BERT's pooling would get no gradient.
            inputs, output = self.backbone.input, self.backbone.output
            hidden = output["sequence_output"] if isinstance(output, dict) else output
        else:
            inputs, hidden = self._upper()
        hidden = keras.layers.Dropout(self.backbone.dropout)(hidden)
        logits = keras.layers.Dense(len(TAGS), dtype="float32", name="logits")(hidden)
        return keras.Model(inputs, logits)

    def _upper(self) -> tuple[dict[str, Any], Any]:
        width = self.backbone.hidden_dim
        inputs = {
            "hidden": keras.Input((None, width), name="hidden"),
            "padding_mask": keras.Input((None,), dtype="bool", name="padding_mask"),
        }
        hidden = inputs["hidden"]
        for index in range(self.first, self.backbone.num_layers):
            layer = self.backbone.get_layer(f"transformer_layer_{index}")
            hidden = layer(hidden, padding_mask=inputs["padding_mask"])
        return inputs, hidden
