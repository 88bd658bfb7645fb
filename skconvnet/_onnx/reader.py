"""Networks from ONNX models: the layers and weights that the nodes of a graph stand for."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from skconvnet._onnx.graph import FOLDABLE, Activations, Graph, Node, Reader, Step
from skconvnet._onnx.operators import READERS
from skconvnet._types import Array, Shape
from skconvnet.layers import (
    Conv1D,
    Conv2D,
    Dense,
    Layer,
    LogSoftmax,
    Output,
    Rescaling,
    Residual,
    Sigmoid,
    Softmax,
    Standardize,
)

# The activations that a model may end in, and the losses of networks whose outputs are their inputs.
LOSSES: dict[type[Layer], str] = {
    Softmax: "cross_entropy",
    LogSoftmax: "cross_entropy",
    Sigmoid: "binary_cross_entropy",
}


@dataclass(frozen=True)
class Stack:
    """A network that was read from a file.

    Parameters
    ----------
    layers : list of layer
        The last one is an `Output`, or a `Dense` layer that an estimator adds by itself.
    weights : dict of str to ndarray of float64
        As `Network.set_weights` takes them, with the keys "output.weight" and "output.bias".
    n_outputs : int
    input_shape : tuple of int
        (channels, height, width), (channels, 1, length) or (features,).
    data_format : {"channels_first", "channels_last"}
        The order of the axes of X.
    is_signal : bool
    loss : str or None
        The loss that the activation at the end belongs to, which is then left out.
    """

    layers: list[Layer]
    weights: dict[str, Array]
    n_outputs: int
    input_shape: Shape
    data_format: Literal["channels_first", "channels_last"]
    is_signal: bool
    loss: str | None


def read_stack(graph: Graph, output: str, input_shape: Sequence[int] | None, has_loss: bool) -> Stack:
    """Read the network that computes an output.

    Parameters
    ----------
    graph : Graph
    output : str
        Name of the network's outputs in the graph.
    input_shape : tuple of int or None
        The shape of a sample of X, where the model leaves sizes open.
    has_loss : bool
        Whether an activation at the end may belong to the loss.

    Returns
    -------
    stack : Stack

    Raises
    ------
    ValueError
        If an operator, a setting of a node or the structure of the graph is not supported.
    """
    nodes = graph.select(output)
    reader = Reader(graph)
    _refuse_unknown(graph, nodes)
    reader.values[graph.input.name] = Activations((), _resolve_input(graph, input_shape), None)
    for node in nodes:
        if node.operator == "Shape":
            _read_shape(reader, node)
        elif not graph.fold(node):
            reader.values[node.output] = READERS[node.operator](reader, node)
    if output not in reader.values:
        graph.fail("does not compute its output from X", "Export the network again.")
    node = nodes[-1] if nodes else graph.nodes[-1]
    end = reader.values[output]
    end = reader.begin(end if end.shape else end.arrange((1,)), node)
    _refuse_shared(graph, end.steps)
    steps, loss = list(end.steps), None
    last = steps[-1].layer if has_loss and steps else None
    if last is not None and type(last) in LOSSES:
        loss = LOSSES[type(last)]
        steps.pop()
    steps = _fold_affine(steps, at_start=True)
    if end.order is not None:
        node.fail("ends the network with its values in another order", "Leave out transpositions at its end.")
    n_outputs = math.prod(end.shape)
    layers, weights = _make_layers(steps)
    last = layers[-1] if layers else None
    if isinstance(last, Dense):
        key = str(len(layers) - 1)
        renamed = {f"output{k.removeprefix(key)}": v for k, v in weights.items() if k.split(".")[0] == key}
        weights = {k: v for k, v in weights.items() if k.split(".")[0] != key} | renamed
        layers[-1:] = [] if last.bias else [Output(bias=False)]
    else:
        layers.append(Output(dense=False))
    shape = reader.network_shape
    assert shape is not None
    return Stack(layers, weights, n_outputs, shape, reader.data_format, reader.is_signal, loss)


def _refuse_unknown(graph: Graph, nodes: Iterable[Node]) -> None:
    """Refuse operators that are not supported, all in one error."""
    computed: set[str] = set()  # from shapes, like constants
    unknown = []
    for node in nodes:
        inputs = [name for name in node.inputs if name]
        known = all(name in computed or name in graph.constants for name in inputs)
        if node.operator == "Shape" or (known and node.operator in FOLDABLE):
            computed.update(node.proto.output)
        elif node.operator not in READERS:
            unknown.append(node.label)
    if unknown:
        graph.fail(
            f"has operators that no layer here computes: {', '.join(unknown)}",
            f"Leave them out of the network before it is exported. Supported are {', '.join(READERS)}.",
        )


def _resolve_input(graph: Graph, input_shape: Sequence[int] | None) -> Shape:
    """Return the shape of a sample of X in the model."""
    tensor = graph.input.type.tensor_type
    dims = [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim][1:]
    if not 1 <= len(dims) <= 3 and not (input_shape and not dims):
        graph.fail(
            f"has the input {graph.input.name!r} of {len(dims) + 1} axes",
            "X must be images, signals or vectors, with the axis of the samples first.",
        )
    if input_shape is None:
        if not all(isinstance(n, int) and n > 0 for n in dims):
            graph.fail(
                f"leaves sizes of its input open, which has the shape (n, {', '.join(map(str, dims))})",
                "Give an estimator with input_shape, of a sample in this order of axes: "
                "from_onnx(path, ConvNetClassifier(input_shape=(3, 32, 32))).",
            )
        return tuple(int(n) for n in dims)
    shape = tuple(int(n) for n in input_shape)
    if len(shape) != len(dims) or any(isinstance(n, int) and n != m for n, m in zip(dims, shape)):
        graph.fail(
            f"has samples of shape ({', '.join(map(str, dims))}), and input_shape is {shape}",
            "Give input_shape in the model's order of axes, or leave it out.",
        )
    return shape


def _read_shape(reader: Reader, node: Node) -> None:
    """Add the shape of activations to the constants; the size of the batch counts as 0."""
    shape = np.array([0, *reader.get(node).shape], np.int64)
    reader.graph.constants[node.output] = shape[node.get("start", 0) : node.get("end", None)]


def _list_steps(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield all steps, also those within others."""
    for step in steps:
        yield step
        for branch in step.branches:
            yield from _list_steps(branch)


