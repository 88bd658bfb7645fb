"""Docstrings that share texts."""

import inspect
import re
import subprocess
import sys

import pytest

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet._classifier import CLASSIFIER_PARAMETERS
from skconvnet._docs import ATTRIBUTES, PARAMETERS, fill_docstring, write_items
from skconvnet._regressor import REGRESSOR_PARAMETERS

ESTIMATORS = [(ConvNetClassifier, CLASSIFIER_PARAMETERS), (ConvNetRegressor, REGRESSOR_PARAMETERS)]


def list_items(estimator, section):
    """Return the names that a section of a docstring describes, in order."""
    body = re.search(rf"\n{section}\n-+\n(.*?)\n\n\w", inspect.getdoc(estimator), re.DOTALL).group(1)
    return [name for names in re.findall(r"^([\w, ]+) : ", body, re.MULTILINE) for name in names.split(", ")]


@pytest.mark.parametrize(("estimator", "texts"), ESTIMATORS)
def test_parameters_are_those_of_the_signature(estimator, texts):
    names = list(inspect.signature(estimator).parameters)
    assert list_items(estimator, "Parameters") == names
    assert set(texts) == set(names), "every text is used"


@pytest.mark.parametrize(("estimator", "texts"), ESTIMATORS)
def test_placeholders_are_filled(estimator, texts):
    members = [member for key, member in inspect.getmembers(estimator()) if not key.startswith("_")]
    for thing in (estimator, *filter(callable, members)):
        assert "$" not in (inspect.getdoc(thing) or "")
    for text in re.split(r"\$\w+", f"{write_items(texts)}\n{ATTRIBUTES}"):
        assert all(line in estimator.__doc__ for line in text.split("\n"))


def test_estimators_differ_only_in_what_they_do_not_share():
    own = {"loss", "label_smoothing", "class_weight"}
    assert set(CLASSIFIER_PARAMETERS) - set(PARAMETERS) == own
    assert set(REGRESSOR_PARAMETERS) - set(PARAMETERS) == {"loss"}
    assert set(list_items(ConvNetClassifier, "Attributes")) ^ set(
        list_items(ConvNetRegressor, "Attributes")
    ) == {"classes_"}


@pytest.mark.parametrize("estimator", [ConvNetClassifier, ConvNetRegressor])
def test_attributes_are_those_of_a_fitted_estimator(estimator):
    fitted = estimator(max_iter=1).fit([[0.0], [1.0]], [0, 1])
    learned = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    assert set(list_items(estimator, "Attributes")) == learned | {"feature_names_in_"}


def test_filling():
    def function(self, first, second=2):
        """Compute.

        $parameters

        $result
        """

    texts = {"second": "int, default=2\n    Of $what.", "first": "int"}
    assert fill_docstring(texts, result="A $what.", what="number")(function) is function
    assert function.__doc__ == (
        "Compute.\n\nfirst : int\nsecond : int, default=2\n    Of number.\n\nA number.\n"
    )


@pytest.mark.parametrize(
    ("doc", "texts", "words", "error"),
    [
        ("Compute $what.", None, {}, KeyError),
        ("Compute.", None, {"what": "it"}, ValueError),
        ("Compute.", {"x": "int"}, {}, ValueError),
        ("$parameters", {}, {}, KeyError),
        (None, {}, {"what": "it"}, None),
    ],
)
def test_incomplete_docstrings(doc, texts, words, error):
    def function(x):
        pass

    function.__doc__ = doc
    if error is None:
        assert fill_docstring(texts, **words)(function).__doc__ is None
    else:
        with pytest.raises(error):
            fill_docstring(texts, **words)(function)


def test_import_without_docstrings():
    code = "import skconvnet.functional as f; print(skconvnet.ConvNetClassifier.__doc__, f.relu([[1]]))"
    command = [sys.executable, "-P", "-OO", "-c", f"import skconvnet; {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "None [[1.]]\n"
    assert skconvnet.functional.relu.__doc__.startswith("Compute max(x, 0).\n\nParameters\n")
