"""A tiny encoder and corpus in the cache, and the real corpus where it can be had."""

import os
import socket
from pathlib import Path

import pytest
from engine._corpus import read_conll2003
from tiny import tiny_study


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """The folder of the tiny encoder."""
    with tiny_study(tmp_path_factory.mktemp("study")) as made:
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
