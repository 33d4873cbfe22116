"""The package as a whole: what importing it costs, what it holds, what it saves."""

import ast
import importlib.metadata
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import every_loss
import keras
import numpy as np
import pytest

import keras_robust
from keras_robust import losses, metrics

ROOT = Path(__file__).parents[3]


def run_python(code, *arguments):
    """Runs code in a fresh process on the same backend; returns what it printed."""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_but_itself():
    # On top of Keras and what Keras imports: so it costs next to no time.
    code = (
        "import sys, keras; before = set(sys.modules); import keras_robust;"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    assert set(run_python(code).split()) == {"keras_robust"}


def make_metric(name):
    sizes = {"ClasswiseCalibrationError": [5], "MultilabelCalibrationError": [5]}
    return getattr(metrics, name)(*sizes.get(name, []), from_logits=True)


def make_loss(cls_name, **kwargs):
    matrix = [0.8 * np.eye(5) + 0.04] if cls_name == "ForwardCorrection" else []
    return getattr(losses, cls_name)(*matrix, from_logits=True, **kwargs)


def test_models_are_loaded_in_a_process_that_only_imports_the_package(tmp_path):
    x = np.eye(5, dtype="float32")
    y = np.array([0, 1, 2, 3, -100])
    code = (
        "import sys, keras, numpy as np, keras_robust\n"
        "x, y = np.eye(5, dtype='float32'), np.array([0, 1, 2, 3, -100])\n"
        "for path in sys.argv[1:]:\n"
        "    model = keras.models.load_model(path, safe_mode=True)\n"
        "    values = model.evaluate(x, y, verbose=0, return_dict=True)\n"
        "    print(model.loss.name, *values.values())\n"
        "    model.fit(x, y, verbose=0)\n"
    )
    seen = [make_metric(n) for n in metrics.__all__ if "Multilabel" not in n]
    before, paths = [], []
    for name in every_loss.NAMES:
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
        model.compile("adam", make_loss(name, name=f"my_{name}"), metrics=seen)
        model.fit(x, y, verbose=0)
        before.append(model.evaluate(x, y, verbose=0, return_dict=True).values())
        paths.append(tmp_path / f"{name}.keras")
        model.save(paths[-1])
        seen = []  # the metrics are saved with the first
    after = run_python(code, *paths).strip().splitlines()
    for name, values, line in zip(every_loss.NAMES, before, after, strict=True):
        loaded_name, *loaded = line.split()
        assert loaded_name == f"my_{name}"
        np.testing.assert_allclose([float(v) for v in loaded], list(values), 1e-5)


def test_a_multi_label_model_is_loaded_in_such_a_process(tmp_path):
    x = np.eye(5, dtype="float32")
    code = (
        "import sys, keras, numpy as np, keras_robust\n"
        "model = keras.models.load_model(sys.argv[1], safe_mode=True)\n"
        "x = np.eye(5, dtype='float32')\n"
        "print(model.evaluate(x, 1 - x, verbose=0, return_dict=True)['multilabel_ece'])"
    )
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
    metric = make_metric("MultilabelCalibrationError")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=[metric])
    before = model.evaluate(x, 1 - x, verbose=0, return_dict=True)["multilabel_ece"]
    model.save(tmp_path / "model.keras")
    after = float(run_python(code, tmp_path / "model.keras"))
    np.testing.assert_allclose(after, before, 1e-5)


def modules():
    # Not what only another backend can import.
    others = {"_tensorflow", "_jax", "_torch"} - {f"_{keras.backend.backend()}"}
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
        "_recalibration": set(),
        "_display": {"_bins"},
        "_report": {"_bins", "_scores", "_display"},
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


def test_the_keras_under_test_is_the_one_that_was_asked_for():
    # Set where the suite runs on the oldest Keras that pyproject.toml admits.
    expected = os.environ.get("EXPECTED_KERAS", keras.__version__)
    assert keras.__version__ == expected
