"""Losses: immutable values that define what training minimizes, and losses of one's own.

======================  =====================  ============================================
name                    loss                   of
======================  =====================  ============================================
cross_entropy           `CrossEntropy`         classes
binary_cross_entropy    `BinaryCrossEntropy`   classes, several labels per sample
focal                   `Focal`                classes, several labels per sample
squared_error           `SquaredError`         values, classes
absolute_error          `AbsoluteError`        values, classes
huber                   `Huber`                values
quantile                `Quantile`             values
poisson                 `Poisson`              counts and rates, not negative
cosine                  `Cosine`               directions of vectors
======================  =====================  ============================================

An estimator takes a name or an object as ``loss=``; a name stands for the object without arguments. The loss
of a sample is a mean over its outputs, except for cross-entropy and `Focal` of classes, and `Cosine`, which
have one value for all outputs of a sample. Training minimizes the mean over samples.

A loss of one's own is any object with the method ``value_and_gradient(outputs, targets)``. It is called with
the outputs and targets of a mini-batch, two arrays of float64 of shape (n, n_outputs), and returns the loss
of every sample, of shape (n,), and its gradient to the outputs, of shape (n, n_outputs). Sample weights and
the mean over the mini-batch are not its concern. In a regressor outputs and targets are in the units of y. In
a classifier the outputs are logits, which may be any numbers, and the targets are 1 for the sample's class
and 0 for the others, smoothed by `label_smoothing`, or the 0/1 matrix of several labels. `fit` compares the
gradient with differences of the loss first, for a few numbers.

Examples
--------
An error below the target costs three times as much as one above it:

>>> import numpy as np
>>> from skconvnet import ConvNetRegressor
>>> class Asymmetric:
...     def value_and_gradient(self, outputs, targets):
...         error = outputs - targets
...         factor = np.where(error < 0, 3, 1)
...         return (factor * error**2).mean(axis=1), 2 * factor * error / error.shape[1]
>>> X = np.random.default_rng(0).random((100, 8, 8))
>>> y = X.mean(axis=(1, 2))
>>> reg = ConvNetRegressor(loss=Asymmetric(), max_iter=5, random_state=0).fit(X, y)
>>> bool((reg.predict(X) > y).mean() > 0.5)
True
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from skconvnet._advice import guide_imports, short_repr, suggest
from skconvnet._types import Array, Fields
from skconvnet._values import Value, check_numbers

__all__ = [
    "LOSSES",
    "AbsoluteError",
    "BinaryCrossEntropy",
    "Cosine",
    "CrossEntropy",
    "Focal",
    "Huber",
    "Loss",
    "Poisson",
    "Quantile",
    "SquaredError",
]


class OwnLoss(Protocol):
    """A loss of the user's: see the module's docstring."""

    def value_and_gradient(self, outputs: Array, targets: Array, /) -> tuple[Array, Array]:
        """Return the loss of every sample, (n,), and its gradient to the outputs, (n, n_outputs)."""


@dataclass(repr=False, eq=False)
class Loss(Value):
    """Base class of the losses that the kernels compute.

    Examples
    --------
    >>> from skconvnet.losses import Loss, Quantile
    >>> isinstance(Quantile(0.9), Loss)
    True
    """

    kind: ClassVar[str]  # the engine's name of the formula
    classifies: ClassVar[bool] = False  # whether a classifier can have it
    regresses: ClassVar[bool] = False  # whether a regressor can have it
    degree: ClassVar[int] = 0  # c * y has c**degree times the loss of y
    # what outputs are to a regressor: standardized values, logarithms of values, or vectors of any length
    link: ClassVar[Literal["identity", "log", "direction"]] = "identity"

    @property
    def value(self) -> float:
        """The number in the engine's formula."""
        return 0.0


@dataclass(repr=False, eq=False)
class CrossEntropy(Loss):
    """Cross-entropy of the softmax of the outputs.

    ``-sum(t * log(softmax(z)))`` for outputs z and targets t, which are 1 for the sample's class and 0 for
    the others, or the probabilities of the classes.

    References
    ----------
    Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.losses import CrossEntropy
    >>> clf = ConvNetClassifier(loss=CrossEntropy())  # the same as loss="cross_entropy"
    """

    kind = "cross_entropy"
    classifies = True


