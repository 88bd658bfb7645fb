"""Layers that normalise by a mean and a variance."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.norm import BatchNormCall, LayerNormCall
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Shape
from skconvnet._values import check_numbers
from skconvnet.layers.base import Layer, TrainedLayer, check_flag

# The number of elements that are converted to float64 at a time: 8 MB.
ELEMENTS_AT_ONCE = 2**20


def _check_affine(owner: str, layer: Any) -> None:
    """Check the fields that both normalisations have."""
    check_numbers(layer, epsilon="(0, inf)")
    check_flag(owner, "scale", layer.scale)
    check_flag(owner, "center", layer.center)


@dataclass(repr=False, eq=False)
class BatchNorm(TrainedLayer):
    """Normalise each channel by its mean and variance over the batch.

    ``y = gamma * (x - mean) / sqrt(var + epsilon) + beta``, with the mean and variance of the
    mini-batch, over samples and positions, in training, and with running ones in prediction.

    Parameters
    ----------
    momentum : float, default=0.9
        The fraction of the running mean and variance that is kept at each step: they become
        ``momentum * running + (1 - momentum) * batch``. (PyTorch's momentum is 1 minus this one.) The
        batch's variance here divides by n - 1; a batch with one value per channel is left out.
    epsilon : float, default=1e-5
        Added to the variance.
    scale : bool, default=True
        Whether gamma is learnt, starting at 1; it is 1 otherwise.
    center : bool, default=True
        Whether beta is learnt, starting at 0; it is 0 otherwise.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    Notes
    -----
    Among ``network_.weights``, gamma and beta are called "weight" and "bias", the running moments
    "running_mean" and "running_var", as in PyTorch. In training, the output of a sample depends on the
    other samples of its mini-batch; in prediction it does not.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", ICML 2015; algorithms 1 and 2.

    Examples
    --------
    >>> from skconvnet.layers import BatchNorm, Conv2D, ReLU
    >>> layers = [Conv2D(8, bias=False), BatchNorm(), ReLU()]
    >>> BatchNorm().parameter_shapes((8, 26, 26))
    {'weight': (8,), 'bias': (8,)}
    """

    momentum: float = field(default=0.9, kw_only=True)
    epsilon: float = field(default=1e-5, kw_only=True)
    scale: bool = field(default=True, kw_only=True)
    center: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, momentum="[0, 1]")
        _check_affine("BatchNorm", self)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        names = {"weight": self.scale, "bias": self.center}
        return {name: (shape[0],) for name, learnt in names.items() if learnt}

    def list_decaying(self, shape: Shape) -> list[str]:
        return []

    def statistic_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"running_mean": (shape[0],), "running_var": (shape[0],)}

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        names = (*self.parameter_shapes(shape), *self.statistic_shapes(shape))
        return {name: np.full(shape[0], values[name]) for name in names}

    def check_parameters(self, shape: Shape, parameters: dict[str, Array]) -> None:
        if (parameters["running_var"] < 0).any():
            raise ValueError("its running_var has negative values; a variance is at least 0.")

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        if plan.fold(x, BatchNormCall("normalize", x, x, offsets, epsilon=float(self.epsilon))):
            return x
        y = plan.add_like(x, trains=self.scale or self.center)
        moments = -1 if plan.frozen else plan.allocate_moments(4 * x.shape[0])
        settings = offsets, moments, float(self.epsilon), float(self.momentum)
        for name in ("moments", "normalize") if plan.training else ("normalize",):
            plan.add_call(BatchNormCall(name, x, y, *settings))
        return y


@dataclass(repr=False, eq=False)
class Standardize(Layer):
    """Bring each channel of the input to mean 0 and standard deviation 1 over the training data.

    ``y = (x - mean) / std`` with the mean and standard deviation of each channel over all samples and
    pixels that `fit` or the first `partial_fit` gets; a channel that is constant there is only shifted.
    Only `Augment`, layers whose names begin with Random, and `GaussianNoise` may come before it; it learns
    from the images as given, not from what these layers make of them.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    See Also
    --------
    sklearn.preprocessing.StandardScaler : The same for each pixel, before the estimator.

    Notes
    -----
    Among ``network_.weights`` the moments are called "running_mean" and "running_var", like those of
    `BatchNorm`. Samples of weight 0 are left out; other sample weights make no difference.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, Standardize
    >>> layers = [Standardize(), Conv2D(8)]
    >>> Standardize().count_parameters((3, 32, 32))
    0
    """

    def statistic_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"running_mean": (shape[0],), "running_var": (shape[0],)}

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        return {"running_mean": np.zeros(shape[0]), "running_var": np.ones(shape[0])}

    def learn(self, X: Array, rows: Array) -> dict[str, Array]:
        mean, variance, n = np.zeros(()), np.zeros(()), 0
        axes = (0, *range(2, X.ndim))
        at_once = max(1, ELEMENTS_AT_ONCE // math.prod(X.shape[1:]))
        for start in range(0, len(rows), at_once):  # Chan, Golub and LeVeque 1979
            part = X[rows[start : start + at_once]].astype(np.float64)
            shift, total = part.mean(axis=axes) - mean, n + len(part)
            mean = mean + shift * len(part) / total
            variance = (
                variance * n + part.var(axis=axes) * len(part) + shift**2 * (n * len(part) / total)
            ) / total
            n = total
        # through rounding, a constant channel may have a variance, of at most (n * eps * mean)^2
        constant = variance <= (n * np.finfo(np.float64).eps * mean) ** 2
        return {"running_mean": mean, "running_var": np.where(constant, 1.0, variance)}

    def check_parameters(self, shape: Shape, parameters: dict[str, Array]) -> None:
        if (parameters["running_var"] <= 0).any():
            raise ValueError("its running_var must be above 0.")

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_like(x)
        plan.add_call(BatchNormCall("normalize", x, y, offsets))
        return y


@dataclass(repr=False, eq=False)
class LayerNorm(TrainedLayer):
    """Normalise each sample by the mean and variance of all its values.

    ``y = gamma * (x - mean) / sqrt(var + epsilon) + beta``, where gamma and beta have the
    shape of the input. Samples do not affect each other, and training and prediction do the same.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Added to the variance.
    scale : bool, default=True
        Whether gamma is learnt, starting at 1; it is 1 otherwise.
    center : bool, default=True
        Whether beta is learnt, starting at 0; it is 0 otherwise.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    Notes
    -----
    Among ``network_.weights``, gamma and beta are called "weight" and "bias" and have the input's
    shape, as those of PyTorch's layer for that shape.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", 2016.

    Examples
    --------
    >>> from skconvnet.layers import LayerNorm
    >>> LayerNorm(center=False).parameter_shapes((8, 5, 5))
    {'weight': (8, 5, 5)}
    """

    epsilon: float = field(default=1e-5, kw_only=True)
    scale: bool = field(default=True, kw_only=True)
    center: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_affine("LayerNorm", self)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        names = {"weight": self.scale, "bias": self.center}
        return {name: tuple(shape) for name, learnt in names.items() if learnt}

    def list_decaying(self, shape: Shape) -> list[str]:
        return []

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        values = {"weight": 1.0, "bias": 0.0}
        return {name: np.full(shape, values[name]) for name in self.parameter_shapes(shape)}

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_like(x, trains=self.scale or self.center)
        plan.add_call(LayerNormCall(x, y, offsets, float(self.epsilon)))
        return y
