"""Reference implementations of networks with PyTorch's functions."""

import functools

import pytest

from skconvnet.layers import (
    ELU,
    GELU,
    SELU,
    Arctan,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    Hardswish,
    LayerNorm,
    LeakyReLU,
    LocallyConnected1D,
    LocallyConnected2D,
    LogSoftmax,
    MaxPool1D,
    MaxPool2D,
    Mish,
    Parallel,
    PReLU,
    ReLU,
    ReLU6,
    Rescaling,
    Residual,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Standardize,
    Tanh,
    UpSample2D,
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
        ReLU6: F.relu6,
        SELU: F.selu,
        SiLU: F.silu,
        Mish: F.mish,
        Hardswish: F.hardswish,
        Softsign: F.softsign,
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


def pad_signal(length, size, stride, padding):
    """Return the zeros (before, after) of a signal, for windows of a size."""
    if padding == "causal":
        return size - 1, 0
    if isinstance(padding, tuple):
        return padding
    if padding == "same":
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        return total // 2, total - total // 2
    return (0, 0) if padding == "valid" else (padding, padding)


def run_signals(key, layer, weight, bias, x):
    """Return the outputs of a layer with windows along signals, computed by PyTorch's functions."""
    pools = isinstance(layer, (MaxPool1D, AvgPool1D))
    kernel = layer.pool_size if pools else layer.kernel_size
    stride, dilation = layer.stride or kernel, getattr(layer, "dilation", 1)
    sides = pad_signal(x.shape[2], (kernel - 1) * dilation + 1, stride, layer.padding)
    if isinstance(layer, MaxPool1D):
        return F.max_pool1d(F.pad(x, sides, value=-torch.inf), kernel, stride)
    if isinstance(layer, AvgPool1D):
        fraction = F.avg_pool1d(F.pad(torch.ones_like(x), sides), kernel, stride)
        return F.avg_pool1d(F.pad(x, sides), kernel, stride) / fraction
    if isinstance(layer, Conv1D):
        y = F.conv1d(F.pad(x, sides), weight, bias, stride, 0, dilation, layer.groups)
    else:
        windows = F.pad(x, sides).unfold(2, kernel, stride)  # (n, channels, length of the output, kernel)
        y = torch.einsum("ojck,ncjk->noj", weight, windows)
        y = y if bias is None else y + bias
    return activate(resolve_activation(key, layer.activation), y)


def merge(outputs, kind):
    """Return the output of branches, computed by PyTorch's functions."""
    if kind == "concat":
        return torch.cat(outputs, 1)
    if kind == "multiply":
        image = max(y.ndim for y in outputs) == 4
        outputs = [y[:, :, None, None] if image and y.ndim == 2 else y for y in outputs]
        return functools.reduce(torch.mul, outputs)
    stack = torch.stack(outputs)
    return {"add": stack.sum, "average": stack.mean, "max": stack.amax}[kind](0)


def run_layer(key, layer, input_shape, parameters, x, training):
    """Return the outputs of a layer, computed by PyTorch's functions."""
    if isinstance(layer, (Parallel, Residual)):
        outputs = []
        for chain in layer.list_branches(input_shape):
            y = x
            for inner_key, inner, inner_shape in chain:
                y = run_layer(f"{key}.{inner_key}", inner, inner_shape, parameters, y, training)
            outputs.append(y)
        return merge(outputs, layer._merge)
    weight, bias = parameters.get(f"{key}.weight"), parameters.get(f"{key}.bias")
    if isinstance(layer, (Conv1D, LocallyConnected1D, MaxPool1D, AvgPool1D)):
        return run_signals(key, layer, weight, bias, x[:, :, 0])[:, :, None]
    if isinstance(layer, Conv2D):
        kernel, stride, dilation = map(as_pair, (layer.kernel_size, layer.stride, layer.dilation))
        span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
        sides = as_sides(pad_image(input_shape, span, stride, layer.padding))
        if layer.connections is not None:
            weight = weight * torch.tensor(layer.connections)[:, :, None, None]
        x = F.conv2d(F.pad(x, sides), weight, bias, stride, 0, dilation, layer.groups)
    elif isinstance(layer, Conv2DTranspose):
        kernel, stride, dilation = map(as_pair, (layer.kernel_size, layer.stride, layer.dilation))
        _, rows, columns = layer.output_shape(input_shape)
        span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
        (top, _), (left, _) = pad_image((0, rows, columns), span, stride, layer.padding)
        x = F.conv_transpose2d(x, weight, None, stride, 0, 0, layer.groups, dilation)
        x = F.pad(x, (0, max(left + columns - x.shape[3], 0), 0, max(top + rows - x.shape[2], 0)))
        x = x[:, :, top : top + rows, left : left + columns]
        x = x if bias is None else x + bias[:, None, None]
    elif isinstance(layer, UpSample2D):
        options = {"nearest": {}, "bilinear": {"align_corners": False}}[layer.interpolation]
        x = F.interpolate(x, scale_factor=as_pair(layer.size), mode=layer.interpolation, **options)
    elif isinstance(layer, PReLU):
        x = F.prelu(x, weight)
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
    elif isinstance(layer, (GlobalAvgPool1D, GlobalAvgPool2D)):
        x = x.mean((2, 3))
    elif isinstance(layer, (GlobalMaxPool1D, GlobalMaxPool2D)):
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
    if isinstance(layer, (Conv2D, Conv2DTranspose, Dense, LocallyConnected2D)):
        x = activate(resolve_activation(key, layer.activation), x)
    return x
