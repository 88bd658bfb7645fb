"""The losses that training minimises."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import huber

from skconvnet._advice import suggest
from skconvnet._types import Array, Fields
from skconvnet._values import Value, check_numbers

CLASS_LOSSES = {"cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error"}
REGRESSION_LOSSES = {"squared_error", "absolute_error", "huber"}


@dataclass(repr=False, eq=False)
class Loss(Value):
    """A loss, by its name in `kernels/loss.pxd`.

    Parameters
    ----------
    name : str
    label_smoothing : float, default=0.0
        The fraction s of the targets that is distributed over the outputs: t becomes (1 - s) t + s / 2
        in binary cross-entropy, else (1 - s) t + s / n_outputs.
    scale : float, default=1.0
        The unit of the targets, which the network gets divided by it.

    Raises
    ------
    ValueError
        If there is no such loss, or label_smoothing is out of range.
    """

    name: str
    label_smoothing: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in CLASS_LOSSES | REGRESSION_LOSSES:
            raise ValueError(
                f"unknown loss {self.name!r}. {suggest(self.name, CLASS_LOSSES | REGRESSION_LOSSES)}"
            )
        check_numbers(self, label_smoothing="[0, 1)")

    @property
    def unit(self) -> float:
        """The loss of the unscaled targets, over that of those that the network gets."""
        return self.scale if self.name == "absolute_error" else self.scale**2

    def average(self, errors: Array, weight: Array) -> float:
        """Return the mean loss of a regressor's errors in units of scale, as the kernels compute it."""
        measure: Any = {"squared_error": np.square, "absolute_error": np.abs, "huber": partial(huber, 1)}[
            self.name
        ]
        return float(np.average(measure(errors).mean(axis=1), weights=weight)) * self.unit

    def fields(self, kinds: dict[str, int], n_outputs: int) -> Fields:
        """Return the fields of the kernels' struct target_t."""
        middle = 0.5 if self.name == "binary_cross_entropy" else 1 / n_outputs
        return {
            "kind": kinds[self.name],
            "low": self.label_smoothing * middle,
            "span": 1 - self.label_smoothing,
            "output_weight": 1 if self.name == "cross_entropy" else 1 / n_outputs,
        }


CROSS_ENTROPY = Loss("cross_entropy")


def measure_moments(values: Array, weight: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted mean and the weighted variance of every output's targets.

    Parameters
    ----------
    values : ndarray of shape (n, n_outputs)
    weight : ndarray of float64 of shape (n,)

    Returns
    -------
    means, variances : ndarray of float64 of shape (n_outputs,)
        The variance is 0 where all targets are the same.
    """
    used = weight > 0
    means, variances = np.zeros((2, values.shape[1]))
    for k, column in enumerate(values.T):
        column = column[used].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # squares of finite targets may be infinite
            means[k] = np.average(column, weights=weight[used])
            if np.ptp(column) > 0:
                variances[k] = np.average((column - means[k]) ** 2, weights=weight[used])
    return means, variances


def measure_inverse_variances(values: Array, weight: Array) -> NDArray[np.float64]:
    """Return 1 / weighted variance of every output's targets, by which R^2 scales squared errors.

    Parameters
    ----------
    values : ndarray of shape (n, n_outputs)
    weight : ndarray of float64 of shape (n,)

    Returns
    -------
    inverse_variances : ndarray of float64 of shape (n_outputs,)
        0 where all targets are the same.
    """
    _, variances = measure_moments(values, weight)
    return np.divide(1, variances, out=np.zeros_like(variances), where=variances > 0)
