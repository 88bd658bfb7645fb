"""Batch normalisation."""

import math
from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from skconvnet.kernels.calls import BatchNormalization
from skconvnet.layers.base import Layer, check_flag


@dataclass(frozen=True, repr=False)
class BatchNorm(Layer):
    """Normalise each channel by its mean and variance over the batch.

    ``y = gamma * (x - mean) / sqrt(var + epsilon) + beta``, with the mean and variance of the
    mini-batch, over samples and positions, in training, and with running ones in prediction.

    Parameters
    ----------
    momentum : float, default=0.9
        How much of the running mean and variance stays at each step: they become
        ``momentum * running + (1 - momentum) * batch``. (PyTorch's momentum is 1 less this one.) The
        batch's variance here divides by n - 1; a batch of one number a channel is left out.
    epsilon : float, default=1e-5
        Added to the variance.
    scale : bool, default=True
        Whether gamma is learnt, from 1; it is 1 otherwise.
    center : bool, default=True
        Whether beta is learnt, from 0; it is 0 otherwise.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    Notes
    -----
    Among ``network_.weights``, gamma and beta are called "weight" and "bias", the running moments
    "running_mean" and "running_var", as in PyTorch. The samples of a mini-batch see each other in
    training; in prediction they do not.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", ICML 2015; algorithms 1 and 2.
    """

    momentum: float = field(default=0.9, kw_only=True)
    epsilon: float = field(default=1e-5, kw_only=True)
    scale: bool = field(default=True, kw_only=True)
    center: bool = field(default=True, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.momentum, Real) or not 0 <= self.momentum <= 1:
            raise ValueError(f"BatchNorm: momentum must be a number from 0 to 1, got {self.momentum!r}.")
        if not isinstance(self.epsilon, Real) or not 0 < self.epsilon < math.inf:
            raise ValueError(f"BatchNorm: epsilon must be a number above 0, got {self.epsilon!r}.")
        check_flag("BatchNorm", "scale", self.scale)
        check_flag("BatchNorm", "center", self.center)

    def parameter_shapes(self, shape):
        names = {"weight": self.scale, "bias": self.center}
        return {name: (shape[0],) for name, learnt in names.items() if learnt}

    def statistic_shapes(self, shape):
        return {"running_mean": (shape[0],), "running_var": (shape[0],)}

    def initialize(self, shape, rng):
        values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        names = (*self.parameter_shapes(shape), *self.statistic_shapes(shape))
        return {name: np.full(shape[0], values[name]) for name in names}

    def check_parameters(self, shape, parameters):
        if (parameters["running_var"] < 0).any():
            raise ValueError("its running_var has negative numbers; a variance has none.")

    def lower(self, plan, x, places):
        y = plan.add_image(self.output_shape(x.shape), x, trains=self.scale or self.center)
        if x.needs_gradient:
            y.gradient = x.gradient  # dx takes the place of dy
        channels = x.shape[0]
        settings = (
            places.get("weight", -1),
            places.get("bias", -1),
            places["running_mean"],
            plan.add_moments(4 * channels),
            float(self.epsilon),
            float(self.momentum),
        )
        for name in ("moments", "normalize"):
            plan.add_call(BatchNormalization(name, x, y, *settings))
        return y
