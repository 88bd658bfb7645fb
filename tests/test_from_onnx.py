"""Networks that are read from ONNX models, compared with ONNX Runtime and with the estimators they come from."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from test_contract import ROWS
from test_onnx import IMAGES, SMALL, TARGETS, fit_random

from skconvnet import (
    ConvNetClassifier,
    ConvNetRegressor,
    ConvNetTransformer,
    architectures,
    from_onnx,
    layers,
    load,
    to_onnx,
)
from skconvnet.layers import (
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    LocallyConnected1D,
    LocallyConnected2D,
    MaxPool1D,
    MaxPool2D,
    Output,
    RandomCrop,
    ReLU,
    Rescaling,
    Residual,
    Standardize,
    ZeroPad2D,
)
from skconvnet.layers.sequence import count_axes
from skconvnet.losses import Cosine, Focal, Quantile

rng = np.random.RandomState(0)


class Model:
    """An ONNX model that is made node by node, and saved as a file."""

    def __init__(self, path, shape, dtype=np.float32, opset=17):
        self.path, self.shape, self.dtype, self.opset = str(path / "model.onnx"), shape, dtype, opset
        self.nodes, self.arrays, self.last = [], [], "X"

    def add(self, operator, *inputs, start=None, n_outputs=1, **attributes):
        """Append a node that reads the last one, or `start`, and then constants or names."""
        name = f"{operator}{len(self.nodes)}"
        names = [self.last if start is None else start]
        for k, value in enumerate(inputs):
            names.append(value if isinstance(value, str) else f"{name}.{k}")
            if not isinstance(value, str):
                self.arrays.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        outputs = [name, *(f"{name}.extra{k}" for k in range(1, n_outputs))]
        self.nodes.append(helper.make_node(operator, names, outputs, name, **attributes))
        self.last = name
        return name

    def save(self, infer=True):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("X", kind, ("n", *self.shape))],
            [helper.make_tensor_value_info(self.last, kind, None if infer else ())],
            self.arrays,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True) if infer else model, self.path)
        return self.path


def run(path, X):
    """Return the first output of a model in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def check(model, layers=None, X=None, **options):
    """Check that a regressor read from a model computes what ONNX Runtime does; return it."""
    path = model if isinstance(model, str) else model.save()
    reg = from_onnx(path, ConvNetRegressor(), **options)
    X = draw(5, *model.shape) if X is None else X
    theirs = run(path, X).reshape(len(X), -1)
    atol = 1e-5 * max(1, np.abs(theirs).max())
    np.testing.assert_allclose(reg.predict(X).reshape(len(X), -1), theirs, rtol=0, atol=atol)
    if layers is not None:
        assert reg.layers == layers
    return reg


@pytest.mark.parametrize("name", architectures.INPUT_SHAPES)
def test_round_trips_of_architectures(tmp_path, dtype, name):
    c, h, w = architectures.INPUT_SHAPES[name]
    small = {"vgg": {"filters": (8, 16), "units": 20}, "resnet": {"blocks": 2, "filters": (4, 8)}}
    X = rng.rand(17, h, w, c).astype(dtype)
    X = X if h > 1 else X[:, 0]  # signals
    y = np.array(list("abcdefghij"))[np.arange(17) % 10]
    clf = ConvNetClassifier(getattr(architectures, name)(**small.get(name, {})))
    fit_random(clf, X, y)
    model = to_onnx(clf, tmp_path / "model.onnx")
    if any(node.op_type == "Concat" for node in model.graph.node):
        assert name in ("inception", "inception_time", "squeezenet")
        with pytest.raises(ValueError, match=r"no layer here computes: Concat '"):
            from_onnx(tmp_path / "model.onnx")
        return
    again = from_onnx(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict_proba(X), clf.predict_proba(X), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(again.predict(X), clf.predict(X))
    assert again.network_.dtype == dtype and again.input_shape_ == clf.input_shape_
    assert again.data_format == "channels_last" and again.classes_.tolist() == clf.classes_.tolist()
    assert again.network_.n_parameters >= clf.network_.n_parameters
    assert again.set_params(max_iter=1).fit(X, y).n_iter_ == 1


LOST = (LocallyConnected1D, LocallyConnected2D, RandomCrop, layers.UpSample2D, layers.Conv2DTranspose)


# no model can call a Function: test_function.py
@pytest.mark.parametrize("layer, shape", [row for row in ROWS if "Function(" not in repr(row)], ids=str)
def test_every_layer(tmp_path, layer, shape):
    stack = [layer] if isinstance(layer, Output) else [layer, Output(dense=False)]
    n_outputs = 3 if isinstance(layer, Output) else int(np.prod(layer.output_shape(shape)))
    X = draw(17, *shape)
    X = X[:, :, 0] if count_axes([layer]) == 1 else X
    reg = ConvNetRegressor(stack, data_format="channels_first")
    fit_random(reg, X, rng.standard_normal((17, n_outputs)))
    model = to_onnx(reg, tmp_path / "model.onnx")
    if any(node.op_type in ("Gather", "Resize", "ConvTranspose") for node in model.graph.node):
        assert isinstance(layer, LOST)
        with pytest.raises(ValueError, match=r"no layer here computes: (Gather|Resize|ConvTranspose) '\w+\."):
            from_onnx(tmp_path / "model.onnx")
        return
    try:
        again = from_onnx(tmp_path / "model.onnx")
    except ValueError as error:  # not every merge of branches, and not every slope, has a reader
        assert isinstance(layer, (layers.Parallel, layers.Residual, layers.PReLU))
        assert str(error).startswith("from_onnx: ") and "model.onnx" in str(error)
        return
    np.testing.assert_allclose(again.predict(X), reg.predict(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_round_trips_of_classifiers(tmp_path, target):
    loss, y = target.split(",")[0], TARGETS[target]
    clf = ConvNetClassifier(SMALL, loss=loss, max_iter=3, random_state=0).fit(IMAGES, y)
    to_onnx(clf, tmp_path / "model.onnx")
    again = from_onnx(tmp_path / "model.onnx")
    np.testing.assert_array_equal(
        again.predict(IMAGES), clf.predict(IMAGES).astype(again.predict(IMAGES).dtype)
    )
    np.testing.assert_allclose(again.decision_function(IMAGES), clf.decision_function(IMAGES), atol=1e-5)
    assert again.loss == loss and hasattr(again, "predict_proba") == hasattr(clf, "predict_proba")
    if hasattr(clf, "predict_proba"):
        np.testing.assert_allclose(again.predict_proba(IMAGES), clf.predict_proba(IMAGES), atol=1e-5)
    assert again.layers == [Conv2D(4), ReLU(), MaxPool2D(stride=2), Flatten(), Dense(6), layers.Tanh()]
    again.partial_fit(IMAGES, y)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson", Quantile(0.8)])
@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 3)])
def test_round_trips_of_regressors(tmp_path, loss, shape):
    y = 1e6 + 1000 * rng.standard_normal(shape)
    y = np.abs(y) if loss == "poisson" else y
    reg = ConvNetRegressor(SMALL, loss=loss, max_iter=1, random_state=0).fit(IMAGES, y)
    to_onnx(reg, tmp_path / "model.onnx")
    again = from_onnx(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict(IMAGES), reg.predict(IMAGES), rtol=1e-6)
    assert again.loss == loss and again._target_scale == reg._target_scale
    again.set_params(max_iter=2).fit(IMAGES, y)
    assert again.loss_ < 3e6 or loss == "poisson"


