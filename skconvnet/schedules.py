"""Schedules: immutable values that define the learning rate of every step.

A schedule counts the optimizer's steps over the life of a model (its `t_`), from 0, so that
`partial_fit` continues where the last call ended. An epoch has ``ceil(n_samples / batch_size)`` steps.
"""

from dataclasses import astuple, dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skconvnet._advice import guide_imports
from skconvnet._types import Array
from skconvnet._values import Value, check_numbers

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "LinearDecay",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "Warmup",
]


@dataclass(repr=False, eq=False)
class Schedule(Value):
    """Base class of schedules.

    A schedule holds no state: the estimator in training keeps what it remembers of past epochs, its memory.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from skconvnet.schedules import Schedule
    >>> @dataclass(repr=False, eq=False)
    ... class InverseRoot(Schedule):
    ...     first: float
    ...
    ...     def rates(self, t, memory=()):
    ...         return self.first / np.sqrt(1 + t)
    >>> InverseRoot(0.1).rates(np.array([0, 3, 99]))
    array([0.1 , 0.05, 0.01])
    """

    def start(self) -> Any:
        """Return the memory before the first epoch.

        Returns
        -------
        memory : tuple
        """
        return ()

    def follow(self, memory: Any, loss: float) -> Any:
        """Return the memory after another epoch.

        Parameters
        ----------
        memory : tuple
            The memory before the epoch.
        loss : float
            The loss of the epoch.

        Returns
        -------
        memory : tuple
        """
        return memory

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        """Return the learning rates of steps.

        Parameters
        ----------
        t : ndarray of shape (n,)
            The number of steps before each of them.
        memory : tuple, default=()
            The memory after the last epoch.

        Returns
        -------
        rates : ndarray of float64 of shape (n,)
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define rates(self, t, memory), which returns the learning rates "
            f"of the steps t, an array; see the example of Schedule."
        )


@dataclass(repr=False, eq=False)
class Constant(Schedule):
    """The same learning rate at every step.

    Parameters
    ----------
    learning_rate : float
        Above 0.

    Raises
    ------
    ValueError
        If it is not above 0.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, learning_rate="(0, inf)")

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        return np.full(len(t), float(self.learning_rate))


@dataclass(repr=False, eq=False)
class StepDecay(Schedule):
    """Learning rate that drops at regular intervals.

    ``initial_learning_rate * decay_rate ** floor(t / decay_steps)`` at step t.

    Parameters
    ----------
    initial_learning_rate : float
        The rate at first; above 0.
    decay_steps : int
        Number of steps from drop to drop; above 0.
    decay_rate : float, default=0.1
        The factor of a drop; above 0, at most 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.schedules import StepDecay
    >>> StepDecay(0.1, decay_steps=10, decay_rate=0.5).rates(np.array([0, 9, 10, 20]))
    array([0.1  , 0.1  , 0.05 , 0.025])
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, initial_learning_rate="(0, inf)", decay_steps="(0, inf)", decay_rate="(0, 1]")

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        return self.initial_learning_rate * self.decay_rate ** np.floor(t / self.decay_steps)


@dataclass(repr=False, eq=False)
class ExponentialDecay(Schedule):
    """Learning rate that falls by the same factor at every step.

    ``initial_learning_rate * decay_rate ** (t / decay_steps)`` at step t.

    Parameters
    ----------
    initial_learning_rate : float
        The rate at first; above 0.
    decay_steps : int
        The number of steps in which the rate falls to `decay_rate` times its value; above 0.
    decay_rate : float, default=0.1
        The factor of `decay_steps` steps; above 0, at most 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.schedules import ExponentialDecay
    >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.25).rates(np.array([0, 5, 10]))
    array([0.1  , 0.05 , 0.025])
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, initial_learning_rate="(0, inf)", decay_steps="(0, inf)", decay_rate="(0, 1]")

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        return self.initial_learning_rate * self.decay_rate ** (t / self.decay_steps)


@dataclass(repr=False, eq=False)
class _Decay(Schedule):
    """Base class of falls from an initial rate to a fraction alpha of it."""

    initial_learning_rate: float
    decay_steps: int
    alpha: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, initial_learning_rate="(0, inf)", decay_steps="(0, inf)", alpha="[0, 1]")


