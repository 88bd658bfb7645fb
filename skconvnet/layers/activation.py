"""Elementwise activations: each a layer, and a name for ``activation=``."""

import math
from dataclasses import dataclass
from numbers import Real

from skconvnet._values import suggest
from skconvnet.layers.base import Layer


@dataclass(frozen=True, repr=False)
class ReLU(Layer):
    """Rectified linear unit, max(x, 0); its slope at 0 is 0.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
    """

    def lower(self, plan, x, places):
        plan.activate(x, "relu")
        return x


@dataclass(frozen=True, repr=False)
class LeakyReLU(Layer):
    """Leaky rectified linear unit: x where x > 0, else slope * x.

    Parameters
    ----------
    slope : float, default=0.01
        Slope for x <= 0; at least 0.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If slope is negative or not finite.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    """

    slope: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.slope, Real) or not 0 <= self.slope < math.inf:
            raise ValueError(f"LeakyReLU: slope must be a number of at least 0, got {self.slope!r}.")

    def lower(self, plan, x, places):
        plan.activate(x, "leaky_relu", float(self.slope))
        return x


@dataclass(frozen=True, repr=False)
class Sigmoid(Layer):
    """Logistic function, 1 / (1 + e^-x).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.
    """

    def lower(self, plan, x, places):
        plan.activate(x, "sigmoid")
        return x


@dataclass(frozen=True, repr=False)
class Tanh(Layer):
    """Hyperbolic tangent.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.
    """

    def lower(self, plan, x, places):
        plan.activate(x, "tanh")
        return x


@dataclass(frozen=True, repr=False)
class Identity(Layer):
    """No activation: the output is the input.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.
    """

    def lower(self, plan, x, places):
        return x


ACTIVATIONS = {
    "identity": Identity(),
    "relu": ReLU(),
    "leaky_relu": LeakyReLU(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
}


def resolve_activation(owner, activation):
    """Give the layer that ``activation=`` means: a name's, a layer itself, or Identity for None."""
    if activation is None:
        return ACTIVATIONS["identity"]
    if isinstance(activation, tuple(type(layer) for layer in ACTIVATIONS.values())):
        return activation
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"{owner}: unknown activation {activation!r}; {suggest(activation, ACTIVATIONS)}")
    return ACTIVATIONS[activation]
