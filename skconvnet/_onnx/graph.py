"""The graph of an ONNX model: its nodes, constants, and the steps of a network that nodes stand for."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np

from skconvnet._types import Array, Path, Shape
from skconvnet.layers import Flatten, Layer

# Broadcasting is what it is today since this version, of 2017.
OLDEST_OPSET = 7

# The remedy where a node contradicts itself.
DAMAGED = "Export the model again; this file is damaged."

# The operators that may be computed while a file is read, from constants and from the shapes of samples.
FOLDABLE = {
    *("Add", "Cast", "Concat", "Constant", "DequantizeLinear", "Div", "Gather", "Identity", "Mul", "Neg"),
    *("Reciprocal", "Reshape", "Shape", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze"),
}


@dataclass(frozen=True, eq=False)
class Step:
    """A layer with its parameters, or a function that only makes a layer together with other nodes.

    A function is "affine", with the parameters scale and offset, or has the name of its operator. Every step
    is an object of its own: a node that two branches read makes one step, which is in both.
    """

    layer: Layer | None
    node: "Node"
    parameters: dict[str, Array] = field(default_factory=dict)
    branches: tuple[tuple["Step", ...], ...] = ()  # of a residual connection: branch and shortcut
    function: str = ""


@dataclass(frozen=True, eq=False)
class Activations:
    """What a node computes: how a network gets there, and how the model arranges it.

    Models move axes freely; a network has channels, height and width, or features.
    """

    steps: tuple[Step, ...]
    shape: Shape  # of a sample, in the model
    network_shape: Shape | None  # of a sample, in the network; None before the first layer that depends on it
    order: Array | None = None  # the network's index of each of the model's elements; None if they are equal

    @property
    def network(self) -> Shape:
        """The shape of a sample in the network, once it is known."""
        assert self.network_shape is not None
        return self.network_shape

    def append(self, step: Step) -> "Activations":
        """Return what a step makes of these, if it changes no shape."""
        return Activations((*self.steps, step), self.shape, self.network_shape, self.order)

    def arrange(self, shape: Shape, axes: Sequence[int] | None = None) -> "Activations":
        """Return the same elements with their axes permuted, or in another shape."""
        order = self.order
        if axes is not None:
            order = np.arange(math.prod(self.shape)).reshape(self.shape) if order is None else order
            order = order.transpose(axes)
            if (order.ravel() == np.arange(order.size)).all():
                order = None
        if order is not None:
            order = order.reshape(shape)
        return Activations(self.steps, shape, self.network_shape, order)

    def to_network(self, values: Array) -> Array:
        """Bring an array whose last axes are those of the model's sample into the network's order, flat."""
        start = values.shape[: values.ndim - len(self.shape)]
        flat = np.ascontiguousarray(values).reshape(*start, -1)
        if self.order is None:
            return flat
        arranged = np.empty_like(flat)
        arranged[..., self.order.ravel()] = flat
        return arranged


def shorten(value: float) -> float:
    """Return the shortest decimal number that is the same in float32, which settings of nodes have."""
    return float(str(np.float32(value)))


class Node:
    """A node of the graph, with its attributes and its constant inputs."""

    def __init__(self, graph: "Graph", proto: Any) -> None:
        self.graph, self.proto = graph, proto
        self.operator = (
            proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        )
        self.inputs, self.output = list(proto.input), proto.output[0]
        self.label = f"{self.operator} {(proto.name or self.output)!r}"
        values = {a.name: graph.onnx.helper.get_attribute_value(a) for a in proto.attribute}
        self.attributes: dict[str, Any] = {
            k: v.decode() if isinstance(v, bytes) else shorten(v) if isinstance(v, float) else v
            for k, v in values.items()
        }

    def fail(self, problem: str, remedy: str) -> NoReturn:
        """Raise a ValueError that names the file and the node."""
        self.graph.fail(f"{self.label} {problem}", remedy)

    def get(self, name: str, default: Any) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def require(self, name: str, expected: Any) -> None:
        """Refuse a value of an attribute other than the expected one, which is its default."""
        value = self.get(name, expected)
        if value != expected:
            self.fail(f"has {name}={value!r}", f"Only {name}={expected!r} is supported.")

    def find(self, k: int) -> Array | None:
        """Return an input that must be a constant, or None if the node leaves it out."""
        if k >= len(self.inputs) or not self.inputs[k]:
            return None
        value = self.graph.constants.get(self.inputs[k])
        if value is None:
            self.fail(
                f"computes its input {self.inputs[k]!r} from X",
                "Only weights and settings that are constants of the model are supported.",
            )
        if value.dtype.kind not in "biuf":
            try:
                value = value.astype(np.float64)  # bfloat16 and the like
            except (TypeError, ValueError):
                self.fail(f"has {value.dtype} in {self.inputs[k]!r}", "Numbers were expected.")
        if value.dtype.kind == "f":
            value = value.astype(np.float64)
            if not np.isfinite(value).all():
                self.fail(f"has values that are not finite in {self.inputs[k]!r}", "Export the model again.")
        return value

    def load(self, k: int, *shape: int | None) -> Array:
        """Return the constants of an input in float64, or refuse them if they do not have a shape."""
        value = self.find(k)
        if (
            value is None
            or value.ndim != len(shape)
            or any(n not in (None, m) for n, m in zip(shape, value.shape))
        ):
            found = "none" if value is None else f"shape {value.shape}"
            expected = str(tuple("any" if n is None else n for n in shape)).replace("'", "")
            self.fail(f"needs constants of shape {expected} as input {k}, got {found}", DAMAGED)
        return value.astype(np.float64)

    def list_ints(self, name: str, k: int) -> list[int] | None:
        """Return whole numbers that are an attribute in older opsets, and input k in newer ones."""
        if name in self.attributes:
            return list(self.attributes[name])
        value = self.find(k)
        return None if value is None else [int(n) for n in value.ravel()]

    def read_number(self, name: str, k: int, default: float) -> float:
        """Return a number that is an attribute in older opsets, and input k in newer ones."""
        if name in self.attributes:
            return float(self.attributes[name])
        value = self.find(k)
        if value is None:
            return default
        if value.size != 1:
            self.fail(f"needs one number as {name}, got shape {value.shape}", DAMAGED)
        return shorten(value.ravel()[0])


class Graph:
    """An ONNX model that was read from a file and checked."""

    def __init__(self, onnx: Any, path: Path) -> None:
        self.onnx, self.path = onnx, os.fspath(path)
        model = self._load()
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
        if self.opset < OLDEST_OPSET:
            self.fail(
                f"has opset {self.opset}, and {OLDEST_OPSET} is the oldest that is read",
                "Export the model again, or convert it with onnx.version_converter.",
            )
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        graph = model.graph
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        if graph.sparse_initializer:
            self.fail("has sparse weights", "Export it with dense ones.")
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.constants: dict[str, Array] = {}
        inputs = [value for value in graph.input if value.name not in self.initializers]
        if len(inputs) != 1:
            names = ", ".join(repr(value.name) for value in inputs) or "none"
            self.fail(f"must have one input, X, and has {names}", "Export a network of one input.")
        self.input = inputs[0]
        self.outputs = [value.name for value in graph.output]
        self.nodes = [Node(self, proto) for proto in graph.node]

    def _load(self) -> Any:
        """Return the model of the file, checked by the package onnx."""
        with open(self.path, "rb"):  # a clear OSError
            pass
        try:
            model = self.onnx.load(self.path)
            self.onnx.checker.check_model(self.path)
        except Exception as error:  # a damaged file can lead to errors of many types
            raise ValueError(
                f"from_onnx: {self.path} is no valid ONNX model: {type(error).__name__}: {error}. Export the "
                f"model again, and keep a file of weights that was written with it in the same folder."
            ) from error
        return model

    def fail(self, problem: str, remedy: str) -> NoReturn:
        """Raise a ValueError that names the file."""
        raise ValueError(f"from_onnx: {self.path}: {problem}. {remedy}")

    def select(self, output: str) -> list[Node]:
        """Return the nodes that an output depends on, in order; compute the constants among them."""
        needed, nodes = {output}, []
        for node in reversed(self.nodes):  # sorted: a node comes after its inputs
            if needed.intersection(node.proto.output):
                needed.update(node.inputs)
                nodes.insert(0, node)
        for name in needed & self.initializers.keys():
            self.constants[name] = self.onnx.numpy_helper.to_array(self.initializers[name])
        return [node for node in nodes if not self.fold(node)]

    def fold(self, node: Node) -> bool:
        """Compute a node whose inputs are constants; return whether it is one."""
        if node.operator not in FOLDABLE or not all(x in self.constants for x in node.inputs if x):
            return False
        given = {name: self.constants[name] for name in node.inputs if name}
        evaluator = self.onnx.reference.ReferenceEvaluator(node.proto, opsets={"": self.opset})
        try:
            results = evaluator.run(None, given)
        except Exception as error:  # the file may combine any values
            node.fail(f"cannot be computed: {type(error).__name__}: {error}", DAMAGED)
        self.constants.update((n, np.asarray(v)) for n, v in zip(node.proto.output, results))
        return True


class Reader:
    """Reads nodes one by one; knows the input of the network once a layer has decided it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        dims = graph.input.type.tensor_type.shape.dim
        self.batch = {0, -1, *([dims[0].dim_value] if dims and dims[0].dim_value else [])}
        self.values: dict[str, Activations] = {}
        self.network_shape: Shape | None = None
        self.data_format: Literal["channels_first", "channels_last"] = "channels_first"
        self.is_signal = False

    def begin(self, x: Activations, node: Node) -> Activations:
        """Return activations whose shape in the network is known, which the first layer decides."""
        if x.network_shape is not None:
            return x
        dims = self.graph.input.type.tensor_type.shape.dim[1:]
        if len(x.shape) not in (1, 2, 3):
            node.fail(f"gets samples of shape {x.shape}", "Images, signals and vectors are supported.")
        channels, *size = x.shape
        is_signal = len(size) == 1 or (len(size) == 2 == len(dims) and size[0] == 1)
        size = size[-1:] if is_signal else size
        data_format: Any = "channels_first"
        if x.order is not None or [dim.dim_value for dim in dims] == [*size, channels] != [channels, *size]:
            data_format = "channels_last"
            indices = np.moveaxis(np.arange(math.prod(x.shape)).reshape(*size, channels), -1, 0)
            if x.order is not None and (indices.ravel() != x.order.ravel()).any():
                node.fail(
                    "gets X with its axes in an order other than (n, channels, ...) and (n, ..., channels)",
                    "Export the network without transpositions before its first layer.",
                )
        shape = (channels, 1, *size) if is_signal else x.shape
        found = shape, data_format, is_signal
        if self.network_shape and found != (self.network_shape, self.data_format, self.is_signal):
            node.fail("reads X in another shape than other nodes do", "Let one layer read X.")
        self.network_shape, self.data_format, self.is_signal = found
        return Activations(x.steps, x.shape, shape)

    def add_layer(
        self,
        x: Activations,
        node: Node,
        layer: Layer,
        parameters: dict[str, Array] | None = None,
    ) -> Activations:
        """Return what a layer makes of activations that are in the network's order.

        The model's shape of the result is the network's, for signals without the row.
        """
        try:
            shape = layer.output_shape(x.network)
        except ValueError as error:
            need = getattr(error, "need", error)
            node.fail(f"needs {need}, got {x.network}", "Check the shape of the model's input.")
        model_shape = (shape[0], shape[2]) if len(shape) == 3 and len(x.shape) == 2 else shape
        return Activations((*x.steps, Step(layer, node, parameters or {})), model_shape, shape)

    def as_image(self, x: Activations, node: Node) -> Activations:
        """Return activations as an image or a signal that a layer with windows can take, or refuse them."""
        x = self.begin(x, node)
        shape = x.network
        fits = x.shape in (shape, (*shape[:1], *shape[2:])) or (
            len(shape) == 1 and x.shape == (*shape, *(1 for _ in x.shape[1:]))
        )
        if x.order is not None or not fits or len(x.shape) < 2:
            node.fail(
                f"gets samples of shape {x.shape} that a Reshape or Transpose made",
                "Only images (channels, height, width) and signals (channels, length) are supported here.",
            )
        return x

    def as_vector(self, x: Activations, node: Node) -> Activations:
        """Return activations as a vector of the network, by a Flatten layer if it is an image there."""
        x = self.begin(x, node)
        if len(x.shape) != 1:
            node.fail(f"gets samples of shape {x.shape}", "Only vectors, of one axis, are supported here.")
        if len(x.network) == 1:
            return x
        return Activations((*x.steps, Step(Flatten(), node)), x.shape, x.shape, x.order)

    def get(self, node: Node, k: int = 0) -> Activations:
        """Return an input of a node that is computed from X."""
        name = node.inputs[k] if k < len(node.inputs) else ""
        if name in self.graph.constants or not name:
            node.fail(f"does not compute its input {k} from X", "It must be an output of a layer.")
        if name not in self.values:
            node.fail(f"reads {name!r}, a second output of a node", "Only first outputs are supported.")
        return self.values[name]

    def is_constant(self, node: Node, k: int) -> bool:
        """Whether an input of a node is a constant."""
        return node.inputs[k] in self.graph.constants
