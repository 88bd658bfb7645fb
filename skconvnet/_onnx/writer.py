"""Export of estimators to ONNX: every layer as ONNX operators, then labels and probabilities or values."""

import copy
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from skconvnet import layers
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Shape, Sides
from skconvnet._versions import __version__
from skconvnet.layers import Layer
from skconvnet.layers.activation import resolve_activation
from skconvnet.layers.window import pad_image

# LayerNormalization needs opset 17, which ONNX Runtime supports since version 1.12 of 2022.
OPSET, IR_VERSION = 17, 8

# The key of the model's metadata that describes what comes after the network, as JSON.
DESCRIPTION = "skconvnet"


def write_estimator(graph: "ModelGraph", estimator: Any, x: str) -> None:
    """Write a fitted classifier or regressor, from X to its outputs.

    Parameters
    ----------
    graph : ModelGraph
    estimator : ConvNetClassifier or ConvNetRegressor
    x : str
        Name of X: real numbers of shape (n, `*input_shape_`).

    Raises
    ------
    TypeError
        If a layer is not of this package, or labels are neither integers nor text.
    NotFittedError
        If estimator is not fitted.
    ValueError
        If a value is too large for float32, or the estimator has a `test_time_augmentation`.
    """
    z, loss = write_network(graph, estimator, x), estimator._trainer.loss
    graph.describe(outputs=z, y_shape=estimator._y_shape, form=loss.form)
    if loss.compiled:
        graph.describe(loss=loss.name, loss_value=loss.loss.value)
    if is_classifier(estimator):
        _write_classes(graph, estimator, z)
        return
    if loss.link != "identity":
        z = graph.add("Exp", z) if loss.link == "log" else graph.add("LpNormalization", z, axis=1, p=2)
    mean, scale = np.atleast_1d(estimator._target_mean), float(estimator._target_scale)
    graph.describe(mean=mean.tolist(), scale=scale)
    for kind, values in (("Mul", np.atleast_1d(scale)), ("Add", mean)):
        z = graph.add(kind, z, np.float32(values))
    graph.add("Reshape", z, (-1, *estimator._y_shape), output="variable")
    graph.add_output("variable", np.float32, estimator._y_shape)


def write_network(graph: "ModelGraph", estimator: Any, x: str, last: str | None = None) -> str:
    """Write the network of a fitted estimator, and return the name of its outputs.

    Parameters
    ----------
    graph : ModelGraph
    estimator : ConvNetClassifier or ConvNetRegressor
    x : str
        As for `write_estimator`.
    last : str, default=None
        Search key of the layer to end with; None for all layers.

    Returns
    -------
    z : str

    Raises
    ------
    TypeError, NotFittedError, ValueError
        As `write_estimator` does.
    """
    check_is_fitted(estimator)
    if estimator.test_time_augmentation and last is None:
        raise ValueError(
            "to_onnx: an ONNX model does not average over variants of an image. Set "
            "test_time_augmentation=None."
        )
    network = estimator.network_
    graph.weights = network.weights
    n_axes = len(estimator.input_shape_)
    if n_axes > 1 and estimator._layout.data_format == "channels_last":
        x = graph.add("Transpose", x, perm=(0, n_axes, *range(1, n_axes)))
    if estimator._layout.signals:
        x = graph.add("Reshape", x, (-1, *network.input_shape))
    for stage in network.stages:
        x = _write_layer(graph.at(stage.key), stage.layer, x, stage.input_shape)
        if stage.key == last:
            break
    return x


def import_onnx(function: str) -> Any:
    """Return the package onnx, or raise an ImportError that says how to install it."""
    try:
        import onnx
        import onnx.inliner
        import onnx.reference
    except ImportError as error:
        raise ImportError(f"{function} needs the package onnx: pip install skconvnet[onnx]") from error
    return onnx


