"""Tutorials are short, install themselves, and need nothing of the clone."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"][
    "Repository"
]
TUTORIALS = sorted((ROOT / "notebooks" / "tutorials").glob("*.ipynb"))


def cells(path, kind):
    found = json.loads(path.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def test_there_is_one_for_each_thing_that_people_want():
    assert len(TUTORIALS) == 5
    readme, index = (ROOT / "README.md", ROOT / "docs" / "index.md")
    for page in (readme.read_text(), index.read_text()):
        lines = [line for line in page.splitlines() if "/tutorials/" in line]
        assert [path.name for path in TUTORIALS] == [
            re.search(r"tutorials/(\S+\.ipynb)", line)[1] for line in lines
        ]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
class TestTutorial:
    """Of each tutorial."""

    def test_it_is_short(self, path):
        lengths = [len(source(cell).splitlines()) for cell in cells(path, "code")]
        assert sum(lengths) <= 150
        assert max(lengths) <= 15

    def test_its_first_cell_installs_and_chooses_a_backend(self, path):
        first = source(cells(path, "code")[0])
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())
        install = rf'%pip install -q "keras-robust\[(.*)\] @ git\+{re.escape(ADDRESS)}"'
        for extra in re.search(install, first)[1].split(","):
            assert extra in extras["project"]["optional-dependencies"]
        assert 'os.environ["KERAS_BACKEND"] = ' in first
        assert not re.search("^(import|from) keras", first, re.M)

    def test_it_needs_nothing_of_the_clone(self, path):
        code = "\n".join(source(cell) for cell in cells(path, "code"))
        assert not re.search(r"\bengine\b|\.\./|keras_robust\._", code)

    def test_it_says_what_you_will_have_and_where_to_go_then(self, path):
        texts = [source(cell) for cell in cells(path, "markdown")]
        assert "**What you will have at the end:**" in texts[0]
        assert "GPU" in texts[0]
        assert "## Where to go from here" in texts[-1]
        repository = ADDRESS.removeprefix("https://github.com/")
        colab = f"https://colab.research.google.com/github/{repository}/blob/main/"
        file = path.relative_to(ROOT).as_posix()
        assert texts[0].endswith(f"\n\n[Open in Colab]({colab}{file})")

    def test_links_lead_to_files(self, path):
        text = "\n".join(source(cell) for cell in cells(path, "markdown"))
        for link in re.findall(r"\]\((\S+?)\)", text):
            if "colab" in link:
                continue
            there, _, file = link.partition("/blob/main/")
            assert there == ADDRESS
            assert (ROOT / file.partition("#")[0]).exists(), link

    def test_it_is_executed_and_each_figure_has_a_text(self, path):
        figures = 0
        for cell in cells(path, "code"):
            assert cell["execution_count"]
            kinds = [kind for out in cell["outputs"] for kind in out.get("data", {})]
            if "image/png" in kinds:
                figures += 1
                assert len(cell["metadata"]["alt"]) > 60
        assert figures


def test_what_tutorials_say_of_their_numbers_is_what_they_print():
    def printed(number):
        path = next(path for path in TUTORIALS if path.name.startswith(number))
        outputs = [out for cell in cells(path, "code") for out in cell["outputs"]]
        texts = [
            out.get("text") or out.get("data", {}).get("text/plain", "")
            for out in outputs
        ]
        prose = "".join(source(cell) for cell in cells(path, "markdown"))
        return "".join("".join(text) for text in texts), prose

    shown, prose = printed("02")
    assert "0.038 becomes 0.024" in prose
    assert "ECE of all words: 0.024" in shown
    shown, prose = printed("03")
    one, soft, corrected = (
        float(re.search(rf"^{name} +([\d.]+)", shown.split("accuracy")[1], re.M)[1])
        for name in ("one vote", "votes, soft", "corrected")
    )
    assert "4 points of accuracy over one vote" in prose
    assert (round(100 * (soft - one)), round(100 * (corrected - one))) == (4, 2)
    shown, prose = printed("01")
    assert "modest, by 2 points" in prose
    assert "Under-confident by 0.022" in shown
