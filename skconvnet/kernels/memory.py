"""Where things lie: buffers in a block's arena, the images made of them, and a program's index tables."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skconvnet._types import Array, Fields, Shape

# The fields of buffer_t for no buffer.
NOWHERE = {"offset": -1, "plane": 0, "row": 0}


@dataclass
class Buffer:
    """A (channels, height, width) array in a block's arena, with columns of zeros at its sides."""

    shape: Shape
    left: int = 0
    right: int = 0
    offset: int = -1

    def need(self, left: int, right: int) -> None:
        """Ask for that many columns of zeros, at least."""
        self.left = max(self.left, left)
        self.right = max(self.right, right)

    @property
    def row(self) -> int:
        return self.left + self.shape[2] + self.right

    @property
    def plane(self) -> int:
        return self.shape[1] * self.row

    @property
    def size(self) -> int:
        return self.shape[0] * self.plane

    def place(self, start: int) -> int:
        """Put the buffer at an offset of the arena and return the offset behind it."""
        self.offset = start
        return start + self.size

    def fields(self) -> Fields:
        """The fields of buffer_t."""
        offset = self.offset if self.offset < 0 else self.offset + self.left
        return {"offset": offset, "plane": self.plane, "row": self.row}


class FlatBuffer:
    """A buffer seen as a vector: as many channels of one pixel."""

    row = plane = 1

    def __init__(self, base: Buffer) -> None:
        self.base = base
        self.shape = (int(np.prod(base.shape)), 1, 1)

    def place(self, start: int) -> int:
        """It has no memory of its own."""
        return start

    def fields(self) -> Fields:
        """The fields of buffer_t."""
        assert not self.base.left and not self.base.right, "a vector has no room for padding"
        return {"offset": self.base.offset, "plane": 1, "row": 1}


class Image:
    """What flows between two layers: a value and, where somebody needs it, its gradient.

    layer_shape: (channels, height, width), or (features,) for a vector, whose shape is (features, 1, 1).
    """

    def __init__(self, layer_shape: Shape, needs_gradient: bool) -> None:
        self.layer_shape = tuple(layer_shape)
        shape = self.layer_shape if len(layer_shape) == 3 else (*layer_shape, 1, 1)
        self.value: Any = Buffer(shape)  # or a FlatBuffer
        self.gradient: Any = Buffer(shape)
        self.needs_gradient = needs_gradient

    @property
    def shape(self) -> Shape:
        return self.value.shape

    def flatten(self) -> "Image":
        """See the same memory as a vector, but for a gradient that has padding: that gets its own."""
        flat = Image((int(np.prod(self.shape)),), self.needs_gradient)
        flat.value = FlatBuffer(self.value)
        if isinstance(self.gradient, FlatBuffer):
            flat.gradient = self.gradient
        elif self.gradient.left or self.gradient.right:
            flat.gradient = Buffer(flat.value.shape)
        else:
            flat.gradient = FlatBuffer(self.gradient)
        return flat

    def fields(self) -> Fields:
        """The fields of image_t."""
        channels, height, width = self.shape
        return {
            "channels": channels,
            "height": height,
            "width": width,
            "value": self.value.fields(),
            "gradient": self.gradient.fields(),
        }


class Tables:
    """The index tables of a program, one behind the other."""

    def __init__(self) -> None:
        self._parts = []
        self._size = 0

    def add(self, values: ArrayLike) -> int:
        """Append a table and return where it starts."""
        part = np.ravel(np.asarray(values, dtype=np.intp))
        start = self._size
        self._parts.append(part)
        self._size += len(part)
        return start

    def join(self) -> Array:
        """All tables as one array, never empty."""
        return np.concatenate([*self._parts, np.zeros(1, np.intp)])
