"""How the package is laid out: its public names, and what may import what."""

import ast
import importlib.metadata
import inspect
import pkgutil
from pathlib import Path

import keras
import pytest

import keras_robust
from keras_robust import losses, metrics

ROOT = Path(__file__).parents[3]


def modules():
    # Not what only another backend can import.
    others = {"tensorflow", "jax", "torch"} - {keras.backend.backend()}
    found = pkgutil.walk_packages(keras_robust.__path__, "keras_robust.")
    names = [info.name for info in found if info.name.split(".")[-1] not in others]
    return [importlib.import_module(name) for name in names]


def public_objects():
    packages = [m for m in [keras_robust, *modules()] if hasattr(m, "__all__")]
    return {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages
        for name in package.__all__
        if not inspect.ismodule(getattr(package, name))
    }


def test_public_names_are_sorted_and_there():
    for module in [keras_robust, *modules()]:
        names = getattr(module, "__all__", [])
        assert len(set(names)) == len(names)
        assert all(hasattr(module, name) for name in names)
    for name in ("GCE", "SGCE", "ForwardCorrection", "GammaCE"):
        assert getattr(keras_robust, name) is getattr(losses, name)
    for name in ("ExpectedCalibrationError", "MaximumCalibrationError"):
        assert getattr(keras_robust, name) is getattr(metrics, name)


@pytest.mark.parametrize("name", public_objects())
def test_public_objects_are_documented_with_an_example(name):
    text = inspect.getdoc(public_objects()[name])
    sections = ["Examples:\n"] if name.split(".")[-1] != "NoisyLabels" else []
    if inspect.isfunction(public_objects()[name]):
        sections += ["Args:\n", "Returns:\n", "Raises:\n"]
    assert all(section in text for section in sections), name


# Imports point one way: a room may import from the rooms that stand with it here.
MAY_IMPORT = {
    "_files": set(),
    "_numerics": set(),
    "_backend": {"_numerics"},
    "_theory": {"_numerics"},
    "_inputs": {"_numerics", "_theory"},
    "losses": {"_numerics", "_backend", "_theory", "_inputs"},
    "calibration": {"_numerics", "_files", "_theory", "_inputs"},
    "metrics": {"_numerics", "_backend", "_inputs", "calibration"},
    "noise": {"_numerics", "_theory", "_inputs"},
    "callbacks": {"_files", "_backend", "_inputs", "losses", "noise", "calibration"},
    "_cli": {"_files", "_inputs", "calibration"},
}
# What a private room is to another: its name, not its files.
PACKAGE = ROOT / "keras_robust"


def room(module):
    return module.split(".")[1] if "." in module else None


def imports_of(path):
    """The modules of this package that a file imports, and the names from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def test_imports_point_one_way():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    rooms -= {"__init__", "__pycache__", "py"}
    assert rooms == set(MAY_IMPORT)
    for path in PACKAGE.rglob("*.py"):
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if home == "__init__" or "launcher" in path.parts:
            continue
        for module in imports_of(path):
            if module.split(".")[0] != "keras_robust":
                continue
            other = room(module)
            allowed = MAY_IMPORT[home] | {home, "__version__"}
            assert other in allowed, f"{path} imports {module}"


def test_rooms_of_calibration_do_not_import_what_is_built_on_them():
    may = {
        "_bins": set(),
        "_scores": {"_bins"},
        "_recalibration": {"_scores"},
        "_deciding": {"_bins", "_recalibration"},
        "_display": {"_bins"},
        "_report": {"_bins", "_scores", "_display", "_recalibration", "_deciding"},
    }
    folder = PACKAGE / "calibration"
    assert {p.name for p in folder.iterdir() if p.is_dir()} - {"__pycache__"} == set(
        may
    )
    for path in folder.rglob("*/*.py"):
        home = path.parent.name
        for module in imports_of(path):
            if module.startswith("keras_robust.calibration."):
                other = module.split(".")[2]
                assert other in may[home] | {home}, f"{path} imports {module}"


def test_paths_have_one_underscore():
    # A private folder holds plainly named files, a public folder private ones.
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).parts
        private = [part for part in parts if part[0] == "_" and part[1] != "_"]
        assert len(private) == 1 or path.name == "__init__.py", path


def test_the_installed_version_is_that_of_the_package():
    assert importlib.metadata.version("keras-robust") == keras_robust.__version__
