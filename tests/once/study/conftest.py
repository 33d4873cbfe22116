"""A tiny encoder and corpus in the cache, for this process and those it starts."""

import os
import socket
from pathlib import Path

import keras
import pytest
from engine._cache import encoded_corpus, encoded_path
from engine._corpus import read_conll2003
from engine._encoded import encode
from engine._encoder import load_tokenizer
from tiny import make_corpus, make_preset


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """The folder of the tiny encoder, which the environment names as well."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", keras.backend.backend())
        patch.setenv("KERAS_ROBUST_CACHE", str(folder / "cache"))
        (folder / "cache").mkdir()
        made = make_preset(folder / "tiny-bert")
        patch.setenv("KERAS_ROBUST_PRESET", made)
        tokenizer = load_tokenizer(made)
        for name in ("conll2003", "noisebench"):
            corpus = make_corpus(annotated=name == "noisebench")
            for split, sentences in corpus.items():
                path = encoded_path(name, made, split)
                encode(sentences, tokenizer).save(path)
            assert set(encoded_corpus(name, made)) == set(corpus)
        yield made


@pytest.fixture(scope="session")
def conll2003():
    """CoNLL-2003, which may be downloaded; not at length where there is no network."""
    folder = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    if not (Path(folder).expanduser() / "conll2003").is_dir() and not online():
        pytest.skip("CoNLL-2003 is neither in TFDS_DATA_DIR nor to be had online")
    return read_conll2003()


def online():
    try:
        socket.create_connection(("data.deepai.org", 443), timeout=3).close()
    except OSError:
        return False
    return True
