"""Values: small immutable objects that users write, such as layers and optimizers."""

import difflib
from dataclasses import dataclass, fields

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


def suggest(word, known):
    """List the known words, and the one that was probably meant."""
    close = difflib.get_close_matches(str(word), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"valid: {', '.join(sorted(known))}.{hint}"
