"""Layers: the immutable values that describe a network."""

from skconvnet._advice import guide_imports
from skconvnet.layers.activation import (
    ELU,
    GELU,
    SELU,
    Arctan,
    Hardswish,
    Identity,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from skconvnet.layers.augmentation import (
    GaussianNoise,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
)
from skconvnet.layers.base import Layer, ShapeError
from skconvnet.layers.branches import Parallel, Residual
from skconvnet.layers.conv import Conv1D, Conv2D, Conv2DTranspose, LocallyConnected1D, LocallyConnected2D
from skconvnet.layers.dense import Dense, Flatten, Output
from skconvnet.layers.dropout import Dropout
from skconvnet.layers.function import Function
from skconvnet.layers.minibatch import Augment, Mixup
from skconvnet.layers.normalization import BatchNorm, LayerNorm, Standardize
from skconvnet.layers.pool import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from skconvnet.layers.rescaling import Rescaling, ZeroPad2D
from skconvnet.layers.upsample import UpSample2D

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Arctan",
    "Augment",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "Function",
    "GaussianNoise",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "Hardswish",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LocallyConnected1D",
    "LocallyConnected2D",
    "LogSoftmax",
    "MaxPool1D",
    "MaxPool2D",
    "Mish",
    "Mixup",
    "Output",
    "PReLU",
    "Parallel",
    "RandomCrop",
    "RandomErasing",
    "RandomFlip",
    "RandomRotation",
    "RandomShift",
    "ReLU",
    "ReLU6",
    "Rescaling",
    "Residual",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Standardize",
    "Tanh",
    "UpSample2D",
    "ZeroPad2D",
]

guide_imports(__name__)