@dataclass(repr=False, eq=False)
class BinaryCrossEntropy(Loss):
    """Cross-entropy of the sigmoid of every output.

    ``-t * log(sigmoid(z)) - (1 - t) * log(sigmoid(-z))``, averaged over the outputs.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.losses import BinaryCrossEntropy
    >>> clf = ConvNetClassifier(loss=BinaryCrossEntropy())  # the same as loss="binary_cross_entropy"
    """

    kind = "binary_cross_entropy"
    classifies = True


@dataclass(repr=False, eq=False)
class Focal(Loss):
    """Focal loss: cross-entropy in which samples that are already right count less.

    For one label per sample it is ``-sum(t * (1 - p)**gamma * log(p))`` with ``p = softmax(z)``. For several
    labels per sample it is ``-(1 - p)**gamma * log(p)`` with ``p = sigmoid(z)`` where a label is present,
    ``-p**gamma * log(1 - p)`` where it is absent, averaged over the labels.

    Parameters
    ----------
    gamma : float, default=2.0
        At least 0; 0 is cross-entropy.

    Raises
    ------
    ValueError
        If gamma is negative or not finite.

    References
    ----------
    Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection", ICCV 2017. Its factor alpha
    is the estimator's `class_weight`.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.losses import Focal
    >>> clf = ConvNetClassifier(loss=Focal(gamma=1.5), class_weight="balanced")
    >>> clf.set_params(loss__gamma=3.0).loss
    Focal(gamma=3.0)
    """

    gamma: float = 2.0
    kind = "focal"
    classifies = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, gamma="[0, inf)")

    @property
    def value(self) -> float:
        """The exponent gamma."""
        return float(self.gamma)


@dataclass(repr=False, eq=False)
class SquaredError(Loss):
    """Squared error, ``(z - t)**2``, averaged over the outputs.

    Examples
    --------
    >>> from skconvnet import ConvNetRegressor
    >>> from skconvnet.losses import SquaredError
    >>> reg = ConvNetRegressor(loss=SquaredError())  # the same as loss="squared_error"
    """

    kind = "squared_error"
    classifies = regresses = True
    degree = 2


@dataclass(repr=False, eq=False)
class AbsoluteError(Loss):
    """Absolute error, ``abs(z - t)``, averaged over the outputs; it predicts medians.

    Examples
    --------
    >>> from skconvnet import ConvNetRegressor
    >>> from skconvnet.losses import AbsoluteError
    >>> reg = ConvNetRegressor(loss=AbsoluteError())  # the same as loss="absolute_error"
    """

    kind = "absolute_error"
    classifies = regresses = True
    degree = 1


@dataclass(repr=False, eq=False)
class Huber(Loss):
    """Huber's loss, a squared error that becomes an absolute one.

    ``d**2 / 2`` up to ``abs(d) = s`` and ``s * (abs(d) - s / 2)`` beyond, for the error ``d = z - t`` and the
    standard deviation s of the targets, averaged over the outputs.

    References
    ----------
    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> from skconvnet import ConvNetRegressor
    >>> from skconvnet.losses import Huber
    >>> reg = ConvNetRegressor(loss=Huber())  # the same as loss="huber"
    """

    kind = "huber"
    regresses = True
    degree = 2


@dataclass(repr=False, eq=False)
class Quantile(Loss):
    """Pinball loss: predicts a quantile.

    ``level * (t - z)`` where the target t is above the output z, ``(1 - level) * (z - t)`` where it is below,
    averaged over the outputs.

    Parameters
    ----------
    level : float, default=0.5
        The fraction of targets below the prediction, above 0 and below 1; 0.5 is the median.

    Raises
    ------
    ValueError
        If level is not a number between 0 and 1.

    References
    ----------
    Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> from skconvnet import ConvNetRegressor
    >>> from skconvnet.losses import Quantile
    >>> low, high = (ConvNetRegressor(loss=Quantile(level)) for level in (0.05, 0.95))
    """

    level: float = 0.5
    kind = "quantile"
    regresses = True
    degree = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, level="(0, 1)")

    @property
    def value(self) -> float:
        """The level."""
        return float(self.level)


@dataclass(repr=False, eq=False)
class Poisson(Loss):
    """Negative log-likelihood of Poisson's distribution, without the term that only depends on the target.

    ``mu - t * log(mu)``, averaged over the outputs. The network learns log(mu), and the estimator predicts
    mu, which is positive. Targets must not be negative; they need not be integers.

    References
    ----------
    Nelder and Wedderburn, "Generalized linear models", Journal of the Royal Statistical Society A 135, 1972.

    Examples
    --------
    >>> from skconvnet import ConvNetRegressor
    >>> from skconvnet.losses import Poisson
    >>> reg = ConvNetRegressor(loss=Poisson())  # the same as loss="poisson"
    """

    kind = "poisson"
    regresses = True
    degree = 1
    link = "log"


