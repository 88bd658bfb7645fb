"""Optimizers: immutable values that define how a step follows from a gradient.

======================  ==============  ==========================================
name                    optimizer       learning rate to try first
======================  ==============  ==========================================
sgd                     `SGD`           0.01 to 0.1
adagrad                 `Adagrad`       0.01
adadelta                `Adadelta`      1
rmsprop                 `RMSprop`       0.001
adam                    `Adam`          0.001
adamw                   `AdamW`         0.001
lion                    `Lion`          0.0001
muon                    `Muon`          0.001 to 0.01
======================  ==============  ==========================================

The learning rate, the weight decay and the largest norm of a gradient are the estimator's parameters
`learning_rate`, `weight_decay` and `clip_norm`. Weight decay is added to the gradient as
``weight_decay * weight``; `AdamW`, `Lion` and `Muon` instead subtract
``learning_rate * weight_decay * weight`` from the weight, in addition to their step.
"""

from dataclasses import dataclass
from math import inf
from numbers import Integral
from typing import Any, ClassVar

from skconvnet._advice import guide_imports, suggest
from skconvnet._values import Value, check_numbers

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Muon",
    "Optimizer",
    "RMSprop",
]


@dataclass(repr=False, eq=False)
class Optimizer(Value):
    """Base class of optimizers.

    Examples
    --------
    >>> from skconvnet.optimizers import SGD, Optimizer
    >>> isinstance(SGD(momentum=0.9), Optimizer)
    True
    """

    decoupled: ClassVar[bool] = False  # whether weights decay directly, not through the gradient
    moves_matrices: ClassVar[bool] = False  # whether the weights of layers move as matrices

    def formula(self) -> dict[str, Any]:
        """Return the kernels' formula.

        Returns
        -------
        formula : dict
            Its name, "kind", and its coefficients that are not 0: keep_1, add_1, keep_2, add_2, epsilon.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define formula(self), which returns the kernels' formula: "
            f"optimizers cannot be written in Python alone."
        )

    def fields(self, kinds: dict[str, int], clip_norm: float | None = None) -> dict[str, Any]:
        """Return the fields of the kernels' struct optimizer_t.

        Parameters
        ----------
        kinds : dict of str to int
            The kernels' formulas by name.
        clip_norm : float, default=None

        Returns
        -------
        fields : dict
        """
        formula = {**dict.fromkeys(("keep_1", "add_1", "keep_2", "add_2", "epsilon"), 0.0), **self.formula()}
        return {
            **formula,
            "iterations": 0,
            "momentum": 0.0,
            "nesterov": False,
            "normalize": False,
            "kind": kinds[formula["kind"]],
            "decoupled": self.decoupled,
            "clip_norm": inf if clip_norm is None else float(clip_norm),
        }


@dataclass(repr=False, eq=False, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent.

    ``velocity = momentum * velocity + gradient``, then ``params -= learning_rate * velocity``; with
    Nesterov's momentum, ``params -= learning_rate * (gradient + momentum * velocity)``.

    Parameters
    ----------
    momentum : float, default=0.0
        Fraction of the last velocity that is kept, at least 0 and below 1.
    nesterov : bool, default=False
        Whether to use Nesterov's momentum.

    Raises
    ------
    ValueError
        If momentum is out of range or nesterov is not a bool.

    References
    ----------
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013, in PyTorch's form.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import SGD
    >>> clf = ConvNetClassifier(optimizer=SGD(momentum=0.9, nesterov=True), learning_rate=0.01)
    >>> clf.set_params(optimizer__momentum=0.95).optimizer
    SGD(momentum=0.95, nesterov=True)
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, momentum="[0, 1)")
        if not isinstance(self.nesterov, bool):
            raise ValueError(f"SGD: nesterov must be True or False, got {self.nesterov!r}.")

    def formula(self) -> dict[str, Any]:
        return {"kind": "nesterov" if self.nesterov else "sgd", "keep_1": self.momentum}


@dataclass(repr=False, eq=False, kw_only=True)
class Adagrad(Optimizer):
    """Adagrad: steps scaled by the root of the sum of all squared gradients.

    ``total += gradient**2``, ``velocity = momentum * velocity + gradient / (sqrt(total) + epsilon)``,
    then ``params -= learning_rate * velocity``.

    Parameters
    ----------
    momentum : float, default=0.0
        Fraction of the last velocity that is kept, at least 0 and below 1; the paper has none.
    epsilon : float, default=1e-10
        Keeps the division finite; above 0.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12 (2011), with the diagonal matrix of its figure 1.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import Adagrad
    >>> clf = ConvNetClassifier(optimizer=Adagrad(), learning_rate=0.01)
    """

    momentum: float = 0.0
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, momentum="[0, 1)", epsilon="(0, inf)")

    def formula(self) -> dict[str, Any]:
        return {
            "kind": "scaled",
            "keep_1": self.momentum,
            "keep_2": 1.0,
            "add_2": 1.0,
            "epsilon": self.epsilon,
        }


@dataclass(repr=False, eq=False, kw_only=True)
class Adadelta(Optimizer):
    """Adadelta: gradients scaled by the size of recent steps over that of recent gradients.

    With ``v = rho * v + (1 - rho) * gradient**2`` and
    ``move = sqrt((u + epsilon) / (v + epsilon)) * gradient``, a step does
    ``u = rho * u + (1 - rho) * move**2`` and ``params -= learning_rate * move``. The paper has no
    learning rate, which corresponds to learning_rate=1.

    Parameters
    ----------
    rho : float, default=0.9
        Decay of both mean squares, at least 0 and below 1.
    epsilon : float, default=1e-6
        Makes the first steps differ from 0, and keeps the division finite; above 0.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701 (2012), algorithm 1.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import Adadelta
    >>> clf = ConvNetClassifier(optimizer=Adadelta(rho=0.95), learning_rate=1.0)
    """

    rho: float = 0.9
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, rho="[0, 1)", epsilon="(0, inf)")

    def formula(self) -> dict[str, Any]:
        return {
            "kind": "adadelta",
            "keep_1": self.rho,
            "add_1": 1 - self.rho,
            "keep_2": self.rho,
            "add_2": 1 - self.rho,
            "epsilon": self.epsilon,
        }


@dataclass(repr=False, eq=False, kw_only=True)
class RMSprop(Optimizer):
    """RMSprop: steps scaled by the root of a running mean of squared gradients.

    ``v = rho * v + (1 - rho) * gradient**2``,
    ``velocity = momentum * velocity + gradient / (sqrt(v) + epsilon)``, then
    ``params -= learning_rate * velocity``.

    Parameters
    ----------
    rho : float, default=0.9
        Decay of the mean square, at least 0 and below 1.
    momentum : float, default=0.0
        Fraction of the last velocity that is kept, at least 0 and below 1.
    epsilon : float, default=1e-8
        Keeps the division finite; above 0.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5 - RMSprop", Neural networks for machine learning, 2012.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import RMSprop
    >>> clf = ConvNetClassifier(optimizer=RMSprop(rho=0.99), learning_rate=0.001)
    """

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, rho="[0, 1)", momentum="[0, 1)", epsilon="(0, inf)")

    def formula(self) -> dict[str, Any]:
        return {
            "kind": "scaled",
            "keep_1": self.momentum,
            "keep_2": self.rho,
            "add_2": 1 - self.rho,
            "epsilon": self.epsilon,
        }


@dataclass(repr=False, eq=False, kw_only=True)
class Adam(Optimizer):
    """Adam: steps scaled by running estimates of the gradient's mean and mean square.

    With ``m = beta_1 * m + (1 - beta_1) * gradient`` and
    ``v = beta_2 * v + (1 - beta_2) * gradient**2``, step t does
    ``params -= learning_rate * (m / (1 - beta_1**t)) / (sqrt(v / (1 - beta_2**t)) + epsilon)``.

    Parameters
    ----------
    beta_1 : float, default=0.9
        Decay of the mean, at least 0 and below 1.
    beta_2 : float, default=0.999
        Decay of the mean square, at least 0 and below 1.
    epsilon : float, default=1e-8
        Keeps the division finite; above 0.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import Adam
    >>> clf = ConvNetClassifier(optimizer=Adam(beta_1=0.8), learning_rate=0.001)
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, beta_1="[0, 1)", beta_2="[0, 1)", epsilon="(0, inf)")

    def formula(self) -> dict[str, Any]:
        return {
            "kind": "adam",
            "keep_1": self.beta_1,
            "add_1": 1 - self.beta_1,
            "keep_2": self.beta_2,
            "add_2": 1 - self.beta_2,
            "epsilon": self.epsilon,
        }


