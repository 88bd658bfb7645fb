"""The operators of ONNX that networks are read from: what step each node stands for."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from skconvnet import layers
from skconvnet._onnx.graph import DAMAGED, Activations, Node, Reader, Step, shorten
from skconvnet._types import Array, Pair, Shape
from skconvnet.layers import Layer
from skconvnet.layers.window import pad_axis

Read: TypeAlias = Callable[[Reader, Node], Activations]


def _shorten(sizes: Sequence[int]) -> Any:
    """Return one size for a signal and for two equal ones, else a pair."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


class _Window:
    """The sizes of a node whose windows slide, along the axes that its layer has."""

    def __init__(self, reader: Reader, node: Node, x: Activations, kernel: Sequence[int]) -> None:
        n = len(x.shape) - 1
        if len(kernel) != n:
            node.fail(f"has a kernel of {len(kernel)} axes for samples of shape {x.shape}", DAMAGED)
        self.kernel = list(kernel)
        self.stride = list(node.get("strides", [1] * n))
        self.dilation = list(node.get("dilations", [1] * n))
        if (
            not len(self.stride) == len(self.dilation) == n
            or min(self.stride + self.dilation + self.kernel) < 1
        ):
            node.fail(
                f"has kernel_shape={self.kernel}, strides={self.stride} and dilations={self.dilation}",
                f"Each must be {n} sizes of at least 1.",
            )
        self.span = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation)]
        self.sides = self._read_padding(node, x.shape[1:])
        if reader.is_signal and n == 2:  # a signal as an image of one row
            if self.kernel[0] > 1 or any(self.sides[0]):
                node.fail("reaches over the only row of a signal", "Use a convolution of signals.")
            for part in (self.kernel, self.stride, self.dilation, self.span, self.sides):
                del part[0]

    def _read_padding(self, node: Node, size: Shape) -> list[Pair]:
        """Return the padding (before, after) of each axis."""
        auto, n = node.get("auto_pad", "NOTSET"), len(size)
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            sides = [pad_axis(*axis, "same") for axis in zip(size, self.span, self.stride)]
            return [side[::-1] if auto == "SAME_LOWER" else side for side in sides]
        if auto not in ("NOTSET", "VALID"):
            node.fail(f"has auto_pad={auto!r}", "NOTSET, VALID, SAME_UPPER and SAME_LOWER are supported.")
        pads = list(node.get("pads", [0] * 2 * n)) if auto == "NOTSET" else [0] * 2 * n
        if len(pads) != 2 * n or min(pads) < 0:
            node.fail(f"has pads={pads}", f"They must be {2 * n} sizes of at least 0.")
        return list(zip(pads[:n], pads[n:]))

    def round_up(self, size: Shape) -> None:
        """Pad after each axis, so that its last outputs are those of ceil_mode.

        A window that would begin after the input and the padding before it is left out.
        """
        for axis, (n, (before, after)) in enumerate(zip(size, self.sides)):
            k, s = self.span[axis], self.stride[axis]
            n_out = -(-max(n + before + after - k, 0) // s) + 1
            if (n_out - 1) * s >= n + before:
                n_out -= 1
            self.sides[axis] = before, max((n_out - 1) * s + k - n - before, after)

    @property
    def padding(self) -> Any:
        """The padding as the layer takes it, in the shortest form."""
        if not any(map(any, self.sides)):
            return "valid"
        if all(before == after for before, after in self.sides):
            return _shorten([before for before, _ in self.sides])
        return self.sides[0] if len(self.sides) == 1 else tuple(self.sides)


def _choose(reader: Reader, name: str) -> Any:
    """Return the class of layers of a kind, for signals or for images."""
    return getattr(layers, f"{name}{1 if reader.is_signal else 2}D")


def _read_convolution(reader: Reader, node: Node) -> Activations:
    x = reader.as_image(reader.get(node), node)
    groups = node.get("group", 1)
    weight = node.load(1, *(None for _ in x.shape), None)
    filters, channels, *kernel = weight.shape
    if (
        groups < 1
        or channels * groups != x.shape[0]
        or filters % groups
        or kernel != node.get("kernel_shape", kernel)
    ):
        node.fail(
            f"has weights of shape {weight.shape}, group={groups} and kernel_shape="
            f"{node.get('kernel_shape', kernel)} for samples of shape {x.shape}",
            DAMAGED,
        )
    bias = node.find(2)
    parameters = {"weight": weight, **({} if bias is None else {"bias": node.load(2, filters)})}
    window = _Window(reader, node, x, kernel)
    if len(x.network) == 1:  # one pixel, after a global pooling
        if groups > 1 or window.padding != "valid":
            node.fail("pads a single pixel, or has groups of it", "Use a dense layer.")
        parameters["weight"] = weight.reshape(filters, channels)
        y = reader.add_layer(x, node, layers.Dense(filters, bias=bias is not None), parameters)
        return y.arrange((filters, *(1 for _ in kernel)))
    parameters["weight"] = weight.reshape(filters, channels, *window.kernel)
    layer = _choose(reader, "Conv")(
        filters,
        _shorten(window.kernel),
        stride=_shorten(window.stride),
        padding=window.padding,
        dilation=_shorten(window.dilation),
        groups=groups,
        bias=bias is not None,
    )
    return reader.add_layer(x, node, layer, parameters)


def _read_dense(reader: Reader, node: Node, weight: Array, bias: Array | None) -> Activations:
    """Return what a dense layer with a weight of shape (units, inputs) makes of a node's input."""
    x = reader.as_vector(reader.get(node), node)
    if weight.shape[1:] != x.shape:
        node.fail(
            f"has weights for {weight.shape[1]} inputs, got samples of shape {x.shape}",
            DAMAGED,
        )
    parameters = {"weight": x.to_network(weight), **({} if bias is None else {"bias": bias})}
    return reader.add_layer(x, node, layers.Dense(len(weight), bias=bias is not None), parameters)


def _read_gemm(reader: Reader, node: Node) -> Activations:
    node.require("transA", 0)
    weight = node.get("alpha", 1.0) * node.load(1, None, None)
    weight = weight if node.get("transB", 0) else weight.T
    bias = node.find(2)
    if bias is not None:
        bias = bias.reshape(-1) * node.get("beta", 1.0)
        if bias.size not in (1, len(weight)):
            node.fail(f"has a bias of {bias.size} values for {len(weight)} units", DAMAGED)
        bias = np.broadcast_to(bias, len(weight))
    return _read_dense(reader, node, weight, bias)


def _read_product(reader: Reader, node: Node) -> Activations:
    return _read_dense(reader, node, node.load(1, None, None).T, None)


def _read_pool(name: Literal["MaxPool", "AvgPool"]) -> Read:
    """Return a reader of poolings over windows."""

    def read(reader: Reader, node: Node) -> Activations:
        x = reader.as_image(reader.get(node), node)
        if len(x.network) == 1:
            node.fail("pools a single pixel", "Leave it out.")
        window = _Window(reader, node, x, node.get("kernel_shape", []))
        if max(window.dilation) > 1:
            node.fail(f"has dilations={node.get('dilations', None)}", "Only poolings without are supported.")
        if node.get("count_include_pad", 0) and any(map(any, window.sides)):
            rows, columns = [(0, 0), *window.sides][-2:]
            x = reader.add_layer(x, node, layers.ZeroPad2D((rows, columns)))
            window.sides = [(0, 0)] * len(window.sides)
        if node.get("ceil_mode", 0):
            window.round_up(x.shape[-len(window.sides) :])
        layer = _choose(reader, name)(
            _shorten(window.kernel), stride=_shorten(window.stride), padding=window.padding
        )
        return reader.add_layer(x, node, layer)

    return read


def _pool_globally(reader: Reader, node: Node, x: Activations, name: str) -> Activations:
    """Return the maxima or averages of whole channels, as vectors."""
    if len(x.network) == 1:
        return x.arrange(x.shape[:1])
    return reader.add_layer(x, node, _choose(reader, name)())


def _read_global_pool(name: str) -> Read:
    """Return a reader of global poolings, whose output has axes of one pixel in ONNX."""

    def read(reader: Reader, node: Node) -> Activations:
        x = reader.as_image(reader.get(node), node)
        return _pool_globally(reader, node, x, name).arrange((x.shape[0], *(1 for _ in x.shape[1:])))

    return read


def _read_reduction(name: str) -> Read:
    """Return a reader of maxima and means along axes, which must be those of the pixels."""

    def read(reader: Reader, node: Node) -> Activations:
        x, keep = reader.begin(reader.get(node), node), node.get("keepdims", 1)
        n = len(x.shape)
        axes = sorted(axis % (n + 1) for axis in node.list_ints("axes", 1) or [])
        if x.order is not None and axes == list(range(1, n)):  # the channels are last
            x, axes = x.arrange((x.shape[-1], *x.shape[:-1]), (n - 1, *range(n - 1))), list(range(2, n + 1))
            shape = (*(1 for _ in x.shape[1:]), x.shape[0])
        else:
            shape = (x.shape[0], *(1 for _ in x.shape[1:]))
        if n < 2 or axes != list(range(2, n + 1)):
            node.fail(
                f"reduces the axes {axes}", "Only all axes of the pixels, as a global pooling, are supported."
            )
        y = _pool_globally(reader, node, reader.as_image(x, node), name)
        return y.arrange(shape) if keep else y

    return read


def _read_batch_norm(reader: Reader, node: Node) -> Activations:
    if node.get("training_mode", 0):
        node.fail("is in training mode", "Export the network in evaluation mode: call its eval() first.")
    node.require("spatial", 1)
    x = reader.begin(reader.get(node), node)
    x = reader.as_vector(x, node) if len(x.shape) == 1 else reader.as_image(x, node)
    names = ("weight", "bias", "running_mean", "running_var")
    parameters = {name: node.load(k, x.shape[0]) for k, name in enumerate(names, 1)}
    if (parameters["running_var"] < 0).any():
        node.fail("has a negative variance", DAMAGED)
    if x.order is not None:
        parameters = {name: x.to_network(values) for name, values in parameters.items()}
    epsilon, momentum = (node.get(name, v) for name, v in (("epsilon", 1e-5), ("momentum", 0.9)))
    if epsilon <= 0 or not 0 <= momentum <= 1:
        node.fail(f"has epsilon={epsilon} and momentum={momentum}", DAMAGED)
    return x.append(Step(layers.BatchNorm(epsilon=epsilon, momentum=momentum), node, parameters))


def _read_layer_norm(reader: Reader, node: Node) -> Activations:
    x = reader.begin(reader.get(node), node)
    x = reader.as_vector(x, node) if len(x.shape) == 1 else reader.as_image(x, node)
    axis, rank = node.get("axis", -1), len(x.shape) + 1
    if axis % rank != 1:
        node.fail(f"has axis={axis}", "Only axis=1, over all values of a sample, is supported.")
    parameters = {"weight": node.load(1, *x.shape)}
    if node.find(2) is not None:
        parameters["bias"] = node.load(2, *x.shape)
    shape = x.network
    parameters = {name: x.to_network(value).reshape(shape) for name, value in parameters.items()}
    layer = layers.LayerNorm(epsilon=node.get("epsilon", 1e-5), center="bias" in parameters)
    return x.append(Step(layer, node, parameters))


def _read_dropout(reader: Reader, node: Node) -> Activations:
    rate = node.read_number("ratio", 1, 0.5)
    if not 0 <= rate < 1:
        node.fail(f"has ratio={rate:g}", "It must be at least 0 and below 1.")
    x = reader.get(node)
    return x.append(Step(layers.Dropout(rate), node)) if rate else x


def _read_padding(reader: Reader, node: Node) -> Activations:
    x = reader.as_image(reader.get(node), node)
    node.require("mode", "constant")
    name = "pads" if node.graph.opset > 1 else "paddings"
    pads, n = node.list_ints(name, 1) or [], len(x.shape) + 1
    axes = [axis % n for axis in node.list_ints("axes", 3) or range(n)]
    if len(pads) != 2 * len(axes) or min(pads) < 0:
        node.fail(f"has pads={pads}", "They must be two sizes of at least 0 for each axis.")
    sides = dict(zip(axes, zip(pads, pads[len(axes) :])))
    if node.read_number("value", 2, 0.0) or any(sides.get(0, ())) or any(sides.get(1, ())):
        node.fail(f"has pads={pads}", "Only zeros around the pixels of an image or a signal are supported.")
    if len(x.network) == 1:
        node.fail("pads a single pixel", "Leave it out.")
    rows, columns = [(0, 0), *(sides.get(axis, (0, 0)) for axis in range(2, n))][-2:]
    if not any((*rows, *columns)):
        return x
    return reader.add_layer(x, node, layers.ZeroPad2D((rows, columns)))


def _activate(make: Callable[[Node], Layer | None]) -> Read:
    """Return a reader of activations; `make` returns the layer, or None for one that is not supported."""

    def read(reader: Reader, node: Node) -> Activations:
        layer = make(node)
        if layer is None:
            settings = {k: node.graph.constants.get(k) for k in node.inputs[1:] if k}
            node.fail(f"has {node.attributes or settings}", "No activation here is the same function.")
        return reader.get(node).append(Step(layer, node))

    return read


def _make_clipped(node: Node) -> Layer | None:
    low, high = node.read_number("min", 1, -math.inf), node.read_number("max", 2, math.inf)
    if low == 0 and (high == 6 or high >= np.finfo(np.float32).max):
        return layers.ReLU6() if high == 6 else layers.ReLU()
    return None


def _make_leaky(node: Node) -> Layer | None:
    slope = node.find(1)
    assert slope is not None
    one = slope.size > 0 and slope.min() == slope.max() >= 0
    return layers.LeakyReLU(shorten(slope.flat[0])) if one else None


def _make_selu(node: Node) -> Layer | None:
    expected = (("alpha", 1.6732632423543772), ("gamma", 1.0507009873554805))
    same = all(math.isclose(node.get(name, value), value, rel_tol=1e-6) for name, value in expected)
    return layers.SELU() if same else None


def _read_softmax(layer: Layer) -> Read:
    """Return a reader of softmaxes, along the channels."""

    def read(reader: Reader, node: Node) -> Activations:
        x = reader.begin(reader.get(node), node)
        axis = node.get("axis", -1 if node.graph.opset >= 13 else 1) % (len(x.shape) + 1)
        if len(x.shape) == 1:
            x = reader.as_vector(x, node)
        elif node.graph.opset < 13:
            node.fail("is over all values of an image", "Export the model with opset 13 or later.")
        else:
            x = reader.as_image(x, node)
        if axis != 1:
            node.fail(f"has axis={axis}", "Only the axis of the channels, 1, is supported.")
        return x.append(Step(layer, node))

    return read


def _read_function(reader: Reader, node: Node) -> Activations:
    """Read a function that makes an activation only together with other nodes."""
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if node.operator == "HardSigmoid" and not (math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5):
        node.fail(
            f"has alpha={alpha:g}, beta={beta:g}", "Only 1/6 and 0.5, those of HardSwish, are supported."
        )
    return reader.get(node).append(Step(None, node, function=node.operator))


def _read_identity(reader: Reader, node: Node) -> Activations:
    return reader.get(node)


def _read_cast(reader: Reader, node: Node) -> Activations:
    kinds = node.graph.onnx.TensorProto
    if node.get("to", 0) not in (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16):
        node.fail("converts to integers or text", "Only conversions to floating-point numbers are supported.")
    return reader.get(node)


def _read_flatten(reader: Reader, node: Node) -> Activations:
    x = reader.get(node)
    if node.get("axis", 1) % (len(x.shape) + 2) != 1:
        node.fail(
            f"has axis={node.get('axis', 1)}", "Only axis=1, which leaves the samples apart, is supported."
        )
    return x.arrange((math.prod(x.shape),))


def _read_reshape(reader: Reader, node: Node) -> Activations:
    x = reader.get(node)
    target = node.list_ints("shape", 1) or [1]
    first, rest = (
        target[0],
        [x.shape[k] if n == 0 and k < len(x.shape) else n for k, n in enumerate(target[1:])],
    )
    n_elements, known = math.prod(x.shape), math.prod(n for n in rest if n != -1)
    if first == -1 and first in rest:
        first = 2  # two sizes are unknown
    if -1 in rest and known > 0:
        rest[rest.index(-1)] = n_elements // known
    if first not in reader.batch or any(n < 1 for n in rest) or math.prod(rest) != n_elements:
        node.fail(
            f"reshapes samples of shape {x.shape} to {target}",
            "Only the axes after the first, that of the samples, may change.",
        )
    return x.arrange(tuple(rest))


def _read_squeeze(reader: Reader, node: Node) -> Activations:
    x = reader.get(node)
    axes, shape = node.list_ints("axes", 1), list(x.shape)
    n = len(shape) + 1 + (len(axes or ()) if node.operator == "Unsqueeze" else 0)
    positions = (
        [k + 1 for k, size in enumerate(shape) if size == 1] if axes is None else [a % n for a in axes]
    )
    if 0 in positions or len(set(positions)) < len(positions):
        node.fail(f"has axes={axes}", "The first axis, that of the samples, must stay the first.")
    for position in sorted(positions, reverse=node.operator == "Squeeze"):
        if node.operator == "Unsqueeze":
            shape.insert(position - 1, 1)
        elif shape.pop(position - 1) != 1:
            node.fail(f"has axes={axes} for samples of shape {x.shape}", DAMAGED)
    return x.arrange(tuple(shape))


def _read_transpose(reader: Reader, node: Node) -> Activations:
    x = reader.get(node)
    n = len(x.shape) + 1
    axes = list(node.get("perm", range(n)[::-1]))
    if sorted(axes) != list(range(n)) or axes[0]:
        node.fail(f"has perm={axes}", "The first axis, that of the samples, must stay the first.")
    shape = [x.shape[axis - 1] for axis in axes[1:]]
    return x.arrange(tuple(shape), [axis - 1 for axis in axes[1:]])


def _read_affine(reader: Reader, node: Node, k: int) -> Activations:
    """Read scale * x + offset, where input k of a node is constant, and the other one is x."""
    x, value = reader.get(node, 1 - k), node.find(k)
    assert value is not None
    value = value.astype(np.float64)
    if value.ndim == len(x.shape) + 1 and len(value) == 1:
        value = value[0]  # without the axis of the samples
    if node.operator == "Div" and (k == 0 or not value.all()):
        node.fail("divides by activations, or by 0", "No layer here is the same function.")
    if value.size > 1 or (value.ndim == len(x.shape) > 0):
        x = reader.begin(x, node)
        value = _reduce_to_channels(node, x, value)
    value = value.reshape(-1) if value.ndim else value
    scale, offset = np.ones_like(value), np.zeros_like(value)
    if node.operator in ("Mul", "Div"):
        scale = value if node.operator == "Mul" else 1 / value
    else:
        offset = -value if node.operator == "Sub" and k == 1 else value
        scale = -scale if node.operator == "Sub" and k == 0 else scale
    return x.append(Step(None, node, {"scale": scale, "offset": offset}, function="affine"))


def _reduce_to_channels(node: Node, x: Activations, value: Array) -> Array:
    """Return the value for each channel of the network, or refuse values that differ between pixels."""
    try:
        full = np.broadcast_to(value, x.shape)
    except ValueError:
        node.fail(f"has constants of shape {value.shape} for samples of shape {x.shape}", "They must fit.")
    channels = x.to_network(full).reshape(x.network[0], -1)
    if (channels != channels[:, :1]).any():
        node.fail(
            "has another constant for each pixel",
            "Only one number, or one for each channel, is supported; scale pixels before the network.",
        )
    return channels[:, 0]


def _read_sum_or_product(read_both: Callable[[Reader, Node], Activations] | None) -> Read:
    """Return a reader of arithmetic with constants, and of two activations if `read_both` is given."""

    def read(reader: Reader, node: Node) -> Activations:
        constant = [k for k in range(len(node.inputs)) if reader.is_constant(node, k)]
        if len(node.inputs) == 2 and constant:
            return _read_affine(reader, node, constant[0])
        if len(node.inputs) != 2 or read_both is None:
            node.fail(f"has {len(node.inputs)} inputs that are computed from X", "No layer here does this.")
        return read_both(reader, node)

    return read


def _split(reader: Reader, node: Node) -> tuple[Activations, list[tuple[Step, ...]]]:
    """Return the last activations that both inputs of a node depend on, as a step leads there, and both ends.

    The longer end is the first.
    """
    a, b = (reader.get(node, k) for k in (0, 1))
    if a.shape != b.shape or not _agree(a.order, b.order) or None in (a.network_shape, b.network_shape):
        a, b = reader.begin(a, node), reader.begin(b, node)
    if a.shape != b.shape or a.network_shape != b.network_shape or not _agree(a.order, b.order):
        node.fail(f"gets samples of shapes {a.shape} and {b.shape}", "Both must have the same axes.")
    n = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] is pair[1], zip(a.steps, b.steps)))
    start = Activations(a.steps[:n], a.shape, a.network_shape, a.order)
    return start, sorted((a.steps[n:], b.steps[n:]), key=len, reverse=True)


