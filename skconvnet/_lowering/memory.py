"""Where things lie: buffers in a block's memory, the tensors made of them, and a program's tables."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skconvnet._types import Array, Fields, Shape

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine

# Vectors of a block's memory, at most: every offset and size in bytes then fits into 64 bits.
MOST_VECTORS = 2**48


def check_size(n_vectors: int) -> None:
    """Refuse memory of a number of vectors for which offsets could overflow."""
    if n_vectors > MOST_VECTORS:
        raise ValueError(
            f"the values between the layers need {n_vectors:.2g} vectors of memory for some samples, but at "
            f"most {MOST_VECTORS:.2g} can be addressed. Make the images or the layers smaller."
        )


@dataclass(eq=False)
class Buffer:
    """A (channels, height, width) array in a block's memory, with columns of zeros at its sides."""

    shape: Shape
    left: int = 0
    right: int = 0
    offset: int = -1

    def need(self, left: int, right: int) -> None:
        """Require at least these numbers of columns of zeros."""
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

    @property
    def memory(self) -> "Buffer":
        """The buffer that owns the memory: this one."""
        return self

    def allocate(self, start: int) -> int:
        """Set the buffer's offset and return the offset after it."""
        self.offset = start
        return start + self.size

    def fields(self) -> Fields:
        """The fields of buffer_t."""
        offset = self.offset if self.offset < 0 else self.offset + self.left
        return {"offset": offset, "plane": self.plane, "row": self.row}


class FlatBuffer:
    """A buffer seen as a vector: every element is a channel of one pixel."""

    row = plane = 1

    def __init__(self, base: Buffer) -> None:
        self.memory = base
        self.shape = (math.prod(base.shape), 1, 1)

    def allocate(self, start: int) -> int:
        """Return start: a view needs no memory of its own."""
        return start

    def fields(self) -> Fields:
        """The fields of buffer_t."""
        assert not self.memory.left and not self.memory.right, "a vector cannot have columns of padding"
        return {"offset": self.memory.offset, "plane": 1, "row": 1}


class Tensor:
    """What flows between two layers: a value and, if required, its gradient.

    layer_shape: (channels, height, width), or (features,) for a vector, whose shape is (features, 1, 1).
    """

    def __init__(self, layer_shape: Shape, needs_gradient: bool) -> None:
        self.layer_shape = tuple(layer_shape)
        shape = self.layer_shape if len(layer_shape) == 3 else (*layer_shape, 1, 1)
        self.value: Any = Buffer(shape)  # or a FlatBuffer
        self.gradient: Any = Buffer(shape)
        self.needs_gradient = needs_gradient
        self.shared = False  # whether other tensors have the same value

    @property
    def shape(self) -> Shape:
        return self.value.shape

    def flatten(self) -> "Tensor":
        """Return the same memory as a vector; a gradient with columns of padding gets its own memory."""
        flat = Tensor((math.prod(self.shape),), self.needs_gradient)
        flat.value = FlatBuffer(self.value)
        if isinstance(self.gradient, FlatBuffer):
            flat.gradient = self.gradient
        elif self.gradient.left or self.gradient.right:
            flat.gradient = Buffer(flat.value.shape)
        else:
            flat.gradient = FlatBuffer(self.gradient)
        return flat

    def fields(self) -> Fields:
        """The fields of tensor_t."""
        channels, height, width = self.shape
        return {
            "channels": channels,
            "height": height,
            "width": width,
            "value": self.value.fields(),
            "gradient": self.gradient.fields(),
        }


class ProgramTables:
    """What the calls of a program share: its index tables, its Winograd plans, and scratch memory.

    engine: the module of compiled kernels; scratch: offset of memory that every call may overwrite; shared:
    of memory that the threads that share a block may overwrite together.
    """

    def __init__(self, engine: "Engine", scratch: int = 0, shared: int = 0) -> None:
        self.engine, self.scratch, self.shared = engine, scratch, shared
        self.winograd_plans: list[Fields] = []
        self.n_transformed_weights = 0
        self._parts: list[Array] = []
        self._size = 0

    def add(self, values: ArrayLike) -> int:
        """Append a table and return its index."""
        part = np.ravel(np.asarray(values, dtype=np.intp))
        index = self._size
        self._parts.append(part)
        self._size += len(part)
        return index

    def add_winograd_plan(self, fields: Fields, n_weights: int) -> int:
        """Append a Winograd plan, with memory for its transformed weights, if any, and return its index."""
        offset = self.n_transformed_weights if n_weights else -1
        self.winograd_plans.append({**fields, "transformed_weights": offset})
        self.n_transformed_weights += n_weights
        return len(self.winograd_plans) - 1

    def join(self) -> Array:
        """Return all tables as one array, never empty."""
        return np.concatenate([*self._parts, np.zeros(1, np.intp)])
