"""The call of a convolution whose weights are not shared (local.pxd)."""

import math
from typing import TYPE_CHECKING

import numpy as np

from skconvnet._lowering.calls import ELEMENT_WORK, NO_ACTIVATION, Call, Window
from skconvnet._lowering.memory import Buffer, ProgramTables, Tensor
from skconvnet._lowering.tiling import divide_evenly, schedule_fields
from skconvnet._lowering.work import Work
from skconvnet._types import Array, Fields, Pair

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine


class LocallyConnectedCall(Call):
    """The call of a locally connected layer; weight, bias: offsets in the parameters, bias -1 for none."""

    name = "local"
    activation = NO_ACTIVATION

    def __init__(self, x: Tensor, y: Tensor, weight: int, bias: int, window: Window) -> None:
        self.x, self.y, self.weight, self.bias, self.window = x, y, weight, bias, window

    def count_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors, for a patch, transposed."""
        return -(-self._count_inputs() // engine.lanes) * engine.lanes

    def count_multiply_adds(self) -> int:
        """Return those of the forward pass for a sample, with all taps."""
        return math.prod(self.y.shape) * self._count_inputs()

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        channels, height, width = self.y.shape
        work = Work(self.count_multiply_adds() / (height * width), height * width)
        return [[work], [Work(ELEMENT_WORK * width, channels * height)], [work, work]]

    def _count_inputs(self) -> int:
        """Return how many elements an output reads."""
        return self.x.shape[0] * self.window.kernel[0] * self.window.kernel[1]

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of local_t."""
        (ci, hi, wi), (co, ho, wo), (kh, kw) = self.x.shape, self.y.shape, self.window.kernel
        (sh, sw), (top, left) = self.window.stride, self.window.before
        n_inputs = self._count_inputs()
        # every link of a position (i, j) through kernel element (u, v) to a pixel (r, s) of the image
        i, j, u, v = (grid.ravel() for grid in np.indices((ho, wo, kh, kw)))
        r = i * sh + u - top
        s = j * sw + v - left
        inside = (r >= 0) & (r < hi) & (s >= 0) & (s < wi)
        i, j, u, v, r, s = (index[inside] for index in (i, j, u, v, r, s))
        w_taps = (i * wo + j) * n_inputs + u * kw + v

        def tile(
            target: Buffer,
            source: Buffer,
            target_index: tuple[Array, Array],
            source_index: tuple[Array, Array],
            strides: Pair,
        ) -> Fields:
            # one pass of one column; every position of the target is a row with taps of its own
            (n_out, height, width), (n_in, *_) = target.shape, source.shape
            positions = target_index[0] * width + target_index[1]
            order = np.argsort(positions, kind="stable")
            n_taps = np.bincount(positions, minlength=height * width)
            row, column = np.divmod(np.arange(height * width), width)
            offsets = row * target.row + column
            rows = np.stack([offsets, np.zeros_like(offsets), np.cumsum(n_taps) - n_taps, n_taps], axis=1)
            x_taps = (source_index[0] * source.row + source_index[1]) * tables.engine.lanes
            tile_height = divide_evenly(n_out, tables.engine.column_height)
            passes = [(0, len(rows), 1, 0, 1, tables.engine.lanes)]
            return {
                "w_in": strides[0],
                "w_out": strides[1],
                "rows": tables.add(rows),
                "x_taps": tables.add(x_taps[order]),
                "w_taps": tables.add(w_taps[order]),
                **schedule_fields(tables, passes, np.ones((n_out, n_in), bool), tile_height, (len(rows), 1)),
            }

        strides = kh * kw, ho * wo * n_inputs
        return {
            **self.end_fields(),
            "weight": self.weight,
            "bias": self.bias,
            "ci": ci,
            "hi": hi,
            "wi": wi,
            "co": co,
            "ho": ho,
            "wo": wo,
            "kh": kh,
            "kw": kw,
            "sh": sh,
            "sw": sw,
            "top": top,
            "left": left,
            "forward": tile(self.y.value, self.x.value, (i, j), (r, s), strides),
            "backward": tile(self.x.gradient, self.y.gradient, (r, s), (i, j), strides[::-1]),
            "scratch": tables.scratch,
            **self.activation_fields(tables.engine),
        }
