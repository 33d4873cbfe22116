"""A network of one hidden layer: how it is trained, and what is read off it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_robust import GCE, calibration

OPTIONS = {"from_logits": True}


@dataclass(frozen=True)
class HiddenLayer:
    """What training it takes: AdamW, at a rate that falls to 0 as a cosine does."""

    units: int = 512
    epochs: int = 8
    warmup: int = 3
    batch: int = 256
    learning_rate: float = 1e-3
    dropout: tuple[float, float] = (0.2, 0.5)  # before it and after it

    def trained(
        self,
        x: np.ndarray,
        y: np.ndarray,
        loss: Any,
        seed: int,
        *,
        warm: bool = False,
        callbacks: Sequence[Any] = (),
    ) -> keras.Model:
        """Returns the model; if `warm`, cross entropy has the first epochs."""
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        model = self._built(x.shape[1:])
        steps = -(-len(x) // self.batch) * self.epochs
        optimizer = keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(self.learning_rate, steps)
        )
        first = self.warmup if warm else 0
        for part, epochs in (
            (GCE(q=0.0, **OPTIONS), first),
            (loss, self.epochs - first),
        ):
            if epochs:
                model.compile(optimizer, part)  # the same: it goes on where it was
                model.fit(
                    x,
                    y,
                    batch_size=self.batch,
                    epochs=epochs,
                    verbose=0,
                    callbacks=list(callbacks),
                )
        return model

    def _built(self, shape: tuple[int, ...]) -> keras.Model:
        torch = keras.backend.backend() == "torch"
        inner = {"dtype": "mixed_bfloat16" if torch else "float32"}
        before, after = self.dropout
        return keras.Sequential(
            [
                keras.Input(shape),
                keras.layers.Dropout(before, **inner),
                keras.layers.Dense(self.units, activation="relu", **inner),
                keras.layers.Dropout(after, **inner),
                keras.layers.Dense(10, dtype="float32"),
            ]
        )


def logits_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Returns what the model says, float32 of shape `(N, 10)`."""
    return model.predict(x, batch_size=1000, verbose=0)


def scores(
    clean: np.ndarray,
    logits: np.ndarray,
    trusted_labels: np.ndarray,
    trusted_logits: np.ndarray,
) -> dict[str, float]:
    """Returns the columns that say how good test predictions are.

    Raw, and with one temperature, fitted to rows whose labels can be trusted.
    """
    choice = calibration.choose_by_likelihood(
        trusted_labels, {"run": trusted_logits}, **OPTIONS
    )
    scaled = choice.calibrator["run"].transform(logits)
    raw = calibration.bin_predictions(clean, logits, num_bins=10, **OPTIONS)
    after = calibration.bin_predictions(clean, scaled, num_bins=10)
    return {
        "accuracy": float(np.mean(logits.argmax(-1) == clean)),
        "ece": raw.ece(),
        "ece_temperature": after.ece(),
        "nll_temperature": calibration.negative_log_likelihood(clean, scaled),
        "temperature": choice.calibrator["run"].temperature_,
        "trusted_nll": choice.nll["run"],
    }