class ModelGraph:
    """Collects the nodes, arrays, inputs and outputs of a model."""

    def __init__(self, onnx: Any) -> None:
        self._onnx, self.key = onnx, "estimator"
        self.weights: Mapping[str, Array] = {}
        self.nodes, self.arrays = [], {}
        self._inputs: list[tuple[str, Any, Shape]] = []
        self.outputs: list[tuple[str, Any, Shape]] = []  # names, dtypes, shapes of a sample
        self._description: dict[str, Any] = {}

    def at(self, key: str) -> Self:
        """Return this graph, set to find the parameters and to name the nodes of the layer of a key."""
        graph = copy.copy(self)
        graph.key = key
        return graph

    def add(
        self, operator: str, *inputs: ArrayLike | None, output: str | None = None, **attributes: Any
    ) -> str:
        """Append a node and return its output's name; inputs are names, arrays, or None to leave one out."""
        output = output or f"{self.key}.{operator}.{len(self.nodes)}"
        names = [
            value if isinstance(value, str) else self.store(f"{output}.{k}", value)
            for k, value in enumerate(inputs)
            if value is not None
        ]
        self.nodes.append(self._onnx.helper.make_node(operator, names, [output], output, **attributes))
        return output

    def find(
        self, name: str, default: ArrayLike | None = None, shape: Sequence[int] | None = None
    ) -> ArrayLike | None:
        """Add a parameter of the layer, in another shape if given, and return its name; default if none."""
        name = f"{self.key}.{name}"
        if name not in self.weights:
            return default
        weight = self.weights[name]
        return self.store(name, weight if shape is None else weight.reshape(shape))

    def store(self, name: str, value: ArrayLike) -> str:
        """Add an array to the model, as float32, int64 or text, and return its name."""
        value = np.asarray(value)
        with np.errstate(over="ignore"):
            array = value.astype({"f": np.float32, "i": np.int64}.get(value.dtype.kind, object))
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(
                f"to_onnx: {name} has values beyond the range of float32, in which the model computes."
            )
        self.arrays[name] = array
        return name

    def add_input(self, name: str, dtype: DTypeLike, shape: Shape) -> str:
        """Declare an input of the model, n samples of a shape, and return it as float32."""
        self._inputs.append((name, dtype, shape))
        if dtype == np.float32:
            return name
        return self.add("Cast", name, to=self.get_type(np.float32))

    def add_output(self, name: str, dtype: DTypeLike, shape: Shape) -> None:
        """Declare an output of the model: n samples of a shape."""
        self.outputs.append((name, dtype, shape))

    def describe(self, **values: Any) -> None:
        """Add what `from_onnx` has to know of the model beside its nodes."""
        self._description.update(values)

    def get_type(self, dtype: DTypeLike) -> Any:
        """Return ONNX's code of a dtype; that of object is text."""
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def make_model(self, name: str) -> Any:
        """Return the model made of all nodes, arrays, inputs and outputs."""
        helper, as_tensor = self._onnx.helper, self._onnx.numpy_helper.from_array
        arrays = [as_tensor(array, name) for name, array in self.arrays.items()]
        inputs, outputs = (
            [
                helper.make_tensor_value_info(key, self.get_type(dtype), ("n", *shape))
                for key, dtype, shape in values
            ]
            for values in (self._inputs, self.outputs)
        )
        graph = helper.make_graph(self.nodes, name, inputs, outputs, initializer=arrays)
        model = helper.make_model(
            graph,
            producer_name="skconvnet",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, {DESCRIPTION: json.dumps(self._description)})
        return model


# (graph, layer, name of the input, shape of the input) -> name of the layer's output
Writer: TypeAlias = Callable[[ModelGraph, Any, str, Shape], str]


def _write_layer(graph: ModelGraph, layer: Layer, x: str, shape: Shape) -> str:
    """Write the layer that graph is at, for an input of this name and shape; return its output's name."""
    if type(layer) in WRITERS:
        return WRITERS[type(layer)](graph, layer, x, shape)
    if not layer.parameter_shapes(shape):
        plan = Plan(shape, input_gradient=False, training=False)
        if layer.lower(plan, plan.input, {}) is plan.input:  # it acts only in training
            return x
    if isinstance(layer, layers.Function):
        raise TypeError(
            f"to_onnx: Function {graph.key!r} calls Python, which an ONNX model cannot. Use an activation of "
            f"skconvnet.layers."
        )
    raise TypeError(
        f"to_onnx: {type(layer).__name__} {graph.key!r} is no layer of skconvnet.layers, so its ONNX "
        f"operators are not known. Use layers of skconvnet.layers."
    )


def _write(
    operator: str, list_attributes: Callable[[Any, Shape], dict[str, Any]] = lambda layer, shape: {}
) -> Writer:
    """Return a writer of layers as one node, whose attributes follow from the layer and its input's shape."""

    def write(graph: ModelGraph, layer: Layer, x: str, shape: Shape) -> str:
        return graph.add(operator, x, **list_attributes(layer, shape))

    return write


def _list_sides(padding: Sides) -> tuple[int, int, int, int]:
    """Return ((top, bottom), (left, right)) in ONNX's order: top, left, bottom, right."""
    (top, bottom), (left, right) = padding
    return top, left, bottom, right