@dataclass(repr=False, eq=False)
class CosineDecay(_Decay):
    """Learning rate that falls along half a cosine, then stays constant.

    ``initial_learning_rate * (alpha + (1 - alpha) * (1 + cos(pi * t / decay_steps)) / 2)`` at step t,
    and ``alpha * initial_learning_rate`` from decay_steps on.

    Parameters
    ----------
    initial_learning_rate : float
        The rate at first; above 0.
    decay_steps : int
        Number of steps of the fall; above 0.
    alpha : float, default=0.0
        Fraction of the initial rate that is left at the end, from 0 to 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    formula 5, without the restarts.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.schedules import CosineDecay
    >>> CosineDecay(0.1, decay_steps=100).rates(np.array([0, 50, 100, 200]))
    array([0.1 , 0.05, 0.  , 0.  ])
    """

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        end = self.alpha * self.initial_learning_rate
        return _anneal(self.initial_learning_rate, end, t / self.decay_steps)


@dataclass(repr=False, eq=False)
class LinearDecay(_Decay):
    """Learning rate that falls along a line, then stays constant.

    ``initial_learning_rate * (1 - (1 - alpha) * t / decay_steps)`` at step t, and
    ``alpha * initial_learning_rate`` from decay_steps on.

    Parameters
    ----------
    initial_learning_rate : float
        The rate at first; above 0.
    decay_steps : int
        Number of steps of the fall; above 0.
    alpha : float, default=0.0
        Fraction of the initial rate that is left at the end, from 0 to 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.schedules import LinearDecay
    >>> LinearDecay(0.1, decay_steps=100).rates(np.array([0, 50, 100, 200]))
    array([0.1 , 0.05, 0.  , 0.  ])
    """

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        done = np.minimum(t / self.decay_steps, 1)
        return self.initial_learning_rate * (1 - (1 - self.alpha) * done)


@dataclass(repr=False, eq=False)
class OneCycle(Schedule):
    """Learning rate that rises to its maximum, then falls below its first value, along cosines.

    It rises from ``max_learning_rate / div_factor`` in the first `pct_start` of the steps, falls to
    ``max_learning_rate / div_factor / final_div_factor`` at the last, and stays there.

    Parameters
    ----------
    max_learning_rate : float
        The highest rate; above 0.
    total_steps : int
        Number of steps of the cycle; above 0.
    pct_start : float, default=0.3
        Fraction of the steps that the rise takes, at least 0 and below 1.
    div_factor : float, default=25.0
        The highest rate divided by the first one; at least 1.
    final_div_factor : float, default=1e4
        The first rate divided by the last one; at least 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2019, in PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.schedules import OneCycle
    >>> OneCycle(0.1, total_steps=100).rates(np.array([0, 29])).round(3)
    array([0.004, 0.1  ])
    """

    max_learning_rate: float
    total_steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(
            self,
            max_learning_rate="(0, inf)",
            total_steps="(0, inf)",
            pct_start="[0, 1)",
            div_factor="[1, inf)",
            final_div_factor="[1, inf)",
        )

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        highest = self.max_learning_rate
        first = highest / self.div_factor
        peak, end = self.pct_start * self.total_steps - 1, self.total_steps - 1  # counted from 0
        fall = _anneal(highest, first / self.final_div_factor, (t - peak) / (end - peak))
        if peak <= 0:
            return fall
        return np.where(t < peak, _anneal(first, highest, t / peak), fall)


