"""Values: small immutable objects that users write, such as layers and optimizers."""

import inspect
from dataclasses import FrozenInstanceError, dataclass, fields
from numbers import Real
from typing import Any, Self

import numpy as np

from skconvnet._advice import StrictInit, short_repr

LAST = ("learning_rate_factor", "name")  # the fields that a repr shows after all others


@dataclass(repr=False, eq=False)
class Value(StrictInit):
    """An immutable, comparable and picklable object whose repr evaluates to an equal one.

    The common methods are written here once: when they were generated for each of some sixty dataclasses,
    that took a quarter of the package's import time.
    """

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, _freeze(getattr(self, f.name)))

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self) or name not in self.__dataclass_fields__:
            raise FrozenInstanceError(
                f"{type(self).__name__} is immutable; write dataclasses.replace(value, {name}=...) for a "
                f"changed copy."
            )
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"{type(self).__name__} is immutable.")

    def _list_values(self) -> tuple[Any, ...]:
        """Return the values of all fields, in order."""
        return tuple(getattr(self, f.name) for f in fields(self))

    def __deepcopy__(self, memo: object) -> Self:
        return self  # immutable; and a copied function in it would not equal the original

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._list_values() == other._list_values()

    def __hash__(self) -> int:
        return hash((type(self), self._list_values()))

    def __repr__(self) -> str:
        own = sorted(fields(self), key=lambda f: LAST.index(f.name) if f.name in LAST else -1)
        shown = [f for f in own if getattr(self, f.name) != f.default]
        values = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in shown)
        return f"{type(self).__name__}({values})"


def _freeze(value: Any) -> Any:
    """Turn arrays and lists into tuples and NumPy's scalars into Python's, to be compared and hashed."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return tuple(_freeze(v) for v in value) if isinstance(value, (list, tuple)) else value


def check_numbers(owner: object, **intervals: str) -> None:
    """Require that fields of a value are numbers, each in an interval such as "[0, 1)"."""
    for name, interval in intervals.items():
        value: Any = getattr(owner, name)
        low, high = map(float, interval[1:-1].split(","))
        number = _round(value) if isinstance(value, Real) else np.nan
        inside = low <= number <= high
        if not inside or (interval[0], number) == ("(", low) or (number, interval[-1]) == (high, ")"):
            raise ValueError(
                f"{type(owner).__name__}: {name} must be a number in {interval}, got {short_repr(value)}."
            )


def _round(value: Real) -> float:
    """Return the nearest number of type float, which for huge numbers is infinity."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf  # type: ignore[operator]


def check_function(owner: str, what: str, function: Any, arguments: str, remedy: str = "") -> None:
    """Require a function of the arguments "X, rng"; a compiled function without a signature passes."""
    # the signature of an object lacks the first argument of a __call__ that is a staticmethod
    called = function if isinstance(function, type) or inspect.isroutine(function) else function.__call__
    try:
        inspect.signature(called).bind(*arguments.split(", "))
    except ValueError:
        return
    except TypeError as error:
        message = f"{owner}: {what} must be a function({arguments}), got {function!r}: {error}.{remedy}"
        raise TypeError(message) from None
