"""The arithmetic of windows that slide over an image, in convolutions, poolings, crops and padding."""

from typing import Any, Literal

from skconvnet._advice import hint
from skconvnet._types import Padding, Pair, Shape, Sides, Size
from skconvnet.layers.base import ShapeError, check_pair, format_size

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
        raise ShapeError(f"an input of at least {format_size((0, *least))}", remedy)
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(padded, kernel, stride))
    if rows * columns > LARGEST_IMAGE:
        raise ShapeError(
            f"an output of at most {LARGEST_IMAGE} pixels (it would make {rows}x{columns})",
            "Use less padding or a larger stride.",
        )
    return rows, columns