@dataclass(repr=False, eq=False)
class Warmup(Schedule):
    """Learning rate that rises linearly to the first rate of another schedule, then follows that.

    Before warmup_steps, the rate of step t is the other schedule's first rate times
    ``start_factor + (1 - start_factor) * t / warmup_steps``; from there on it is the other's, whose steps
    are counted from warmup_steps.

    Parameters
    ----------
    learning_rate : float or schedule
        The rate or schedule after the rise.
    warmup_steps : int
        Number of steps of the rise; above 0.
    start_factor : float, default=0.1
        The first rate of the rise, as a fraction of the other's; above 0, at most 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017, section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.schedules import StepDecay, Warmup
    >>> Warmup(StepDecay(0.1, 100), warmup_steps=10).rates(np.array([0, 5, 10, 110]))
    array([0.01 , 0.055, 0.1  , 0.01 ])
    """

    learning_rate: float | Schedule
    warmup_steps: int
    start_factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.learning_rate, Schedule):
            check_numbers(self, learning_rate="(0, inf)")
        check_numbers(self, warmup_steps="(0, inf)", start_factor="(0, 1]")

    def start(self) -> Any:
        return resolve_schedule(self.learning_rate).start()

    def follow(self, memory: Any, loss: float) -> Any:
        return resolve_schedule(self.learning_rate).follow(memory, loss)

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        rises = self.start_factor + (1 - self.start_factor) * np.minimum(t / self.warmup_steps, 1)
        return rises * resolve_schedule(self.learning_rate).rates(
            np.maximum(t - self.warmup_steps, 0), memory
        )


@dataclass(repr=False, eq=False)
class Plateau(Value):
    """The memory of `ReduceOnPlateau`: the rate, the lowest loss, and two counts of epochs."""

    rate: float
    lowest: float = inf
    n_bad: int = 0  # epochs in a row without a lower loss
    n_cool: int = 0  # coming epochs that do not count as bad


@dataclass(repr=False, eq=False)
class ReduceOnPlateau(Schedule):
    """Learning rate that is reduced when the loss no longer falls.

    It watches the loss of every epoch: that of the validation set if there is one, else that of
    training.

    Parameters
    ----------
    initial_learning_rate : float
        The rate at first; above 0.
    factor : float, default=0.1
        The factor of a reduction; above 0, below 1.
    patience : int, default=10
        The number of epochs in a row without a lower loss that are tolerated; the next one reduces
        the rate. At least 0.
    threshold : float, default=1e-4
        A loss is lower if it is below ``(1 - threshold)`` times the lowest so far; at least 0, below 1.
    cooldown : int, default=0
        The number of epochs after a reduction that do not count; at least 0.
    min_learning_rate : float, default=0.0
        The lowest rate; at least 0, at most `initial_learning_rate`.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    The rules are those of PyTorch's ReduceLROnPlateau. Training that continues with another schedule
    starts without a memory.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.schedules import ReduceOnPlateau
    >>> clf = ConvNetClassifier(learning_rate=ReduceOnPlateau(0.01, patience=3))
    >>> clf.get_params()["learning_rate__patience"]
    3
    """

    initial_learning_rate: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    min_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(
            self,
            initial_learning_rate="(0, inf)",
            factor="(0, 1)",
            patience="[0, inf)",
            threshold="[0, 1)",
            cooldown="[0, inf)",
            min_learning_rate="[0, inf)",
        )
        if self.min_learning_rate > self.initial_learning_rate:
            raise ValueError(
                f"ReduceOnPlateau: min_learning_rate must be at most the initial_learning_rate of "
                f"{self.initial_learning_rate!r}, got {self.min_learning_rate!r}."
            )

    def start(self) -> Any:
        return Plateau(float(self.initial_learning_rate))

    def follow(self, memory: Any, loss: float) -> Any:
        rate, lowest, n_bad, n_cool = astuple(memory)
        if loss < (1 - self.threshold) * lowest:
            lowest, n_bad = loss, 0
        else:
            n_bad += 1
        if n_cool:
            n_cool, n_bad = n_cool - 1, 0
        if n_bad > self.patience:
            rate, n_bad, n_cool = max(self.factor * rate, self.min_learning_rate), 0, self.cooldown
        return Plateau(rate, lowest, n_bad, n_cool)

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        return np.full(len(t), memory.rate)


def resolve_schedule(learning_rate: float | Schedule) -> Schedule:
    """Return a schedule itself, or the constant one of a learning rate.

    Parameters
    ----------
    learning_rate : float or schedule

    Returns
    -------
    schedule : Schedule
    """
    return learning_rate if isinstance(learning_rate, Schedule) else Constant(learning_rate)


def _anneal(first: float, last: float, fraction: Array) -> NDArray[np.float64]:
    """Return the rates at fractions of half a cosine from first to last; beyond 1, they are the last."""
    return last + (first - last) * (1 + np.cos(np.pi * np.minimum(fraction, 1))) / 2


guide_imports(__name__)