@dataclass(repr=False, eq=False, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, which does not enter the moments of the gradient.

    A step is ``weights -= learning_rate * weight_decay * weights``, then the step of `Adam`; with the
    estimator's default, ``weight_decay=0``, it is the same as `Adam`.

    Parameters
    ----------
    beta_1 : float, default=0.9
        Decay of the mean, at least 0 and below 1.
    beta_2 : float, default=0.999
        Decay of the mean square, at least 0 and below 1.
    epsilon : float, default=1e-8
        Keeps the division finite; above 0.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2, in
    PyTorch's form.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import AdamW
    >>> clf = ConvNetClassifier(optimizer=AdamW(), learning_rate=0.001, weight_decay=0.01)
    """

    decoupled: ClassVar[bool] = True


@dataclass(repr=False, eq=False, kw_only=True)
class Lion(Optimizer):
    """Lion: steps of the same size in all parameters, with the sign of a running mean of gradients.

    ``params -= learning_rate * sign(beta_1 * m + (1 - beta_1) * gradient)`` after
    ``weights -= learning_rate * weight_decay * weights``, then
    ``m = beta_2 * m + (1 - beta_2) * gradient``. It needs a learning rate 3 to 10 times smaller
    than `AdamW`'s, and a weight decay larger by the same factor.

    Parameters
    ----------
    beta_1 : float, default=0.9
        Weight of the running mean in the direction, at least 0 and below 1.
    beta_2 : float, default=0.99
        Decay of the running mean, at least 0 and below 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import Lion
    >>> clf = ConvNetClassifier(optimizer=Lion(), learning_rate=1e-4, weight_decay=0.1)
    """

    decoupled: ClassVar[bool] = True
    beta_1: float = 0.9
    beta_2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, beta_1="[0, 1)", beta_2="[0, 1)")

    def formula(self) -> dict[str, Any]:
        return {
            "kind": "lion",
            "keep_1": self.beta_1,
            "add_1": 1 - self.beta_1,
            "keep_2": self.beta_2,
            "add_2": 1 - self.beta_2,
        }


@dataclass(repr=False, eq=False, kw_only=True)
class Muon(Optimizer):
    """Muon: momentum that is made nearly orthogonal, for the weights of hidden layers.

    The weight of a `Conv2D` or `Dense` layer is a matrix with a row for each filter or unit. With
    ``velocity = momentum * velocity + gradient`` and ``u = gradient + momentum * velocity``, or the velocity
    itself without Nesterov's momentum, some steps of a Newton-Schulz iteration replace the singular values of
    u by values near 1, and then ``weight -= learning_rate * 0.2 * sqrt(max(rows, columns)) * u``, after
    ``weight -= learning_rate * weight_decay * weight``. The factor gives steps of the size of Adam's, so the
    same learning rate suits the others [2]_: the output layer, biases, scales, and layers with groups,
    connections or unshared weights move by the step of `other`.

    Parameters
    ----------
    momentum : float, default=0.95
        Fraction of the last velocity that is kept, at least 0 and below 1.
    nesterov : bool, default=True
        Whether to use Nesterov's momentum.
    iterations : int, default=5
        Number of steps of the iteration, from 1 to 20.
    normalize : bool, default=False
        Whether each of these weights is scaled before its step to the norm ``sqrt(rows)``. It suits layers
        that a normalisation follows, whose outputs do not depend on the norm of the weights.
    other : str or optimizer, default="adamw"
        The optimizer of all other parameters.

    Raises
    ------
    ValueError
        If a parameter is out of range, or other is Muon itself.

    References
    ----------
    .. [1] Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    .. [2] Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982 (2025), equation 4.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.optimizers import Muon
    >>> clf = ConvNetClassifier(optimizer=Muon(), learning_rate=0.003, weight_decay=0.01)
    """

    decoupled: ClassVar[bool] = True
    moves_matrices: ClassVar[bool] = True
    momentum: float = 0.95
    nesterov: bool = True
    iterations: int = 5
    normalize: bool = False
    other: str | Optimizer = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, momentum="[0, 1)")
        for name in ("nesterov", "normalize"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"Muon: {name} must be True or False, got {getattr(self, name)!r}.")
        if not isinstance(self.iterations, Integral) or not 1 <= self.iterations <= 20:
            raise ValueError(f"Muon: iterations must be an int from 1 to 20, got {self.iterations!r}.")
        if isinstance(self._resolve_other(), Muon):
            raise ValueError('Muon: other moves what Muon does not; choose "adamw", "sgd" or another one.')

    def _resolve_other(self) -> Optimizer:
        """Return the optimizer of all other parameters."""
        return resolve_optimizer(self.other)

    def formula(self) -> dict[str, Any]:
        return self._resolve_other().formula()

    def fields(self, kinds: dict[str, int], clip_norm: float | None = None) -> dict[str, Any]:
        return {
            **self._resolve_other().fields(kinds, clip_norm),
            "iterations": int(self.iterations),
            "momentum": float(self.momentum),
            "nesterov": self.nesterov,
            "normalize": self.normalize,
        }


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "lion": Lion,
    "muon": Muon,
}


def resolve_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Return the optimizer of a name, or an optimizer itself.

    Parameters
    ----------
    optimizer : str or optimizer

    Returns
    -------
    optimizer : Optimizer

    Raises
    ------
    ValueError
        If there is no such optimizer.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}. {suggest(optimizer, OPTIMIZERS)}")
    return OPTIMIZERS[optimizer]()


guide_imports(__name__)
