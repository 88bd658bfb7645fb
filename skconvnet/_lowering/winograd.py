"""The plans of convolutions by Winograd's algorithm (winograd.pxd)."""

from typing import TYPE_CHECKING

import numpy as np

from skconvnet._lowering.memory import Buffer, ProgramTables, Tensor
from skconvnet._lowering.tiling import Phase, WeightStrides, output_tile_fields, weight_tile_fields
from skconvnet._types import Fields, Pair

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine

# It pays for sums over at least 48 channels and kernel rows, and for at least 8 output channels.
LEAST_SUM, LEAST_TARGETS = 48, 8

# The gradient to a kernel row of this length sums over a sample's outputs. For at least these numbers of
# outputs, and of columns, its rounding errors are as small, relative to it, as those of plain sums, even in
# a batch of one.
LEAST_OUTPUTS = {3: (48, 4), 5: (128, 8)}


class WinogradPlan:
    """How a convolution, or the gradient to its input, uses Winograd's algorithm: see winograd.pxd.

    kernel: pair; source, target: tensors, of which the gradients count if flip, which also says that kernel
    columns run backwards; before: columns of the source left of the first output's first tap.
    """

    def __init__(self, kernel: Pair, source: Tensor, target: Tensor, before: int, flip: bool) -> None:
        self.kernel, self.before, self.flip = kernel, before, flip
        self.source, self.target = source.shape, target.shape
        self._buffer = target.gradient if flip else target.value
        self.n_outputs = 7 - kernel[1]
        self.tiles = self.target[2] // self.n_outputs if self.n_outputs > 0 else 0

    def pays(self) -> bool:
        """Whether it is possible, as exact as plain sums, and faster.

        Adjacent outputs share intermediate sums and so rounding errors. An output with few taps inside the
        source is much smaller than its neighbours, so more than half of the taps have to be inside, at both
        ends of a row.
        """
        kw = self.kernel[1]
        after = self.target[2] - 1 + kw - self.source[2] - self.before
        return (
            kw in (3, 5)
            and self.target[2] % self.n_outputs == 0
            and max(self.before, after) <= kw // 2
            and self.source[0] * self.kernel[0] >= LEAST_SUM
            and self.target[0] >= LEAST_TARGETS
        )

    def is_exact_for_weights(self) -> bool:
        """Whether the gradient to the weight is as exact by Winograd's algorithm as by plain sums."""
        (_, height, width), (kh, kw) = self.target, self.kernel
        outputs, columns = LEAST_OUTPUTS[kw]
        return (height - kh // 2) * width >= outputs and width >= columns

    def count_side_columns(self) -> Pair:
        """Return the columns that it reads left and right of the source."""
        last = self.target[2] - self.n_outputs + 5 - self.before
        return max(self.before, 0), max(last - (self.source[2] - 1), 0)

    def count_scratch(self) -> int:
        """Return the number of vectors for one term of the transformed source."""
        return self.source[0] * self.source[1] * self.tiles

    def allocate_terms(self, engine: "Engine", start: int) -> tuple[Buffer, Buffer, int, int]:
        """Return the memory for the gradient to the weight: of B x, A' dy, the sums; and its end."""
        term = Buffer((*self.source[:2], self.tiles))
        gradient = Buffer((*self.target[:2], self.tiles))
        sums = gradient.allocate(term.allocate(start))
        return term, gradient, sums, sums + 6 * self.count_sums(engine)

    def count_sums(self, engine: "Engine") -> int:
        """Return the number of vectors for the sums of one term, at most: every tile begins a new one."""
        (channels, *_), (filters, *_), kh = self.source, self.target, self.kernel[0]
        largest = engine.tile_height, engine.tile_width, engine.kernel_rows
        n_tiles = np.prod([-(-n // most) for n, most in zip((filters, channels, kh), largest)])
        return filters * channels * kh // engine.lanes + int(n_tiles)

    def weight_fields(self, tables: ProgramTables, rows: Phase) -> tuple[Fields, Fields]:
        """Return the fields of weight_tiles_t, and those of conv_t for the sums; rows: the forward phase."""
        term, gradient, sums, _ = self.allocate_terms(tables.engine, tables.scratch)
        column = Phase(0, 1, 1, self.tiles, [(0, 0)])
        connectivity = np.ones((self.target[0], self.source[0]), bool)
        kernel = self.kernel[0], 1
        tiles = weight_tile_fields(tables, rows, column, kernel, term, gradient, connectivity)
        return tiles, {"winograd_sums": sums, "winograd_stride": self.count_sums(tables.engine)}

    def add_to(self, tables: ProgramTables, weight: int, rows: list[Phase], strides: Pair) -> int:
        """Add the plan to a program and return its index.

        weight: offset in the parameter vector; rows: the phases; strides: from input to input and from output
        to output channel there.
        """
        (channels, n_rows, _), (kh, kw) = self.source, self.kernel
        term = Buffer((channels, n_rows, self.tiles))
        column = Phase(0, self.n_outputs, 1, self.tiles, [(0, 0)])
        connectivity = np.ones((self.target[0], channels), bool)
        tiles = output_tile_fields(
            tables, rows, [column], term, self._buffer, WeightStrides(1, kh, channels * kh), connectivity
        )
        fields = {
            "n_outputs": self.n_outputs,
            "before": self.before,
            "channels": channels,
            "rows": n_rows,
            "tiles": self.tiles,
            "targets": self.target[0],
            "kh": kh,
            "kw": kw,
            "weight": weight,
            "w_in": strides[0],
            "w_out": strides[1],
            "flip": self.flip,
            "scratch": tables.scratch,
            "height": self.target[1],
            "width": self.target[2],
            "output_tiles": tiles,
        }
        return tables.add_winograd_plan(fields, 6 * channels * self.target[0] * kh)
