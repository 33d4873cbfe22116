"""The recipe of docs/large-vocabularies.md, in a small KerasHub language model."""

import inspect
from pathlib import Path

import keras
import keras_hub
import numpy as np
from backend import BACKEND
from keras import ops

from keras_robust.losses import GammaCE, fused_linear

VOCABULARY, LENGTH = 300, 12


class HiddenStates(keras.Model):
    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        embedding = self.get_layer("token_embedding")
        kernel = ops.transpose(embedding.embeddings)
        value = fused_linear(self.loss, y, y_pred, kernel, sample_weight)
        # Regularizers, and what layers add.
        return value + sum(ops.sum(added) for added in self.losses)


def tokens():
    # Each token tells the next, in one row out of five not.
    rng = np.random.default_rng(1)
    first = rng.integers(1, VOCABULARY, (40, 1))
    rows = (first + 7 * np.arange(LENGTH + 1)) % (VOCABULARY - 1) + 1
    rows[::5] = rng.integers(1, VOCABULARY, (8, LENGTH + 1))
    return rows


def backbone():
    keras.utils.set_random_seed(2)
    return keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=16,
        dropout=0.0,
        max_sequence_length=LENGTH,
    )


def fitted(model):
    rows = tokens()
    x = {
        "token_ids": rows[:, :-1],
        "padding_mask": np.ones((len(rows), LENGTH), "int32"),
    }
    weight = np.where(np.arange(LENGTH) < 9, 1.0, 0.0)[None].repeat(len(rows), 0)
    loss = GammaCE(gamma=1e-7, from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=BACKEND == "jax")
    history = model.fit(
        x,
        rows[:, 1:],
        sample_weight=weight,
        batch_size=8,
        epochs=3,
        shuffle=False,
        verbose=0,
    )
    return history.history["loss"]


def test_a_causal_lm_learns_the_same_without_its_logits():
    whole = backbone()
    expected = fitted(keras_hub.models.GPT2CausalLM(whole, preprocessor=None))
    own = backbone()
    for model in (whole, own):
        regularized = model.get_layer("transformer_layer_0")._feedforward_output_dense
        regularized.kernel_regularizer = keras.regularizers.L2(0.1)
    losses = fitted(HiddenStates(own.input, own.output))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert losses[-1] < 0.95 * losses[0]
    # The weights are shared, so what was learnt can be used.
    x = {"token_ids": tokens()[:2, :-1], "padding_mask": np.ones((2, LENGTH), "int32")}
    logits = keras_hub.models.GPT2CausalLM(own, preprocessor=None).predict(x, verbose=0)
    assert logits.shape == (2, LENGTH, VOCABULARY)


def test_the_recipe_is_that_of_the_guide():
    guide = Path(__file__).parents[3] / "docs" / "large-vocabularies.md"
    body = inspect.getsource(HiddenStates.compute_loss)
    assert body in guide.read_text()
