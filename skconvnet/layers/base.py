"""The base class of layers: small immutable values that know their shapes, parameters and kernel calls."""

import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, TypeAlias

import numpy as np

from skconvnet._advice import short_repr
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Pair, Shape
from skconvnet._values import Value


class ShapeError(ValueError):
    """The error of a layer that cannot take its input.

    Parameters
    ----------
    need : str
        What the layer needs, as it follows the word "needs" in a message.
    remedy : str
        What the user can do.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, ShapeError
    >>> try:
    ...     Conv2D(8, 5).output_shape((1, 3, 3))
    ... except ShapeError as error:
    ...     print(error.need)
    an input of at least 5x5 pixels
    """

    def __init__(self, need: str, remedy: str) -> None:
        super().__init__(need, remedy)
        self.need = need
        self.remedy = remedy


Chain: TypeAlias = list[tuple[str, "Layer", Any]]  # keys, layers, their input shapes or None


@dataclass(repr=False, eq=False)
class Layer(Value):
    """Base class of layers.

    A layer holds no arrays and no training mode: `fit` compiles it, for its input's shape, into
    kernel calls. Shapes are (channels, height, width) for images, (channels, 1, length) for signals, and
    (features,) for vectors.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Dense, Layer
    >>> isinstance(Dense(10), Layer), Dense(10) == Dense(10)
    (True, True)
    """

    name: str | None = field(default=None, kw_only=True)
    # axes that windows slide along: 2 for images, 1 for signals; None for layers that take any input
    _n_axes: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is None:
            return
        if not isinstance(self.name, str) or not self.name.isidentifier() or "__" in self.name:
            raise ValueError(
                f"{type(self).__name__}: name must be an identifier without '__', so that "
                f"layers__<name>__<field> can be searched; got {self.name!r}."
            )

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output, for an input shape.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) or (features,).

        Returns
        -------
        shape : tuple of int

        Raises
        ------
        ShapeError
            If the layer cannot take that input.
        """
        return shape

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the names and shapes of the parameters, for an input shape.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) or (features,).

        Returns
        -------
        shapes : dict of str to tuple of int
        """
        return {}

    def statistic_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the names and shapes of the statistics, which are learnt without a gradient.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) or (features,).

        Returns
        -------
        shapes : dict of str to tuple of int
        """
        return {}

    def count_parameters(self, shape: Shape) -> int:
        """Count the trainable parameters, for an input shape.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) or (features,).

        Returns
        -------
        n_parameters : int
        """
        return sum(math.prod(s) for s in self.parameter_shapes(shape).values())

    def list_decaying(self, shape: Shape) -> list[str]:
        """List the parameters that weight decay acts on: weights, not biases or scales.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) or (features,).

        Returns
        -------
        names : list of str
        """
        return [name for name in self.parameter_shapes(shape) if name == "weight"]

    def list_matrices(self, shape: Shape) -> list[str]:
        """List the parameters that are linear maps, with a row for each output channel.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) or (features,).

        Returns
        -------
        names : list of str
        """
        return []

    def list_rate_factors(self, shape: Shape) -> dict[str, float]:
        """List the factors of the learning rate, for every parameter.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) or (features,).

        Returns
        -------
        factors : dict of str to float
        """
        return dict.fromkeys(self.parameter_shapes(shape), 1.0)

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        """Draw the initial parameters, and return them with the initial statistics.

        Parameters
        ----------
        shape : tuple of int
            Shape of the input: (channels, height, width) or (features,).
        rng : RandomState

        Returns
        -------
        parameters : dict of str to ndarray of float64
        """
        return {}

    def learn(self, X: Array, rows: Array) -> dict[str, Array]:
        """Compute the statistics of the training data as given to `fit`, not as earlier layers change them.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        rows : ndarray of intp of shape (k,)
            Indices of the samples to use.

        Returns
        -------
        statistics : dict of str to ndarray
        """
        return {}

    def check_parameters(self, shape: Shape, parameters: dict[str, Array]) -> None:
        """Check the values of parameters, whose shapes are right.

        Parameters
        ----------
        shape : tuple of int
            Shape of the input: (channels, height, width) or (features,).
        parameters : dict of str to ndarray

        Raises
        ------
        ValueError
            If the layer cannot have these parameters.
        """

    def list_branches(self, shape: Shape | None = None) -> tuple[Chain, ...]:
        """List the layers within this one, branch by branch.

        Parameters
        ----------
        shape : tuple of int, default=None
            Shape of the input; None if it is not known yet.

        Returns
        -------
        branches : tuple of list of (str, layer, tuple of int or None)
            Key, layer and input shape of each inner layer; empty for a layer without inner layers.

        Raises
        ------
        ShapeError
            If an inner layer cannot take its input.
        """
        return ()

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        """Add the layer's kernel calls to a plan.

        Parameters
        ----------
        plan : Plan
            The plan of the network.
        x : Tensor
            The input.
        offsets : dict of str to int
            Offsets of the parameters and statistics in the flat vector.

        Returns
        -------
        y : Tensor
            The output.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define lower(self, plan, x, offsets), which makes kernel calls: "
            f"layers cannot be written in Python alone. For a function that changes images, use "
            f"Augment(function), in training, or a FunctionTransformer before the estimator."
        )


