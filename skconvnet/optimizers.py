"""Optimizers: the values that say how a step follows from a gradient."""

from dataclasses import dataclass
from numbers import Real

from skconvnet._values import Value, suggest


@dataclass(frozen=True, repr=False)
class SGD(Value):
    """Stochastic gradient descent.

    ``velocity = momentum * velocity + gradient``, then ``params -= learning_rate * velocity``; with
    Nesterov's momentum, ``params -= learning_rate * (gradient + momentum * velocity)``.

    Parameters
    ----------
    momentum : float, default=0.0
        Share of the last velocity that is kept, at least 0 and below 1.
    nesterov : bool, default=False
        Whether to use Nesterov's momentum.

    Raises
    ------
    ValueError
        If momentum is out of range.

    References
    ----------
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013, in PyTorch's form.
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self):
        super().__post_init__()
        _check_share("SGD", "momentum", self.momentum)

    def fields(self, kinds):
        """The fields of the kernels' optimizer_t."""
        return {
            "kind": kinds["sgd"],
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "beta_1": 0,
            "beta_2": 0,
            "epsilon": 0,
        }


@dataclass(frozen=True, repr=False)
class Adam(Value):
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
        If a number is out of range.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        _check_share("Adam", "beta_1", self.beta_1)
        _check_share("Adam", "beta_2", self.beta_2)
        if not isinstance(self.epsilon, Real) or not 0 < self.epsilon < float("inf"):
            raise ValueError(f"Adam: epsilon must be a number above 0, got {self.epsilon!r}.")

    def fields(self, kinds):
        """The fields of the kernels' optimizer_t."""
        return {
            "kind": kinds["adam"],
            "momentum": 0,
            "nesterov": False,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


OPTIMIZERS = {"sgd": SGD, "adam": Adam}


def resolve_optimizer(optimizer):
    """Give the optimizer that a name or an object means.

    Parameters
    ----------
    optimizer : str or optimizer

    Returns
    -------
    optimizer : SGD or Adam

    Raises
    ------
    ValueError
        If there is no such optimizer.
    """
    if isinstance(optimizer, tuple(OPTIMIZERS.values())):
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; {suggest(optimizer, OPTIMIZERS)}")
    return OPTIMIZERS[optimizer]()


def _check_share(owner, what, value):
    """Require a number of at least 0 and below 1."""
    if not isinstance(value, Real) or not 0 <= value < 1:
        raise ValueError(f"{owner}: {what} must be at least 0 and below 1, got {value!r}.")
