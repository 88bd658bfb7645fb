"""The networks of the benchmarks, by name, and the same networks in PyTorch.

Those that the package has itself come from `skconvnet.architectures`; the others are made here:

    large       224x224 images: kernels of 7 and 3, four stages
    wide        256 channels at most, on maps of 31, 15, 7 and 3 columns
    separable   depthwise convolutions and convolutions of 1x1, MobileNet's kind
    stages      128x128 images: four stages of kernels of 3
    dense       one hidden layer of 128 units
"""

import math

import numpy as np

from skconvnet import architectures
from skconvnet._network import Network
from skconvnet.layers import GELU, BatchNorm, Conv2D, Dense, GlobalAvgPool2D, MaxPool2D, ReLU


def convolve(filters, kernel, activation=ReLU, **options):
    """Return a convolution that keeps the image's size, batch normalisation and an activation."""
    return [Conv2D(filters, kernel, bias=False, **{"padding": "same", **options}), BatchNorm(), activation()]


def large():
    stages = [convolve(32, 7, stride=2), *(convolve(n, 3) for n in (64, 128, 256))]
    return [*join_stages(stages), GlobalAvgPool2D()]


def wide():
    layers = convolve(24, 2, GELU, padding="valid")
    for filters in (64, 256, 256):
        layers += [Conv2D(filters, 3, padding="same"), MaxPool2D(), BatchNorm(), GELU()]
        layers += convolve(filters, 3, GELU)
    return [*layers, GlobalAvgPool2D()]


def separable():
    layers = convolve(32, 3)
    for before, filters in ((32, 64), (64, 128), (128, 256)):
        layers += [*convolve(before, 3, stride=2, groups=before), *convolve(filters, 1)]
    return [*layers, GlobalAvgPool2D()]


def stages():
    return [*join_stages([convolve(n, 3) for n in (16, 32, 64, 128)]), GlobalAvgPool2D()]


def join_stages(some):
    """Return stages of layers with a pooling between them."""
    return [layer for k, stage in enumerate(some) for layer in ([MaxPool2D()] if k else []) + stage]


NETWORKS = {
    "large": (large(), (3, 224, 224)),
    "wide": (wide(), (3, 32, 32)),
    "separable": (separable(), (3, 32, 32)),
    "stages": (stages(), (3, 128, 128)),
    "dense": ([Dense(128, activation="relu")], (784,)),
}
for name, shape in architectures.INPUT_SHAPES.items():
    options = {"full": True} if name == "annt_mnist" else {}
    NETWORKS[name] = getattr(architectures, name)(**options), shape


def make_network(name):
    """Return a network's layers without the output layer, and the network with 10 outputs."""
    layers, shape = NETWORKS[name]
    return layers, Network(layers, shape, 10)


def make_torch_module(network):
    """Return the same network in PyTorch."""
    from torch import nn

    stages = network.stages
    module = nn.Sequential(*(m for stage in stages for m in translate(stage.layer, stage.input_shape)))
    n_parameters = sum(p.numel() for p in module.parameters())
    if n_parameters != network.n_parameters:
        raise ValueError(f"PyTorch has {n_parameters} parameters, skconvnet {network.n_parameters}.")
    return module


def translate(layer, shape):
    """Return PyTorch's modules for a layer whose input has this shape."""
    from torch import nn

    from skconvnet import layers as ours
    from skconvnet.layers.activation import resolve_activation

    if isinstance(layer, (ours.Conv1D, ours.Conv2D, ours.Dense)):
        after = translate(resolve_activation("", layer.activation), shape)
    match layer:
        case ours.Conv1D() | ours.Conv2D():
            kernel, stride, dilation = layer._pairs()
            (top, bottom), (left, right) = layer._pad(shape)
            even = (top, left) == (bottom, right)
            before = [] if even else [nn.ZeroPad2d((left, right, top, bottom))]
            padding = (top, left) if even else 0
            channels = shape[0], layer.filters
            conv = nn.Conv2d(
                *channels, kernel, stride, padding, dilation, groups=layer.groups, bias=layer.bias
            )
            return [*before, conv, *after]
        case ours.Dense():
            linear = nn.Linear(int(np.prod(shape)), layer.units, bias=layer.bias)
            return [*translate(ours.Flatten(), shape), linear, *after]
        case ours.BatchNorm():
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return [kind(shape[0], layer.epsilon, 1 - layer.momentum, affine=layer.scale)]
        case ours.MaxPool2D(padding="valid"):
            return [nn.MaxPool2d(layer.pool_size, layer.stride)]
        case ours.AvgPool2D(padding="valid"):
            return [nn.AvgPool2d(layer.pool_size, layer.stride)]
        case ours.GlobalAvgPool1D() | ours.GlobalAvgPool2D():
            return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        case ours.Parallel() | ours.Residual():
            branches = [translate_chain(branch) for branch in layer.list_branches(shape)]
            return [merge_branches(branches, layer._merge)]
        case ours.Flatten():
            return [nn.Flatten()] if len(shape) == 3 else []
        case ours.ReLU():
            return [nn.ReLU()]
        case ours.LeakyReLU():
            return [nn.LeakyReLU(layer.slope)]
        case ours.GELU():
            return [nn.GELU()]
        case ours.Identity():
            return []
    raise NotImplementedError(f"translate cannot write {layer!r} in PyTorch yet.")


def translate_chain(chain):
    """Return PyTorch's module for the layers of a branch."""
    from torch import nn

    return nn.Sequential(*(m for _, layer, shape in chain for m in translate(layer, shape)))


def merge_branches(branches, merge):
    """Return a module that merges what several modules make of one input."""
    import torch

    def widen(outputs):
        """Return outputs, where factors of channels have the axes of images."""
        n_axes = max(y.ndim for y in outputs)
        return [y.reshape(*y.shape, *(1,) * (n_axes - y.ndim)) for y in outputs]

    merges = {
        "concat": lambda outputs: torch.cat(outputs, 1),
        "add": sum,
        "multiply": lambda outputs: math.prod(widen(outputs)),
        "average": lambda outputs: sum(outputs) / len(outputs),
        "max": lambda outputs: torch.stack(outputs).amax(0),
    }

    class Merge(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = torch.nn.ModuleList(branches)

        def forward(self, x):
            return merges[merge]([branch(x) for branch in self.branches])

    return Merge()
