"""Public docstrings: numpydoc's validation, then defaults, errors, examples and tooltips; types."""

import importlib.resources
import inspect
import pkgutil
import re
import sys

import numpy as np
import pytest
import scipy.sparse
import sklearn.exceptions
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from skconvnet._network import Network

# numpydoc's checks that do not apply, and why.
OFF = {
    "ES01": "one sentence may say all",
    "EX01": "methods need no example; test_example requires those of classes and functions",
    "GL01": "before version 1.11, numpydoc refuses a summary on the line of the opening quotes",
    "PR03": "`name`, a keyword, is documented last; test_docstring checks the order of the others",
    "PR04": "a line without a type refers to the forward function (functional.py)",
    "PR07": "name, type and shape may say all; test_tooltip requires the estimators' descriptions",
    "RT02": "returned values have names",
    "RT03": "name, type and shape may say all",
    "SA01": "not everything has a relative",
}


def list_declared():
    """Return the classes and functions of every `__all__`, by name."""
    names = [m.name for m in pkgutil.iter_modules(skconvnet.__path__) if not m.name.startswith("_")]
    modules = [skconvnet, *(importlib.import_module(f"skconvnet.{name}") for name in names)]
    declared = {f"{m.__name__}.{name}": getattr(m, name) for m in modules for name in m.__all__}
    return {name: thing for name, thing in declared.items() if callable(thing)}


def list_members(cls):
    """Return the methods and properties of a class that skconvnet defines, by name."""
    for name, member in inspect.getmembers_static(cls):
        member = member if isinstance(member, property) else getattr(cls, name)
        module = getattr(getattr(member, "fget", member), "__module__", None) or ""
        if not name.startswith("_") and module.startswith("skconvnet"):
            yield name, member


DECLARED = list_declared()
CLASSES = {name: thing for name, thing in DECLARED.items() if inspect.isclass(thing)}
CLASSES["Network"] = Network  # the class of an estimator's `network_`
MEMBERS = {f"{name}.{key}": member for name, cls in CLASSES.items() for key, member in list_members(cls)}
PUBLIC = {**DECLARED, **CLASSES, **MEMBERS}


def parse(thing):
    """Return numpydoc's validator of an object, whose docstring may be inherited."""
    parsed = Validator(get_doc_object(thing))
    parsed.raw_doc = parsed.raw_doc or f"{parsed.clean_doc}\n"
    return parsed


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring(name):
    thing, parsed = PUBLIC[name], parse(PUBLIC[name])
    found = validate(name, lambda obj_name: parsed)["errors"]
    assert not [error for error in found if error[0] not in OFF]
    if not isinstance(thing, property):
        parameters, documented = inspect.signature(thing).parameters, parsed.doc_parameters
        positional = [key for key in parameters if parameters[key].kind < inspect.Parameter.KEYWORD_ONLY]
        assert [key for key in documented if key in positional] == [*filter(documented.get, positional)]
        for key in parameters.keys() & documented.keys():
            kind, _, default = documented[key][0].rpartition("default=")
            if documented[key][0] and parameters[key].default is not inspect.Parameter.empty:
                value = eval(default, vars(sys.modules[thing.__module__]))
                assert kind and repr(value) == repr(parameters[key].default)
    errors = {error.type: "".join(error.desc) for error in parsed.doc["Raises"]}
    for error, when in errors.items():
        assert issubclass(eval(error, {**vars(sklearn.exceptions), **vars(skconvnet.layers)}), Exception)
        assert when.endswith("."), f"say when {error} is raised"
    if inspect.isroutine(thing):
        raised = re.findall(r"^ +raise (\w+)\(", inspect.getsource(thing), re.MULTILINE)
        assert errors.keys() >= {*raised} - {"NotImplementedError"}


@pytest.mark.parametrize("name", [name for name in DECLARED if not name.startswith("skconvnet.kernels.")])
def test_example(name):
    assert any(line.startswith(">>> ") for line in parse(DECLARED[name]).examples)


@pytest.mark.parametrize("estimator", [ConvNetClassifier, ConvNetRegressor, ConvNetTransformer])
def test_tooltip(estimator):
    # scikit-learn shows, in notebooks, the description of a parameter that has a line of its own
    described = {p.name for p in parse(estimator).doc["Parameters"] if p.type and any(p.desc)}
    assert described == set(inspect.signature(estimator).parameters)


METHODS = ["decision_function", "predict", "predict_proba", "predict_log_proba"]
PREDICTIONS = [(ConvNetClassifier, m) for m in METHODS]
PREDICTIONS += [(ConvNetRegressor, "predict"), (ConvNetTransformer, "transform")]


@pytest.mark.parametrize(("cls", "method"), PREDICTIONS)
def test_errors_of_prediction_are_documented(cls, method):
    options = {"layers": [skconvnet.layers.Dense(9)], "max_iter": 1, "dtype": "float32", "random_state": 0}
    model = cls(ConvNetClassifier(**options)) if cls is ConvNetTransformer else cls(**options)
    X, raised = np.linspace(0, 1, 12).reshape(4, 3), {"NotFittedError"}
    with pytest.raises(sklearn.exceptions.NotFittedError):
        getattr(model, method)(X)
    model.fit(X, [0, 1, 0, 1])
    sparse, masked = scipy.sparse.csr_matrix(X), np.ma.masked_less(X, 0.5)
    for wrong in (X[:, 1:], X * np.nan, X * 1e300, X * 3e38, sparse, masked):
        with pytest.raises((TypeError, ValueError)) as caught:
            getattr(model, method)(wrong)
        raised.add(caught.type.__name__)
    assert raised == {error.type for error in parse(getattr(cls, method)).doc["Raises"]}


def test_types_are_installed():
    # without this file, a type checker ignores the package's annotations
    assert importlib.resources.files("skconvnet").joinpath("py.typed").is_file()


def test_what_is_public():
    assert {"skconvnet.ConvNetClassifier.partial_fit", "skconvnet.layers.Conv2D"} <= PUBLIC.keys()
    assert not any("sklearn" in getattr(thing, "__module__", "") for thing in PUBLIC.values())
