"""The fields and tables of convolutions with fewer products (winograd.pxd)."""

from types import ModuleType

import numpy as np

from skconvnet._types import Fields, Pair
from skconvnet.kernels.memory import Buffer, Image, Tables
from skconvnet.kernels.walk import Phase, patch_fields, walk_fields

# It pays for sums over at least so many channels and kernel rows, and for at least so many channels made.
LEAST_SUM, LEAST_TARGETS = 48, 8

# The gradient to a weight of so many columns sums over a sample's outputs: at least so many, in rows of
# at least so many, have roundings as small beside it as those of plain sums, even in a batch of one.
LEAST_OUTPUTS = {3: (48, 4), 5: (128, 8)}

# The fields of terms_t for patches of x and dy themselves.
NO_TERMS = dict.fromkeys(["n_outputs", "before", "rows", "tiles", "kw", "sums", "stride"], 0)


class Winograd:
    """How a convolution, or the gradient to its input, does with fewer products: see winograd.pxd.

    kernel: pair; source, target: images, the gradient's if flip, which also says that kernel columns
    run backwards; before: columns of the source left of the first output's first tap.
    """

    def __init__(self, kernel: Pair, source: Image, target: Image, before: int, flip: bool) -> None:
        self.kernel, self.before, self.flip = kernel, before, flip
        self.source, self.target = source.shape, target.shape
        self.number = -1  # among the program's
        self._buffer = target.gradient if flip else target.value
        self.n_outputs = 7 - kernel[1]
        self.tiles = self.target[2] // self.n_outputs if self.n_outputs > 0 else 0

    def is_worth_it(self) -> bool:
        """Whether it can be done, as exactly as by plain sums, and sums are long enough to pay for it.

        An output that few taps reach would have the roundings of its neighbours, whose sums are larger: so
        more than half of the taps have to be inside the source, at both ends of a row.
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
        """Whether the gradient to the weight can be made of its products as exactly as by plain sums."""
        (_, height, width), (kh, kw) = self.target, self.kernel
        outputs, columns = LEAST_OUTPUTS[kw]
        return (height - kh // 2) * width >= outputs and width >= columns

    def count_side_columns(self) -> Pair:
        """Columns that it reads left and right of the source."""
        last = self.target[2] - self.n_outputs + 5 - self.before
        return max(self.before, 0), max(last - (self.source[2] - 1), 0)

    def count_scratch(self) -> int:
        """Lane vectors for one term of the transformed source."""
        return self.source[0] * self.source[1] * self.tiles

    def place_terms(self, machine: ModuleType, start: int) -> tuple[Buffer, Buffer, int, int]:
        """Place what the gradient to the weight goes through: B x, A' dy, the sums; and give the end."""
        term = Buffer((*self.source[:2], self.tiles))
        slopes = Buffer((*self.target[:2], self.tiles))
        sums = slopes.place(term.place(start))
        return term, slopes, sums, sums + 6 * self.count_sums(machine)

    def count_sums(self, machine: ModuleType) -> int:
        """Vectors for the sums of one product, at most: every patch begins a new one."""
        (channels, *_), (filters, *_), kh = self.source, self.target, self.kernel[0]
        largest = machine.tile_height, machine.tile_width, machine.kernel_rows
        n_patches = np.prod([-(-n // most) for n, most in zip((filters, channels, kh), largest)])
        return filters * channels * kh // machine.lanes + int(n_patches)

    def term_fields(
        self, machine: ModuleType, tables: Tables, scratch: int, rows: Phase
    ) -> tuple[Fields, Fields]:
        """The fields of patches_t and of terms_t; rows: the forward phase."""
        term, slopes, sums, _ = self.place_terms(machine, scratch)
        column = Phase(0, 1, 1, self.tiles, [(0, 0)])
        reaches = np.ones((self.target[0], self.source[0]), bool)
        kernel = self.kernel[0], 1
        patches = patch_fields(machine, tables, rows, column, kernel, term, slopes, reaches)
        terms = {
            "n_outputs": self.n_outputs,
            "before": self.before,
            "rows": self.source[1],
            "tiles": self.tiles,
            "kw": self.kernel[1],
            "sums": sums,
            "stride": self.count_sums(machine),
        }
        return patches, terms

    def count_products(self) -> int:
        """Numbers in the transformed weights."""
        return 6 * self.source[0] * self.target[0] * self.kernel[0]

    def fields(
        self,
        machine: ModuleType,
        tables: Tables,
        scratch: int,
        products: int,
        weight: int,
        rows: list[Phase],
        weight_strides: Pair,
    ) -> Fields:
        """The fields of winograd_t; products, weight: places of the weights, transformed and as they are."""
        (channels, n_rows, _), (kh, kw) = self.source, self.kernel
        term = Buffer((channels, n_rows, self.tiles))
        column = Phase(0, self.n_outputs, 1, self.tiles, [(0, 0)])
        reaches = np.ones((self.target[0], channels), bool)
        strides = kh, channels * kh
        return {
            "n_outputs": self.n_outputs,
            "before": self.before,
            "channels": channels,
            "rows": n_rows,
            "tiles": self.tiles,
            "targets": self.target[0],
            "kh": kh,
            "kw": kw,
            "weight": weight,
            "w_in": weight_strides[0],
            "w_out": weight_strides[1],
            "flip": self.flip,
            "products": products,
            "scratch": scratch,
            "height": self.target[1],
            "width": self.target[2],
            "walk": walk_fields(machine, tables, rows, [column], term, self._buffer, 1, strides, reaches),
        }
