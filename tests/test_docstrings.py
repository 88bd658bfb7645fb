"""Docstrings of all that is public: numpydoc, with every parameter, its default, and what comes of it."""

import ast
import importlib
import importlib.resources
import inspect
import pkgutil
import re
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse
import sklearn.exceptions

import skconvnet
from skconvnet._network import Network


def list_public():
    """Names and objects: of every `__all__`, with the methods and properties that are skconvnet's own."""
    rooms = [m.name for m in pkgutil.iter_modules(skconvnet.__path__) if not m.name.startswith("_")]
    found = {"Network": Network}  # what an estimator's `network_` is
    for module in map(importlib.import_module, ["skconvnet", *(f"skconvnet.{room}" for room in rooms)]):
        assert hasattr(module, "__all__"), (
            f"{module.__name__} has a public name: say with __all__ what is public"
        )
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                found[f"{module.__name__}.{name}"] = thing
    for name, thing in list(found.items()):
        if inspect.isclass(thing):
            for key in dir(thing):
                member = inspect.getattr_static(thing, key)
                if not isinstance(member, property):
                    member = getattr(thing, key)
                owner = getattr(member, "fget", member)
                if not key.startswith("_") and getattr(owner, "__module__", "").startswith("skconvnet"):
                    found[f"{name}.{key}"] = member
    return found


PUBLIC = list_public()

# numpydoc's sections in their order
SECTIONS = [
    "",
    *("Parameters", "Attributes", "Methods", "Returns", "Yields", "Raises", "Warns"),
    *("See Also", "Notes", "References", "Examples"),
]


def read_sections(doc):
    """Titles and bodies of the sections of a numpydoc docstring; the text before them has the title ''."""
    lines = doc.splitlines()
    starts = [k for k in range(len(lines) - 1) if lines[k] and re.fullmatch("-{3,}", lines[k + 1])]
    sections = {"": lines[: starts[0] if starts else None]}
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        assert len(lines[start]) == len(lines[start + 1]), f"underline {lines[start]!r} at its length"
        sections[lines[start]] = lines[start + 2 : end]
    return sections


def read_parameters(section):
    """Names of parameters, and the description of the kind that each has on its line."""
    kinds = {}
    for line in section:
        if line and not line.startswith(" "):
            names, _, kind = line.partition(" : ")
            kinds.update(dict.fromkeys(names.replace("*", "").split(", "), kind))
    return kinds


def list_statements(function):
    """The statements of a function's body, without those of functions in it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    waiting = list(tree.body[0].body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield node
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring(name):
    thing = PUBLIC[name]
    sections = read_sections(inspect.getdoc(thing) or "")
    assert sections[""] and sections[""][0].endswith((".", ":")), "a sentence on the first line"
    if isinstance(thing, property):
        return
    parameters = dict(inspect.signature(thing).parameters)
    parameters.pop("self", None)
    kinds = read_parameters(sections.get("Parameters", []))
    assert set(kinds) == set(parameters)
    for key, parameter in parameters.items():
        if kinds[key] and parameter.default is not parameter.empty:
            kind, _, default = kinds[key].rpartition("default=")
            assert kind and repr(eval(default, vars(sys.modules[thing.__module__]))) == repr(
                parameter.default
            )
    if not inspect.isclass(thing):
        statements = list(list_statements(thing))
        returns = any(isinstance(node, ast.Return) and node.value for node in statements)
        yields = any(isinstance(node, ast.Yield) for node in statements)
        assert ("Returns" in sections) >= returns and ("Yields" in sections) >= yields
        raised = [node.exc for node in statements if isinstance(node, ast.Raise) and node.exc]
        for error in (getattr(exc, "func", exc) for exc in raised):
            if isinstance(error, ast.Name) and error.id != "NotImplementedError":
                assert any(line == error.id for line in sections.get("Raises", [])), error.id


def read_descriptions(section):
    """What stands indented below each unindented line of a section, by that line."""
    found = {}
    for line in section:
        if line and not line.startswith(" "):
            found[line] = ""
        elif found:
            found[next(reversed(found))] += line.strip()
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_sections(name):
    sections = read_sections(inspect.getdoc(PUBLIC[name]))
    assert [title for title in SECTIONS if title in sections] == list(sections), "numpydoc's, in its order"
    for title, body in sections.items():
        assert any(body), f"an empty section {title!r}"
    for error, when in read_descriptions(sections.get("Raises", [])).items():
        assert issubclass(eval(error, {**vars(sklearn.exceptions), **vars(skconvnet.layers)}), Exception)
        assert when.endswith("."), f"say when {error} is raised"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, thing in PUBLIC.items()
        if (inspect.isclass(thing) and thing is not Network)
        or (inspect.isfunction(thing) and "." not in thing.__qualname__)  # no method
        if not name.startswith("skconvnet.kernels.")
    ],
)
def test_example(name):
    examples = read_sections(inspect.getdoc(PUBLIC[name])).get("Examples", [])
    assert any(line.startswith(">>> ") for line in examples)


@pytest.mark.parametrize(
    "estimator",
    [skconvnet.ConvNetClassifier, skconvnet.ConvNetRegressor, skconvnet.ConvNetTransformer],
)
def test_every_parameter_of_an_estimator_has_a_tooltip(estimator):
    # scikit-learn shows in notebooks what a line "name : kind" has below it
    section = read_sections(inspect.getdoc(estimator))["Parameters"]
    tooltips = {line.partition(" : ")[0]: text for line, text in read_descriptions(section).items()}
    assert set(tooltips) == set(inspect.signature(estimator).parameters) and all(tooltips.values())


@pytest.mark.parametrize(
    ("cls", "method"),
    [
        *((skconvnet.ConvNetClassifier, name) for name in ("decision_function", "predict")),
        *((skconvnet.ConvNetClassifier, name) for name in ("predict_proba", "predict_log_proba")),
        (skconvnet.ConvNetRegressor, "predict"),
        (skconvnet.ConvNetTransformer, "transform"),
    ],
)
def test_what_predicting_raises_is_said(cls, method):
    options = {"layers": [skconvnet.layers.Dense(9)], "max_iter": 1, "dtype": "float32", "random_state": 0}
    transforms = cls is skconvnet.ConvNetTransformer
    model = cls(skconvnet.ConvNetClassifier(**options)) if transforms else cls(**options)
    said = read_sections(inspect.getdoc(getattr(cls, method)))["Raises"]
    X = np.linspace(0, 1, 12).reshape(4, 3)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        getattr(model, method)(X)
    model.fit(X, [0, 1, 0, 1])
    raised = {"NotFittedError"}
    for wrong in (
        X[:, 1:],
        X * np.nan,
        X * 1e300,
        X * 3e38,
        scipy.sparse.csr_matrix(X),
        np.ma.masked_less(X, 0.5),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            getattr(model, method)(wrong)
        raised.add(caught.type.__name__)
    assert raised == {line for line in said if line and not line.startswith(" ")}


def test_types_are_installed():
    # without this file, a type checker ignores the package's annotations
    assert importlib.resources.files("skconvnet").joinpath("py.typed").is_file()


def test_what_is_public():
    assert {"skconvnet.ConvNetClassifier.partial_fit", "skconvnet.layers.Conv2D", "skconvnet.load"} <= set(
        PUBLIC
    )
    assert not any("sklearn" in getattr(thing, "__module__", "") for thing in PUBLIC.values())
