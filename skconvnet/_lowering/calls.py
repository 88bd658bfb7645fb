"""Kernel calls: their base class, and the calls of elementwise kernels.

A plan first makes its calls, which require the columns of zeros that they read beside their tensors
(a convolution's padding); then it lays out its memory; then every call fills in its fields.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._lowering.work import Work
from skconvnet._types import Array, Fields, Pair, Shape, Sides

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine

# The activation of a call that has none yet; those whose derivative does not follow from a single output
# value, which a call that computes values therefore cannot apply in place.
NO_ACTIVATION = "identity", 0.0
NOT_IN_PLACE = "arctan", "gelu", "silu", "mish", "hardswish", "softmax", "log_softmax"

# Multiply-adds in the time of one element of an elementwise kernel, about.
ELEMENT_WORK = 4


@dataclass(frozen=True)
class Window:
    """How a kernel or a pooling window slides over an image: pairs (down, right); padding as in layers."""

    kernel: Pair
    stride: Pair
    padding: Sides
    dilation: Pair = (1, 1)

    @property
    def before(self) -> Pair:
        """Rows above and columns to the left of the image."""
        return self.padding[0][0], self.padding[1][0]


class Call:
    """A kernel call: `name` is the engine's word for it.

    A call that can apply the activation of its output y itself has an `activation` (kind, slope).
    """

    name: str
    x: Any  # a tensor, or a plane
    y: Any
    activation: tuple[str, float] | None = None

    def fuse_with(self, last: "Call") -> None:
        """Share work with the call before, if that saves time."""

    def end_fields(self) -> Fields:
        """The fields for the buffers of input, output and their gradients."""
        return {
            "x": self.x.value.fields(),
            "y": self.y.value.fields(),
            "dx": self.x.gradient.fields(),
            "dy": self.y.gradient.fields(),
        }

    def map_fields(self) -> Fields:
        """The fields of an elementwise kernel: its ends, and the size of x."""
        channels, height, width = self.x.shape
        return {**self.end_fields(), "channels": channels, "ho": height, "wo": width}

    def fold(self, norm: Any) -> bool:
        """Do the work of the batch normalisation of y as well, in prediction, if the kernel can."""
        return False

    def activation_fields(self, engine: "Engine") -> Fields:
        """The fields for the activation that the call applies to y."""
        kind, slope = self.activation or NO_ACTIVATION
        return {"activation": engine.activation_kinds[kind], "slope": slope}

    def count_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors that the kernel needs."""
        return 0

    def count_shared(self, engine: "Engine") -> int:
        """Return the number of vectors of memory that the threads that share a block use together."""
        return 0

    def count_multiply_adds(self) -> int:
        """Return those of the forward pass for a sample, with all taps; 0 for kernels of another kind."""
        return 0

    def _loop_shape(self) -> Shape:
        """Return the shape of what the kernel loops over."""
        return self.y.shape

    def count_work(self) -> int:
        """Return about how many multiply-adds take the time of the forward pass for a sample."""
        return self.count_multiply_adds() or ELEMENT_WORK * math.prod(self._loop_shape())

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        channels, height, width = self._loop_shape()
        return 2 * [[Work(ELEMENT_WORK * width, channels * height)]]

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of the kernel's struct, once all buffers have their offsets."""
        raise NotImplementedError


class FlattenCall(Call):
    """The call that copies the gradient of a vector into that of the image that it shares its values with."""

    name = "flatten"

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of flatten_t."""
        channels, height, width = self.x.shape
        return {
            "dx": self.x.gradient.fields(),
            "dy": self.y.gradient.fields(),
            "channels": channels,
            "hi": height,
            "wi": width,
        }


class ActivationCall(Call):
    """The call of an activation from x to y; dx overwrites dy."""

    name = "activation"

    def __init__(self, x: Tensor, y: Tensor, kind: str, slope: float) -> None:
        self.x, self.y, self.kind, self.slope = x, y, kind, slope

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of activation_t."""
        return {
            **self.map_fields(),
            "kind": tables.engine.activation_kinds[self.kind],
            "slope": self.slope,
        }


class PReLUCall(Call):
    """The call of a ReLU whose slopes are parameters, from the offset `weight`; dx overwrites dy."""

    name = "prelu"

    def __init__(self, x: Tensor, y: Tensor, weight: int) -> None:
        self.x, self.y, self.weight = x, y, weight

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        channels, height, width = self.y.shape
        forward, _ = super().list_tasks(engine, fields)
        return [forward, [Work(ELEMENT_WORK * height * width, channels)]]

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of prelu_t."""
        fields = self.map_fields()
        del fields["dx"]
        return {**fields, "weight": self.weight}


class FunctionCall(Call):
    """The call of a function of Python's from x to y; dx overwrites dy."""

    name = "function"

    def __init__(
        self, x: Tensor, y: Tensor, function: Callable[[Any], Array], derivative: Callable[[Any], Array]
    ) -> None:
        self.x, self.y, self.functions = x, y, (function, derivative)

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of function_t, and the functions, which the program keeps alive with them."""
        function, derivative = self.functions
        addresses = {"function": id(function), "derivative": id(derivative)}
        return {**self.map_fields(), **addresses, "functions": self.functions}

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """One thread does all of a task."""
        return 2 * [[Work(self.count_work(), 1)]]


class DropoutCall(Call):
    """The call of dropout; stream: of random numbers, one for each call that draws."""

    name = "dropout"

    def __init__(self, x: Tensor, y: Tensor, rate: float, stream: int) -> None:
        self.x, self.y, self.rate, self.stream = x, y, rate, stream

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of dropout_t."""
        return {
            **self.map_fields(),
            "stream": self.stream,
            "threshold": round(self.rate * 2**32),
            "scale": 1 / (1 - self.rate),
        }


class RescalingCall(Call):
    """The call of y = scale * x + offset; element (0, 0, 0) of x becomes element `corner` of y."""

    name = "rescale"

    def __init__(
        self, x: Tensor, y: Tensor, scale: float = 1.0, offset: float = 0.0, corner: Shape = (0, 0, 0)
    ) -> None:
        self.x, self.y, self.scale, self.offset, self.corner = x, y, scale, offset, corner

    def _loop_shape(self) -> Shape:
        return self.x.shape

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of rescale_t."""
        fields, (channel, top, left) = self.map_fields(), self.corner
        for end in (fields["y"], fields["dy"]):
            end["offset"] += channel * end["plane"] + top * end["row"] + left
        return {
            **fields,
            "scale": self.scale,
            "offset": self.offset,
        }


class CopyCall(RescalingCall):
    """The call that copies x to y."""
