"""Dense layers, and the layer that turns images into vectors."""

import math
from dataclasses import dataclass, field

import numpy as np

from skconvnet._lowering.conv import DenseCall
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Initializer, Shape
from skconvnet.initializers import check_initializer, draw
from skconvnet.layers.activation import resolve_activation
from skconvnet.layers.base import Layer, TrainedLayer, check_count, check_flag


@dataclass(repr=False, eq=False)
class Flatten(Layer):
    """Turn a (channels, height, width) image into a vector, channel by channel, row by row.

    `Dense` flattens images by itself; this layer makes it explicit.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Flatten
    >>> Flatten().output_shape((8, 10, 10))
    (800,)
    """

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return plan.flatten(x)


@dataclass(repr=False, eq=False)
class Dense(TrainedLayer):
    """Dense (fully connected) layer, ``y = weight @ x + bias``; an image is flattened first.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or layer, default=None
        Applied to the output: "relu", "leaky_relu", "elu", "gelu", "relu6", "selu", "silu", "mish",
        "hardswish", "sigmoid", "tanh", "softplus", "softsign", "arctan", "softmax", "log_softmax", or such a
        layer.
    bias : bool, default=True
        Whether every unit has a bias.
    init : str or callable, default="he_uniform"
        How weights start: see :mod:`skconvnet.initializers`. Biases start at zero.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    Examples
    --------
    >>> from skconvnet.layers import Dense
    >>> Dense(10).parameter_shapes((16, 5, 5))
    {'weight': (10, 400), 'bias': (10,)}
    """

    units: int
    activation: str | Layer | None = field(default=None, kw_only=True)
    bias: bool = field(default=True, kw_only=True)
    init: Initializer = field(default="he_uniform", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("Dense", "units", self.units)
        check_flag("Dense", "bias", self.bias)
        resolve_activation("Dense", self.activation)
        check_initializer("Dense", self.init)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.units,)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.units, math.prod(shape))}
        return {**shapes, "bias": (self.units,)} if self.bias else shapes

    def list_matrices(self, shape: Shape) -> list[str]:
        return ["weight"]

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        inputs = math.prod(shape)
        parameters = {"weight": draw(self.init, (self.units, inputs), inputs, self.units, rng)}
        return {**parameters, "bias": np.zeros(self.units)} if self.bias else parameters

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_tensor((self.units,), x, trains=True)
        plan.add_call(DenseCall(plan.flatten(x), y, offsets["weight"], offsets.get("bias", -1)))
        return resolve_activation("Dense", self.activation).lower(plan, y, {})


@dataclass(repr=False, eq=False)
class Output(TrainedLayer):
    """How to build the last layer: one output for each class, label or value to predict.

    An estimator adds a `Dense` layer with the number of units that y requires; put `Output` last in
    `layers` to say how.

    Parameters
    ----------
    dense : bool, default=True
        Whether a `Dense` layer is added; False for layers that already end in one value per output.
    bias : bool, default=True
        Whether the added layer has a bias.
    init : str or callable, default="small_uniform"
        How its weights start: see :mod:`skconvnet.initializers`.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name; its weights are always called "output.weight".

    Raises
    ------
    TypeError
        If it is given a number of units.
    ValueError
        If a value is not of the kinds above.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, Flatten, Output
    >>> layers = [Conv2D(8), Flatten(), Output(bias=False)]
    >>> Output(bias=False).resolve(10)
    Dense(units=10, bias=False, init='small_uniform')
    """

    dense: bool = field(default=True, kw_only=True)
    bias: bool = field(default=True, kw_only=True)
    init: Initializer = field(default="small_uniform", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("Output", "dense", self.dense)
        check_flag("Output", "bias", self.bias)
        check_initializer("Output", self.init)

    def resolve(self, n_outputs: int) -> Layer:
        """Return the layer that has this number of outputs.

        Parameters
        ----------
        n_outputs : int

        Returns
        -------
        layer : Dense or Flatten
        """
        if not self.dense:
            return Flatten()
        factor = self.learning_rate_factor
        return Dense(n_outputs, bias=self.bias, init=self.init, learning_rate_factor=factor)
