"""ONNX models compared with the estimators that they were exported from."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from checks import build
from sklearn.exceptions import NotFittedError
from test_contract import ROWS

from skconvnet import ConvNetClassifier, ConvNetRegressor, __version__, architectures, to_onnx
from skconvnet._network import Network
from skconvnet.layers import BatchNorm, Conv2D, Dense, Layer, MaxPool2D, Output, RandomFlip, Standardize
from skconvnet.layers.sequence import count_axes
from skconvnet.losses import LOSSES

rng = np.random.RandomState(0)
IMAGES = rng.rand(40, 8, 8, 3).astype(np.float32)
SMALL = [Conv2D(4, activation="relu"), MaxPool2D(), Dense(6, activation="tanh")]


def run(model, X):
    """Return the outputs of a model, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip([y.name for y in session.get_outputs()], session.run(None, {"X": X})))


def assert_close(ours, theirs):
    assert ours.shape == theirs.shape and theirs.dtype == np.float32
    np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-5)  # 60 has 4e-6 between float32


def export(estimator, path):
    """Export an estimator, check the model and return it."""
    model = to_onnx(estimator, path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    return model


def fit_random(estimator, X, y):
    """Fit an estimator, then replace all weights by random ones."""
    estimator.set_params(max_iter=1, learning_rate=1e-6).fit(X, y)
    network = estimator.network_
    network.set_weights(build(network.input_shape, network.layers, network.n_outputs).weights)
    return estimator


# no model can call a Function: test_function.py
@pytest.mark.parametrize("layer, shape", [row for row in ROWS if "Function(" not in repr(row)], ids=str)
def test_every_layer(tmp_path, layer, shape):
    layers = [layer] if isinstance(layer, Output) else [layer, Output(dense=False)]
    n_outputs = 3 if isinstance(layer, Output) else int(np.prod(layer.output_shape(shape)))
    X = rng.standard_normal((17, *shape)).astype(np.float32)
    X = X[:, :, 0] if count_axes([layer]) == 1 else X
    reg = ConvNetRegressor(layers, data_format="channels_first")
    fit_random(reg, X, rng.standard_normal((17, n_outputs)))
    model = export(reg, tmp_path)
    for n in (1, 17):
        assert_close(reg.predict(X[:n]), run(model, X[:n])["variable"])


@pytest.mark.parametrize("name", architectures.INPUT_SHAPES)
def test_architectures(tmp_path, dtype, name):
    c, h, w = architectures.INPUT_SHAPES[name]
    small = {
        "vgg": {"filters": (8, 16), "units": 20},
        "resnet": {"blocks": 1, "filters": (4, 8)},
        "mobilenet": {"width": 0.1},
    }
    X = rng.rand(17, h, w, c).astype(dtype)
    X = X if h > 1 else X[:, 0]  # signals
    clf = ConvNetClassifier(getattr(architectures, name)(**small.get(name, {})))
    fit_random(clf, X, np.arange(17) % 10)
    outputs = run(export(clf, tmp_path), X)
    assert_close(clf.predict_proba(X), outputs["probabilities"])
    np.testing.assert_array_equal(outputs["label"], clf.predict(X))


TARGETS = {
    "cross_entropy": np.arange(40) % 3,
    "cross_entropy, two classes": np.arange(40) % 2 * 5 - 3,
    "cross_entropy, text": np.array(["cat", "dog", "Käse", "a longer one"])[np.arange(40) % 4],
    "cross_entropy, text as objects": np.array(["cat", "dog"], object)[np.arange(40) % 2],
    "cross_entropy, bool": np.arange(40) % 2 == 1,
    "cross_entropy, whole floats": np.arange(40) % 3 / 1.0,
    "cross_entropy, uint8": (np.arange(40) % 3 + 200).astype(np.uint8),
    "binary_cross_entropy": np.arange(40) % 4,
    "binary_cross_entropy, two classes": np.array(["no", "yes"])[np.arange(40) % 2],
    "binary_cross_entropy, several labels": np.arange(120).reshape(40, 3) % 4 % 2,
    "focal": np.arange(40) % 3,
    "focal, several labels": np.arange(120).reshape(40, 3) % 4 % 2,
    "squared_error": np.arange(40) % 3,
    "absolute_error": np.arange(40) % 2,
}


@pytest.mark.parametrize("target", TARGETS)
def test_classifiers(tmp_path, dtype, target):
    X, y = IMAGES.astype(dtype), TARGETS[target]
    clf = ConvNetClassifier(SMALL, loss=target.split(",")[0], max_iter=3, random_state=0).fit(X, y)
    model = export(clf, tmp_path)
    for n in (1, 17):
        outputs = run(model, X[:n])
        expected = clf.predict(X[:n])
        np.testing.assert_array_equal(outputs["label"], expected.astype(outputs["label"].dtype))
        assert outputs["label"].dtype == (object if expected.dtype.kind in "UO" else np.int64)
        assert hasattr(clf, "predict_proba") == ("probabilities" in outputs)
        if "probabilities" in outputs:
            assert_close(clf.predict_proba(X[:n]), outputs["probabilities"])


def test_probabilities_of_large_outputs(tmp_path):
    X = np.linspace(-300, 300, 21, dtype=np.float32)[:, None] * [1, 2, -1]
    for loss, y in [("binary_cross_entropy", np.arange(21) % 3), ("binary_cross_entropy", np.arange(21) % 2)]:
        clf = ConvNetClassifier([], loss=loss, learning_rate=1.0, max_iter=20).fit(X, y)
        assert_close(clf.predict_proba(X), run(export(clf, tmp_path), X)["probabilities"])


def test_large_values_are_standardized_as_exactly(tmp_path):
    X = IMAGES + 1000
    y = IMAGES.reshape(40, -1)
    reg = ConvNetRegressor([Standardize(), Output(dense=False)], max_iter=1).fit(X, y)
    assert_close(reg.predict(X), run(export(reg, tmp_path), X)["variable"])


@pytest.mark.parametrize("loss", [name for name, cls in LOSSES.items() if cls.regresses])
@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 3)])
def test_regressors(tmp_path, loss, shape):
    shape = (40, 3) if loss == "cosine" else shape
    y = rng.poisson(7, shape) if loss == "poisson" else rng.standard_normal(shape)
    reg = ConvNetRegressor(SMALL, loss=loss, max_iter=1).fit(IMAGES, y)
    assert_close(reg.predict(IMAGES), run(export(reg, tmp_path), IMAGES)["variable"])


