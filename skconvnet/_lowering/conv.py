"""The calls of convolutions and dense layers (conv.pxd, dense.pxd)."""

import math
from typing import TYPE_CHECKING

import numpy as np

from skconvnet._lowering import channel_weights
from skconvnet._lowering.calls import ELEMENT_WORK, NO_ACTIVATION, Call, Window
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._lowering.norm import BatchNormCall
from skconvnet._lowering.tiling import (
    WeightStrides,
    backward_phases,
    count_side_columns,
    cut_into_bands,
    forward_phases,
    output_tile_fields,
    schedule_fields,
    weight_tile_fields,
)
from skconvnet._lowering.winograd import WEIGHT_SUMS, WinogradPlan
from skconvnet._lowering.work import Work
from skconvnet._types import Array, Fields, Pair

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine


# The fields of stats_t, if there is no normalisation.
NO_NORM = {"channels": 0, "gamma": -1, "beta": -1, "running": -1, "epsilon": 0.0}


class LinearCall(Call):
    """A call whose output is linear in its input and in its weights, before the activation.

    weight, bias: offsets in the parameter vector, bias -1 for none.
    """

    activation: tuple[str, float] | None = NO_ACTIVATION
    groups = 1

    def __init__(self, x: Tensor, y: Tensor, weight: int, bias: int) -> None:
        self.x, self.y, self.weight, self.bias = x, y, weight, bias
        self._norm: Fields | None = None

    def fold(self, norm: BatchNormCall) -> bool:
        """Do the work of the batch normalisation of y as well, if nothing comes between."""
        if self._norm is not None or self.activation != NO_ACTIVATION:
            return False
        self._norm = norm.stats_fields()
        return True

    def count_affine(self, engine: "Engine") -> int:
        """Return the number of scratch vectors for scale and shift of every channel."""
        return -(-2 * self.y.shape[0] // engine.lanes) if self._norm else 0

    def _count_own_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors without those for scale and shift, which come next."""
        return 0

    def count_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors that the kernel needs."""
        return self._count_own_scratch(engine) + self.count_affine(engine)

    def linear_fields(self, tables: ProgramTables, ci: int, n_weights: int, tiles: Fields) -> Fields:
        """The fields of linear_t; ci, n_weights: inputs and weights of a group; tiles: of y."""
        co, ho, wo = self.y.shape
        return {
            "x": self.x.value.fields(),
            "y": self.y.value.fields(),
            "weight": self.weight,
            "bias": self.bias,
            "groups": self.groups,
            "group_weights": n_weights,
            "ci": ci,
            "co": co // self.groups,
            "ho": ho,
            "wo": wo,
            "tiles": tiles,
            **self.activation_fields(tables.engine),
            "norm": self._norm or NO_NORM,
            "affine": tables.scratch + self._count_own_scratch(tables.engine),
        }

    def _divide_by_tiles(self, tiles: Fields) -> Work:
        """The work of output tiles, which has the multiply-adds of a forward pass."""
        n_units = self.groups * tiles["n_tiles"]
        return Work(self.count_multiply_adds() / n_units, n_units)

    def _receive_work(self) -> Work:
        """The work of backpropagation through the activation."""
        channels, height, width = self.y.shape
        return Work(ELEMENT_WORK * height * width, channels)

    def gradient_fields(self, tiles: Fields) -> Fields:
        """The fields of gradients_t; tiles: of dx."""
        return {"dx": self.x.gradient.fields(), "dy": self.y.gradient.fields(), "tiles": tiles}


class ConvCall(LinearCall):
    """The call of a convolution.

    connections: bool array (filters, channels) of one group; the number of groups is that of the channels
    of x over these channels.
    """

    name = "conv"

    def __init__(
        self, x: Tensor, y: Tensor, weight: int, bias: int, window: Window, connections: Array
    ) -> None:
        super().__init__(x, y, weight, bias)
        self.window, self.connections = window, connections
        self.groups = x.shape[0] // connections.shape[1]
        self._pool: Call | None = None
        axes = list(zip(window.kernel, window.stride, window.dilation, window.before))
        rows, columns = (forward_phases(n, *axis) for n, axis in zip(y.shape[1:], axes))
        x.value.need(*count_side_columns(columns, x.shape[2]))
        (self._rows,), (self._columns,) = rows, columns
        self._forward = rows, cut_into_bands(self._columns, x.shape[2])
        rows, columns = (backward_phases(n, *axis) for n, axis in zip(x.shape[1:], axes))
        bands = [band for phase in columns for band in cut_into_bands(phase, y.shape[2])]
        self._backward = rows, bands
        if x.needs_gradient:
            y.gradient.need(*count_side_columns(bands, y.shape[2]))
        self._plan_winograd()

    def _plan_winograd(self) -> None:
        """Plan Winograd's algorithm for forward pass, input gradient and weight gradient, where it pays."""
        x, y, window = self.x, self.y, self.window
        self._winograd: dict[str, WinogradPlan] = {}
        if self.connections.all() and self.groups == 1 and window.stride == window.dilation == (1, 1):
            plans = {"forward": WinogradPlan(window, x, y, flip=False)}
            if x.needs_gradient:
                plans["backward"] = WinogradPlan(window, y, x, flip=True)
            self._winograd = {side: plan for side, plan in plans.items() if plan.pays()}
        forward = self._winograd.get("forward")
        if forward and forward.nested:
            forward = WinogradPlan(window, x, y, flip=False, nests=False)
        self._winograd_weights = forward
        for side, buffer in (("forward", x.value), ("backward", y.gradient)):
            if side in self._winograd:
                buffer.need(*self._winograd[side].count_side_columns())

    def count_multiply_adds(self) -> int:
        """Return those of the forward pass for a sample, with all taps."""
        _, ho, wo = self.y.shape
        return self.groups * ho * wo * int(self.connections.sum()) * math.prod(self.window.kernel)

    def fuse_pool(self, pool: Call) -> None:
        """Run the backward pass of the maximum pooling that follows, too."""
        self.name, self._pool = "pooled_conv", pool

    def _count_own_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors, for transforms and sums of Winograd's algorithm."""
        counts = [plan.count_scratch(engine) for plan in self._winograd.values()]
        if plan := self._find_weight_plan(engine):
            counts.append(plan.count_scratch(engine) + plan.count_weight_scratch(engine))
        if self._sums_weights_by_channels(engine):
            counts.append(channel_weights.count_scratch(self.x.value, self._n_taps, engine))
        return max(counts, default=0)

    def count_shared(self, engine: "Engine") -> int:
        """Return the number of vectors of memory that the threads that share a block use together."""
        plan = self._find_weight_plan(engine)
        return plan.count_shared(engine) if plan else 0

    @property
    def _n_taps(self) -> int:
        return self.window.kernel[0] * self.window.kernel[1]

    def _find_weight_plan(self, engine: "Engine") -> WinogradPlan | None:
        """Return the plan by which the gradient to the weight uses Winograd's algorithm, or None."""
        plan = self._winograd_weights
        return plan if plan and self.y.needs_gradient and plan.pays_for_weights(engine) else None

    def _sums_weights_by_channels(self, engine: "Engine") -> bool:
        """Whether the lanes of the gradient to the weight are channels, without Winograd's algorithm."""
        return (
            self.y.needs_gradient
            and self.groups == 1
            and bool(self.connections.all())
            and channel_weights.pays(self.x.shape[0], self.y.shape[1:], engine)
            and not self._find_weight_plan(engine)
        )

    def _weight_fields(self, tables: ProgramTables, forward: int) -> Fields:
        """The fields of conv_t for the gradient to the weight; forward: index of the forward pass's plan."""
        ci, (kh, kw) = self.connections.shape[1], self.window.kernel
        x, dy = self.x.value, self.y.gradient
        strides = WeightStrides(kw, kh * kw, ci * kh * kw)
        fields = {
            "weight_tiles": weight_tile_fields(
                tables, self._rows, self._columns, (kh, kw), x, dy, strides, self.connections
            ),
            "channel_weights": channel_weights.channel_weight_fields(
                tables, self._rows, self._columns, x, self.y.shape
            ),
            "winograd_weights": dict.fromkeys(WEIGHT_SUMS, -1),
        }
        if plan := self._find_weight_plan(tables.engine):
            if plan is not self._winograd["forward"]:
                forward = plan.add_to(tables, self.weight, (kh * kw, ci * kh * kw), transforms=False)
            fields["winograd_weights"] = plan.weight_fields(tables, forward)
        if not self._sums_weights_by_channels(tables.engine):
            fields["channel_weights"]["x_lanes"] = -1
        return fields

    def add_winograd(self, tables: ProgramTables, side: str, single_image: bool = False) -> int:
        """Add the Winograd plan of a side, forward or backward, and return its index; -1 if there is none.

        single_image: whether lanes are neighbouring pixels instead of samples.
        """
        if side not in self._winograd:
            return -1
        kh, kw = self.window.kernel
        strides = kh * kw, self.x.shape[0] * kh * kw
        if side == "backward":
            strides = strides[::-1]
        return self._winograd[side].add_to(tables, self.weight, strides, single_image)

    def count_plane_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors in the program for a single image."""
        forward = self._winograd.get("forward")
        return forward.count_scratch(engine, single_image=True) if forward else 0

    def count_winograd_columns(self) -> Pair:
        """Return the columns that Winograd's algorithm reads left and right of x."""
        forward = self._winograd.get("forward")
        return forward.count_side_columns() if forward else (0, 0)

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        conv = fields["conv"] if self._pool else fields
        plain = self._divide_by_tiles(conv["linear"]["tiles"])
        forward = self._winograd_work(engine, "forward") or plain
        if not self.y.needs_gradient:
            return [[forward]]
        *transforms, weights = self._weight_work(engine, conv)
        backward = [weights]
        if self.x.needs_gradient:
            plain = self._divide_by_tiles(conv["gradients"]["tiles"])
            backward.append(self._winograd_work(engine, "backward") or plain)
        return [[forward], [self._receive_work(), *transforms], backward]

    def _winograd_work(self, engine: "Engine", side: str) -> Work | None:
        """The work of a side that uses Winograd's algorithm."""
        return self._winograd[side].estimate_work(engine) if side in self._winograd else None

    def _weight_work(self, engine: "Engine", conv: Fields) -> list[Work]:
        """The work of the gradient to the weight."""
        n_filters, total = self.y.shape[0], self.count_multiply_adds()
        if plan := self._find_weight_plan(engine):
            return plan.estimate_weight_work(engine)
        if self._sums_weights_by_channels(engine):
            setup = channel_weights.TRANSPOSE_WORK * self.x.value.size
            return [Work(total / n_filters, n_filters, n_filters, setup)]
        n_units = self.groups * conv["weight_tiles"]["n_tiles"]
        return [Work(total / n_units, n_units)]

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of conv_t, or of pooled_conv_t."""
        (co, ci), (kh, kw) = self.connections.shape, self.window.kernel
        x, y = self.x, self.y
        forward = output_tile_fields(
            tables,
            *self._forward,
            x.value,
            y.value,
            WeightStrides(kw, kh * kw, ci * kh * kw),
            self.connections,
        )
        backward = output_tile_fields(
            tables,
            *self._backward,
            y.gradient,
            x.gradient,
            WeightStrides(kw, ci * kh * kw, kh * kw),
            self.connections.T,
        )
        plan = self.add_winograd(tables, "forward")
        fields = {
            "linear": self.linear_fields(tables, ci, co * ci * kh * kw, forward),
            "gradients": self.gradient_fields(backward),
            **self._weight_fields(tables, plan),
            "winograd_forward": plan,
            "winograd_backward": self.add_winograd(tables, "backward"),
        }
        return {"conv": fields, "pool": self._pool.fields(tables)} if self._pool else fields


class TransposedConvCall(LinearCall):
    """The call of the transpose of a convolution, from y to x, whose window this is.

    Its forward pass is the gradient to the input of that convolution, and the other way round. A group has
    n_inputs channels of x.
    """

    name = "transposed_conv"
    activation = None  # neighbouring outputs of a tile are a stride apart

    def __init__(self, x: Tensor, y: Tensor, weight: int, bias: int, window: Window, n_inputs: int) -> None:
        super().__init__(x, y, weight, bias)
        self.window, self.groups = window, x.shape[0] // n_inputs
        self.connections = np.ones((n_inputs, y.shape[0] // self.groups), bool)
        axes = list(zip(window.kernel, window.stride, window.dilation, window.before))
        rows, columns = (forward_phases(n, *axis) for n, axis in zip(x.shape[1:], axes))
        y.gradient.need(*count_side_columns(columns, y.shape[2]))
        (self._rows,), (self._columns,) = rows, columns
        self._gradient = rows, cut_into_bands(self._columns, y.shape[2])
        rows, columns = (backward_phases(n, *axis) for n, axis in zip(y.shape[1:], axes))
        bands = [band for phase in columns for band in cut_into_bands(phase, x.shape[2])]
        x.value.need(*count_side_columns(bands, x.shape[2]))
        self._forward = rows, bands

    def count_multiply_adds(self) -> int:
        """Return those of the forward pass for a sample, with all taps."""
        _, height, width = self.x.shape
        return self.groups * height * width * self.connections.size * math.prod(self.window.kernel)

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        n_tiles = self.groups * fields["weight_tiles"]["n_tiles"]
        weights = Work(self.count_multiply_adds() / n_tiles, n_tiles)
        backward = [self._receive_work(), weights, self._divide_by_tiles(fields["gradients"]["tiles"])]
        return [[self._divide_by_tiles(fields["linear"]["tiles"])], backward]

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of transposed_conv_t."""
        (ci, co), (kh, kw) = self.connections.shape, self.window.kernel
        x, y, table = self.x, self.y, self.connections
        inward, outward = WeightStrides(kw, kh * kw, co * kh * kw), WeightStrides(kw, co * kh * kw, kh * kw)
        forward = output_tile_fields(tables, *self._forward, x.value, y.value, outward, table.T)
        backward = output_tile_fields(tables, *self._gradient, y.gradient, x.gradient, inward, table)
        return {
            "linear": self.linear_fields(tables, ci, ci * co * kh * kw, forward),
            "gradients": self.gradient_fields(backward),
            "weight_tiles": weight_tile_fields(
                tables, self._rows, self._columns, (kh, kw), y.gradient, x.value, inward, table
            ),
        }


class DenseCall(LinearCall):
    """The call of a dense layer on a flattened tensor: every output is one sum over all of it."""

    name = "dense"

    def _count_own_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors, for the input, transposed."""
        return -(-self.x.shape[0] // engine.lanes) * engine.lanes

    def count_multiply_adds(self) -> int:
        """Return those of the forward pass for a sample, with all taps."""
        return self.x.shape[0] * self.y.shape[0]

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        tasks = [[self._divide_by_tiles(fields["linear"]["tiles"])]]
        if self.y.needs_gradient:
            n_vectors = -(-self.x.shape[0] // engine.lanes)
            weights = Work(self.count_multiply_adds() / n_vectors, n_vectors)
            tasks += [[self._receive_work()], [weights]]
        if self.x.needs_gradient:
            tasks[-1].append(self._divide_by_tiles(fields["gradients"]["tiles"]))
        return tasks

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of dense_t."""
        ci, co = self.x.shape[0], self.y.shape[0]
        engine = tables.engine

        def tile(n_out: int, n_in: int, source_step: int, weight_in: int, weight_out: int) -> Fields:
            # one pass over one row and one column; the inputs are taps of one channel
            taps, passes = np.arange(n_in), [(0, 1, 1, 0, 1, engine.lanes)]
            return {
                "w_in": 0,
                "w_out": weight_out,
                "rows": tables.add((0, 0, 0, n_in)),
                "x_taps": tables.add(taps * source_step * engine.lanes),
                "w_taps": tables.add(taps * weight_in),
                **schedule_fields(tables, passes, np.ones((n_out, 1), bool), engine.column_height),
            }

        return {
            "linear": self.linear_fields(tables, ci, co * ci, tile(co, ci, 1, 1, ci)),
            "gradients": self.gradient_fields(tile(ci, co, self.y.gradient.plane, ci, 1)),
            "scratch": tables.scratch,
        }
