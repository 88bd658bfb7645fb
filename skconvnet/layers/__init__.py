"""Layers: the values that a network is written with."""

from skconvnet.layers.activation import (
    ELU,
    GELU,
    Arctan,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from skconvnet.layers.base import Layer, ShapeError
from skconvnet.layers.conv import Conv2D
from skconvnet.layers.dense import Dense, Flatten, Output
from skconvnet.layers.dropout import Dropout
from skconvnet.layers.normalization import BatchNorm, Standardize
from skconvnet.layers.pool import AvgPool2D, MaxPool2D
from skconvnet.layers.residual import Residual

__all__ = [
    "ELU",
    "GELU",
    "Arctan",
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Identity",
    "Layer",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool2D",
    "Output",
    "ReLU",
    "Residual",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Standardize",
    "Tanh",
]
