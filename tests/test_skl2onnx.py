"""Pipelines as ONNX models, by `to_onnx` and by skl2onnx itself, compared with scikit-learn."""

import sys

import numpy as np
import onnx
import pytest
import skl2onnx
from sklearn.base import is_classifier
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from test_onnx import IMAGES, SMALL, TARGETS, assert_close, run

from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer, to_onnx
from skconvnet.layers import GELU, Conv1D, Conv2D, Dense, LayerNorm, MaxPool2D

rng = np.random.RandomState(0)
ROWS = IMAGES.reshape(len(IMAGES), -1)
OPTIONS = {"input_shape": (8, 8, 3), "max_iter": 2, "random_state": 0}


def convert(model, X, path, by):
    """Return the outputs of a pipeline's ONNX model."""
    if by == "to_onnx":
        converted = to_onnx(model, path / "model.onnx")
        assert onnx.load(path / "model.onnx") == converted
    else:
        options = {"zipmap": False} if is_classifier(model) else None
        converted = skl2onnx.to_onnx(model, X[:1], options=options)
        assert len(skl2onnx.to_onnx(model, X[:1]).graph.output) == len(converted.graph.output)
    onnx.checker.check_model(converted, full_check=True)
    name = converted.graph.input[0].name
    return {n: run(converted, X[:n]) for n in (1, 17)} if name == "X" else pytest.fail(name)


@pytest.mark.parametrize("by", ["to_onnx", "skl2onnx"])
@pytest.mark.parametrize("target", TARGETS)
def test_classifiers(tmp_path, by, target):
    X, y = 100 + 50 * ROWS, TARGETS[target]
    clf = ConvNetClassifier(SMALL, loss=target.split(",")[0], **OPTIONS)
    model = make_pipeline(StandardScaler(), clf).fit(X, y)
    for n, outputs in convert(model, X, tmp_path, by).items():
        np.testing.assert_array_equal(outputs["label"], model.predict(X[:n]).astype(outputs["label"].dtype))
        assert hasattr(clf, "predict_proba") == ("probabilities" in outputs)
        if "probabilities" in outputs:
            assert_close(model.predict_proba(X[:n]), outputs["probabilities"])


@pytest.mark.parametrize("by", ["to_onnx", "skl2onnx"])
@pytest.mark.parametrize("scaler", [MinMaxScaler(), MaxAbsScaler(), PCA(20, random_state=0)], ids=str)
@pytest.mark.parametrize("shape", [(40,), (40, 2)])
def test_regressors(tmp_path, dtype, by, scaler, shape):
    X = ROWS.astype(dtype)
    layers = [Dense(5, activation=GELU())] if isinstance(scaler, PCA) else [*SMALL, LayerNorm()]
    options = {} if isinstance(scaler, PCA) else {"input_shape": (8, 8, 3)}
    reg = ConvNetRegressor(layers, max_iter=2, random_state=0, **options)
    model = make_pipeline(scaler, reg).fit(X, rng.standard_normal(shape))
    for n, outputs in convert(model, X, tmp_path, by).items():
        assert_close(model.predict(X[:n]).reshape(n, -1), outputs["variable"].reshape(n, -1))


@pytest.mark.parametrize("by", ["to_onnx", "skl2onnx"])
@pytest.mark.parametrize("frozen", [False, True])
def test_transformers(tmp_path, by, frozen):
    y = np.array(["no", "yes"])[np.arange(40) % 2]
    net = ConvNetClassifier(SMALL, **OPTIONS)
    transformer = ConvNetTransformer(FrozenEstimator(net.fit(ROWS, y)) if frozen else net, layer=1)
    model = make_pipeline(transformer, StandardScaler(), LogisticRegression()).fit(ROWS, y)
    if by == "to_onnx":  # with images, since the first step has them
        outputs = run(to_onnx(model, tmp_path / "model.onnx"), IMAGES)
        assert_close(model.predict_proba(ROWS), outputs["probabilities"])
        transformer = model[0]
        assert_close(
            transformer.transform(IMAGES), run(to_onnx(transformer, tmp_path / "m"), IMAGES)["variable"]
        )
    else:
        model = skl2onnx.to_onnx(model, ROWS[:1], options={"zipmap": False})
        outputs = run(model, ROWS)
    np.testing.assert_array_equal(outputs["label"], y_hat := outputs["label"].astype(str))
    assert set(y_hat) <= {"no", "yes"} and outputs["probabilities"].shape == (40, 2)


def test_images_and_signals(tmp_path):
    y = np.arange(40) % 2
    for X, layers in ((IMAGES, SMALL), (IMAGES[:, 0], [Conv1D(4)])):
        clf = ConvNetClassifier(layers, max_iter=1).fit(X, y)
        for model in (clf, Pipeline([("clf", clf)])):
            outputs = run(skl2onnx.to_onnx(model, X[:1]), X)
            assert_close(clf.predict_proba(X), outputs["probabilities"])
        model = Pipeline([("none", "passthrough"), ("clf", clf)])
        outputs = run(to_onnx(model, tmp_path / "model.onnx"), X)
        assert_close(clf.predict_proba(X), outputs["probabilities"])


def test_columns(tmp_path):
    """As skl2onnx gives them to a pipeline: one input for each column of a data frame."""
    X, y = ROWS[:, :3], np.arange(40) % 2
    clf = ConvNetClassifier([Dense(4)], max_iter=1).fit(X, y)
    kind = skl2onnx.common.data_types.FloatTensorType([None, 1])
    model = skl2onnx.convert_sklearn(clf, initial_types=[(name, kind) for name in "abc"])
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {name: X[:, [k]] for k, name in enumerate("abc")})
    assert_close(clf.predict_proba(X), probabilities)


def test_errors(tmp_path, monkeypatch):
    y = np.arange(40) % 2
    clf = ConvNetClassifier([Conv2D(4), MaxPool2D()], **OPTIONS)
    for model in (clf, make_pipeline(StandardScaler(), clf)):
        with pytest.raises(NotFittedError):
            to_onnx(model, tmp_path / "model.onnx")
        with pytest.raises(NotFittedError):
            skl2onnx.to_onnx(model, ROWS[:1])
    model = make_pipeline(StandardScaler(), clf).fit(ROWS, y)
    with pytest.raises(ValueError, match="ConvNetClassifier needs opset 17, got target_opset=15"):
        skl2onnx.to_onnx(model, ROWS[:1], target_opset=15)
    with pytest.raises(TypeError, match="a pipeline must have a step of skconvnet"):
        to_onnx(make_pipeline(StandardScaler()).fit(ROWS), tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"pip install skconvnet\[skl2onnx\]"):
        to_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