def _agree(a: Array | None, b: Array | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _add(reader: Reader, node: Node) -> Activations:
    """Read a residual connection."""
    start, ends = _split(reader, node)
    return start.append(Step(None, node, branches=tuple(ends), function="residual"))


# Activations x * f(x): the functions that f consists of, and the factor that is left
_PRODUCTS: dict[tuple[str, ...], tuple[Layer, float]] = {
    ("Sigmoid",): (layers.SiLU(), 1.0),
    ("Softplus", "Tanh"): (layers.Mish(), 1.0),
    ("HardSigmoid",): (layers.Hardswish(), 1.0),
    ("1x+3", "ReLU6"): (layers.Hardswish(), 6.0),
    ("0.707107x+0", "Erf", "1x+1"): (layers.GELU(), 2.0),
}


def _multiply(reader: Reader, node: Node) -> Activations:
    """Read a product of x and a function of x, which is an activation."""
    start, (f, x) = _split(reader, node)
    factor = 1.0
    if len(x) == 1 and x[0].function == "affine" and _describe(x[0]).endswith("x+0"):
        factor, x = float(x[0].parameters["scale"]), ()
    found = _PRODUCTS.get(tuple(map(_describe, f)))
    if x or found is None:
        node.fail(
            "multiplies activations", "Only products that are SiLU, Mish, Hardswish or GELU are supported."
        )
    layer, scale = found
    y = start.append(Step(layer, node))
    parameters = {"scale": np.array(scale * factor), "offset": np.zeros(())}
    return y.append(Step(None, node, parameters, function="affine"))


def _describe(step: Step) -> str:
    """Return the name of a step's function, or "ax+b"."""
    if step.function == "affine" and step.parameters["scale"].ndim == 0:
        scale, offset = (float(step.parameters[name]) for name in ("scale", "offset"))
        return f"{scale:g}x+{offset:g}"
    return step.function or type(step.layer).__name__


# The reader of each operator.
READERS: dict[str, Read] = {
    "Add": _read_sum_or_product(_add),
    "Atan": _activate(lambda node: layers.Arctan()),
    "AveragePool": _read_pool("AvgPool"),
    "BatchNormalization": _read_batch_norm,
    "Cast": _read_cast,
    "Clip": _activate(_make_clipped),
    "Conv": _read_convolution,
    "Div": _read_sum_or_product(None),
    "Dropout": _read_dropout,
    "Elu": _activate(lambda node: layers.ELU(node.get("alpha", 1.0))),
    "Erf": _read_function,
    "Flatten": _read_flatten,
    "Gelu": _activate(lambda node: layers.GELU() if node.get("approximate", "none") == "none" else None),
    "Gemm": _read_gemm,
    "GlobalAveragePool": _read_global_pool("GlobalAvgPool"),
    "GlobalMaxPool": _read_global_pool("GlobalMaxPool"),
    "HardSigmoid": _read_function,
    "HardSwish": _activate(lambda node: layers.Hardswish()),
    "Identity": _read_identity,
    "LayerNormalization": _read_layer_norm,
    "LeakyRelu": _activate(lambda node: layers.LeakyReLU(node.get("alpha", 0.01))),
    "LogSoftmax": _read_softmax(layers.LogSoftmax()),
    "MatMul": _read_product,
    "MaxPool": _read_pool("MaxPool"),
    "Mish": _activate(lambda node: layers.Mish()),
    "Mul": _read_sum_or_product(_multiply),
    "PRelu": _activate(_make_leaky),
    "Pad": _read_padding,
    "ReduceMax": _read_reduction("GlobalMaxPool"),
    "ReduceMean": _read_reduction("GlobalAvgPool"),
    "Relu": _activate(lambda node: layers.ReLU()),
    "Reshape": _read_reshape,
    "Selu": _activate(_make_selu),
    "Sigmoid": _activate(lambda node: layers.Sigmoid()),
    "Softmax": _read_softmax(layers.Softmax()),
    "Softplus": _activate(lambda node: layers.Softplus()),
    "Softsign": _activate(lambda node: layers.Softsign()),
    "Squeeze": _read_squeeze,
    "Sub": _read_sum_or_product(None),
    "Sum": _read_sum_or_product(_add),
    "Swish": _activate(lambda node: layers.SiLU() if node.get("alpha", 1.0) == 1.0 else None),
    "Tanh": _activate(lambda node: layers.Tanh()),
    "Transpose": _read_transpose,
    "Unsqueeze": _read_squeeze,
}