END = Output(dense=False)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, {}),
        ({"pads": [1, 1, 1, 1]}, {"padding": 1}),
        ({"pads": [0, 1, 0, 1]}, {"padding": (0, 1)}),
        ({"pads": [0, 1, 2, 0]}, {"padding": ((0, 2), (1, 0))}),
        ({"auto_pad": "SAME_UPPER"}, {"padding": 1}),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"padding": ((0, 1), (0, 1)), "stride": 2}),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"padding": ((1, 0), (1, 0)), "stride": 2}),
        ({"auto_pad": "VALID", "strides": [1, 2]}, {"stride": (1, 2)}),
        ({"auto_pad": "NOTSET", "dilations": [2, 1]}, {"dilation": (2, 1)}),
        ({"group": 2}, {"groups": 2}),
        ({"kernel_shape": [3, 3]}, {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("bias", [False, True])
def test_convolutions(tmp_path, attributes, expected, bias):
    model = Model(tmp_path, (4, 10, 12))
    arrays = [draw(6, 4 // attributes.get("group", 1), 3, 3), *([draw(6)] if bias else [])]
    model.add("Conv", *arrays, **attributes)
    check(model, [Conv2D(6, bias=bias, **expected), END])


@pytest.mark.parametrize("operator, layer", [("MaxPool", MaxPool2D), ("AveragePool", AvgPool2D)])
@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, {"stride": 1}),
        ({"strides": [2, 3]}, {"stride": (2, 3)}),
        ({"strides": [2, 2], "pads": [1, 1, 1, 1]}, {"stride": 2, "padding": 1}),
        ({"strides": [2, 2], "ceil_mode": 1}, {"stride": 2, "padding": ((0, 1), (0, 0))}),
        (
            {"strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
            {"stride": 3, "padding": ((1, 1), (1, 1))},
        ),
        ({"strides": [2, 2], "auto_pad": "SAME_LOWER"}, {"stride": 2, "padding": ((1, 0), (1, 1))}),
    ],
    ids=str,
)
def test_poolings(tmp_path, operator, layer, attributes, expected):
    model = Model(tmp_path, (4, 10, 11))
    model.add(operator, kernel_shape=[3, 3], **attributes)
    reg = check(model)
    (pool, end) = reg.layers
    assert end == END and pool == layer(3, **{**expected, "padding": pool.padding})
    assert pool.output_shape((4, 10, 11)) == layer(3, **expected).output_shape((4, 10, 11))


def test_averages_that_count_padding(tmp_path):
    model = Model(tmp_path, (2, 6, 6))
    model.add("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 1], strides=[2, 2], count_include_pad=1)
    check(model, [ZeroPad2D(((1, 1), (0, 1))), AvgPool2D(3, stride=2), END])
    model = Model(tmp_path, (2, 6))
    model.add("AveragePool", kernel_shape=[3], pads=[1, 1], count_include_pad=1)
    check(model, [ZeroPad2D(((0, 0), (1, 1))), AvgPool1D(3, stride=1), END])


def test_signals(tmp_path):
    model = Model(tmp_path, (3, 20))
    model.add("Conv", draw(4, 3, 5), draw(4), pads=[3, 1], dilations=[2])
    model.add("Relu")
    model.add("MaxPool", kernel_shape=[2], strides=[2])
    model.add("BatchNormalization", draw(4), draw(4), draw(4), rng.rand(4).astype(np.float32))
    model.add("GlobalAveragePool")
    model.add("Flatten")
    model.add("Gemm", draw(4, 2), draw(2))
    stack = [
        Conv1D(4, 5, padding=(3, 1), dilation=2),
        ReLU(),
        MaxPool1D(stride=2),
        BatchNorm(),
        GlobalAvgPool1D(),
    ]
    reg = check(model, stack)
    assert reg.input_shape_ == (3, 20) and reg.network_.input_shape == (3, 1, 20)
    X = draw(5, 3, 20)
    last = from_onnx(model.path, ConvNetRegressor(), data_format="channels_last")
    np.testing.assert_array_equal(last.predict(X.transpose(0, 2, 1)), reg.predict(X))


@pytest.mark.parametrize("alpha, beta, transposed", [(1.0, 1.0, 0), (2.0, 0.5, 1), (0.5, 3.0, 0)])
@pytest.mark.parametrize("bias", [(4,), (1, 4), (1,), (), None], ids=str)
def test_dense_layers(tmp_path, alpha, beta, transposed, bias):
    model = Model(tmp_path, (7,))
    arrays = [draw(4, 7) if transposed else draw(7, 4), *([] if bias is None else [draw(*bias)])]
    model.add("Gemm", *arrays, alpha=alpha, beta=beta, transB=transposed)
    reg = check(model, [] if bias is not None else [Output(bias=False)])
    assert reg.input_shape_ == (7,) and reg.n_features_in_ == 7


def test_products_of_matrices(tmp_path):
    model = Model(tmp_path, (7,))
    model.add("MatMul", draw(7, 5))
    bias = model.add("Add", draw(5))
    model.add("Relu")
    model.nodes[-1].input[:] = [bias]
    model.add("MatMul", draw(5, 3))
    model.add("Tanh")
    check(model, [Dense(5), ReLU(), Dense(3, bias=False), layers.Tanh(), END])


@pytest.mark.parametrize("axes", [(1, 2, 3), (2, 3, 1), (3, 1, 2)])
@pytest.mark.parametrize("norm", [False, True])
def test_flattened_in_any_order(tmp_path, axes, norm):
    """With the channels last, as from Keras, the weights after Flatten have another order."""
    model = Model(tmp_path, (3, 4, 5))
    model.add("Conv", draw(2, 3, 1, 1))
    model.add("Transpose", perm=(0, *axes))
    model.add("Reshape", np.array([-1, 40]))
    if norm:
        model.add("BatchNormalization", *(draw(40) for _ in range(3)), rng.rand(40).astype(np.float32))
    model.add("Gemm", draw(40, 6), draw(6))
    check(model, [Conv2D(2, 1, bias=False), *([Flatten(), BatchNorm()] if norm else [Flatten()])])


def test_channels_last(tmp_path):
    model = Model(tmp_path, (6, 5, 3))
    model.add("Mul", np.float32(1 / 255))
    model.add("Transpose", perm=(0, 3, 1, 2))
    model.add("Conv", draw(4, 3, 3, 3))
    model.add("Transpose", perm=(0, 2, 3, 1))
    model.add("Add", draw(4))
    model.add("Relu")
    model.add("ReduceMean", axes=[1, 2], keepdims=0)
    model.add("MatMul", draw(4, 2))
    reg = check(
        model,
        [Rescaling(float(np.float32(1 / 255))), Conv2D(4), ReLU(), GlobalAvgPool2D(), Output(bias=False)],
    )
    assert reg.data_format == "channels_last" and reg.input_shape_ == (6, 5, 3)
    first = from_onnx(model.path, ConvNetRegressor(), data_format="channels_first")
    X = draw(3, 6, 5, 3)
    np.testing.assert_array_equal(first.predict(X.transpose(0, 3, 1, 2)), reg.predict(X))


def test_rows_of_pixels(tmp_path):
    model = Model(tmp_path, (60,))
    model.add("Reshape", np.array([-1, 3, 4, 5]))
    model.add("Conv", draw(4, 3, 3, 3))
    reg = check(model, [Conv2D(4, bias=False), END])
    assert reg.input_shape_ == reg.input_shape == (3, 4, 5)
    assert clone(reg).set_params(max_iter=1).fit(draw(4, 60), draw(4, 24)).n_features_in_ == 60


@pytest.mark.parametrize("opset", [12, 17, 18])
@pytest.mark.parametrize("keep", [0, 1])
def test_global_poolings(tmp_path, opset, keep):
    for operator, layer in (("Mean", GlobalAvgPool2D()), ("Max", GlobalMaxPool2D())):
        model = Model(tmp_path, (3, 4, 5), opset=opset)
        if opset == 18 or (opset, operator) == (18, "Max"):
            model.add(f"Reduce{operator}", np.array([-1, 2]), keepdims=keep)
        else:
            model.add(f"Reduce{operator}", axes=[2, -1], keepdims=keep)
        if keep:
            model.add("Conv", draw(4, 3, 1, 1), draw(4))  # on one pixel: a dense layer
            squeezed = {"axes": [2, 3]} if opset == 12 else {}
            model.add("Squeeze", *([] if squeezed else [np.array([-2, -1])]), **squeezed)
        else:
            model.add("Gemm", draw(3, 4), draw(4))
        check(model, [layer])


def test_nodes_that_arrange_axes(tmp_path):
    """As PyTorch's older exporter writes ``x.view(x.size(0), -1)`` for batches of any size."""
    for size in (False, True):
        model = Model(tmp_path, (3, 4, 5))
        image = model.add("Conv", draw(2, 3, 3, 3))
        model.add("Shape")
        model.add("Gather", np.array(0), axis=0)
        model.add("Unsqueeze", np.array([0]))
        target = model.add("Concat", np.array([12 if size else -1]), axis=0)
        model.add("Reshape", target, start=image)
        model.add("Identity")
        model.add("Unsqueeze", np.array([1]))
        model.add("Unsqueeze", np.array([3]))
        model.add("Squeeze", np.array([1, 3]))
        model.add("Cast", to=TensorProto.FLOAT)
        model.add("Dropout", np.float32(0.25))
        model.add("Gemm", draw(12, 4))
        check(model, [Conv2D(2, bias=False), Dropout(0.25), Flatten(), Output(bias=False)])


def test_constants_that_are_computed(tmp_path):
    """Weights as nodes: Constant, a conversion from float16, and a transposition."""
    model = Model(tmp_path, (7,))
    weight = draw(4, 7).astype(np.float16)
    model.nodes += [
        helper.make_node("Constant", [], ["w"], "w", value=numpy_helper.from_array(weight)),
        helper.make_node("Cast", ["w"], ["w32"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["w32"], ["wt"], "transpose", perm=[1, 0]),
    ]
    model.add("MatMul", "wt")
    model.add("Add", np.zeros(4, np.float32))
    reg = check(model, [])
    np.testing.assert_array_equal(reg.network_.weights["output.weight"], weight.astype(np.float32))


def test_float64(tmp_path):
    model = Model(tmp_path, (7,), np.float64)
    weight = rng.standard_normal((7, 4))
    model.add("MatMul", weight)
    reg = check(model, X=rng.standard_normal((5, 7)))
    assert reg.network_.dtype == np.float64
    np.testing.assert_array_equal(reg.network_.weights["output.weight"], weight.T)
    assert from_onnx(model.path, ConvNetRegressor(dtype="float32")).network_.dtype == np.float32


ACTIVATIONS = [
    ("Relu", {}, ReLU()),
    ("LeakyRelu", {}, layers.LeakyReLU()),
    ("LeakyRelu", {"alpha": 0.2}, layers.LeakyReLU(0.2)),
    ("Elu", {"alpha": 0.7}, layers.ELU(0.7)),
    ("Selu", {}, layers.SELU()),
    ("Sigmoid", {}, layers.Sigmoid()),
    ("Tanh", {}, layers.Tanh()),
    ("Softplus", {}, layers.Softplus()),
    ("Softsign", {}, layers.Softsign()),
    ("Atan", {}, layers.Arctan()),
    ("HardSwish", {}, layers.Hardswish()),
    ("Mish", {}, layers.Mish()),
    ("Gelu", {}, layers.GELU()),
    ("Softmax", {"axis": 1}, layers.Softmax()),
    ("LogSoftmax", {"axis": -3}, layers.LogSoftmax()),
]


@pytest.mark.parametrize("operator, attributes, layer", ACTIVATIONS, ids=str)
def test_activations(tmp_path, operator, attributes, layer):
    model = Model(tmp_path, (4, 3, 3), opset=20)
    model.add(operator, **attributes)
    check(model, [layer, END])


def test_activations_of_several_nodes(tmp_path):
    def silu(model, x):
        model.add("Sigmoid")
        model.add("Mul", x)

    def mish(model, x):
        model.add("Softplus")
        model.add("Mul", model.add("Tanh"), start=x)

    def hardswish(model, x):
        model.add("HardSigmoid", alpha=1 / 6, beta=0.5)
        model.add("Mul", x)

    def hardswish_of_clip(model, x):
        model.add("Add", np.float32(3))
        model.add("Mul", model.add("Clip", np.float32(0), np.float32(6)), start=x)
        model.add("Div", np.float32(6))

    def gelu(model, x):
        model.add("Div", np.float32(2**0.5))
        model.add("Erf")
        model.add("Mul", model.add("Add", np.float32(1)), start=x)
        model.add("Mul", np.float32(0.5))

    def relu(model, x):
        model.add("Clip", np.float32(0))

    def leaky(model, x):
        model.add("PRelu", np.full((1, 1, 1), 0.25, np.float32))

    for write, layer in {
        silu: layers.SiLU(),
        mish: layers.Mish(),
        hardswish: layers.Hardswish(),
        hardswish_of_clip: layers.Hardswish(),
        gelu: layers.GELU(),
        relu: ReLU(),
        leaky: layers.LeakyReLU(0.25),
    }.items():
        for first in (False, True):
            model = Model(tmp_path, (4, 3, 3))
            x = model.add("Conv", draw(2, 4, 1, 1)) if first else "X"
            write(model, x)
            check(model, [*([Conv2D(2, 1, bias=False)] if first else []), layer, END])


def test_scales_and_shifts(tmp_path):
    c, scale = np.arange(1, 4, dtype=np.float32).reshape(3, 1, 1), np.float32(0.25)
    model = Model(tmp_path, (3, 4, 5))  # bytes to [0, 1], then the mean and the deviation of each channel
    model.add("Mul", scale)
    model.add("Sub", c[None])
    model.add("Div", c + 1)
    model.add("Conv", draw(2, 3, 1, 1))
    model.add("Mul", draw(2, 1, 1))
    model.add("Add", draw(1, 2, 1, 1))
    model.add("Relu")
    model.add("Sub", np.float32(2), start=None)
    model.nodes[-1].input[:] = model.nodes[-1].input[::-1]  # 2 - x
    reg = check(model, [Standardize(), Conv2D(2, 1), ReLU(), Rescaling(-1.0, 2.0), END])
    weights = reg.network_.weights
    np.testing.assert_allclose(weights["0.running_mean"], c.ravel() * 4)
    np.testing.assert_allclose(weights["0.running_var"], ((c.ravel() + 1) * 4) ** 2)


def add_block(model, x, c, projection=False):
    """Add a residual connection of two convolutions."""
    model.add("Conv", draw(c, c, 3, 3), pads=[1] * 4, start=x)
    model.add("Relu")
    y = model.add("Conv", draw(c, c, 3, 3), pads=[1] * 4)
    other = model.add("Conv", draw(c, c, 1, 1), start=x) if projection else x
    return model.add("Add", other, start=y)


def test_residual_connections(tmp_path):
    model = Model(tmp_path, (3, 6, 6))
    x = add_block(model, "X", 3)
    x = add_block(model, x, 3, projection=True)
    model.add("Relu")
    block = [Conv2D(3, padding=1, bias=False), ReLU(), Conv2D(3, padding=1, bias=False)]
    check(model, [Residual(block, []), Residual(block, [Conv2D(3, 1, bias=False)]), ReLU(), END])
    model = Model(tmp_path, (3, 6, 6))  # one within another
    inner = add_block(model, "X", 3)
    model.add("Add", model.add("Relu", start=inner), start="X")
    model.add("Sum", model.last)
    check(model, [Residual([Residual(block, []), ReLU()], []), Residual([], []), END])


def test_branches_that_cross(tmp_path):
    model = Model(tmp_path, (3, 6, 6))
    a = model.add("Conv", draw(3, 3, 1, 1))
    b = model.add("Add", a, start=model.add("Conv", draw(3, 3, 1, 1), start="X"))
    model.add("Add", a, start=model.add("Relu", start=b))
    with pytest.raises(ValueError, match="Conv 'Conv0' is used by branches that cross"):
        from_onnx(model.save())


def test_what_a_network_ends_in(tmp_path):
    def end_in(*operators, n=3, **options):
        model = Model(tmp_path, (7,))
        model.add("Gemm", draw(7, n), draw(n))
        for operator in operators:
            model.add(operator)
        return from_onnx(model.save(), **options), run(model.path, X)

    X = draw(20, 7)
    clf, theirs = end_in("Softmax")
    assert clf.loss == "cross_entropy" and clf.classes_.tolist() == [0, 1, 2] and clf.layers == []
    np.testing.assert_allclose(clf.predict_proba(X), theirs, atol=1e-6)
    clf, theirs = end_in("LogSoftmax")
    np.testing.assert_allclose(clf.predict_log_proba(X), theirs, atol=1e-5)
    clf, theirs = end_in()
    np.testing.assert_allclose(clf.decision_function(X), theirs, atol=1e-5)
    assert (clf.predict(X) == theirs.argmax(axis=1)).all()
    clf, theirs = end_in(n=1, classes=["no", "yes"])
    assert clf.loss == "binary_cross_entropy"
    np.testing.assert_allclose(clf.decision_function(X), theirs[:, 0], atol=1e-5)
    assert (clf.predict(X) == np.where(theirs[:, 0] > 0, "yes", "no")).all()
    clf, theirs = end_in("Sigmoid", n=1)
    np.testing.assert_allclose(clf.predict_proba(X)[:, 1], theirs[:, 0], atol=1e-6)
    clf, theirs = end_in("Sigmoid")  # several labels
    assert clf.predict(X).shape == (20, 3)
    np.testing.assert_allclose(clf.predict_proba(X), theirs, atol=1e-6)
    clf.partial_fit(X, theirs > 0.5)
    reg, theirs = end_in(n=1)
    assert isinstance(reg, ConvNetRegressor)
    np.testing.assert_allclose(reg.predict(X), theirs[:, 0], atol=1e-5)
    reg, theirs = end_in("Softmax", estimator=ConvNetRegressor(loss="huber"))
    assert reg.layers == [Dense(3), layers.Softmax(), END] and reg.loss == "huber"
    np.testing.assert_allclose(reg.predict(X), theirs, atol=1e-6)


def test_classes(tmp_path):
    model = Model(tmp_path, (7,))
    model.add("Gemm", draw(7, 3), draw(3))
    names, X = np.array(["truck", "bird", "cat"]), draw(20, 7)
    clf = from_onnx(model.save(), classes=names)
    index = run(model.path, X).argmax(axis=1)
    assert clf.classes_.tolist() == ["bird", "cat", "truck"]
    np.testing.assert_array_equal(clf.predict(X), names[index])
    assert clf.set_params(max_iter=30, learning_rate=0.01).fit(X, names[index]).score(X, names[index]) > 0.9
    for wrong in (["a", "b"], ["a", "b", "b"], "abc", [["a", "b", "c"]]):
        with pytest.raises(
            ValueError, match="classes must be 3 different labels, one for each of the model's out"
        ):
            from_onnx(model.path, classes=wrong)
    model.add("Tanh")
    with pytest.raises(ValueError, match=r"classes must be sorted.*names\[clf\.predict\(X\)\]"):
        from_onnx(model.save(), classes=names)
    assert from_onnx(model.path, classes=sorted(names)).predict(X).dtype.kind == "U"


def make_network(tmp_path):
    """A small network of 3 classes for images of 3 channels."""
    model = Model(tmp_path, (3, 8, 8))
    model.add("Conv", draw(4, 3, 3, 3), draw(4))
    model.add(
        "BatchNormalization",
        draw(4),
        draw(4),
        draw(4),
        rng.rand(4).astype(np.float32),
        epsilon=1e-3,
        momentum=0.8,
    )
    model.add("Relu")
    model.add("GlobalAveragePool")
    model.add("Flatten")
    model.add("Gemm", draw(4, 3), draw(3))
    return model


def test_training_continues(tmp_path):
    X, y = draw(60, 3, 8, 8), np.arange(60) % 3
    X += y[:, None, None, None]
    template = ConvNetClassifier(learning_rate=0.05, batch_size=15, max_iter=30, freeze=[0], random_state=0)
    clf = from_onnx(make_network(tmp_path).save(), template)
    assert template.layers is None and not hasattr(template, "network_")
    assert clf.layers[:2] == [Conv2D(4), BatchNorm(epsilon=1e-3, momentum=0.8)] and clf.network_.freeze == (
        "0",
    )
    frozen, before = clf.network_.weights["0.weight"].copy(), clf.score(X, y)
    assert clf.fit(X, y).score(X, y) > max(before, 0.9)
    np.testing.assert_array_equal(clf.network_.weights["0.weight"], frozen)
    assert clf.n_iter_ == 30 and len(clf.history_) == 30


def test_uses_of_what_was_read(tmp_path):
    X, y = draw(30, 3, 8, 8), np.arange(30) % 2
    clf = from_onnx(make_network(tmp_path).save())
    features = ConvNetTransformer(FrozenEstimator(clf)).fit(X).transform(X)
    assert features.shape == (30, 4)
    other = ConvNetClassifier(
        clf.layers, data_format="channels_first", init_from=clf, freeze=[0, 1], max_iter=1
    )
    other.fit(X, y)  # other classes
    np.testing.assert_array_equal(other.network_.weights["0.weight"], clf.network_.weights["0.weight"])
    clf.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "model.safetensors").predict_proba(X), clf.predict_proba(X))
    with pytest.raises(NotFittedError):
        clone(clf).predict(X)
    assert np.isnan(clf.loss_) and clf.history_ == [] and clf.n_iter_ == 0


def test_open_sizes(tmp_path):
    model = Model(tmp_path, (3, "height", "width"))
    model.add("Conv", draw(4, 3, 3, 3))
    model.add("GlobalAveragePool")
    path = model.save()
    with pytest.raises(
        ValueError, match=r"input open, which has the shape \(n, 3, height, width\)\. Give an"
    ):
        from_onnx(path)
    with pytest.raises(
        ValueError, match=r"has samples of shape \(3, height, width\), and input_shape is \(9, 9, 3\)"
    ):
        from_onnx(path, ConvNetClassifier(input_shape=(9, 9, 3)))
    reg = from_onnx(path, ConvNetRegressor(input_shape=(3, 9, 7)))
    X = draw(5, 3, 9, 7)
    np.testing.assert_allclose(reg.predict(X), run(path, X)[:, :, 0, 0], atol=1e-5)


def test_shapes_that_do_not_fit(tmp_path):
    """Nodes that contradict themselves, or do what no layer does: each error names the file and the node."""
    w, image, five = draw(2, 3, 3, 3), (3, 6, 6), draw(5)
    for shape, operator, inputs, attributes, message in [
        (image, "Conv", [draw(2, 4, 3, 3)], {}, r"has weights of shape (2, 4, 3, 3), group=1"),
        (
            image,
            "Conv",
            [draw(2, 3, 3)],
            {},
            "needs constants of shape (any, any, any, any) as input 1, got",
        ),
        (image, "Conv", [w * np.nan], {}, "has values that are not finite in 'Conv0.0'"),
        (image, "Conv", [w], {"pads": [-1, 0, 0, 0]}, "has pads=[-1, 0, 0, 0]"),
        (image, "Conv", [w], {"strides": [0, 1]}, "strides=[0, 1]"),
        (image, "Conv", [w], {"auto_pad": "MIRROR"}, "has auto_pad='MIRROR'"),
        (image, "Conv", [draw(2, 3, 9, 9)], {}, "needs an input of at least 9x9 pixels, got (3, 6, 6)"),
        (image, "MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}, "has dilations=[2, 2]"),
        (image, "MaxPool", [], {"kernel_shape": [2]}, "has a kernel of 1 axes"),
        (image, "Gemm", [draw(3, 2)], {}, "gets samples of shape (3, 6, 6)"),
        ((7,), "Gemm", [draw(6, 2)], {}, "has weights for 6 inputs, got samples of shape (7,)"),
        ((7,), "Gemm", [draw(7, 2), draw(3)], {}, "has a bias of 3 values for 2 units"),
        ((7,), "Gemm", [draw(7, 2)], {"transA": 1}, "has transA=1"),
        ((7,), "Conv", [draw(2, 7, 1, 1)], {}, "gets samples of shape (7,)"),
        ((5,), "BatchNormalization", [five, five, five, -abs(five)], {}, "has a negative variance"),
        (
            (5,),
            "BatchNormalization",
            [five, five, five, draw(4)],
            {},
            "needs constants of shape (5,) as input 4, got",
        ),
        (image, "Softmax", [], {"axis": 2}, "has axis=2"),
        (image, "LayerNormalization", [draw(6)], {}, "has axis=-1"),
        (image, "Gelu", [], {"approximate": "tanh"}, "has {'approximate': 'tanh'}"),
        (image, "Clip", [np.float32(-1), np.float32(1)], {}, "No activation here is the same function"),
        (image, "PRelu", [draw(3, 1, 1)], {}, "No activation here is the same function"),
        (image, "HardSigmoid", [], {}, "has alpha=0.2, beta=0.5"),
        (image, "Erf", [], {}, "is no part of an activation that is known"),
        (image, "Dropout", [np.float32(1)], {}, "has ratio=1"),
        (image, "Add", [draw(6, 6)], {}, "has another constant for each pixel"),
        (
            image,
            "Add",
            [draw(2, 1, 1)],
            {},
            "has constants of shape (2, 1, 1) for samples of shape (3, 6, 6)",
        ),
        (image, "Mul", [-abs(draw(3, 1, 1))], {}, "scales or shifts channels where no layer does"),
        (image, "Div", [np.float32(0)], {}, "divides by activations, or by 0"),
        (image, "Mul", ["X"], {}, "multiplies activations"),
        (image, "Sub", ["X"], {}, "has 2 inputs that are computed from X"),
        (image, "Sum", ["X", "X"], {}, "has 3 inputs that are computed from X"),
        (image, "Reshape", [np.array([3, -1])], {}, "reshapes samples of shape (3, 6, 6) to [3, -1]"),
        (image, "Reshape", [np.array([-1, 3, 5])], {}, "reshapes samples of shape (3, 6, 6)"),
        (image, "Flatten", [], {"axis": 2}, "has axis=2"),
        (image, "Transpose", [], {"perm": [1, 0, 2, 3]}, "has perm=[1, 0, 2, 3]"),
        (image, "Transpose", [], {"perm": [0, 2, 1, 3]}, "with its axes in an order other than"),
        (image, "Unsqueeze", [np.array([0])], {}, "has axes=[0]"),
        (image, "Squeeze", [np.array([1])], {}, "has axes=[1] for samples of shape (3, 6, 6)"),
        (image, "ReduceMean", [], {"axes": [1]}, "reduces the axes [1]"),
        (image, "Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1])], {"mode": "edge"}, "has mode='edge'"),
        (image, "Pad", [np.array([0, 1, 0, 0, 0, 0, 0, 0])], {}, "Only zeros around the pixels"),
        (image, "Cast", [], {"to": TensorProto.INT64}, "converts to integers or text"),
    ]:
        model = Model(tmp_path, shape, opset=20 if operator == "Gelu" else 17)
        model.add(operator, *inputs, **attributes)
        path = model.save(infer=False)
        with pytest.raises(ValueError) as caught:
            from_onnx(path)
        assert str(caught.value).startswith(f"from_onnx: {path}: {operator} '{operator}0' ")
        assert message in str(caught.value)


def test_unknown_operators_are_named_together(tmp_path):
    model = Model(tmp_path, (3, 6, 6))
    a = model.add("Conv", draw(2, 3, 1, 1))
    model.add("Concat", a, axis=1)
    model.add("InstanceNormalization", draw(4), draw(4))
    model.add("Relu")
    model.add("CumSum", np.array(1))
    path = model.save(infer=False)
    expected = (
        "Concat 'Concat1', InstanceNormalization 'InstanceNormalization2', CumSum 'CumSum4'. Leave them"
    )
    with pytest.raises(ValueError, match=f"no layer here computes: {expected}"):
        from_onnx(path)


def test_files_that_are_no_models(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(FileNotFoundError):
        from_onnx(path)
    make_network(tmp_path).save()
    whole = path.read_bytes()
    for data in (b"", b"no model", whole[: len(whole) // 2], whole[:-7]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^from_onnx: .*model\.onnx is no valid ONNX model: "):
            from_onnx(path)
    model = onnx.load_from_string(whole)
    model.opset_import[0].version = 6
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="is no valid ONNX model|has opset 6, and 7 is the oldest"):
        from_onnx(path)
    model = onnx.load_from_string(whole)
    model.graph.input.append(helper.make_tensor_value_info("Z", TensorProto.FLOAT, ("n", 3)))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="must have one input, X, and has 'X', 'Z'"):
        from_onnx(path)
    model = onnx.load_from_string(whole)
    model.graph.output.append(helper.make_tensor_value_info("Relu2", TensorProto.FLOAT, ("n", 4, 6, 6)))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        ValueError, match=r"has the outputs \['Gemm5', 'Relu2'\]\. Export a network of one output"
    ):
        from_onnx(path)
    with pytest.raises(TypeError, match="estimator must be a ConvNetClassifier"):
        from_onnx(path, ConvNetTransformer(ConvNetClassifier()))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"from_onnx needs the package onnx: pip install skconvnet\[onnx\]"):
        from_onnx(path)


def test_weights_in_a_file_of_their_own(tmp_path):
    model = onnx.load(make_network(tmp_path).save())
    path = tmp_path / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    X = draw(5, 3, 8, 8)
    expected = from_onnx(tmp_path / "model.onnx").predict_proba(X)
    np.testing.assert_array_equal(from_onnx(path).predict_proba(X), expected)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ValueError, match="keep a file of weights"):
        from_onnx(path)


def test_float16(tmp_path):
    model = Model(tmp_path, (7,), np.float16)
    weight = draw(7, 3).astype(np.float16)
    model.add("MatMul", weight)
    clf = from_onnx(model.save())
    np.testing.assert_array_equal(clf.network_.weights["output.weight"], weight.T.astype(np.float32))


def test_too_large_for_float32(tmp_path):
    model = Model(tmp_path, (7,), np.float64)
    model.add("MatMul", np.full((7, 3), 1e300))
    path = model.save()
    assert from_onnx(path).network_.dtype == np.float64
    with pytest.raises(
        ValueError, match="model.onnx: set_weights: 'output.weight' has values that are not finite"
    ):
        from_onnx(path, ConvNetClassifier(dtype="float32"))
    with pytest.raises(ValueError, match="model.onnx: freeze: there is no layer 'stem'"):
        from_onnx(path, ConvNetClassifier(freeze=["stem"]))


@pytest.mark.parametrize(
    "change",
    [
        {"y_shape": 3},
        {"y_shape": ["a"]},
        {"labels": "nowhere"},
        {"labels": 3},
        {"mean": ["x"], "scale": 1},
        {"mean": [float("nan")], "scale": 1},
        {"mean": [0], "scale": 0},
        {"loss": "hinge"},
    ],
    ids=str,
)
def test_damaged_metadata(tmp_path, change):
    clf = ConvNetClassifier(SMALL, max_iter=1).fit(IMAGES, np.arange(40) % 3)
    model = to_onnx(clf, tmp_path / "model.onnx")
    known = json.loads(model.metadata_props[0].value)
    assert known.keys() == {"outputs", "form", "loss", "loss_value", "y_shape", "labels"}
    helper.set_model_props(model, {"skconvnet": json.dumps({**known, **change})})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"^from_onnx: .*model\.onnx: "):
        from_onnx(tmp_path / "model.onnx")
    helper.set_model_props(model, {"skconvnet": "[]"})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="its metadata 'skconvnet' is damaged"):
        from_onnx(tmp_path / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"has the outputs \['label', 'probabilities'\]"):
        from_onnx(tmp_path / "model.onnx")


def test_settings_of_losses_come_back(tmp_path):
    clf = ConvNetClassifier(SMALL, loss=Focal(1.5), max_iter=1).fit(IMAGES, np.arange(40) % 3)
    to_onnx(clf, tmp_path / "model.onnx")
    assert from_onnx(tmp_path / "model.onnx").loss == Focal(1.5)
    directions = rng.standard_normal((40, 3))
    reg = ConvNetRegressor(SMALL, loss=Cosine(), max_iter=1).fit(IMAGES, directions)
    to_onnx(reg, tmp_path / "model.onnx")
    again = from_onnx(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict(IMAGES), reg.predict(IMAGES), atol=1e-6)
    soft = rng.dirichlet(np.ones(3), 40)
    clf = ConvNetClassifier(SMALL, max_iter=1).fit(IMAGES, soft)
    to_onnx(clf, tmp_path / "model.onnx")
    again = from_onnx(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict_proba(IMAGES), clf.predict_proba(IMAGES), atol=1e-5)
    again.partial_fit(IMAGES, soft)
