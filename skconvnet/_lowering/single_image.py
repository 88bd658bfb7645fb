"""The program of a network for a single image, whose lanes are neighbouring pixels (single_image.pxd)."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skconvnet._lowering.branches import MergeCall, SplitCall
from skconvnet._lowering.calls import ActivationCall, Call, CopyCall, FlattenCall, RescalingCall
from skconvnet._lowering.conv import ConvCall
from skconvnet._lowering.memory import Buffer, FlatBuffer, ProgramTables, Tensor, check_size
from skconvnet._lowering.norm import BatchNormCall
from skconvnet._lowering.pool import PoolCall
from skconvnet._lowering.tiling import divide_evenly, schedule_fields
from skconvnet._types import Fields, Pair, Shape

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine, Program


class RowPitch:
    """The distance of rows in planes that are computed from each other without moving pixels."""

    def __init__(self) -> None:
        self._pitch = 1
        self._same: RowPitch | None = None  # the one that it has become equal to

    @property
    def pitch(self) -> int:
        return self._same.pitch if self._same else self._pitch

    def need(self, pitch: int) -> None:
        """Require at least this distance."""
        if self._same:
            self._same.need(pitch)
        else:
            self._pitch = max(self._pitch, pitch)

    def unite(self, other: "RowPitch") -> None:
        """Make this distance and another one equal, from now on."""
        if self._same:
            self._same.unite(other)
        elif other._same:
            self.unite(other._same)
        elif self is not other:
            other.need(self._pitch)
            self._same = other


class Plane:
    """A (channels, height, width) image in an arena, its rows `rows.pitch` elements apart."""

    def __init__(self, shape: Shape, rows: RowPitch, lanes: int) -> None:
        self.shape, self.rows, self.lanes = shape, rows, lanes
        self.before = self.after = 0, 0  # rows and columns that convolutions read around it
        self.readers: list[Plane] = []  # the planes that these convolutions write
        self.clear = False  # whether there are zeros between its rows
        self.offset = -1
        rows.need(shape[2])

    @property
    def n_vectors(self) -> int:
        """Vectors from the first pixel to the last."""
        return -(-((self.shape[1] - 1) * self.rows.pitch + self.shape[2]) // self.lanes)

    @property
    def start(self) -> int:
        """Elements before the first pixel: whole vectors of zeros."""
        rows, columns = self.before
        return -(-(rows * self.rows.pitch + columns) // self.lanes) * self.lanes

    @property
    def plane(self) -> int:
        """Vectors of a channel."""
        rows, columns = self.after
        after = -(-(rows * self.rows.pitch + columns) // self.lanes)
        n_read = max((reader.n_vectors for reader in self.readers), default=0)
        return self.start // self.lanes + max(self.n_vectors, n_read) + after + 2

    def add_reader(self, before: Pair, after: Pair, reader: "Plane") -> None:
        """Note that a convolution reads these rows and columns around it, and writes the reader."""
        (up, left), (down, right) = self.before, self.after
        self.before = max(up, before[0]), max(left, before[1])
        self.after = max(down, after[0]), max(right, after[1])
        self.readers.append(reader)

    def allocate(self, offset: int) -> int:
        """Set the plane's offset and return the offset after it."""
        self.offset = offset
        return offset + self.shape[0] * self.plane

    def fields(self) -> Fields:
        """The fields of plane_t."""
        channels, height, width = self.shape
        return {
            "buffer": {"offset": self.offset, "plane": self.plane, "row": self.rows.pitch},
            "start": self.start,
            "channels": channels,
            "height": height,
            "width": width,
        }

    def vector_fields(self) -> Fields:
        """The fields of buffer_t, for kernels that run over vectors; rows are elements apart."""
        return {"offset": self.offset + self.start // self.lanes, "plane": self.plane, "row": self.rows.pitch}


class PlaneConvCall(Call):
    """The call of a convolution of stride 1 over planes."""

    name = "plane_conv"

    def __init__(self, call: ConvCall, x: Plane, y: Plane) -> None:
        self._call, self.x, self.y = call, x, y
        self.activation = call.activation
        window = call.window
        before = window.before
        rows, columns = ((k - 1) * d - n for k, d, n in zip(window.kernel, window.dilation, before))
        x.add_reader(before, (rows, columns), y)
        # how far the last output reads beyond the image
        over = [n_out - n_in + n for n_out, n_in, n in zip(y.shape[1:], x.shape[1:], (rows, columns))]
        over[1] = max(over[1], call.count_winograd_columns()[1])
        x.rows.need(x.shape[2] + max(before[1], over[1]))
        self.reads_gaps = any(n > 0 for n in (*before, *over))

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of plane_conv_t."""
        call, x, y, engine = self._call, self.x, self.y, tables.engine
        (kh, kw), (top, left), dilation = call.window.kernel, call.window.before, call.window.dilation
        u, v = (grid.ravel() for grid in np.indices((kh, kw)))
        taps = (u * dilation[0] - top) * x.rows.pitch + v * dilation[1] - left
        co, ci = call.connections.shape
        height = divide_evenly(co, engine.column_height if y.n_vectors == 1 else engine.tile_height)
        passes = [(0, 1, y.n_vectors, 0, 1, engine.lanes)]
        tiles = {
            "w_in": kh * kw,
            "w_out": ci * kh * kw,
            "rows": tables.add((0, 0, 0, kh * kw)),
            "x_taps": tables.add(taps),
            "w_taps": tables.add(np.arange(kh * kw)),
            **schedule_fields(tables, passes, call.connections, height),
        }
        ends = {"x": x.vector_fields(), "y": y.vector_fields(), "ho": 1, "wo": y.n_vectors}
        ends["affine"] = tables.scratch + call.count_plane_scratch(engine)
        return {
            "linear": {**call.linear_fields(tables, ci, co * ci * kh * kw, tiles), **ends},
            "winograd_forward": call.add_winograd(tables, "forward", single_image=True),
        }

    def count_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors, for transforms and sums of Winograd's algorithm."""
        return self._call.count_plane_scratch(engine) + self._call.count_affine(engine)


class PlaneMapCall(Call):
    """The call of a kernel that runs over all vectors of a plane, such as an activation.

    channel: of y, where it writes the first one of x.
    """

    channel = 0

    def __init__(self, call: Call, x: Plane, y: Plane) -> None:
        self.name, self._call, self.x, self.y = call.name, call, x, y

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of the call that it replaces, with the planes' offsets and sizes."""
        y = self.y.vector_fields()
        y["offset"] += self.channel * y["plane"]
        ends = {"x": self.x.vector_fields(), "y": y, "ho": 1, "wo": self.y.n_vectors}
        return {**self._call.fields(tables), **ends}


class PlaneMergeCall(PlaneMapCall):
    """The call that merges two planes."""

    def __init__(self, call: MergeCall, x: Plane, z: Plane, y: Plane) -> None:
        super().__init__(call, x, y)
        self.z = z

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of merge_t."""
        return {**super().fields(tables), "z": self.z.vector_fields()}


class PlanePoolCall(Call):
    """The call of a pooling kernel over planes."""

    def __init__(self, call: PoolCall, x: Plane, y: Plane) -> None:
        self.name = "plane_avg_pool" if call.name == "avg_pool" else "plane_max_pool"
        self._call, self.x, self.y = call, x, y

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of plane_pool_t."""
        return {"x": self.x.fields(), "y": self.y.fields(), **self._call.window_fields()}


class ClearGapsCall(Call):
    """The call that sets to zero what lies between the rows of a plane."""

    name = "clear_gaps"

    def __init__(self, x: Plane) -> None:
        self.x = x

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of plane_t."""
        return self.x.fields()


class ScatterCall(Call):
    """The call that turns a plane into a vector of one sample."""

    name = "scatter_plane"

    def __init__(self, x: Plane, y: Tensor) -> None:
        self.x, self.y = x, y

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of scatter_t."""
        return {"x": self.x.fields(), "y": self.y.value.fields()}


def compile_single_image(
    engine: "Engine", calls: list[Any], source: Tensor, output: Tensor, n_params: int
) -> "Program | None":
    """Make the program of a network for single images.

    Parameters
    ----------
    engine : module
    calls : list of Call
        The network's forward calls, over samples; those that stay are changed.
    source, output : Tensor
        Its input and output.
    n_params : int

    Returns
    -------
    program : Program or None
        None if the input is a vector, or if before the first vector a convolution has a stride or a call is
        none of those that run over planes, or if a call after it needs more of a plane than a vector.
    """
    first = Plane(source.shape, RowPitch(), engine.lanes)
    first.clear = True
    planes = {source.value: first}  # by the buffers that they replace
    # these have nothing to do in prediction
    calls = [call for call in calls if not isinstance(call, (FlattenCall, SplitCall))]
    work = sum(call.count_work() for call in calls) / engine.lanes
    lowered: list[Any] = []
    while calls and not _is_vector(calls[0].x, calls):
        call = calls.pop(0)
        x = planes[call.x.value]
        if isinstance(call, CopyCall):  # planes need no copies
            planes[call.y.value] = x
            continue
        rows = RowPitch() if isinstance(call, PoolCall) else x.rows
        y = planes.setdefault(call.y.value, Plane(call.y.shape, rows, engine.lanes))
        made = _lower_over_planes(call, x, y, planes)
        if made is None:
            return None
        if isinstance(made, PlaneConvCall) and made.reads_gaps and not x.clear:
            lowered.append(ClearGapsCall(x))
            x.clear = True
        lowered.append(made)
    if not lowered:
        return None
    # the other calls read vectors instead of the tensors that planes replace
    vectors: dict[Plane, Tensor] = {}
    for call in calls:
        if isinstance(call, CopyCall) and call.x.value in planes:
            planes[call.y.value] = planes[call.x.value]
            continue
        for name in ("x", "z"):
            tensor = getattr(call, name, None)
            if tensor is not None and tensor.value.memory in planes:
                if tensor.shape[1:] != (1, 1):
                    return None
                setattr(call, name, _scatter(planes[tensor.value.memory], vectors, lowered))
    calls = [call for call in calls if not (isinstance(call, CopyCall) and call.x.value in planes)]
    if output.value.memory in planes:
        output = _scatter(planes[output.value.memory], vectors, lowered)
    prediction_vectors = 0
    for call in lowered + calls:
        for end in (call.x, getattr(call, "z", call.x), getattr(call, "y", call.x)):
            end = end if isinstance(end, Plane) else end.value
            if isinstance(end, FlatBuffer):
                assert end.fields()["offset"] >= 0, "the program does not compute this vector"
            elif end.offset < 0:
                prediction_vectors = end.allocate(prediction_vectors)
    check_size(prediction_vectors)
    tables = ProgramTables(engine, prediction_vectors)
    fields = [(call.name, call.fields(tables)) for call in lowered + calls]
    sizes = {
        "n_params": n_params,
        "n_transformed_weights": tables.n_transformed_weights,
        "n_moments": 0,
        "persistent_vectors": 0,
        "prediction_vectors": prediction_vectors,
        "training_vectors": prediction_vectors,
        "scratch_vectors": max(call.count_scratch(engine) for call in lowered + calls),
        "work": work,
    }
    return engine.Program(
        fields,
        tables.winograd_plans,
        tables.join(),
        source.fields(),
        output.fields(),
        sizes,
        first.fields(),
    )


def _lower_over_planes(call: Any, x: Plane, y: Plane, planes: dict[Buffer, Plane]) -> Any:
    """Return the call over planes that replaces a call, or None if there is none."""
    if isinstance(call, ConvCall):
        return PlaneConvCall(call, x, y) if call.window.stride == (1, 1) else None
    if isinstance(call, PoolCall):
        y.clear = True
        return PlanePoolCall(call, x, y)
    if isinstance(call, MergeCall) and call.z.shape == call.x.shape:
        z = planes[call.z.value]
        x.rows.unite(z.rows)
        return PlaneMergeCall(call, x, z, y)
    if isinstance(call, (ActivationCall, BatchNormCall)):
        return PlaneMapCall(call, x, y)
    if isinstance(call, RescalingCall) and call.x.shape[1:] == call.y.shape[1:]:
        x.rows.unite(y.rows)  # of which x may be a part
        made = PlaneMapCall(call, x, y)
        made.channel = call.corner[0]
        return made
    return None


def _scatter(plane: Plane, vectors: dict[Plane, Tensor], lowered: list[Any]) -> Tensor:
    """Return a plane as a vector of one sample, after adding the call that makes it if there is none yet."""
    if plane not in vectors:
        vectors[plane] = Tensor((math.prod(plane.shape), 1, 1), needs_gradient=False)
        lowered.append(ScatterCall(plane, vectors[plane]))
    return vectors[plane]


def _is_vector(tensor: Tensor, calls: list[Any]) -> bool:
    """Whether a tensor has one pixel, and no call reads beyond it."""
    padded = any(isinstance(call, ConvCall) and call.x is tensor for call in calls)
    return tensor.shape[1:] == (1, 1) and not padded
