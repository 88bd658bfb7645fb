"""Imports only point down: from the estimator to training, network, layers, kernels."""

import ast
import copy
import doctest
import graphlib
import importlib.util
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import skconvnet
from skconvnet._advice import SYNONYMS

PACKAGE = Path(importlib.util.find_spec("skconvnet._network").origin).parent

# From the ground up: a module imports from lower floors, and, within a folder, from its neighbours.
FLOORS = [
    {"_types", "_warnings", "_advice", "_docs"},
    {"kernels"},
    {"_values", "_sklearn_compat", "_images", "_output_file", "_progress", "_lowering"},
    {"losses", "datasets", "initializers", "optimizers", "schedules"},
    {"layers"},
    {"_stages", "architectures"},
    {"_outline"},
    {"_network"},
    {"_params", "_training", "_transfer", "_versions", "functional", "profile"},
    {"_callbacks", "_defaults", "_failure", "_files", "_onnx", "_targets", "_validation", "_variants"},
    {"_base"},
    {"_classifier", "_regressor", "_transformer", "dask", "plotting"},
    {"_convert"},
    {"__init__"},
]
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
CYTHON_FILES = sorted(path for path in (Path(__file__).parents[1] / "skconvnet").rglob("*.p[xy][dx]"))
HEADERS = sorted((Path(__file__).parents[1] / "skconvnet" / "kernels").glob("*.h"))


def find_floor(module):
    floors = [level for level, modules in enumerate(FLOORS) if module in modules]
    assert floors, f"{module} has no floor yet: add it to FLOORS"
    return floors[0]


def list_imports(path):
    """The modules of the package that a file imports from, and the outside packages."""
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
    module = file.parts[0].removesuffix(".py")
    for name in list_imports(PACKAGE / file):
        if name.startswith("skconvnet."):
            other = name.split(".")[1]
            assert other == module or find_floor(other) < find_floor(module), f"{file} imports {name}"


def test_kernels_are_kernels():
    """Planning is in _lowering: kernels import kernels, none of them in a circle, and Python only dispatches."""
    assert {file.name for file in FILES if file.parts[0] == "kernels"} == {"__init__.py", "dispatch.py"}
    needs = {
        file.stem: set(re.findall(r"^from skconvnet\.kernels\.(\w+) cimport", file.read_text(), re.M))
        for file in CYTHON_FILES
    }
    assert len(needs) > 25 and needs["engine"] and not needs["simd"]
    assert not any("skconvnet" in re.sub(r"skconvnet\.kernels\b", "", f.read_text()) for f in CYTHON_FILES)
    assert list(graphlib.TopologicalSorter(needs).static_order())[-1] == "engine"


def list_signatures():
    """Every function of the package, with the positional arguments that it takes beside self."""
    for file in FILES:
        for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                names = [a.arg for a in node.args.posonlyargs + node.args.args]
                yield (
                    f"{file}: {getattr(node, 'name', 'lambda')}",
                    [n for n in names if n not in ("self", "cls")],
                )
    for file in CYTHON_FILES:
        code = re.sub(r"#.*", "", file.read_text())
        found = re.findall(r"^ *(?:cdef|def)\b[^\n(=]*?(\w+)\(([^)]*)\)[^\n]*:\n", code, re.M)
        assert found or "def " not in code.replace("cdef extern", "").replace("ctypedef", "")
        for name, arguments in found:
            positional = arguments.partition("*,")[0]
            names = [n.strip() for n in positional.split(",") if n.strip()]
            yield f"{file.name}: {name}", [n for n in names if n != "self"]
    for file in HEADERS:
        code = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.S)
        for name, arguments in re.findall(r"^\w[\w\s*]*?\b(\w+)\(([^()]*)\)\s*\{", code, re.M):
            yield f"{file.name}: {name}", [n for n in arguments.split(",") if n.strip()]


def test_no_function_takes_more_than_eight_positional_arguments():
    signatures = list(list_signatures())
    assert len(signatures) > 800
    assert {"output_tiles.pxd: compute_output_tiles", "orthogonalize.h: add_product"} <= {
        w for w, _ in signatures
    }
    assert [(where, names) for where, names in signatures if len(names) > 8] == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_private_scikit_learn_names_are_imported_in_one_place(file):
    for name in list_imports(PACKAGE / file):
        if name.startswith("sklearn.") and str(file) != "_sklearn_compat.py":
            assert not any(part.startswith("_") for part in name.split(".")), f"{file}: {name}"


