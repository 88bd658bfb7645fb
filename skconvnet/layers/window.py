"""The arithmetic of windows that slide over an image, in convolutions, poolings, crops and padding."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

from skconvnet._advice import hint
from skconvnet._types import Padding, Pair, Shape, Sides, Size
from skconvnet.layers.base import Layer, ShapeError, check_length, check_pair, format_size

# The largest number of pixels in an output channel: a block with more would take gigabytes.
LARGEST_IMAGE = 2**28


def check_padding(owner: str, padding: object) -> None:
    """Require "valid", "same", an int, a pair, or ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        if padding in ("valid", "same"):
            return
    elif (
        isinstance(padding, (tuple, list))
        and len(padding) == 2
        and all(isinstance(side, (tuple, list)) for side in padding)
    ):
        for side in padding:
            check_pair(owner, "padding", side, 0)
        return
    else:
        check_pair(owner, "padding", padding, 0)
        return
    raise ValueError(
        f'{owner}: padding must be "valid", "same", an int, a pair (height, width) or '
        f"((top, bottom), (left, right)), got {padding!r}.{hint(padding, ('valid', 'same'))}"
    )


def check_signal_padding(owner: str, padding: object) -> None:
    """Require "valid", "same", "causal", an int, or (before, after)."""
    words = ("valid", "same", "causal")
    if isinstance(padding, str) and padding in words:
        return
    sides = padding if isinstance(padding, (tuple, list)) and len(padding) == 2 else (padding,)
    if not all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides):
        raise ValueError(
            f'{owner}: padding must be "valid", "same", "causal", an int or a pair (before, after), got '
            f"{padding!r}.{hint(padding, words)}"
        )
    for side in sides:
        check_length(owner, "padding", side, 0)


class Windowed(Layer):
    """Base class of layers whose windows slide along the `_n_axes` axes of images, or of signals.

    To the engine a signal is an image of one row: sizes are pairs (1, size) there.
    """

    _n_axes: ClassVar[int]
    padding: Any

    def _resolve_size(self, what: str) -> Pair:
        """Return the field `what`, a size, as a pair (height, width)."""
        owner, value = type(self).__name__, getattr(self, what)
        if self._n_axes == 2:
            return check_pair(owner, what, value, 1)
        return 1, check_length(owner, what, value, 1)

    def _check_padding(self) -> None:
        """Refuse a padding that is not of the kinds that the layer takes."""
        (check_padding if self._n_axes == 2 else check_signal_padding)(type(self).__name__, self.padding)

    def _pairs(self) -> Sequence[Pair]:
        """Return the sizes as pairs, those of window and stride first."""
        raise NotImplementedError

    def _span(self) -> Pair:
        """Return the height and width that a window covers."""
        return self._pairs()[0]

    def _pad(self, shape: Shape) -> Sides:
        """Return the padding ((top, bottom), (left, right)) of an input."""
        span, padding = self._span(), self.padding
        if padding == "causal":
            padding = (0, 0), (span[1] - 1, 0)
        elif self._n_axes == 1 and not isinstance(padding, str):
            padding = 0, padding
        return pad_image(shape, span, self._pairs()[1], padding)

    def _slide(self, shape: Shape, remedy: str) -> Pair:
        """Return the numbers (rows, columns) of outputs."""
        return slide(shape, self._span(), self._pairs()[1], self._pad(shape), remedy)


def pad_axis(n_in: int, kernel: int, stride: int, padding: Literal["valid", "same"] | Size) -> Pair:
    """Return an axis' padding (before, after); "same" gives ceil(n_in / stride) outputs, an odd one after."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-n_in // stride) - 1) * stride + kernel - n_in, 0)
        return total // 2, total - total // 2
    return (padding, padding) if isinstance(padding, int) else (int(padding[0]), int(padding[1]))


def pad_image(shape: Shape, kernel: Pair, stride: Pair, padding: Padding) -> Sides:
    """Return the padding ((top, bottom), (left, right)) of a (channels, height, width) image."""
    sides: list[Any]
    if not isinstance(padding, str):
        padding = padding if isinstance(padding, (tuple, list)) else (padding, padding)
        sides = [p if isinstance(p, (tuple, list)) else int(p) for p in padding]
    else:
        sides = [padding, padding]
    rows, columns = (pad_axis(n, k, s, side) for n, k, s, side in zip(shape[1:], kernel, stride, sides))
    return rows, columns


def slide(shape: Shape, kernel: Pair, stride: Pair, padding: Padding, remedy: str) -> Pair:
    """Return the numbers (rows, columns) of outputs: floor((n_in + before + after - kernel) / stride) + 1.

    kernel is the size of a window, dilation included.
    """
    sides = pad_image(shape, kernel, stride, padding)
    padded = [n + before + after for n, (before, after) in zip(shape[1:], sides)]
    if any(n < k for n, k in zip(padded, kernel)):
        least = [max(k - before - after, 1) for k, (before, after) in zip(kernel, sides)]
        size = format_size((0, *least)) if shape[1] == 1 else f"{least[0]}x{least[1]} pixels"
        raise ShapeError(f"an input of at least {size}", remedy)
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(padded, kernel, stride))
    if rows * columns > LARGEST_IMAGE:
        raise ShapeError(
            f"an output of at most {LARGEST_IMAGE} pixels (it would make {rows}x{columns})",
            "Use less padding or a larger stride.",
        )
    return rows, columns