@dataclass(repr=False, eq=False)
class TrainedLayer(Layer):
    """Base class of layers whose own parameters may learn at a rate of their own.

    Parameters
    ----------
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or a factor for "weight" and one for "bias".
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a factor is negative or not finite.

    Examples
    --------
    >>> from skconvnet.layers import Dense
    >>> from skconvnet.layers.base import TrainedLayer
    >>> isinstance(Dense(10), TrainedLayer)
    True
    """

    learning_rate_factor: float | tuple[float, float] = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._resolve_factors()

    def _resolve_factors(self) -> tuple[float, float]:
        """Return the factors of weight and bias."""
        given: Any = self.learning_rate_factor
        pair = given if isinstance(given, tuple) else (given, given)
        if len(pair) != 2 or not all(
            isinstance(v, Real) and not isinstance(v, bool) and 0 <= float(v) < np.inf for v in pair
        ):
            raise ValueError(
                f"{type(self).__name__}: learning_rate_factor must be a finite number of at least 0 or a "
                f"pair (weight, bias) of them, got {short_repr(given)}."
            )
        return pair

    def list_rate_factors(self, shape: Shape) -> dict[str, float]:
        weight, bias = self._resolve_factors()
        return {name: bias if name == "bias" else weight for name in self.parameter_shapes(shape)}


# The largest size, stride or padding: larger than any image, and small enough not to overflow.
LARGEST = 2**20


def check_pair(owner: str, what: str, value: Any, smallest: int) -> Pair:
    """Return a size, or a pair (height, width) of sizes, as a pair; refuse anything else."""
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(
        isinstance(v, Integral) and not isinstance(v, bool) and smallest <= v <= LARGEST  # type: ignore[operator]
        for v in pair
    ):
        hint = (
            " It is in pixels, not a fraction of the image."
            if any(isinstance(v, float) for v in pair)
            else ""
        )
        raise ValueError(
            f"{owner}: {what} must be an int of at least {smallest} or a pair (height, width) of them "
            f"(and at most {LARGEST}), got {short_repr(value)}.{hint}"
        )
    return int(pair[0]), int(pair[1])


def check_length(owner: str, what: str, value: Any, smallest: int) -> int:
    """Return a size along a signal; refuse anything but an int."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not smallest <= int(value) <= LARGEST:
        raise ValueError(
            f"{owner}: {what} must be an int of at least {smallest} (and at most {LARGEST}), got "
            f"{short_repr(value)}."
        )
    return int(value)


def check_count(owner: str, what: str, value: Any) -> None:
    """Require an int of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{owner}: {what} must be an int of at least 1, got {value!r}.")


def check_flag(owner: str, what: str, value: object) -> None:
    """Require True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{owner}: {what} must be True or False, got {value!r}.")


def check_image(shape: Shape) -> None:
    """Require the shape of an image, (channels, height, width)."""
    if len(shape) != 3:
        raise ShapeError(
            "images (channels, height, width)",
            "Put it before Flatten and Dense; for rows of pixels, set "
            "input_shape=(height, width) or (height, width, channels); for signals, use Conv1D and other "
            "layers whose names end in 1D.",
        )


def check_signal(shape: Shape) -> None:
    """Require the shape of a signal, (channels, 1, length)."""
    if len(shape) != 3 or shape[1] != 1:
        raise ShapeError(
            "signals (channels, 1, length)",
            "Put it before Flatten and Dense; for images, use the layer whose name ends in 2D. Layers before "
            "it keep a signal's only row if their sizes are pairs such as (0, 3).",
        )


def check_axes(shape: Shape, n_axes: int | None) -> None:
    """Require the shape of an image, of two axes, or of a signal, of one."""
    (check_image if n_axes == 2 else check_signal)(shape)


def describe_shape(shape: Shape) -> str:
    """Write a shape for a message: "3x5 pixels in 6 channels", "5 values in 1 channel", "64 features"."""
    if len(shape) == 1:
        return f"{shape[0]} features"
    return f"{format_size(shape)} in {shape[0]} channel{'s' * (shape[0] != 1)}"


def format_size(shape: Shape) -> str:
    """Write the height and width of an image, or the length of a signal, for a message: "3x5 pixels"."""
    return f"{shape[2]} values" if shape[1] == 1 < shape[2] else f"{shape[1]}x{shape[2]} pixels"
