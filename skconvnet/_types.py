"""Type aliases for signatures."""

from collections.abc import Callable
from os import PathLike
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]  # (channels, height, width), (channels, 1, length) or (features,)
Pair: TypeAlias = tuple[int, int]
Size: TypeAlias = int | Pair  # of both axes, or (height, width)
Sides: TypeAlias = tuple[Pair, Pair]  # ((top, bottom), (left, right))
Padding: TypeAlias = Literal["valid", "same"] | Size | Sides
SignalPadding: TypeAlias = Literal["valid", "same", "causal"] | int | Pair  # (before, after)
Initializer: TypeAlias = str | Callable[..., Any]  # (shape, fan_in, fan_out, rng) -> array
Fields: TypeAlias = dict[str, Any]  # the fields of a kernel's struct
Record: TypeAlias = dict[str, Any]  # an epoch's entry in the history
ProgressCallback: TypeAlias = Callable[[float], None]  # (fraction of an epoch that is done)
Path: TypeAlias = str | PathLike[str]
