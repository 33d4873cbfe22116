"""Files are written whole or not at all."""

import pytest

from keras_robust._files import write_whole


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "page.html"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(str(path), "new é")
    assert path.read_text(encoding="utf-8") == "new é"