def _refuse_shared(graph: Graph, steps: Sequence[Step]) -> None:
    """Refuse functions without a layer, and nodes that are in two branches."""
    seen: set[int] = set()
    for step in _list_steps(steps):
        if step.layer is None and step.function not in ("affine", "residual"):
            step.node.fail(
                "is no part of an activation that is known",
                f"{step.function} is supported as a part of GELU and HardSwish only.",
            )
        if id(step) in seen:
            step.node.fail(
                "is used by branches that cross",
                "Only residual connections that are nested, or follow each other, are supported.",
            )
        seen.add(id(step))


def _fold_affine(steps: Sequence[Step], at_start: bool = False) -> list[Step]:
    """Return steps whose scales and offsets became parts of layers, or layers.

    One value for each channel becomes part of the convolution or dense layer before it, or a `Standardize`
    layer at the start of the network; one for all becomes a `Rescaling`.
    """
    folded: list[Step] = []
    for step in steps:
        if step.branches:
            branches = tuple(tuple(_fold_affine(branch)) for branch in step.branches)
            step = dataclasses.replace(step, branches=branches)
        if step.function == "affine" and folded and folded[-1].function == "affine":
            first, second = folded.pop().parameters, step.parameters
            scale = first["scale"] * second["scale"]
            offset = first["offset"] * second["scale"] + second["offset"]
            step = dataclasses.replace(step, parameters={"scale": scale, "offset": offset})
        elif folded and folded[-1].function == "affine":
            _place_affine(folded, at_start)
        folded.append(step)
    if folded and folded[-1].function == "affine":
        _place_affine(folded, at_start)
    return folded


def _place_affine(steps: list[Step], at_start: bool) -> None:
    """Replace the last of the steps, scale * x + offset, by a layer or make it part of the one before."""
    step = steps.pop()
    scale, offset = step.parameters["scale"], step.parameters["offset"]
    before = steps[-1] if steps else None
    linear = before if before and isinstance(before.layer, (Conv1D, Conv2D, Dense)) else None
    is_bias = linear and "bias" not in linear.parameters and (scale == 1).all()
    if scale.ndim == offset.ndim == 0 and not (is_bias and offset):
        if abs(scale - 1) > 1e-6 or offset:  # 6 * (1 / 6), in float32, is not 1
            steps.append(Step(Rescaling(float(scale), float(offset)), step.node))
    elif linear:
        steps[-1] = _fold_into(linear, scale, offset)
    elif at_start and not steps and (scale > 0).all():
        scale, offset = np.broadcast_arrays(scale, offset)
        moments = {"running_mean": -offset / scale, "running_var": 1 / scale**2}
        steps.append(Step(Standardize(), step.node, moments))
    else:
        step.node.fail(
            "scales or shifts channels where no layer does",
            "It must come directly after a convolution or a dense layer, or first in the network.",
        )


def _fold_into(step: Step, scale: Array, offset: Array) -> Step:
    """Return a convolution or dense layer whose outputs are scaled and shifted."""
    assert isinstance(step.layer, (Conv1D, Conv2D, Dense))
    weight = step.parameters["weight"]
    weight = weight * scale.reshape(-1, *(1 for _ in weight.shape[1:]))
    bias = np.zeros(len(weight)) if "bias" not in step.parameters else step.parameters["bias"]
    layer = dataclasses.replace(step.layer, bias=True)
    return dataclasses.replace(
        step, layer=layer, parameters={"weight": weight, "bias": bias * scale + offset}
    )


def _make_layers(steps: Sequence[Step]) -> tuple[list[Layer], dict[str, Array]]:
    """Return the layers of steps, and their weights by key."""
    layers: list[Layer] = []
    weights: dict[str, Array] = {}
    for position, step in enumerate(steps):
        parameters = step.parameters
        if step.function == "residual":
            (branch, inner), (shortcut, other) = map(_make_layers, step.branches)
            layers.append(Residual(branch, shortcut))
            parameters = {**inner, **{f"shortcut.{key}": value for key, value in other.items()}}
        else:
            assert step.layer is not None
            layers.append(step.layer)
        weights.update((f"{position}.{name}", value) for name, value in parameters.items())
    return layers, weights