def _pad(graph: ModelGraph, x: str, padding: Sides) -> str:
    """Pad an image with zeros, unless the padding is 0 on all sides."""
    top, left, bottom, right = _list_sides(padding)
    if not (top or left or bottom or right):
        return x
    return graph.add("Pad", x, (0, 0, top, left, 0, 0, bottom, right))


def _activate(graph: ModelGraph, layer: Any, x: str, shape: Shape) -> str:
    """Write the activation of a layer that includes one."""
    return _write_layer(graph, resolve_activation(graph.key, layer.activation), x, layer.output_shape(shape))


def _write_convolution(graph: ModelGraph, layer: layers.Conv1D | layers.Conv2D, x: str, shape: Shape) -> str:
    kernel, stride, dilation = layer._pairs()
    y = graph.add(
        "Conv",
        x,
        graph.find("weight", shape=(layer.filters, -1, *kernel)),  # 0 where a connection table has False
        graph.find("bias"),
        kernel_shape=kernel,
        strides=stride,
        dilations=dilation,
        group=layer.groups,
        pads=_list_sides(layer._pad(shape)),
    )
    return _activate(graph, layer, y, shape)


def _write_transposed_convolution(
    graph: ModelGraph, layer: layers.Conv2DTranspose, x: str, shape: Shape
) -> str:
    kernel, stride, dilation = layer._pairs()
    y_shape = layer.output_shape(shape)
    padding = layer._pad(y_shape)
    sizes = zip(shape[1:], y_shape[1:], stride, layer._span(), padding)
    y = graph.add(
        "ConvTranspose",
        x,
        graph.find("weight"),
        graph.find("bias"),
        kernel_shape=kernel,
        strides=stride,
        dilations=dilation,
        group=layer.groups,
        pads=_list_sides(padding),
        output_padding=[n_out - (n - 1) * s - k + sum(sides) for n, n_out, s, k, sides in sizes],
    )
    return _activate(graph, layer, y, shape)


def _write_local_convolution(
    graph: ModelGraph, layer: layers.LocallyConnected1D | layers.LocallyConnected2D, x: str, shape: Shape
) -> str:
    (kh, kw), (down, right) = layer._pairs()
    padding = layer._pad(shape)
    x = _pad(graph, x, padding)
    filters, rows, columns = layer.output_shape(shape)
    padded = (shape[0], *(n + sum(sides) for n, sides in zip(shape[1:], padding)))
    indices = np.arange(math.prod(padded)).reshape(padded)
    windows = np.lib.stride_tricks.sliding_window_view(indices, (kh, kw), (1, 2))[:, ::down, ::right]
    windows = windows.transpose(1, 2, 0, 3, 4).reshape(rows * columns, -1)  # [position][c, kh, kw]
    weight = graph.weights[f"{graph.key}.weight"].reshape(filters, rows * columns, -1)
    patches = graph.add("Gather", graph.add("Flatten", x), windows, axis=1)
    patches = graph.add("Transpose", patches, perm=(1, 0, 2))  # [position][n][c, kh, kw]
    y = graph.add("MatMul", patches, weight.transpose(1, 2, 0))
    y = graph.add("Transpose", y, perm=(1, 2, 0))  # [n][filter][position]
    y = graph.add("Reshape", y, (-1, filters, rows, columns))
    if layer.bias:
        y = graph.add("Add", y, graph.find("bias", shape=(filters, rows, columns)))
    return _activate(graph, layer, y, shape)


def _write_dense(graph: ModelGraph, layer: layers.Dense, x: str, shape: Shape) -> str:
    x = _write_flatten(graph, layer, x, shape)
    y = graph.add("Gemm", x, graph.find("weight"), graph.find("bias"), transB=1)
    return _activate(graph, layer, y, shape)


def _write_flatten(graph: ModelGraph, layer: Layer, x: str, shape: Shape) -> str:
    return x if len(shape) == 1 else graph.add("Flatten", x)


def _list_window(layer: Any, shape: Shape) -> dict[str, Any]:
    """Return the attributes of a pooling; an average in ONNX leaves out the padding too, by default."""
    window, stride = layer._pairs()
    return {"kernel_shape": window, "strides": stride, "pads": _list_sides(layer._pad(shape))}


def _write_global_pool(operator: str) -> Writer:
    """Return a writer of global poolings, whose output is one pixel in ONNX and is flattened here."""

    def write(graph: ModelGraph, layer: Layer, x: str, shape: Shape) -> str:
        return graph.add("Flatten", graph.add(operator, x))

    return write


def _write_batch_norm(graph: ModelGraph, layer: layers.BatchNorm, x: str, shape: Shape) -> str:
    return graph.add(
        "BatchNormalization",
        x,
        graph.find("weight", np.ones(shape[0])),
        graph.find("bias", np.zeros(shape[0])),
        graph.find("running_mean"),
        graph.find("running_var"),
        epsilon=float(layer.epsilon),
    )