def list_declared():
    """Return the packages that pyproject.toml declares: dependencies, and the extras that users choose."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = [
        project["optional-dependencies"][name] for name in ("safetensors", "onnx", "skl2onnx", "plot", "dask")
    ]
    names = {re.match(r"[\w-]+", line).group() for line in sum(extras, project["dependencies"])}
    return {"sklearn" if name == "scikit-learn" else name for name in names}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_nothing_beyond_the_declared_dependencies(file):
    allowed = {"skconvnet", *list_declared(), *sys.stdlib_module_names}
    for name in list_imports(PACKAGE / file):
        assert name.split(".")[0] in allowed, f"{file} imports {name}"


def test_public_modules_are_there_without_their_own_import():
    """In a new process, where no test has imported any of them."""
    modules = {module.name for module in pkgutil.iter_modules([PACKAGE]) if not module.name.startswith("_")}
    code = f"""
import sys
import skconvnet
late = ["architectures", "dask", "datasets", "plotting", "profile"]
assert not any(f"skconvnet.{{name}}" in sys.modules for name in late)
assert {modules} <= set(dir(skconvnet)) and {{"ConvNetClassifier", "__version__"}} <= set(dir(skconvnet))
for name in late:
    assert name not in vars(skconvnet)
for name in {modules}:
    assert getattr(skconvnet, name) is sys.modules[f"skconvnet.{{name}}"]
assert callable(skconvnet.dask.fit) and not {{"dask", "distributed", "matplotlib"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], check=True)


def test_a_misspelt_module():
    with pytest.raises(
        AttributeError, match=r"^module 'skconvnet' has no attribute 'plotings'\. Did you mean 'plotting'\?$"
    ):
        skconvnet.plotings  # noqa: B018
    assert not hasattr(skconvnet, "_base_") and not hasattr(skconvnet, "tests")
    with pytest.raises(ImportError, match="cannot import name 'plotings' from 'skconvnet'"):
        from skconvnet import plotings  # noqa: F401
    assert sorted([*skconvnet.__all__, *skconvnet._MODULES]) == dir(skconvnet)


@pytest.mark.parametrize(
    ("module", "name", "remedy"),
    [
        ("layers", "MaxPooling2D", "Write: from skconvnet.layers import MaxPool2D."),
        ("layers", "Conv2d", "Write: from skconvnet.layers import Conv2D."),
        ("layers", "BatchNormalization", "Write: from skconvnet.layers import BatchNorm."),
        ("layers", "ReLu", "Write: from skconvnet.layers import ReLU."),
        ("layers", "Normalization", "Write: from skconvnet.layers import Standardize."),
        ("layers", "Adam", "Write: from skconvnet.optimizers import Adam."),
        ("", "Dropout", "Write: from skconvnet.layers import Dropout."),
        ("", "fetch_mnist", "Write: from skconvnet.datasets import fetch_mnist."),
        ("", "ConvnetClassifier", "Write: from skconvnet import ConvNetClassifier."),
        ("", "Sequential", "ConvNetClassifier and ConvNetRegressor take their layers in a list."),
        ("optimizers", "adam", "Write: from skconvnet.optimizers import Adam."),
        ("schedules", "StepLR", "Write: from skconvnet.schedules import StepDecay."),
        ("datasets", "load_mnist", "Write: from skconvnet.datasets import fetch_mnist."),
        ("plotting", "plot_learning_curves", "Write: from skconvnet.plotting import LearningCurveDisplay."),
    ],
)
def test_names_of_other_libraries(module, name, remedy):
    module = ".".join(["skconvnet", module]).rstrip(".")
    with pytest.raises(ImportError) as caught:
        exec(f"from {module} import {name}", {})
    assert str(caught.value) == f"{module} has no {name}. {remedy}"


def test_names_of_other_libraries_mean_public_ones():
    for meant, words in SYNONYMS.items():
        if meant.startswith("skconvnet."):
            module, _, own = meant.rpartition(".")
            names = importlib.import_module(module).__all__
            assert own in names and not {*words.split()} & {*names}


def test_functions_of_other_libraries_can_be_looked_for():
    """As pickle does in all modules for a function that has no module of its own."""

    def relu(x):
        return x

    relu.__module__ = None
    assert pickle.whichmodule(relu, "relu") == "__main__"


@pytest.mark.parametrize("module", ["layers", "optimizers", "schedules", "datasets", "plotting"])
def test_modules_that_guide_are_modules_still(module):
    module = importlib.import_module(f"skconvnet.{module}")
    assert not hasattr(module, "__wrapped__") and not hasattr(module, "colour")
    with pytest.raises(AttributeError, match=f"has no attribute '{module.__all__[0]}_'. Did you mean"):
        getattr(module, f"{module.__all__[0]}_")
    assert inspect.getmodule(module.__getattr__) and doctest.DocTestFinder().find(module)
    thing = getattr(module, module.__all__[-1])
    assert pickle.loads(pickle.dumps(thing)) is thing is copy.deepcopy(thing)