@dataclass(repr=False, eq=False)
class Cosine(Loss):
    """1 minus the cosine of the angle between outputs and targets, two vectors.

    ``1 - sum(z * t) / (norm(z) * norm(t))``. Only directions matter, so the estimator predicts vectors of
    length 1. Targets need at least two values per sample, not all of them 0.

    Examples
    --------
    >>> from skconvnet import ConvNetRegressor
    >>> from skconvnet.losses import Cosine
    >>> reg = ConvNetRegressor(loss=Cosine())  # the same as loss="cosine"
    """

    kind = "cosine"
    regresses = True
    link = "direction"


LOSSES: dict[str, type[Loss]] = {cls.kind: cls for cls in Loss.__subclasses__()}


def resolve_loss(loss: Any) -> Any:
    """Return the loss of a name, a loss itself, or an object with the method value_and_gradient.

    Parameters
    ----------
    loss : str, Loss or object

    Returns
    -------
    loss : Loss or object

    Raises
    ------
    ValueError
        If there is no such loss.
    """
    if isinstance(loss, Loss) or hasattr(loss, "value_and_gradient"):
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}. {suggest(loss, LOSSES)}")
    return LOSSES[loss]()


@dataclass(repr=False, eq=False)
class Objective(Value):
    """What a network minimizes: a loss, with the form and the scale of its targets.

    Parameters
    ----------
    loss : str, Loss or object with value_and_gradient
    label_smoothing : float, default=0.0
        The fraction s of the targets that is distributed over the outputs: t becomes (1 - s) t + s / 2
        for outputs with a sigmoid each, else (1 - s) t + s / n_outputs.
    form : {"classes", "labels", "probabilities", "values"}, default="classes"
        The form of y: a class for each sample, a 0/1 matrix of several labels, the probabilities of the
        classes, or numbers.
    scale : float, default=1.0
        The unit of the targets, which the network gets divided by it.
    mean : tuple of float, default=(0.0,)
        What was subtracted from the targets before; for each output, or for all.
    own_unit : float, default=1.0
        For a loss of the user's, what the network gets it divided by.

    Raises
    ------
    ValueError
        If there is no such loss, or label_smoothing is out of range.
    """

    loss: Any
    label_smoothing: float = 0.0
    form: Literal["classes", "labels", "probabilities", "values"] = "classes"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    own_unit: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "loss", resolve_loss(self.loss))
        check_numbers(self, label_smoothing="[0, 1)")

    @property
    def compiled(self) -> bool:
        """Whether the kernels compute the loss, not an object of the user's."""
        return not hasattr(self.loss, "value_and_gradient")

    @property
    def name(self) -> str:
        """The name of the loss, or of the class of the user's object."""
        return self.loss.kind if self.compiled else type(self.loss).__name__

    @property
    def head(self) -> Literal["softmax", "sigmoid"] | None:
        """The function of a classifier's outputs that makes probabilities of them; None if there are none."""
        if self.name in ("squared_error", "absolute_error") and self.compiled:
            return None
        return "sigmoid" if self.form == "labels" or self.name == "binary_cross_entropy" else "softmax"

    @property
    def link(self) -> str:
        """What outputs are to a regressor."""
        return self.loss.link if self.compiled else "identity"

    @property
    def unit(self) -> float:
        """The loss of the unscaled targets, over that of those that the network gets."""
        return self.scale**self.loss.degree if self.compiled else self.own_unit

    def fields(self, kinds: dict[str, int], n_outputs: int, misses: bool) -> Fields:
        """Return the fields of the kernels' struct target_t; misses: whether targets are missing."""
        kind = "binary_focal" if (self.name, self.form) == ("focal", "labels") else self.name
        value, weight = self.loss.value, 1 / n_outputs
        if kind in ("cross_entropy", "focal", "cosine"):  # which are of all outputs at once
            weight = 1.0
        if self.link == "log":  # of unscaled targets: e^(z + log(scale)) - t (z + log(scale)), over scale
            value, weight = np.log(self.scale), weight / self.scale
        return {
            "kind": kinds[kind],
            "low": self.label_smoothing * (0.5 if kind.startswith("binary") else 1 / n_outputs),
            "span": 1 - self.label_smoothing,
            "output_weight": weight,
            "value": value,
            "misses": misses,
        }


