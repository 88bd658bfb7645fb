"""Schedules: the values that say how the learning rate goes on.

A schedule counts the optimizer's steps over the life of a model (its `t_`), from 0, so that
`partial_fit` goes on where the last call ended. An epoch has ``ceil(n_samples / batch_size)`` steps.
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
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "Warmup",
]


@dataclass(repr=False, eq=False)
class Schedule(Value):
    """Base class of schedules.

    A schedule holds no state: what it remembers of past epochs lies with whoever trains.

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
        """Give what the schedule remembers before the first epoch.

        Returns
        -------
        memory : tuple
        """
        return ()

    def follow(self, memory: Any, loss: float) -> Any:
        """Give what the schedule remembers after another epoch.

        Parameters
        ----------
        memory : tuple
        loss : float
            Of the epoch.

        Returns
        -------
        memory : tuple
        """
        return memory

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        """Give the learning rates of some steps.

        Parameters
        ----------
        t : ndarray of shape (n,)
            Steps before each.
        memory : tuple, default=()
            As the last epoch left it.

        Returns
        -------
        rates : ndarray of float64 of shape (n,)
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define rates(self, t, memory), which gives the learning rates of "
            f"the steps t, an array; see the example of Schedule."
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
        If it is not.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, learning_rate="(0, inf)")

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        return np.full(len(t), float(self.learning_rate))


@dataclass(repr=False, eq=False)
class StepDecay(Schedule):
    """Learning rate that drops every so many steps.

    ``initial_learning_rate * decay_rate ** floor(t / decay_steps)`` at step t.

    Parameters
    ----------
    initial_learning_rate : float
        At first; above 0.
    decay_steps : int
        Steps from drop to drop; above 0.
    decay_rate : float, default=0.1
        What a drop multiplies by; above 0, at most 1.

    Raises
    ------
    ValueError
        If a number is out of range.

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
    """Learning rate that falls by the same share at every step.

    ``initial_learning_rate * decay_rate ** (t / decay_steps)`` at step t.

    Parameters
    ----------
    initial_learning_rate : float
        At first; above 0.
    decay_steps : int
        In how many steps the rate falls to `decay_rate` of what it was; above 0.
    decay_rate : float, default=0.1
        Above 0, at most 1.

    Raises
    ------
    ValueError
        If a number is out of range.

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
class CosineDecay(Schedule):
    """Learning rate that falls along half a cosine, and stays.

    ``initial_learning_rate * (alpha + (1 - alpha) * (1 + cos(pi * t / decay_steps)) / 2)`` at step t,
    and ``alpha * initial_learning_rate`` from decay_steps on.

    Parameters
    ----------
    initial_learning_rate : float
        At first; above 0.
    decay_steps : int
        Steps of the fall; above 0.
    alpha : float, default=0.0
        Share of the rate that is left at the end, from 0 to 1.

    Raises
    ------
    ValueError
        If a number is out of range.

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

    initial_learning_rate: float
    decay_steps: int
    alpha: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, initial_learning_rate="(0, inf)", decay_steps="(0, inf)", alpha="[0, 1]")

    def rates(self, t: Array, memory: Any = ()) -> NDArray[np.float64]:
        end = self.alpha * self.initial_learning_rate
        return _anneal(self.initial_learning_rate, end, t / self.decay_steps)


@dataclass(repr=False, eq=False)
class OneCycle(Schedule):
    """Learning rate that rises to its highest, then falls below where it began, along cosines.

    It rises from ``max_learning_rate / div_factor`` in the first `pct_start` of the steps, falls to
    ``max_learning_rate / div_factor / final_div_factor`` at the last, and stays there.

    Parameters
    ----------
    max_learning_rate : float
        The highest; above 0.
    total_steps : int
        Steps of the cycle; above 0.
    pct_start : float, default=0.3
        Share of the steps that the rise takes, at least 0 and below 1.
    div_factor : float, default=25.0
        What the highest rate is divided by at first; at least 1.
    final_div_factor : float, default=1e4
        What the first rate is divided by at last; at least 1.

    Raises
    ------
    ValueError
        If a number is out of range.

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
    """Learning rate that rises in a straight line to where another schedule begins.

    ``start_factor + (1 - start_factor) * t / warmup_steps`` of the other's first rate at step t, and
    the other schedule, counted from there, from warmup_steps on.

    Parameters
    ----------
    learning_rate : float or schedule
        What follows.
    warmup_steps : int
        Steps of the rise; above 0.
    start_factor : float, default=0.1
        Share of the rate at first; above 0, at most 1.

    Raises
    ------
    ValueError
        If a number is out of range.

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
    """What `ReduceOnPlateau` remembers: the rate, the lowest loss, and two counts of epochs."""

    rate: float
    lowest: float = inf
    n_bad: int = 0  # epochs in a row without a lower loss
    n_cool: int = 0  # epochs to come that do not count as such


@dataclass(repr=False, eq=False)
class ReduceOnPlateau(Schedule):
    """Learning rate that falls when the loss no longer does.

    It looks at the loss of every epoch: that of the validation set if there is one, else that of
    training.

    Parameters
    ----------
    initial_learning_rate : float
        At first; above 0.
    factor : float, default=0.1
        What a fall multiplies by; above 0, below 1.
    patience : int, default=10
        How many epochs in a row without a lower loss are borne; the next one lowers the rate. At
        least 0.
    threshold : float, default=1e-4
        A loss is lower if it is below ``(1 - threshold)`` times the lowest so far; at least 0, below 1.
    cooldown : int, default=0
        How many epochs after a fall do not count; at least 0.
    min_learning_rate : float, default=0.0
        The rate falls no further; at least 0, at most `initial_learning_rate`.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    The rules are those of PyTorch's ReduceLROnPlateau. A fit that is given another schedule forgets
    what this one has seen.

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
    """Give the schedule that a number or a schedule means.

    Parameters
    ----------
    learning_rate : float or schedule

    Returns
    -------
    schedule : Schedule
    """
    return learning_rate if isinstance(learning_rate, Schedule) else Constant(learning_rate)


def _anneal(first: float, last: float, share: Array) -> NDArray[np.float64]:
    """Give the rates on half a cosine from first to last, at shares of the way, and at its end beyond."""
    return last + (first - last) * (1 + np.cos(np.pi * np.minimum(share, 1))) / 2


guide_imports(__name__)
