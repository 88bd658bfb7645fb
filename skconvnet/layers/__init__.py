"""Layers: the values that a network is written with."""

from skconvnet.layers.activation import Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from skconvnet.layers.base import Layer, ShapeError
from skconvnet.layers.conv import Conv2D
from skconvnet.layers.dense import Dense, Flatten, Output
from skconvnet.layers.dropout import Dropout
from skconvnet.layers.normalization import BatchNorm, Standardize
from skconvnet.layers.pool import AvgPool2D, MaxPool2D
from skconvnet.layers.residual import Residual

__all__ = [
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Identity",
    "Layer",
    "LeakyReLU",
    "MaxPool2D",
    "Output",
    "ReLU",
    "Residual",
    "ShapeError",
    "Sigmoid",
    "Standardize",
    "Tanh",
]