CROSS_ENTROPY = Objective("cross_entropy")


class Comparison:
    """Compares outputs with targets by a loss of the user's, for the engine.

    Parameters
    ----------
    objective : Objective
        Its loss is the user's.
    target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
        Classes, or targets that are not scaled.
    weight : ndarray of float64 of shape (n,)
    inverse_variances : ndarray of float64 of shape (n_outputs,)
        Of all targets, by which R^2 scales squared errors.
    """

    def __init__(
        self, objective: Objective, target: Array, weight: Array, inverse_variances: NDArray[np.float64]
    ) -> None:
        self._objective, self._target, self._weight = objective, target, weight
        self._inverse_variances = inverse_variances

    def __call__(
        self, outputs: Array, rows: Array, total: float, fraction: float, partner_offset: int
    ) -> tuple[Array, Array, Array]:
        """Return what samples contribute to a batch.

        Parameters
        ----------
        outputs : ndarray of shape (n, n_outputs)
        rows : ndarray of intp of shape (n,)
            Indices of the samples.
        total : float
            Weight of the batch.
        fraction : float
            Of the samples' own targets in the loss; the others are those of their partners.
        partner_offset : int
            From a sample to its partner.

        Returns
        -------
        losses : ndarray of float64 of shape (n,)
            Weighted.
        scores : ndarray of float64 of shape (n,)
            Of the samples' own targets.
        gradient : ndarray of the shape and dtype of outputs
        """
        objective = self._objective
        values = outputs * np.float64(objective.scale) + objective.mean
        losses, gradient = np.zeros(len(rows)), np.zeros(outputs.shape)
        for part, used in ((fraction, rows), (1 - fraction, np.roll(rows, -partner_offset))):
            if part > 0:
                weight = self._weight[used] / total * part / objective.unit
                each, slopes = call_loss(objective.loss, values, self._select(used, len(gradient[0])))
                losses += each * weight
                gradient += slopes * (weight * objective.scale)[:, np.newaxis]
        return losses, self._score(values, rows), gradient.astype(outputs.dtype)

    def _select(self, rows: Array, n_outputs: int) -> Array:
        """Return the targets of some samples, smoothed, of shape (n, n_outputs)."""
        smoothing, form = self._objective.label_smoothing, self._objective.form
        target = self._target[rows]
        if form == "classes":
            target = np.arange(n_outputs) == target[:, np.newaxis]
        target = target.astype(np.float64)
        if smoothing == 0:
            return target
        return (1 - smoothing) * target + smoothing * (0.5 if form == "labels" else 1 / n_outputs)

    def _score(self, values: Array, rows: Array) -> Array:
        """Return what every sample adds to the accuracy or, in regression, to R^2."""
        target, form = self._target[rows], self._objective.form
        if form == "values":
            errors = (values - target) ** 2 * self._inverse_variances
            scores = np.where(self._inverse_variances > 0, 1 - errors, 0)
            present = ~np.isnan(target)
            return np.sum(scores, axis=1, where=present) / np.maximum(present.sum(axis=1), 1)
        if form == "labels":
            return ((values > 0) == (target > 0)).all(axis=1).astype(np.float64)
        expected = target if form == "classes" else target.argmax(axis=1)
        return (values.argmax(axis=1) == expected).astype(np.float64)


