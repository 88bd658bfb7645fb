"""Imports only point down: from the estimator to training, network, layers, kernels."""

import ast
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import skconvnet

PACKAGE = Path(importlib.util.find_spec("skconvnet._network").origin).parent

# From the ground up: a room imports from lower floors, and, within a folder, from its neighbours.
FLOORS = [
    {"_types", "_warnings"},
    {"kernels"},
    {"_values", "_sklearn_compat", "_images", "_progress"},
    {"_losses", "datasets", "initializers", "_plan", "optimizers", "schedules"},
    {"layers"},
    {"_network", "architectures"},
    {"_outline", "_params", "_training", "_versions", "functional", "profile"},
    {"_files"},
    {"_base"},
    {"_classifier", "_regressor", "_onnx", "_transformer", "dask", "plotting"},
    {"__init__"},
]
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def find_floor(room):
    floors = [level for level, rooms in enumerate(FLOORS) if room in rooms]
    assert floors, f"{room} has no floor yet: add it to FLOORS"
    return floors[0]


def list_imports(path):
    """The rooms of the package that a file imports from, and the outside packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "skconvnet":
                names = [f"skconvnet.{alias.name}" for alias in node.names]
            else:
                names = [node.module]
        yield from names


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_down(file):
    room = file.parts[0].removesuffix(".py")
    for name in list_imports(PACKAGE / file):
        if name.startswith("skconvnet."):
            other = name.split(".")[1]
            assert other == room or find_floor(other) < find_floor(room), f"{file} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_private_scikit_learn_names_are_imported_in_one_place(file):
    for name in list_imports(PACKAGE / file):
        if name.startswith("sklearn.") and str(file) != "_sklearn_compat.py":
            assert not any(part.startswith("_") for part in name.split(".")), f"{file}: {name}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_nothing_beyond_the_declared_dependencies(file):
    # joblib: scikit-learn's own; the others: extras, imported by what needs them
    allowed = {"skconvnet", "numpy", "scipy", "sklearn", "joblib"}
    allowed |= {"safetensors", "onnx", "matplotlib", "dask", "distributed"}
    for name in list_imports(PACKAGE / file):
        root = name.split(".")[0]
        assert root in allowed or root in sys.stdlib_module_names, f"{file} imports {name}"


def test_public_modules_are_there_without_their_own_import():
    """In a new process, where no test has imported any of them."""
    rooms = {module.name for module in pkgutil.iter_modules([PACKAGE]) if not module.name.startswith("_")}
    code = f"""
import sys
import skconvnet
late = ["architectures", "dask", "datasets", "plotting", "profile"]
assert not any(f"skconvnet.{{name}}" in sys.modules for name in late)
assert {rooms} <= set(dir(skconvnet)) and {{"ConvNetClassifier", "__version__"}} <= set(dir(skconvnet))
for name in late:
    assert name not in vars(skconvnet)
for name in {rooms}:
    assert getattr(skconvnet, name) is sys.modules[f"skconvnet.{{name}}"]
assert callable(skconvnet.dask.fit) and not {{"dask", "distributed", "matplotlib"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], check=True)


def test_a_misspelt_module():
    with pytest.raises(AttributeError, match="^module 'skconvnet' has no attribute 'plotings'$"):
        skconvnet.plotings  # noqa: B018
    assert not hasattr(skconvnet, "_base_") and not hasattr(skconvnet, "tests")
    with pytest.raises(ImportError, match="cannot import name 'plotings' from 'skconvnet'"):
        from skconvnet import plotings  # noqa: F401
