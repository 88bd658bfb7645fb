"""The display of an estimator in a notebook: scikit-learn's tables, and the table of layers."""

import re
from html.parser import HTMLParser

import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from skconvnet.layers import BatchNorm, Conv2D, Dense, Dropout, MaxPool2D, ReLU, Residual

X, Y = load_digits(return_X_y=True)
X, Y = X[:60], Y[:60]


def draw(shape, fan_in, fan_out, rng):
    return rng.standard_normal(shape)


class Hostile:
    """An initializer whose repr is markup."""

    __call__ = staticmethod(draw)

    def __repr__(self):
        return "<script>alert('&')</script>"


LAYERS = [
    Conv2D(4, padding="same", activation="relu", name="stem"),
    Residual([Conv2D(6, stride=2, padding="same"), BatchNorm(), Dropout(0.5)], name="block"),
    Residual([ReLU()], [BatchNorm(name="side")]),
    None,
    MaxPool2D(),
    Dense(5, init=Hostile()),
]
FITTED_ROWS = [
    ["stem", "Conv2D(filters=4, padding='same', activation='relu')", "4 × 8 × 8", "40"],
    ["block", "Residual()", "6 × 4 × 4", "258"],
    ["0", "Conv2D(filters=6, stride=2, padding='same')", "6 × 4 × 4", "222"],
    ["1", "BatchNorm()", "6 × 4 × 4", "12"],
    ["2", "Dropout()", "6 × 4 × 4", "0"],
    ["shortcut.0", "Conv2D(filters=6, kernel_size=1, stride=(2, 2), bias=False)", "6 × 4 × 4", "24"],
    ["2", "Residual()", "6 × 4 × 4", "12"],
    ["0", "ReLU()", "6 × 4 × 4", "0"],
    ["shortcut.side", "BatchNorm()", "6 × 4 × 4", "12"],
    ["4", "MaxPool2D()", "6 × 2 × 2", "0"],
    ["5", "Dense(units=5, init=<script>alert('&')</script>)", "5", "125"],
    ["output", "Dense(units=10, init='small_uniform')", "10", "60"],
]

pytestmark = pytest.mark.skipif(
    not hasattr(BaseEstimator, "_get_params_html"), reason="scikit-learn before 1.7 has no tables"
)


class Reader(HTMLParser):
    """Checks that elements are nested properly, and collects the rows of tables by their heading."""

    VOID = {"input", "br", "meta", "link"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tables = [], {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "summary":
            self.heading = ""
        elif tag == "tr":
            self.tables.setdefault(self.heading, []).append([])
        elif tag in ("td", "th"):
            self.tables[self.heading][-1].append("")

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "summary" in self.open:
            self.heading += data
        elif "td" in self.open or "th" in self.open:
            self.tables[self.heading][-1][-1] += data


def make(kind=ConvNetClassifier, **params):
    return kind(**{"layers": LAYERS, "input_shape": (8, 8), "max_iter": 1, "random_state": 0, **params})


def test_unfitted_layers_have_no_shapes():
    tables = Reader(make()._repr_html_()).tables
    assert tables["Layers"] == [["Name", "Layer"]] + [
        row[:2] for row in FITTED_ROWS[:-1] if row[0] != "shortcut.0"
    ]
    assert any("max_iter" in row[1] for row in tables["Parameters"])


def test_fitted_layers_have_shapes_and_parameters():
    text = make().fit(X, Y)._repr_html_()
    tables = Reader(text).tables
    heading = next(name for name in tables if name.startswith("Layers"))
    assert heading == "Layers, 495 parameters"
    assert tables[heading] == [["Name", "Layer", "Output shape", "Parameters"], *FITTED_ROWS]
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


def test_tooltips_come_from_the_docstring():
    own, inner = {"estimator", "layer", "estimator_", "layer_"}, {"max_iter", "learning_rate"}
    for model, expected in [
        (make(), inner),
        (make(ConvNetRegressor), inner),
        (ConvNetTransformer(make()), own | inner),
    ]:
        text = model.fit(X, Y)._repr_html_()
        tips = re.findall(r'class="param-doc-description"[^>]*>\s*(\w+):', text)
        assert expected <= set(tips)


@pytest.mark.parametrize("fitted", [False, True])
def test_inside_meta_estimators(fitted):
    pipeline = make_pipeline(MinMaxScaler(), make())
    search = GridSearchCV(pipeline, {"convnetclassifier__layers__stem__filters": [2, 4]}, cv=2)
    for model in (pipeline, search):
        if fitted:
            model.fit(X, Y)
        tables = Reader(model._repr_html_()).tables
        assert sum(name.startswith("Layers") for name in tables) == 1
        assert tables["Parameters"]
        assert any(name.startswith("Layers, ") for name in tables) == fitted


def test_without_layers_or_with_wrong_ones():
    for layers in (None, [Conv2D], "Conv2D", [Conv2D(1, name="a"), Conv2D(1, name="a")]):
        tables = Reader(make(layers=layers)._repr_html_()).tables
        assert "Layers" not in tables and tables["Parameters"]
