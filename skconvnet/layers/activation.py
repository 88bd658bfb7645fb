"""Activations: each one is a layer, and has a name for ``activation=``."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from skconvnet._advice import suggest
from skconvnet._lowering.calls import PReLUCall
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Shape
from skconvnet._values import check_numbers
from skconvnet.layers.base import Layer, TrainedLayer


@dataclass(repr=False, eq=False)
class Activation(Layer):
    """Base class of activations: `_kind` is the engine's name of the formula, `_slope` its parameter."""

    _kind: ClassVar[str]

    @property
    def _slope(self) -> float:
        return 0.0

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return plan.activate(x, self._kind, float(self._slope))


@dataclass(repr=False, eq=False)
class ReLU(Activation):
    """Rectified linear unit, max(x, 0); its derivative at 0 is 0.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, ReLU
    >>> layers = [Conv2D(8), ReLU()]  # the same as Conv2D(8, activation="relu")
    """

    _kind = "relu"


@dataclass(repr=False, eq=False)
class LeakyReLU(Activation):
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

    Examples
    --------
    >>> from skconvnet.layers import Dense, LeakyReLU
    >>> Dense(84, activation=LeakyReLU(0.2))
    Dense(units=84, activation=LeakyReLU(slope=0.2))
    """

    slope: float = 0.01
    _kind = "leaky_relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, slope="[0, inf)")

    @property
    def _slope(self) -> float:
        return self.slope


@dataclass(repr=False, eq=False)
class PReLU(TrainedLayer):
    """Rectified linear unit with a slope for each channel that is learnt: x where x > 0, else weight * x.

    As it has parameters, it is a layer of its own and has no name for ``activation=``.

    Parameters
    ----------
    slope : float, default=0.25
        Initial slope of every channel, or of every feature of vectors.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If slope is not finite.

    Notes
    -----
    Among ``network_.weights`` the slopes are called "weight", as in PyTorch. Weight decay does not act on
    them, because it would turn the layer into a ReLU.

    References
    ----------
    He, Zhang, Ren and Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", ICCV 2015, section 2.1.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, PReLU
    >>> layers = [Conv2D(8), PReLU()]
    >>> PReLU().parameter_shapes((8, 26, 26))
    {'weight': (8,)}
    """

    slope: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, slope="(-inf, inf)")

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": (shape[0],)}

    def list_decaying(self, shape: Shape) -> list[str]:
        return []

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        return {"weight": np.full(shape[0], float(self.slope))}

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_like(x, trains=True)
        plan.add_call(PReLUCall(x, y, offsets["weight"]))
        return y


@dataclass(repr=False, eq=False)
class ELU(Activation):
    """Exponential linear unit: x where x > 0, else alpha * (e^x - 1).

    Parameters
    ----------
    alpha : float, default=1.0
        At least 0; the output tends to -alpha as x tends to minus infinity.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If alpha is negative or not finite.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential linear
    units (ELUs)", ICLR 2016.

    Examples
    --------
    >>> from skconvnet.layers import ELU, Dense
    >>> Dense(84, activation=ELU(0.5))
    Dense(units=84, activation=ELU(alpha=0.5))
    """

    alpha: float = 1.0
    _kind = "elu"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, alpha="[0, inf)")

    @property
    def _slope(self) -> float:
        return self.alpha


@dataclass(repr=False, eq=False)
class GELU(Activation):
    """Gaussian error linear unit: x times the cumulative normal distribution at x.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Notes
    -----
    The distribution is (1 + erf(x / sqrt(2))) / 2 to full precision, not its approximation with tanh.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian error linear units (GELUs)", 2016.

    Examples
    --------
    >>> from skconvnet.layers import GELU, Conv2D
    >>> layers = [Conv2D(8), GELU()]  # the same as Conv2D(8, activation="gelu")
    """

    _kind = "gelu"


@dataclass(repr=False, eq=False)
class ReLU6(Activation):
    """Rectified linear unit with an upper bound, min(max(x, 0), 6); its derivative at 0 and 6 is 0.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications",
    2017.

    Examples
    --------
    >>> from skconvnet.layers import ReLU6, Conv2D
    >>> layers = [Conv2D(8), ReLU6()]  # the same as Conv2D(8, activation="relu6")
    """

    _kind = "relu6"


@dataclass(repr=False, eq=False)
class SELU(Activation):
    """Scaled exponential linear unit: s * x where x > 0, else s * a * (e^x - 1).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Notes
    -----
    s = 1.0507... and a = 1.6732... keep the mean 0 and the variance 1 of inputs from layer to layer, if
    weights are drawn with ``init="lecun_normal"``.

    References
    ----------
    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks", NIPS 2017.

    Examples
    --------
    >>> from skconvnet.layers import SELU, Conv2D
    >>> layers = [Conv2D(8), SELU()]  # the same as Conv2D(8, activation="selu")
    """

    _kind = "selu"


@dataclass(repr=False, eq=False)
class SiLU(Activation):
    """Sigmoid linear unit, also called swish: x / (1 + e^-x).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", Neural Networks 107 (2018).

    Examples
    --------
    >>> from skconvnet.layers import SiLU, Conv2D
    >>> layers = [Conv2D(8), SiLU()]  # the same as Conv2D(8, activation="silu")
    """

    _kind = "silu"


@dataclass(repr=False, eq=False)
class Mish(Activation):
    """Self-regularized non-monotonic activation: x * tanh(log(1 + e^x)).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.

    Examples
    --------
    >>> from skconvnet.layers import Mish, Conv2D
    >>> layers = [Conv2D(8), Mish()]  # the same as Conv2D(8, activation="mish")
    """

    _kind = "mish"


@dataclass(repr=False, eq=False)
class Hardswish(Activation):
    """Piecewise approximation of `SiLU`: x * min(max(x + 3, 0), 6) / 6.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.

    Examples
    --------
    >>> from skconvnet.layers import Hardswish, Conv2D
    >>> layers = [Conv2D(8), Hardswish()]  # the same as Conv2D(8, activation="hardswish")
    """

    _kind = "hardswish"


@dataclass(repr=False, eq=False)
class Softsign(Activation):
    """Sigmoid curve between -1 and 1 without an exponential: x / (1 + abs(x)).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Turian, Bergstra and Bengio, "Quadratic features and deep architectures for chunking", NAACL 2009.

    Examples
    --------
    >>> from skconvnet.layers import Softsign, Conv2D
    >>> layers = [Conv2D(8), Softsign()]  # the same as Conv2D(8, activation="softsign")
    """

    _kind = "softsign"


@dataclass(repr=False, eq=False)
class Sigmoid(Activation):
    """Logistic function, 1 / (1 + e^-x).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Dense, Sigmoid
    >>> layers = [Dense(10), Sigmoid()]  # the same as Dense(10, activation="sigmoid")
    """

    _kind = "sigmoid"


@dataclass(repr=False, eq=False)
class Tanh(Activation):
    """Hyperbolic tangent.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Dense, Tanh
    >>> layers = [Dense(10), Tanh()]  # the same as Dense(10, activation="tanh")
    """

    _kind = "tanh"


@dataclass(repr=False, eq=False)
class Softplus(Activation):
    """A smooth max(x, 0): log(1 + e^x).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating second-order functional knowledge for
    better option pricing", NIPS 2000.

    Examples
    --------
    >>> from skconvnet.layers import Dense, Softplus
    >>> layers = [Dense(10), Softplus()]  # the same as Dense(10, activation="softplus")
    """

    _kind = "softplus"


@dataclass(repr=False, eq=False)
class Arctan(Activation):
    """Arc tangent.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Arctan, Dense
    >>> layers = [Dense(10), Arctan()]  # the same as Dense(10, activation="arctan")
    """

    _kind = "arctan"


@dataclass(repr=False, eq=False)
class Softmax(Activation):
    """Softmax, e^x over its sum: along a vector's features, along the channels at every pixel of an image.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Notes
    -----
    The classifier's loss applies a softmax itself: this layer is for use inside a network, not at its end.

    References
    ----------
    Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.

    Examples
    --------
    >>> from skconvnet.layers import Dense, Softmax
    >>> layers = [Dense(10), Softmax(), Dense(5)]  # a choice among ten, in the middle
    """

    _kind = "softmax"


@dataclass(repr=False, eq=False)
class LogSoftmax(Activation):
    """The logarithm of `Softmax`, without underflow: x - log(sum of e^x).

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Dense, LogSoftmax
    >>> layers = [Dense(10), LogSoftmax(), Dense(5)]
    """

    _kind = "log_softmax"


@dataclass(repr=False, eq=False)
class Identity(Layer):
    """No activation: the output is the input.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Dense, Identity
    >>> Dense(10, activation=Identity()).count_parameters((5,))
    60
    """

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return x


ACTIVATIONS = {
    "identity": Identity(),
    "relu": ReLU(),
    "leaky_relu": LeakyReLU(),
    "elu": ELU(),
    "gelu": GELU(),
    "relu6": ReLU6(),
    "selu": SELU(),
    "silu": SiLU(),
    "mish": Mish(),
    "hardswish": Hardswish(),
    "softsign": Softsign(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "softplus": Softplus(),
    "arctan": Arctan(),
    "softmax": Softmax(),
    "log_softmax": LogSoftmax(),
}


def resolve_activation(owner: str, activation: Any) -> Layer:
    """Return the layer that ``activation=`` means: by its name, the layer itself, or Identity for None."""
    if activation is None:
        return ACTIVATIONS["identity"]
    if isinstance(activation, (Activation, Identity)):
        return activation
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"{owner}: unknown activation {activation!r}. {suggest(activation, ACTIVATIONS)}")
    return ACTIVATIONS[activation]
