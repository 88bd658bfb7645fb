"""Reference implementations of networks with PyTorch's functions."""

import pytest

from skconvnet.layers import (
    ELU,
    GELU,
    Arctan,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    LayerNorm,
    LeakyReLU,
    LocallyConnected2D,
    LogSoftmax,
    MaxPool2D,
    ReLU,
    Rescaling,
    Residual,
    Sigmoid,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
    ZeroPad2D,
)
from skconvnet.layers.activation import resolve_activation
from skconvnet.layers.window import pad_image

torch = pytest.importorskip("torch", reason="PyTorch (torch==2.13.0) is not installed")
F = torch.nn.functional


def as_sides(padding):
    """Return padding in PyTorch's order: left, right, top, bottom."""
    (top, bottom), (left, right) = padding
    return left, right, top, bottom


def as_pair(value):
    return value if isinstance(value, tuple) else (value, value)


def activate(layer, x):
    if isinstance(layer, LeakyReLU):
        return F.leaky_relu(x, layer.slope)
    if isinstance(layer, ELU):
        return F.elu(x, layer.alpha)
    functions = {
        ReLU: F.relu,
        GELU: F.gelu,
        Sigmoid: torch.sigmoid,
        Tanh: torch.tanh,
        Softplus: lambda x: F.softplus(x, threshold=100),
        Arctan: torch.arctan,
        Softmax: lambda x: F.softmax(x, 1),
        LogSoftmax: lambda x: F.log_softmax(x, 1),
    }
    return functions[type(layer)](x) if type(layer) in functions else x


def run_torch(network, parameters, x, training):
    """Return the outputs of a network, computed by PyTorch's functions."""
    for stage in network.stages:
        x = run_layer(stage.key, stage.layer, stage.input_shape, parameters, x, training)
    return x


def run_layer(key, layer, input_shape, parameters, x, training):
    """Return the outputs of a layer, computed by PyTorch's functions."""
    if isinstance(layer, Residual):
        total = 0
        for chain in layer.list_branches(input_shape):
            y = x
            for inner_key, inner, inner_shape in chain:
                y = run_layer(f"{key}.{inner_key}", inner, inner_shape, parameters, y, training)
            total = total + y
        return total
    weight, bias = parameters.get(f"{key}.weight"), parameters.get(f"{key}.bias")
    if isinstance(layer, Conv2D):
        kernel, stride, dilation = map(as_pair, (layer.kernel_size, layer.stride, layer.dilation))
        span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
        sides = as_sides(pad_image(input_shape, span, stride, layer.padding))
        if layer.connections is not None:
            weight = weight * torch.tensor(layer.connections)[:, :, None, None]
        x = F.conv2d(F.pad(x, sides), weight, bias, stride, 0, dilation, layer.groups)
    elif isinstance(layer, LocallyConnected2D):
        kernel, stride = as_pair(layer.kernel_size), as_pair(layer.stride)
        sides = as_sides(pad_image(input_shape, kernel, stride, layer.padding))
        _, ho, wo = layer.output_shape(input_shape)
        patches = F.unfold(F.pad(x, sides), kernel, stride=stride).unflatten(2, (ho, wo))
        x = torch.einsum("oijk,nkij->noij", weight.flatten(3), patches)
        x = x if bias is None else x + bias
    elif isinstance(layer, Dense):
        x = F.linear(x.flatten(1), weight, bias)
    elif isinstance(layer, BatchNorm):
        running = (parameters[f"{key}.running_{name}"] for name in ("mean", "var"))
        x = F.batch_norm(x, *running, weight, bias, training, 1 - layer.momentum, layer.epsilon)
    elif isinstance(layer, Standardize):
        mean, variance = (parameters[f"{key}.running_{name}"][:, None, None] for name in ("mean", "var"))
        x = (x - mean) / variance.sqrt()
    elif isinstance(layer, LayerNorm):
        x = F.layer_norm(x, input_shape, weight, bias, layer.epsilon)
    elif isinstance(layer, Rescaling):
        x = x * layer.scale + layer.offset
    elif isinstance(layer, ZeroPad2D):
        x = F.pad(x, as_sides(pad_image(input_shape, (1, 1), (1, 1), layer.padding)))
    elif isinstance(layer, GlobalAvgPool2D):
        x = x.mean((2, 3))
    elif isinstance(layer, GlobalMaxPool2D):
        x = x.amax((2, 3))
    elif isinstance(layer, Flatten):
        x = x.flatten(1)
    elif isinstance(layer, (MaxPool2D, AvgPool2D)):
        kernel, stride = as_pair(layer.pool_size), as_pair(layer.stride or layer.pool_size)
        sides = as_sides(pad_image(input_shape, kernel, stride, layer.padding))
        if isinstance(layer, MaxPool2D):
            x = F.max_pool2d(F.pad(x, sides, value=-torch.inf), kernel, stride)
        else:  # the average over the pixels without padding
            fraction = F.avg_pool2d(F.pad(torch.ones_like(x), sides), kernel, stride)
            x = F.avg_pool2d(F.pad(x, sides), kernel, stride) / fraction
    else:
        x = activate(layer, x)
    if isinstance(layer, (Conv2D, Dense, LocallyConnected2D)):
        x = activate(resolve_activation(key, layer.activation), x)
    return x