def _write_standardization(graph: ModelGraph, layer: layers.Standardize, x: str, shape: Shape) -> str:
    # BatchNormalization may compute x / std - mean / std, which suffers cancellation if mean is large
    mean, variance = (
        graph.weights[f"{graph.key}.running_{name}"].reshape(-1, *(1 for _ in shape[1:]))
        for name in ("mean", "var")
    )
    return graph.add("Div", graph.add("Sub", x, mean), np.sqrt(variance))


def _write_layer_norm(graph: ModelGraph, layer: layers.LayerNorm, x: str, shape: Shape) -> str:
    scale, bias = graph.find("weight", np.ones(shape)), graph.find("bias")
    return graph.add("LayerNormalization", x, scale, bias, axis=1, epsilon=float(layer.epsilon))


def _write_rescaling(graph: ModelGraph, layer: layers.Rescaling, x: str, shape: Shape) -> str:
    x = graph.add("Mul", x, float(layer.scale))
    return graph.add("Add", x, float(layer.offset))


def _write_zero_padding(graph: ModelGraph, layer: layers.ZeroPad2D, x: str, shape: Shape) -> str:
    return _pad(graph, x, pad_image(shape, (1, 1), (1, 1), layer.padding))


def _write_crop(graph: ModelGraph, layer: layers.RandomCrop, x: str, shape: Shape) -> str:
    # outside the image, the pixels at its border are repeated
    sizes = zip(layer._list_middle(shape), layer.output_shape(shape)[1:], shape[1:])
    for axis, ((start,), n_out, n_in) in enumerate(sizes, 2):
        if (start, n_out) == (0, n_in):
            continue
        x = graph.add("Gather", x, np.clip(start + np.arange(n_out), 0, n_in - 1), axis=axis)
    return x


def _write_gelu(graph: ModelGraph, layer: layers.GELU, x: str, shape: Shape) -> str:
    # x / 2 (1 + erf(x / sqrt(2)))
    y = graph.add("Erf", graph.add("Mul", x, math.sqrt(0.5)))
    return graph.add("Mul", graph.add("Mul", x, 0.5), graph.add("Add", y, 1.0))


def _write_relu6(graph: ModelGraph, layer: Layer, x: str, shape: Shape) -> str:
    return graph.add("Clip", x, np.float32(0), np.float32(6))


def _write_silu(graph: ModelGraph, layer: Layer, x: str, shape: Shape) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _write_mish(graph: ModelGraph, layer: Layer, x: str, shape: Shape) -> str:
    return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))


def _write_prelu(graph: ModelGraph, layer: layers.PReLU, x: str, shape: Shape) -> str:
    return graph.add("PRelu", x, graph.find("weight", shape=(-1, *(1 for _ in shape[1:]))))


def _write_upsampling(graph: ModelGraph, layer: layers.UpSample2D, x: str, shape: Shape) -> str:
    scales = [n_out / n for n, n_out in zip(shape, layer.output_shape(shape))]
    modes = {"nearest": ("nearest", "asymmetric"), "bilinear": ("linear", "half_pixel")}
    mode, transform = modes[layer.interpolation]
    return graph.add(
        "Resize",
        x,
        np.zeros(0, np.float32),  # no region
        np.array([1, *scales], np.float32),
        mode=mode,
        coordinate_transformation_mode=transform,
        nearest_mode="floor",
    )


def _write_branches(graph: ModelGraph, layer: layers.Parallel | layers.Residual, x: str, shape: Shape) -> str:
    ends, output_shape = [], layer.output_shape(shape)
    for branch in layer.list_branches(shape):
        y, y_shape = x, shape
        for inner_key, inner, _ in branch:
            y = _write_layer(graph.at(f"{graph.key}.{inner_key}"), inner, y, y_shape)
            y_shape = inner.output_shape(y_shape)
        if len(y_shape) < len(output_shape):  # factors of channels
            y = graph.add("Reshape", y, (-1, *y_shape, 1, 1))
        ends.append(y)
    if layer._merge == "concat":
        return graph.add("Concat", *ends, axis=1)
    if layer._merge in ("average", "max"):
        return graph.add({"average": "Mean", "max": "Max"}[layer._merge], *ends)
    operator = {"add": "Add", "multiply": "Mul"}[layer._merge]
    return functools.reduce(lambda y, z: graph.add(operator, y, z), ends)


