"""The call of a convolution whose weights are not shared (see local.pxd)."""

from types import ModuleType

import numpy as np

from skconvnet._types import Array, Fields, Pair, Sides
from skconvnet.kernels.calls import NO_ACTIVATION, Call
from skconvnet.kernels.memory import Buffer, Image, Tables
from skconvnet.kernels.walk import reach_fields, share_evenly


class LocalConvolution(Call):
    """The call of a locally connected layer.

    kernel, stride: pairs; padding: ((top, bottom), (left, right)); weight, bias: places in the
    parameter vector, bias -1 for none.
    """

    name = "local"
    activation = NO_ACTIVATION

    def __init__(
        self, x: Image, y: Image, weight: int, bias: int, kernel: Pair, stride: Pair, padding: Sides
    ) -> None:
        self.x, self.y, self.weight, self.bias = x, y, weight, bias
        self.kernel, self.stride = kernel, stride
        self.before = padding[0][0], padding[1][0]

    def count_scratch(self, machine: ModuleType) -> int:
        """Lane vectors for a patch, transposed."""
        return -(-self._count_inputs() // machine.lanes) * machine.lanes

    def _count_inputs(self) -> int:
        """Numbers that an output reads."""
        return self.x.shape[0] * self.kernel[0] * self.kernel[1]

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of local_t."""
        (ci, hi, wi), (co, ho, wo), (kh, kw) = self.x.shape, self.y.shape, self.kernel
        n_inputs = self._count_inputs()
        # every link of a position (i, j) through kernel element (u, v) to a pixel (r, s) of the image
        i, j, u, v = (grid.ravel() for grid in np.indices((ho, wo, kh, kw)))
        r = i * self.stride[0] + u - self.before[0]
        s = j * self.stride[1] + v - self.before[1]
        inside = (r >= 0) & (r < hi) & (s >= 0) & (s < wi)
        i, j, u, v, r, s = (index[inside] for index in (i, j, u, v, r, s))
        w_taps = (i * wo + j) * n_inputs + u * kw + v
        strides = kh * kw, ho * wo * n_inputs

        def walk(
            target: Buffer,
            source: Buffer,
            target_index: tuple[Array, Array],
            source_index: tuple[Array, Array],
            w_in: int,
            w_out: int,
        ) -> Fields:
            # one pass of one column; every position of the target is a row with taps of its own
            (n_out, height, width), (n_in, *_) = target.shape, source.shape
            positions = target_index[0] * width + target_index[1]
            order = np.argsort(positions, kind="stable")
            n_taps = np.bincount(positions, minlength=height * width)
            row, column = np.divmod(np.arange(height * width), width)
            places = row * target.row + column
            rows = np.stack([places, np.zeros_like(places), np.cumsum(n_taps) - n_taps, n_taps], axis=1)
            x_taps = (source_index[0] * source.row + source_index[1]) * machine.lanes
            tile = share_evenly(n_out, machine.column_height)
            return {
                "n_out": n_out,
                "height": tile,
                "w_in": w_in,
                "w_out": w_out,
                "n_passes": 1,
                "passes": tables.add((0, len(rows), 1, 0, 1, machine.lanes)),
                "rows": tables.add(rows),
                "x_taps": tables.add(x_taps[order]),
                "w_taps": tables.add(w_taps[order]),
                **reach_fields(tables, np.ones((n_out, n_in), bool), tile),
            }

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
            "sh": self.stride[0],
            "sw": self.stride[1],
            "top": self.before[0],
            "left": self.before[1],
            "forward": walk(self.y.value, self.x.value, (i, j), (r, s), *strides),
            "backward": walk(self.x.gradient, self.y.gradient, (r, s), (i, j), *strides[::-1]),
            "scratch": scratch,
            **self.activation_fields(machine),
        }