def call_loss(loss: Any, outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Return the losses and gradients of the user's object, once they have the right shapes.

    Parameters
    ----------
    loss : object with value_and_gradient
    outputs, targets : ndarray of float64 of shape (n, n_outputs)

    Returns
    -------
    losses : ndarray of float64 of shape (n,)
    gradient : ndarray of float64 of shape (n, n_outputs)

    Raises
    ------
    ValueError
        If the object returns something else.
    """
    returned = loss.value_and_gradient(outputs.copy(), targets)
    found = f"{type(returned).__name__}"
    if isinstance(returned, tuple) and len(returned) == 2:
        losses, gradient = map(np.asarray, returned)
        real = losses.dtype.kind in "biuf" and gradient.dtype.kind in "biuf"
        if real and (losses.shape, gradient.shape) == (outputs.shape[:1], outputs.shape):
            return losses.astype(np.float64), gradient.astype(np.float64)
        found = f"shapes {losses.shape} and {gradient.shape}, of {losses.dtype} and {gradient.dtype}"
    raise ValueError(
        f"loss={short_repr(loss)}: value_and_gradient(outputs, targets) must return a tuple: the loss of "
        f"every sample, real numbers of shape {outputs.shape[:1]}, and its gradient to the outputs, of shape "
        f"{outputs.shape}; got {found}. Do not average over the samples."
    )


# Samples, and outputs of each, for which `check_gradient` compares a gradient with differences.
CHECKED_SAMPLES, CHECKED_OUTPUTS = 8, 5


def check_gradient(objective: Objective, target: Array, n_outputs: int) -> None:
    """Compare the gradient of the user's loss with central differences of the loss, for a few samples.

    Parameters
    ----------
    objective : Objective
    target : ndarray of shape (n,) or (n, n_outputs)
        As for `Comparison`.
    n_outputs : int

    Raises
    ------
    ValueError
        If they differ, or something that `value_and_gradient` returns has another shape or is not finite.
    """
    rng, n = np.random.RandomState(0), min(len(target), CHECKED_SAMPLES)
    rows = np.linspace(0, len(target) - 1, n).astype(np.intp)
    targets = Comparison(objective, target, np.ones(len(target)), np.ones(1))._select(rows, n_outputs)
    outputs = objective.mean + objective.scale * rng.standard_normal((n, n_outputs))
    losses, gradient = call_loss(objective.loss, outputs, targets.copy())
    owner = f"loss={short_repr(objective.loss)}: value_and_gradient(outputs, targets)"
    if not (np.isfinite(losses).all() and np.isfinite(gradient).all()):
        raise ValueError(f"{owner} returns values that are not finite, for outputs {outputs[0].tolist()}.")
    step = 1e-4 * objective.scale
    for k in range(min(n_outputs, CHECKED_OUTPUTS)):
        shift = step * (np.arange(n_outputs) == k)
        above, _ = call_loss(objective.loss, outputs + shift, targets.copy())
        below, _ = call_loss(objective.loss, outputs - shift, targets.copy())
        slopes, given = (above - below) / (2 * step), gradient[:, k]
        noise = 1e-9 * (np.abs(above) + np.abs(below)) / step  # of float64, amply
        wrong = ~(np.abs(slopes - given) <= 1e-3 * (np.abs(slopes) + np.abs(gradient).max()) + noise)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                f"{owner} returns another gradient than that of the loss: {given[i]:.6g} for output {k} of a "
                f"sample, but central differences of its loss are {slopes[i]:.6g}. The outputs were "
                f"{np.array2string(outputs[i], precision=4)}, the targets "
                f"{np.array2string(targets[i], precision=4)}. The gradient must be that of each sample's "
                f"loss, without a mean over the samples."
            )


def measure_unit(objective: Objective, target: Array, weight: Array) -> float:
    """Return what to divide the user's loss of a regressor by, so that any unit of y and of the loss will do.

    At the mean of y, the gradient to the network's outputs then has the size of that of "squared_error".
    """
    rows = np.flatnonzero(weight > 0)
    rows = rows[:: max(1, len(rows) // 1000)]
    outputs = np.zeros((len(rows), target.shape[1])) + objective.mean
    _, gradient = call_loss(objective.loss, outputs, target[rows])
    size = float(np.sqrt(np.average(np.mean(gradient**2, axis=1), weights=weight[rows])))
    unit = size * objective.scale * target.shape[1] / 2
    return unit if 0 < unit < np.inf else 1.0


def measure_presence(values: Array) -> NDArray[np.float64]:
    """Return the fraction of every sample's targets that are not missing, by which its weight is multiplied.

    Parameters
    ----------
    values : ndarray of shape (n, n_outputs)

    Returns
    -------
    fractions : ndarray of float64 of shape (n,)
    """
    return 1 - np.isnan(values).mean(axis=1)


def measure_moments(values: Array, weight: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted mean and the weighted variance of every output's targets that are not missing.

    Parameters
    ----------
    values : ndarray of shape (n, n_outputs)
    weight : ndarray of float64 of shape (n,)
        Already multiplied by the result of `measure_presence`.

    Returns
    -------
    means, variances : ndarray of float64 of shape (n_outputs,)
        The variance is 0 where all targets are the same.
    """
    weight = weight / np.maximum(measure_presence(values), 1 / values.shape[1])
    means, variances = np.zeros((2, values.shape[1]))
    for k, column in enumerate(values.T):
        used = (weight > 0) & ~np.isnan(column)
        column = column[used].astype(np.float64)
        if not len(column):
            continue
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


guide_imports(__name__)
