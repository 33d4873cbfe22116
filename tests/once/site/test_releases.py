"""What a release says of itself: how to cite it, and what it runs with."""

import re
import tomllib
from pathlib import Path

import yaml

import keras_robust

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
CITING = (DOCS / "citing.md").read_text()


def entries():
    """The entries of the page in BibTeX, each a dict of its fields."""
    blocks = re.findall(r"```bibtex\n(.*?)```", CITING, re.DOTALL)
    for entry in re.findall(r"^@\w+\{.*?^\}", "".join(blocks), re.DOTALL | re.M):
        yield dict(re.findall(r"^  (\w+) += \{(.+)\},$", entry, re.M))


def test_the_citation_is_of_this_version():
    assert CITATION["version"] == keras_robust.__version__
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["authors"] == PROJECT["authors"]
    assert CITATION["keywords"] == PROJECT["keywords"]
    assert CITATION["repository-code"] == PROJECT["urls"]["Repository"]
    assert {"cff-version", "message", "title", "type"} < set(CITATION)


def test_both_forms_of_the_citation_name_the_same_works():
    package, *papers = entries()
    assert package["title"].replace("\\", "") == CITATION["title"]
    assert package["version"] == CITATION["version"]
    assert len(papers) == len(CITATION["references"]) == 6
    for paper, known in zip(papers, CITATION["references"]):
        assert paper["title"] == known["title"]
        assert paper["year"] == str(known["year"])
        assert paper["url"] == known["url"]
        assert paper.get("booktitle") == known.get("conference", {}).get("name")
        names = [f"{a['family-names']}, {a['given-names']}" for a in known["authors"]]
        assert paper["author"] == " and ".join(names)
        assert f"({known['url']})" in CITING.split("```bibtex")[1]


def test_every_loss_says_where_it_comes_from():
    table = CITING.split("| comes from |")[1].split("\n\n")[0]
    losses = {"GCE", "SGCE", "SCE", "NCERCE", "GammaCE", "ForwardCorrection"}
    assert losses == set(keras_robust.losses.__all__) - {"RobustLoss", "fused_linear"}
    assert losses < set(re.findall(r"`(\w+)`", table))


def versions(name):
    """What the table says: allowed, at every commit, for a release too."""
    page = (DOCS / "compatibility.md").read_text()
    return re.search(rf"^\| {name} \|(.*)\|(.*)\|(.*)\|$", page, re.M).groups()


def test_the_table_of_versions_is_what_is_required_and_what_is_tested():
    required = [*PROJECT["dependencies"]]
    for name in ("tensorflow", "jax", "torch"):
        required += PROJECT["optional-dependencies"][name]
    required = dict(line.split(">=") for line in required if ">=" in line)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    for name in ("Keras", "TensorFlow", "JAX", "PyTorch", "NumPy", "SciPy"):
        allowed, tested, _ = versions(name)
        package = {"PyTorch": "torch"}.get(name, name.lower())
        assert allowed.strip() == f"{required[package]} or newer", name
        assert re.match(rf" {re.escape(pinned[package])}( |;)", tested), name
    allowed, tested, _ = versions("Python")
    assert PROJECT["requires-python"] == f">={tested.strip()}"
    assert allowed.strip() == f"{tested.strip()} or newer"


def test_the_oldest_keras_is_tested_where_the_table_says():
    _, each_commit, release = versions("Keras")
    oldest = re.search(r"keras>=([0-9.]+)", PROJECT["dependencies"][0])[1]
    makefile = (ROOT / "Makefile").read_text()
    assert f"; {oldest} on PyTorch" in each_commit
    assert "IN_TURN=yes pool" in makefile
    assert "OLD_BACKENDS=torch" in makefile
    assert release.strip() == f"{oldest} on every backend"
    assert "OLD_BACKENDS ?= $(BACKENDS)" in makefile
    assert "BACKENDS ?= tensorflow jax torch" in makefile


def test_the_checklist_names_commands_and_files_that_are_there():
    page = (DOCS / "development.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"`make (\w+)`", page):
        assert re.search(rf"^{command}:", makefile, re.M), command
    for file in ("CITATION.cff", "CHANGELOG.md", "constraints.txt"):
        assert f"`{file}`" in page or file in page
        assert (ROOT / file).is_file()


def test_the_extra_for_notebooks_brings_a_kernel_and_a_front_end():
    brought = " ".join(PROJECT["optional-dependencies"]["notebooks"])
    assert "ipykernel" in brought
    assert "jupyterlab" in brought
