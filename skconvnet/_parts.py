"""Parts of a network as it predicts: what an inner layer makes, and how the outputs depend on it."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from skconvnet._network import Network
from skconvnet._types import Array, Shape
from skconvnet._values import suggest
from skconvnet.layers import BatchNorm, Conv2D, Dense, Layer, Residual
from skconvnet.layers.sequence import name_layers


def find_stage(network: Network, layer: int | str) -> int:
    """Find a layer's place in a network.

    Parameters
    ----------
    network : Network
    layer : int or str
        Its position in ``network.layers``, negative from the end, or its search key.

    Returns
    -------
    k : int
        Such that ``network.stages[k]`` is it.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    keys = [key for key, _ in name_layers(network.layers)]
    within = isinstance(layer, Integral) and -len(keys) <= layer < len(keys)
    key = keys[int(layer)] if within else str(layer)
    found = [stage.key for stage in network.stages]
    if key not in found:
        raise ValueError(f"there is no layer {layer!r}; {suggest(layer, found)}")
    return found.index(key)


def cut(network: Network, first: int, last: int) -> Network:
    """Give some neighbouring layers as a network of their own, with a copy of their weights.

    Parameters
    ----------
    network : Network
    first, last : int
        ``network.stages[first:last]``, at least one.

    Returns
    -------
    part : Network
    """
    stages, weights = network.stages[first:last], network.weights
    values = [weights[f"{stage.key}.{name}"] for stage in stages for name in stage.places]
    return _build([stage.layer for stage in stages], values, stages[0].input_shape, network.dtype)


def differentiate(network: Network, X: Array, dy: Array) -> Array:
    """Push a gradient to the outputs back to the inputs of a network as it predicts.

    Parameters
    ----------
    network : Network
    X : ndarray of shape (n, channels, height, width) or (n, features)
    dy : ndarray of the shape of the outputs
        In the network's dtype.

    Returns
    -------
    dx : ndarray of the shape of X
    """
    layers, values, weights = [], [], network.weights
    for stage in network.stages:
        parameters = {name: weights[f"{stage.key}.{name}"] for name in stage.places}
        layer, more = _freeze(stage.layer, stage.input_shape, parameters)
        layers.append(layer)
        values += more
    frozen = _build(layers, values, network.input_shape, network.dtype)
    return frozen.backward(X, dy, training=False)[0]


def _build(
    layers: Sequence[Layer | None], values: Sequence[Array], input_shape: Shape, dtype: np.dtype[Any]
) -> Network:
    """Make a network whose weights are some arrays, in order."""
    network = Network(layers, input_shape, dtype=dtype)
    network.set_weights(dict(zip(network.weights, values)))
    return network


def _freeze(layer: Layer, shape: Shape, parameters: dict[str, Array]) -> tuple[Layer, list[Array]]:
    """Give a layer that does in training what another does in prediction, and its weights in order.

    Batch normalisation with running moments is y = scale * x + shift, channel by channel: a 1x1 convolution
    with as many groups as channels, or a diagonal matrix.
    """
    if isinstance(layer, BatchNorm):
        scale = parameters.get("weight", 1) / np.sqrt(parameters["running_var"] + layer.epsilon)
        shift = parameters.get("bias", 0) - parameters["running_mean"] * scale
        if len(shape) == 3:
            return Conv2D(len(scale), 1, groups=len(scale)), [scale.reshape(-1, 1, 1, 1), shift]
        return Dense(len(scale)), [np.diag(scale), shift]
    if isinstance(layer, Residual):
        ways, values = [], []
        for chain in layer._arrange(shape)[:2]:
            ways.append([])
            for key, inner, inner_shape in chain:
                own = {n.removeprefix(f"{key}."): v for n, v in parameters.items() if n.startswith(f"{key}.")}
                frozen, more = _freeze(inner, inner_shape, own)
                ways[-1].append(frozen)
                values += more
        return replace(layer, layers=ways[0], shortcut=ways[1]), values
    return layer, list(parameters.values())