# The writer of each class of layers.
WRITERS: dict[type[Layer], Writer] = {
    layers.Conv1D: _write_convolution,
    layers.Conv2D: _write_convolution,
    layers.Conv2DTranspose: _write_transposed_convolution,
    layers.LocallyConnected1D: _write_local_convolution,
    layers.LocallyConnected2D: _write_local_convolution,
    layers.Dense: _write_dense,
    layers.Flatten: _write_flatten,
    layers.MaxPool1D: _write("MaxPool", _list_window),
    layers.MaxPool2D: _write("MaxPool", _list_window),
    layers.AvgPool1D: _write("AveragePool", _list_window),
    layers.AvgPool2D: _write("AveragePool", _list_window),
    layers.GlobalMaxPool1D: _write_global_pool("GlobalMaxPool"),
    layers.GlobalMaxPool2D: _write_global_pool("GlobalMaxPool"),
    layers.GlobalAvgPool1D: _write_global_pool("GlobalAveragePool"),
    layers.GlobalAvgPool2D: _write_global_pool("GlobalAveragePool"),
    layers.BatchNorm: _write_batch_norm,
    layers.Standardize: _write_standardization,
    layers.LayerNorm: _write_layer_norm,
    layers.Rescaling: _write_rescaling,
    layers.ZeroPad2D: _write_zero_padding,
    layers.UpSample2D: _write_upsampling,
    layers.RandomCrop: _write_crop,
    layers.Parallel: _write_branches,
    layers.Residual: _write_branches,
    layers.ReLU: _write("Relu"),
    layers.LeakyReLU: _write("LeakyRelu", lambda layer, shape: {"alpha": float(layer.slope)}),
    layers.PReLU: _write_prelu,
    layers.ELU: _write("Elu", lambda layer, shape: {"alpha": float(layer.alpha)}),
    layers.GELU: _write_gelu,
    layers.ReLU6: _write_relu6,
    layers.SELU: _write(
        "Selu", lambda layer, shape: {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
    ),
    layers.SiLU: _write_silu,
    layers.Mish: _write_mish,
    layers.Hardswish: _write("HardSwish"),
    layers.Softsign: _write("Softsign"),
    layers.Sigmoid: _write("Sigmoid"),
    layers.Tanh: _write("Tanh"),
    layers.Softplus: _write("Softplus"),
    layers.Arctan: _write("Atan"),
    layers.Softmax: _write("Softmax", lambda layer, shape: {"axis": 1}),
    layers.LogSoftmax: _write("LogSoftmax", lambda layer, shape: {"axis": 1}),
}


def _write_classes(graph: ModelGraph, estimator: Any, z: str) -> None:
    """Write a classifier's labels, and its probabilities if it has any, from the network's outputs z."""
    loss = estimator._trainer.loss
    if loss.form == "labels":
        label = graph.add("Greater", z, 0.0)
        graph.add("Cast", label, output="label", to=graph.get_type(np.int64))
        graph.add_output("label", np.int64, estimator._y_shape)
    else:
        labels = _convert_labels(estimator.classes_)
        if estimator.network_.output_shape == (1,):
            z = graph.add("Mul", z, (-1.0, 1.0))  # sigmoid(-z) = 1 - sigmoid(z)
        index = graph.add("ArgMax", z, axis=1, keepdims=0)
        graph.add("Gather", graph.store("classes", labels), index, output="label")
        graph.describe(labels="classes")
        graph.add_output("label", labels.dtype, ())
    if loss.head == "softmax":
        graph.add("Softmax", z, output="probabilities", axis=1)
    elif loss.form == "labels" and loss.head == "sigmoid":
        graph.add("Sigmoid", z, output="probabilities")
    elif loss.head == "sigmoid":  # normalised sigmoids: softmax of log sigmoid(z) = -softplus(-z)
        z = graph.add("Neg", graph.add("Softplus", graph.add("Neg", z)))
        graph.add("Softmax", z, output="probabilities", axis=1)
    else:
        return
    graph.add_output("probabilities", np.float32, (len(estimator.classes_),))


def _convert_labels(classes: Array) -> Array:
    """Return labels as int64 or as text, or raise a TypeError if they are neither."""
    labels = np.array(classes.tolist()) if classes.dtype == object else classes
    if labels.dtype.kind == "U":
        return labels.astype(object)
    if labels.dtype.kind in "biuf":
        integers = labels.astype(np.int64)
        if (integers == labels).all():
            return integers
    raise TypeError(
        f"to_onnx: labels must be 64-bit integers or text, got {classes.tolist()}. Fit the "
        f"estimator with such labels, for example those of sklearn.preprocessing.LabelEncoder."
    )
