"""The plans of convolutions by Winograd's algorithm (winograd.pxd)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from skconvnet._lowering.calls import Window
from skconvnet._lowering.channel_weights import TRANSPOSE_WORK, fill_lanes, group_channels
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._lowering.tiling import (
    Phase,
    backward_phases,
    cut_into_bands,
    divide_evenly,
    forward_phases,
    schedule_fields,
)
from skconvnet._lowering.work import Work
from skconvnet._types import Fields, Pair

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine

# It pays for sums over at least 40 channels and taps across the axis, and for at least 8 output channels; and
# if it saves at least a fifth of the multiplications.
LEAST_SUM, LEAST_TARGETS, LEAST_SAVING = 40, 8, 1.25

# The gradient to this many weights along the axis sums over a sample's outputs. For at least these numbers of
# outputs, and of outputs along the axis, its rounding errors are as small, relative to it, as those of plain
# sums, even in a batch of one.
LEAST_OUTPUTS = {3: (48, 4), 5: (128, 8)}

N_POINTS = 6

# Points, and outputs of a position, across the axis of a nested convolution, by the number of weights there.
POINTS_ACROSS, N_ACROSS = {3: 4, 5: 6}, 2

# Vectors of a band, at most, and of one that reads no vectors beside its own. Vectors of transformed source,
# and of sums, that are in scratch at a time, about.
MAX_BAND, MAX_NARROW_BAND = 12, 6
SCRATCH_VECTORS = 10000

# The fields of weight_sums_t.
WEIGHT_SUMS = (
    *("plan", "n_groups", "chunk", "left", "taps", "n_source", "row", "width"),
    *("terms", "gradients", "sums", "shared_terms"),
)

# Multiply-adds in the time that six terms of a position take, about.
TRANSFORM_WORK = 20

# Vectors of a transformed source that threads share, at most. Larger images have so much other work that
# transforming them once for each thread is little, and the memory would be much.
MOST_SHARED = 2**16

# Positions times vectors of channels that the gradient to the weight keeps in the first cache.
CHUNK = 24


@dataclass
class Band:
    """Neighbouring positions of a line: vectors from `first` on, with taps (k, offset) across the axis."""

    first: int
    count: int
    taps: list[Pair]

    @property
    def left(self) -> int:
        """The position that the first tap of the first vector reads, relative to that vector."""
        return min((tap for _, tap in self.taps), default=0)


def cut_band(band: Band) -> list[Band]:
    """Cut a band into equal parts of few vectors."""
    n_parts = -(-band.count // (MAX_BAND if len(band.taps) > 1 else MAX_NARROW_BAND))
    starts = [k * band.count // n_parts for k in range(n_parts + 1)]
    return [Band(band.first + a, b - a, band.taps) for a, b in pairwise(starts)]


class WinogradPlan:
    """How a convolution, or the gradient to its input, uses Winograd's algorithm: see winograd.pxd.

    window: with strides and dilations of 1; source, target: tensors, of which the gradients count if flip,
    which also says that the kernel runs backwards; nests: whether it may be nested.
    """

    def __init__(
        self, window: Window, source: Tensor, target: Tensor, flip: bool, nests: bool = True
    ) -> None:
        self.kernel, self.flip = window.kernel, flip
        self.source, self.target = source.shape, target.shape
        self.down = self.kernel[0] > 1
        self.axis = 0 if self.down else 1
        self.n_weights = self.kernel[self.axis]
        self.n_outputs = 7 - self.n_weights
        find_phases = backward_phases if flip else forward_phases
        phases = [
            find_phases(n, k, 1, 1, before)
            for n, k, before in zip(self.target[1:], self.kernel, window.before)
        ]
        (self._rows,), (self._across,) = phases
        self._along = self._rows if self.down else self._across
        self.before = -min(tap for _, tap in self._along.taps)
        self.left = min(tap for _, tap in self._across.taps) if self.down else 0
        self.nested = nests and self.down and self.kernel[0] == self.kernel[1] and self._pays_nested()

    def _pays_nested(self) -> bool:
        """Whether it is faster if the axis across is transformed as well, and as exact as plain sums."""
        n_weights = self.n_weights
        if n_weights not in POINTS_ACROSS:
            return False
        n_inside = self._across.count_taps(self.source[2])
        n_positions = -(-self.target[2] // N_ACROSS)
        n_plain, n_nested = sum(n_inside), POINTS_ACROSS[n_weights] * n_positions
        n_channels = self.source[0] * self.target[0] / (self.source[0] + self.target[0])
        plain = n_plain * n_channels + TRANSFORM_WORK * self.target[2] / N_POINTS
        nested = n_nested * n_channels + TRANSFORM_WORK * n_nested / N_POINTS
        return min(n_inside) > n_weights // 2 and nested < 0.8 * plain

    @property
    def _taps(self) -> list[Pair]:
        """The taps (k, offset) across the axis, from a position of a line to those whose terms it sums."""
        return self._across.taps if self.down and not self.nested else [(0, 0)]

    @property
    def n_points_across(self) -> int:
        """Points across the axis: 1 if it is not transformed."""
        return POINTS_ACROSS[self.n_weights] if self.nested else 1

    @property
    def n_terms(self) -> int:
        return N_POINTS * self.n_points_across

    @property
    def n_across(self) -> int:
        """Pixels across the axis that a position stands for."""
        return N_ACROSS if self.nested else 1

    @property
    def n_taps(self) -> int:
        """Taps across the axis, of a term."""
        return len(self._taps)

    @property
    def n_groups(self) -> int:
        """Groups of n_outputs along the axis, the last of which may be incomplete."""
        return -(-self.target[1 + self.axis] // self.n_outputs)

    @property
    def lines(self) -> int:
        return self.n_groups if self.down else self.target[1]

    @property
    def length(self) -> int:
        """Positions in a line."""
        return -(-self.target[2] // self.n_across) if self.down else self.n_groups

    def pays(self) -> bool:
        """Whether it is possible, as exact as plain sums, and faster.

        Adjacent outputs share intermediate sums and so rounding errors. An output with few taps inside the
        source is much smaller than its neighbours, so more than half of the taps have to be inside, at both
        ends of the axis.
        """
        n_inside = self._along.count_taps(self.source[1 + self.axis])
        return (
            self.n_weights in (3, 5)
            and (self.down or (self._rows.taps == [(0, 0)] and self.source[1] == self.target[1]))
            and min(n_inside) > self.n_weights // 2
            and self.source[0] * (self.kernel[1] if self.down else 1) >= LEAST_SUM
            and self.target[0] >= LEAST_TARGETS
            and sum(n_inside) >= LEAST_SAVING * N_POINTS * self.n_groups
        )

    def pays_for_weights(self, engine: "Engine") -> bool:
        """Whether its gradient to the weight is as exact as by plain sums, and faster."""
        n_outputs, n_along = LEAST_OUTPUTS[self.n_weights]
        along, across = self.target[1 + self.axis], self.target[2 - self.axis]
        is_exact = along >= n_along and (along - self.n_weights // 2) * across >= n_outputs
        return is_exact and fill_lanes(self.source[0], engine)

    def count_side_columns(self) -> Pair:
        """Return the columns that it reads left and right of the source."""
        if self.nested:
            last = (self.length - 1) * N_ACROSS + self.left + self.n_points_across - 1
            return max(-self.left, 0), max(last - (self.source[2] - 1), 0)
        if self.down:
            reach = [tap for _, tap in self._across.taps]
            last = self.target[2] - 1 + max(reach)
            return max(-min(reach), 0), max(last - (self.source[2] - 1), 0)
        last = (self.n_groups - 1) * self.n_outputs + N_POINTS - 1 - self.before
        return max(self.before, 0), max(last - (self.source[2] - 1), 0)

    def _list_bands(self) -> list[Band]:
        """Return the bands of a line of samples."""
        if not self.down or self.nested:
            return cut_band(Band(0, self.length, self._taps))
        phases = cut_into_bands(self._across, self.source[2])
        return [band for phase in phases for band in cut_band(Band(phase.first, phase.count, shift(phase)))]

    def _list_plane_bands(self, lanes: int) -> list[Band]:
        """Return the bands of a line of pixels."""
        return cut_band(Band(0, -(-self.length // lanes), self._taps))

    def _count_terms(self, band: Band, lanes: int, grain: int) -> int:
        """Return the number of vectors of a term of a band's B x: none if it sees only padding."""
        if not band.taps:
            return 0
        reach = max(tap for _, tap in band.taps) - band.left
        return band.count + -(-reach * grain // lanes)

    def _count_source(self, band: Band, lanes: int, grain: int) -> int:
        """Return the number of source vectors that a band reads."""
        if not self.nested:
            return self._count_terms(band, lanes, grain)
        n_positions = min(band.count * lanes, self.length * grain - band.first * lanes) // grain
        return -(-(n_positions * N_ACROSS + self.n_points_across - N_ACROSS) * grain // lanes)

    def _find_height(self, bands: list[Band], engine: "Engine") -> int:
        """Return the height of output tiles."""
        one_column = all(band.count == 1 for band in bands)
        return divide_evenly(self.target[0], engine.column_height if one_column else engine.tile_height)

    def count_scratch(self, engine: "Engine", single_image: bool = False) -> int:
        """Return the number of scratch vectors; single_image: in the program for a single image."""
        return self._lay_out(engine, single_image)[1]

    def _count_lines_at_once(self, engine: "Engine", single_image: bool) -> int:
        """Return how many lines share a vector: 2 if the positions of one fill at most half of it."""
        return 2 if single_image and self.nested and self.length <= engine.lanes // 2 else 1

    def _lay_out(self, engine: "Engine", single_image: bool, start: int = 0) -> tuple[Fields, int]:
        """Return what is in scratch memory at a time and its offsets, and the end of its memory."""
        bands = self._list_plane_bands(engine.lanes) if single_image else self._list_bands()
        grain = 1 if single_image else engine.lanes
        widest = max(band.count for band in bands)
        widest_terms = max(self._count_terms(band, engine.lanes, grain) for band in bands)
        height = self._find_height(bands, engine)
        n_channels = max(SCRATCH_VECTORS // (self.n_terms * max(widest_terms, 1)), 1)
        n_targets = max(SCRATCH_VECTORS // (self.n_terms * widest) // height, 1) * height
        some_channels, some_targets = min(n_channels, self.source[0]), min(n_targets, self.target[0])
        sums = start + self.n_terms * some_channels * widest_terms
        zeros = sums + self.n_terms * some_targets * widest
        n_zeros = self._count_zeros(bands, engine, grain)
        # of a channel, with what shuffles read beyond its end
        n_along = N_POINTS * (N_ACROSS * widest + self.n_points_across) if self.nested else 0
        n_along *= self._count_lines_at_once(engine, single_image)
        fields = {
            "some_channels": some_channels,
            "some_targets": some_targets,
            "scratch": start,
            "scratch_sums": sums,
            "zeros": zeros,
            "n_zeros": n_zeros,
            "terms_along": zeros + n_zeros,
        }
        return fields, zeros + n_zeros + n_along

    def _count_zeros(self, bands: list[Band], engine: "Engine", grain: int) -> int:
        """Return the number of vectors of a line, or of its source, at most."""
        n_read = sum(self.count_side_columns()) + self.source[2]
        return max(*(self._count_source(band, engine.lanes, grain) for band in bands), n_read, self.length)

    def count_weight_scratch(self, engine: "Engine") -> int:
        """Return the number of scratch vectors for the gradient to the weight."""
        return self._lay_out_weights(engine, 0)[1]

    def _lay_out_weights(self, engine: "Engine", start: int) -> tuple[Fields, int]:
        """Return the fields of weight_sums_t but for its plan and table, and the end of its memory."""
        reach = max(tap for _, tap in self._taps) - self.left
        n_groups, width = group_channels(self.source[0], engine)
        chunk = divide_evenly(self.length, max(CHUNK // width, 1))
        n_source = chunk + reach
        height = engine.channel_tile_height
        n_tiles = self.target[0] // height + 2
        gradients = start + N_POINTS * n_source * engine.lanes * width
        sums = gradients + N_POINTS * self.target[0] * chunk
        fields = {
            "n_groups": n_groups,
            "chunk": chunk,
            "left": self.left,
            "n_source": n_source,
            "row": self.length + reach,
            "width": width,
            "terms": start,
            "gradients": gradients,
            "sums": sums,
        }
        return fields, sums + n_tiles * self.n_taps * N_POINTS * height * width

    def weight_fields(self, tables: ProgramTables, plan: int) -> Fields:
        """Return the fields of weight_sums_t; plan: its own index in the program."""
        start = tables.scratch + self.count_scratch(tables.engine)
        fields, _ = self._lay_out_weights(tables.engine, start)
        return {
            **fields,
            "plan": plan,
            "taps": tables.add([tap - self.left for _, tap in self._taps]),
            "shared_terms": tables.shared if self.count_shared(tables.engine) else -1,
        }

    def count_shared(self, engine: "Engine") -> int:
        """Return the number of vectors of B x, if the threads that share a block transform it together."""
        fields, _ = self._lay_out_weights(engine, 0)
        n = fields["n_groups"] * self.lines * N_POINTS * fields["row"] * engine.lanes * fields["width"]
        return n if n <= MOST_SHARED else 0

    def estimate_work(self, engine: "Engine") -> Work:
        """Estimate the work of a block: a unit is a tile's rows of a band, a group all targets of a band."""
        bands = self._list_bands()
        n_heights = -(-self.target[0] // self._find_height(bands, engine))
        n_units = self.lines * len(bands) * n_heights
        total = self.n_terms * self.source[0] * self.target[0] * self.n_taps * self.lines * self.length
        n_terms = self.n_points_across * sum(self._count_terms(band, 1, 1) for band in bands) / len(bands)
        return Work(total / n_units, n_units, n_heights, TRANSFORM_WORK * self.source[0] * n_terms)

    def estimate_weight_work(self, engine: "Engine") -> list[Work]:
        """Estimate the work of a block for the gradient to the weight.

        A unit is a tap of an output channel; of the transforms, if threads share them, a line of a group.
        """
        n_units, positions = self.n_taps * self.target[0], self.lines * self.length
        unit = N_POINTS * self.source[0] * positions
        setup = (TRANSFORM_WORK + N_POINTS * TRANSPOSE_WORK) * self.source[0] * positions
        if not self.count_shared(engine):
            return [Work(unit, n_units, n_units, setup)]
        n_lines = group_channels(self.source[0], engine)[0] * self.lines
        return [Work(setup / n_lines, n_lines), Work(unit, n_units)]

    def add_to(
        self,
        tables: ProgramTables,
        weight: int,
        strides: Pair,
        single_image: bool = False,
        transforms: bool = True,
    ) -> int:
        """Add the plan to a program and return its index.

        weight: offset in the parameter vector; strides: from input to input and from output to output channel
        there; single_image: whether lanes are neighbouring pixels instead of samples; transforms: whether it
        uses the transformed weights.
        """
        engine = tables.engine
        (channels, *source_size), (targets, *target_size) = self.source, self.target
        grain = 1 if single_image else engine.lanes
        bands = self._list_plane_bands(engine.lanes) if single_image else self._list_bands()
        step = engine.lanes * (self.n_across if self.down else self.n_outputs)
        layout, _ = self._lay_out(engine, single_image, tables.scratch)
        some_channels, some_targets = layout["some_channels"], layout["some_targets"]
        n_last = channels - (-(-channels // some_channels) - 1) * some_channels
        height = self._find_height(bands, engine)
        n_heights = -(-targets // height)
        lines_at_once = self._count_lines_at_once(engine, single_image)
        n_lines = -(-self.lines // lines_at_once)
        rows, last_rows, x_taps, w_taps, band_table = [], [], [], [], []
        for band in bands:
            n_source, n_terms = (
                count(band, engine.lanes, grain) for count in (self._count_source, self._count_terms)
            )
            # channels count as taps, so that one loop runs over both
            for some, n in ((rows, some_channels), (last_rows, n_last)):
                some.append((0, 0, len(x_taps), n * len(band.taps)))
            for c in range(some_channels):
                x_taps += [c * n_terms * engine.lanes + (tap - band.left) * grain for _, tap in band.taps]
                w_taps += [c * self.n_taps + k for k, _ in band.taps]
            first = band.first * step + (self.left if self.nested else band.left) * grain
            band_table.append((band.first, band.count, first, n_source, n_terms))
        # with a vector more, the targets of a tile do not fall on the same sets of the cache
        w_target = self.n_terms * channels * self.n_taps + engine.lanes
        passes = [(k, 1, band.count, 0, 1, engine.lanes) for k, band in enumerate(bands + bands)]
        fields = {
            "down": self.down,
            "grain": grain,
            "n_outputs": self.n_outputs,
            "n_weights": self.n_weights,
            "before": self.before,
            "x_size": source_size[self.axis],
            "y_size": target_size[self.axis],
            "lines_at_once": lines_at_once,
            "lines": n_lines,
            "length": self.length,
            "width": target_size[1],
            "nested": self.nested,
            "n_points_across": self.n_points_across,
            "n_terms": self.n_terms,
            "channels": channels,
            "targets": targets,
            "n_taps": self.n_taps,
            "w_width": self.kernel[1] if self.down else 1,
            "weight": weight,
            "w_in": strides[0],
            "w_out": strides[1],
            "w_along": self.kernel[1] if self.down else 1,
            "w_across": 1,
            "w_target": w_target,
            "flip": self.flip,
            "n_bands": len(bands),
            "bands": tables.add(band_table),
            "n_units": n_lines * len(bands) * n_heights,
            **layout,
            "output_tiles": {
                "w_in": 0,
                "w_out": w_target,
                "rows": tables.add(rows + last_rows),
                "x_taps": tables.add(x_taps),
                "w_taps": tables.add(w_taps),
                **schedule_fields(tables, passes, np.ones((some_targets, 1), bool), height),
            },
        }
        return tables.add_winograd_plan(fields, w_target * targets if transforms else 0)


def shift(phase: Phase) -> list[Pair]:
    """Return the taps of a phase relative to a position, not to the phase's first one."""
    return [(k, tap - phase.first) for k, tap in phase.taps]
