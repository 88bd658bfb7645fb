"""The calls of a network for a single image, whose lanes are neighbouring pixels (see pixels.pxd)."""

from types import ModuleType
from typing import Any

import numpy as np

from skconvnet._types import Fields, Shape
from skconvnet.kernels.branch import Branch
from skconvnet.kernels.calls import (
    NO_POOL,
    Activation,
    BatchNormalization,
    Call,
    Convolution,
    Flattening,
    Pooling,
    Rescaling,
)
from skconvnet.kernels.memory import NOWHERE, FlatBuffer, Image, Tables
from skconvnet.kernels.walk import reach_fields, share_evenly
from skconvnet.kernels.winograd import NO_TERMS


class Rows:
    """How far apart the rows of planes are that are made from each other without a change of place."""

    def __init__(self) -> None:
        self.pitch = 1

    def need(self, pitch: int) -> None:
        """Ask for rows so far apart, at least."""
        self.pitch = max(self.pitch, pitch)


class Plane:
    """A (channels, height, width) image in an arena, its rows `rows.pitch` numbers apart."""

    def __init__(self, shape: Shape, rows: Rows, lanes: int) -> None:
        self.shape, self.rows, self.lanes = shape, rows, lanes
        self.before = self.behind = 0, 0  # rows and columns that a convolution reads around it
        self.reader: Plane | None = None  # the plane that it makes of it
        self.offset = -1
        rows.need(shape[2])

    @property
    def n_vectors(self) -> int:
        """Vectors from the first pixel to the last."""
        return -(-((self.shape[1] - 1) * self.rows.pitch + self.shape[2]) // self.lanes)

    @property
    def start(self) -> int:
        """Numbers before the first pixel: whole vectors of zeros."""
        rows, columns = self.before
        return -(-(rows * self.rows.pitch + columns) // self.lanes) * self.lanes

    @property
    def plane(self) -> int:
        """Vectors of a channel."""
        rows, columns = self.behind
        behind = -(-(rows * self.rows.pitch + columns) // self.lanes)
        n_read = self.reader.n_vectors if self.reader else 0
        return self.start // self.lanes + max(self.n_vectors, n_read) + behind + 1

    def place(self, offset: int) -> int:
        """Put the plane at an offset of the arena and return the offset behind it."""
        self.offset = offset
        return offset + self.shape[0] * self.plane

    def fields(self) -> Fields:
        """The fields of plane_t."""
        channels, height, width = self.shape
        return {
            "place": {"offset": self.offset, "plane": self.plane, "row": self.rows.pitch},
            "start": self.start,
            "channels": channels,
            "height": height,
            "width": width,
        }

    def vector_fields(self) -> Fields:
        """The fields of buffer_t, for kernels that run over all vectors as one row."""
        return {"offset": self.offset + self.start // self.lanes, "plane": self.plane, "row": 0}


class PlaneConvolution(Call):
    """The call of a convolution of stride 1 over planes."""

    name = "conv"

    def __init__(self, call: Convolution, x: Plane, y: Plane) -> None:
        self._call, self.x, self.y = call, x, y
        self.activation = call.activation
        x.before = call.before
        rows, columns = (
            (k - 1) * d - before for k, d, before in zip(call.kernel, call.dilation, call.before)
        )
        x.behind = rows, columns
        x.reader = y
        # how far the last output reads beyond the image
        over = [n_out - n_in + n for n_out, n_in, n in zip(y.shape[1:], x.shape[1:], x.behind)]
        x.rows.need(x.shape[2] + max(x.before[1], over[1]))
        self.reads_gaps = any(n > 0 for n in (*x.before, *over))

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of conv_t that its forward pass reads."""
        call, x, y = self._call, self.x, self.y
        (kh, kw), (top, left) = call.kernel, call.before
        u, v = (grid.ravel() for grid in np.indices((kh, kw)))
        taps = (u * call.dilation[0] - top) * x.rows.pitch + v * call.dilation[1] - left
        co, ci = call.connections.shape
        height = share_evenly(co, machine.column_height if y.n_vectors == 1 else machine.tile_height)
        forward = {
            "n_out": co,
            "height": height,
            "w_in": kh * kw,
            "w_out": ci * kh * kw,
            "n_passes": 1,
            "passes": tables.add((0, 1, y.n_vectors, 0, 1, machine.lanes)),
            "rows": tables.add((0, 0, 0, kh * kw)),
            "x_taps": tables.add(taps),
            "w_taps": tables.add(np.arange(kh * kw)),
            **reach_fields(tables, call.connections, height),
        }
        linear = {
            "x": x.vector_fields(),
            "y": y.vector_fields(),
            "dx": NOWHERE,
            "dy": NOWHERE,
            "weight": call.weight,
            "bias": call.bias,
            "groups": call.groups,
            "group_weights": co * ci * kh * kw,
            "ci": ci,
            "co": co,
            "ho": 1,
            "wo": y.n_vectors,
            "forward": forward,
            "backward": forward,
            "fast_forward": -1,
            "fast_backward": -1,
            **self.activation_fields(machine),
        }
        unread = "ci co ho kh kw x_row_step x_step kernel_rows n_patches patches weights strip connections"
        patches = {"x": NOWHERE, "dy": NOWHERE, **dict.fromkeys(unread.split(), 0)}
        return {"linear": linear, "patches": patches, "terms": NO_TERMS, "pool": NO_POOL}


class PlaneKernel(Call):
    """The call of a kernel that runs over all vectors of a plane, such as an activation."""

    def __init__(self, call: Call, x: Plane, y: Plane) -> None:
        self.name, self._call, self.x, self.y = call.name, call, x, y

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of the call that it replaces, with the planes' places and sizes."""
        fields = self._call.fields(machine, tables, scratch)
        ends = {"x": self.x, "y": self.y}
        places = {name: plane.vector_fields() for name, plane in ends.items() if name in fields}
        return {**fields, **places, "ho": 1, "wo": self.y.n_vectors}


class PlanePooling(Call):
    """The call of a pooling kernel over planes."""

    def __init__(self, call: Pooling, x: Plane, y: Plane) -> None:
        self.name, self._call, self.x, self.y = f"plane_{call.name}", call, x, y

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of plane_pool_t."""
        return {"x": self.x.fields(), "y": self.y.fields(), **self._call.window_fields()}


class ClearGaps(Call):
    """The call that sets to zero what lies between the rows of a plane."""

    name = "clear_gaps"

    def __init__(self, x: Plane) -> None:
        self.x = x

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of plane_t."""
        return self.x.fields()


class Spread(Call):
    """The call that turns a plane into a vector of one sample."""

    name = "spread"

    def __init__(self, x: Plane, y: Image) -> None:
        self.x, self.y = x, y

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of spread_t."""
        return {"x": self.x.fields(), "y": self.y.value.fields()}


def compile_for_pixels(
    machine: ModuleType, calls: list[Any], source: Image, output: Image, n_params: int
) -> Any:
    """Make the program of a network for single images.

    Parameters
    ----------
    machine : module
    calls : list of Call
        The network's forward calls, over samples; those that are kept are changed.
    source, output : Image
        Its input and output.
    n_params : int

    Returns
    -------
    program : Program or None
        None if the input is a vector, if the network branches, or if before the first vector a
        convolution has a stride or a call is none of those that run over planes.
    """
    if any(isinstance(call, Branch) for call in calls):
        return None
    plane = first = Plane(source.shape, Rows(), machine.lanes)
    # what only the way back needs is left out
    calls = [call for call in calls if not isinstance(call, Flattening)]
    lowered: list[Call] = []
    clear = True
    while calls and not _may_be_vector(calls[0].x, calls):
        call, x = calls.pop(0), plane
        plane = Plane(call.y.shape, Rows() if isinstance(call, Pooling) else x.rows, machine.lanes)
        if isinstance(call, Convolution):
            if call.stride != (1, 1):
                return None
            made: Any = PlaneConvolution(call, x, plane)
            if made.reads_gaps and not clear:
                lowered.append(ClearGaps(x))
        elif isinstance(call, Pooling):
            made = PlanePooling(call, x, plane)
        elif isinstance(call, (Activation, BatchNormalization, Rescaling)) and call.y.shape == x.shape:
            made = PlaneKernel(call, x, plane)
        else:
            return None
        lowered.append(made)
        clear = isinstance(call, Pooling)
    if plane is first:
        return None
    vector = Image((int(np.prod(plane.shape)), 1, 1), needs_gradient=False)
    lowered.append(Spread(plane, vector))
    # go on with the vector in the place of the image that it was made of
    old = _get_memory(calls[0].x if calls else output)
    for call in calls:
        call.x = vector if _get_memory(call.x) is old else call.x
    if _get_memory(output) is old:
        output = vector
    predicting_lanes = 0
    for call in lowered + calls:
        for end in (call.x, getattr(call, "y", call.x)):
            end = end if isinstance(end, Plane) else end.value
            if isinstance(end, FlatBuffer):
                assert end.fields()["offset"] >= 0, "a vector of what the program does not make"
            elif end.offset < 0:
                predicting_lanes = end.place(predicting_lanes)
    tables = Tables()
    fields = [(call.name, call.fields(machine, tables, 0)) for call in lowered + calls]
    return machine.Program(
        fields,
        tables.join(),
        vector.fields(),
        output.fields(),
        n_params,
        [],
        0,
        0,
        0,
        predicting_lanes,
        predicting_lanes,
        first.fields(),
    )


def _may_be_vector(image: Image, calls: list[Any]) -> bool:
    """Whether an image has one pixel, and no call reads beyond it."""
    padded = any(isinstance(call, Convolution) and call.x is image for call in calls)
    return image.shape[1:] == (1, 1) and not padded


def _get_memory(image: Image) -> Any:
    """The buffer that an image's value lies in."""
    return getattr(image.value, "base", image.value)
