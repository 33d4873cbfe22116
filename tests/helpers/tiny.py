"""A tiny encoder and a tiny corpus: the study in seconds, without a network."""

import contextlib
import gc
import json

import keras
import numpy as np
import pytest
from engine import RunConfig
from engine._cache import kept, source_name
from engine._corpus import ANNOTATORS, TAGS, Sentence
from engine._encoded import encode
from engine._encoder import load_tokenizer
from engine._grid import run_key
from engine._tables import runs_folder

SIZES = {"train": 240, "dev": 48, "test": 64}
PLAIN = ["the", "a", "saw", "met", "near", "in", "old", "new", "and", "."]
# The first words of these are two pieces, the others one.
NAMES = {
    "PER": [["annabel", "smith"], ["bob"]],
    "LOC": [["parisian"], ["rome"]],
    "ORG": [["acmecorp", "bank"], ["fund"]],
    "MISC": [["cup"], ["open", "cup"]],
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PLAIN]
PIECES += ["anna", "##bel", "smith", "bob", "paris", "##ian", "rome", "acme", "##corp"]
PIECES += ["bank", "fund", "cup", "open"]

# What a tiny model learns from in a few seconds.
QUICK = {
    "epochs": 2,
    "train_sentences": None,
    "dev_sentences": None,
    "trainable_layers": 1,
    "learning_rate": 0.01,
    "batch_size": 8,
    "dtype": "float32",
}


def quick(**options):
    return RunConfig(**{**QUICK, **options})


def make_preset(folder):
    """A BERT of two layers that knows nothing, saved as a preset of KerasHub."""
    import keras_hub

    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(PIECES),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=32,
    )
    # Wider embeddings than a fresh BERT's, so that what is frozen tells words apart.
    embedding = backbone.get_layer("token_embedding").embeddings
    embedding.assign(np.random.default_rng(0).normal(size=embedding.shape))
    backbone.save_to_preset(str(folder))
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=PIECES)
    tokenizer.save_to_preset(str(folder))
    return str(folder)


def make_sentence(rng, words_wanted, *, annotated=False):
    words, tags = [], []
    while len(words) < words_wanted:
        words.append(str(rng.choice(PLAIN)))
        tags.append(0)
        if rng.random() < 0.5:
            kind = str(rng.choice(list(NAMES)))
            name = NAMES[kind][rng.integers(len(NAMES[kind]))]
            words += name
            first = TAGS.index(f"B-{kind}")
            tags += [first, *[first + 1] * (len(name) - 1)]
    given = {"clean": tags}
    if annotated:
        # An annotator misses every name with a chance of its own.
        for k, annotator in enumerate(ANNOTATORS):
            missed = rng.random() < 0.1 * (k + 1)
            given[annotator] = [0] * len(tags) if missed else tags
    return Sentence(words, given)


def make_corpus(*, annotated=False):
    """Sentences of few lengths; only the annotated ones have several when padded."""
    rng = np.random.default_rng(1)
    return {
        split: [
            make_sentence(
                rng,
                rng.choice([4, 12] if annotated else [3, 4, 6]),
                annotated=annotated,
            )
            for _ in range(size)
        ]
        for split, size in SIZES.items()
    }


def keep_corpus(preset, corpus, *, name="conll2003"):
    """Puts a corpus into the cache, in place of the real one."""
    tokenizer = load_tokenizer(preset)
    encoded = {split: encode(corpus[split], tokenizer) for split in corpus}
    kept(source_name(name, preset), lambda: encoded)


@contextlib.contextmanager
def tiny_study(folder):
    """The folder of the tiny encoder, which the environment names, and both corpora.

    They are there for this process and for those that it starts.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", keras.backend.backend())
        patch.setenv("KERAS_ROBUST_CACHE", str(folder / "cache"))
        preset = make_preset(folder / "tiny-bert")
        patch.setenv("KERAS_ROBUST_PRESET", preset)
        keep_corpus(preset, make_corpus())
        keep_corpus(preset, make_corpus(annotated=True), name="noisebench")
        # A run clears Keras's session: half a second to look through all the imports.
        gc.freeze()
        yield preset
        gc.unfreeze()


# Without a warm-up, which the first of several runs makes for the others.
CONFIGS = [
    quick(noise_rate=0.3, seed=seed, warmup_epochs=0, epochs=1, **loss)
    for seed, loss in enumerate(({}, {"loss": "GCE", "q": 0.3}))
]


def rows(folder):
    read = {}
    for path in runs_folder(folder).glob("*.json"):
        read[path.stem] = json.loads(path.read_text())["row"]
        assert read[path.stem].pop("seconds") > 0
    return read


def assert_whole(folder, configs):
    names = sorted(path.name for path in runs_folder(folder).iterdir())
    keys = [run_key(config) for config in configs]
    assert names == sorted(f"{key}.json" for key in keys)
    assert set(rows(folder)) == set(keys)


def assert_same(row, expected):
    assert set(row) == set(expected)
    for name, value in expected.items():
        if isinstance(value, float):
            # Another number of threads may add in another order.
            np.testing.assert_allclose(row[name], value, rtol=0.01, err_msg=name)
        else:
            assert row[name] == value, name
