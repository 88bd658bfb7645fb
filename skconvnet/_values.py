"""Values: small immutable objects that users write, such as layers and optimizers."""

import difflib
from dataclasses import dataclass, fields
from numbers import Real

import numpy as np


@dataclass(frozen=True, repr=False)
class Value:
    """An immutable, comparable and picklable object whose repr evaluates to an equal one."""

    def __post_init__(self):
        for f in fields(self):
            object.__setattr__(self, f.name, _freeze(getattr(self, f.name)))

    def __repr__(self):
        own = sorted(fields(self), key=lambda f: f.name == "name")
        shown = [f for f in own if getattr(self, f.name) != f.default]
        values = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in shown)
        return f"{type(self).__name__}({values})"


def _freeze(value):
    """Make arrays and lists tuples and NumPy's numbers Python's, so that values compare and hash."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return tuple(_freeze(v) for v in value) if isinstance(value, (list, tuple)) else value


def check_numbers(owner, **intervals):
    """Require numbers in a value's fields, each in an interval such as "[0, 1)"."""
    for name, interval in intervals.items():
        value = getattr(owner, name)
        low, high = map(float, interval[1:-1].split(","))
        inside = isinstance(value, Real) and low <= value <= high
        if not inside or (interval[0], value) == ("(", low) or (value, interval[-1]) == (high, ")"):
            raise ValueError(f"{type(owner).__name__}: {name} must be a number in {interval}, got {value!r}.")


def suggest(word, known):
    """List the known words, and the one that was probably meant."""
    close = difflib.get_close_matches(str(word), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"valid: {', '.join(sorted(known))}.{hint}"