@pytest.mark.parametrize(
    "shape, options",
    [
        ((8, 8, 3), {}),
        ((8, 8, 1), {}),
        ((3, 8, 8), {"data_format": "channels_first"}),
        ((192,), {"layers": [Dense(5)]}),
    ],
    ids=str,
)
def test_inputs_have_the_shape_that_the_estimator_expects(tmp_path, shape, options):
    X = IMAGES.ravel()[: 10 * int(np.prod(shape))].reshape(-1, *shape)
    clf = ConvNetClassifier(**{"layers": SMALL, "max_iter": 1, **options}).fit(X, np.arange(len(X)) % 2)
    model = export(clf, tmp_path)
    sizes = [(d.dim_param or d.dim_value) for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["n", *shape]
    assert_close(clf.predict_proba(X), run(model, X)["probabilities"])


def test_the_file_holds_what_is_returned(tmp_path):
    clf = ConvNetClassifier([BatchNorm(), *SMALL], max_iter=1).fit(IMAGES, np.arange(40) % 2)
    path = tmp_path / "model.onnx"
    path.write_text("old")
    model = to_onnx(clf, path)
    assert onnx.load(path) == model
    assert (model.producer_name, model.producer_version) == ("skconvnet", __version__)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in model.graph.initializer}
    for key, weight in clf.network_.weights.items():
        np.testing.assert_array_equal(arrays[key], weight)


class Doubling(Layer):
    """A layer that has no writer."""

    def lower(self, plan, x, offsets):
        return plan.activate(x, "relu")


class Watching(Layer):
    """A layer that does nothing in prediction."""

    def lower(self, plan, x, offsets):
        return plan.activate(x, "relu") if plan.training else x


class Pretending(Conv2D):
    """A layer that is derived from one of the package."""


def test_layers_of_users(tmp_path):
    y = np.arange(40) % 2
    clf = ConvNetClassifier([*SMALL, Watching()], max_iter=1).fit(IMAGES, y)
    assert_close(clf.predict_proba(IMAGES), run(export(clf, tmp_path), IMAGES)["probabilities"])
    for layer in (Doubling(name="mine"), Pretending(3, name="mine")):
        clf = ConvNetClassifier([layer, *SMALL], max_iter=1).fit(IMAGES, y)
        with pytest.raises(TypeError, match=f"{type(layer).__name__} 'mine' is no layer of skconvnet.layers"):
            to_onnx(clf, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_errors(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(NotFittedError):
        to_onnx(ConvNetClassifier(), path)
    for thing in (SMALL, Network(SMALL, (3, 8, 8)), None):
        with pytest.raises(
            TypeError, match="estimator must be a fitted ConvNetClassifier, ConvNetRegressor or"
        ):
            to_onnx(thing, path)
    y = np.arange(40) % 2
    clf = ConvNetClassifier(SMALL, max_iter=1).fit(IMAGES, np.array([2**63, 2**63 + 5], np.uint64)[y])
    with pytest.raises(TypeError, match="labels must be 64-bit integers or text"):
        to_onnx(clf, path)
    reg = ConvNetRegressor([], max_iter=1).fit(np.ones((4, 2)), np.ones(4))
    reg.network_.set_weights({"output.weight": [[1e39, 0]], "output.bias": [0]})
    with pytest.raises(ValueError, match="output.weight has values beyond the range of float32"):
        to_onnx(reg, path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install skconvnet\[onnx\]"):
        to_onnx(clf, path)


def test_variants_are_refused(tmp_path):
    clf = ConvNetClassifier(SMALL, max_iter=1).fit(IMAGES, np.arange(40) % 2)
    clf.set_params(test_time_augmentation=[RandomFlip()])
    with pytest.raises(ValueError, match="does not average over variants"):
        to_onnx(clf, tmp_path / "model.onnx")
