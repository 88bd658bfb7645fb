"""The index tables of output tiles (output_tiles.pxd) and of weight tiles (weight_tiles.pxd).

Rows of padding need no memory: taps that fall outside the image are left out row by row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from skconvnet._lowering.memory import Buffer, ProgramTables
from skconvnet._types import Array, Fields, Pair

# Positions of an output plane in a band of rows that the weight gradient uses for all kernel rows at a time.
BAND_POSITIONS = 128

# Columns in a tile, at most; with a narrower one, a band is several tiles.
WIDEST_TILE = 6

# Members of weight tiles that read the same columns, and these columns: first and number.
Runs: TypeAlias = list[tuple[list[Any], Pair]]


class WeightStrides(NamedTuple):
    """Distances in the weights: between kernel rows, input channels, output channels and kernel columns."""

    row: int
    input: int
    output: int
    column: int = 1


@dataclass(frozen=True)
class Phase:
    """Every `out_step`-th position of an axis from `first`: positions that have the same taps.

    The m-th of its `count` positions reads, for kernel index k at offset t of `taps`, position
    ``m * in_step + t`` of the other axis.
    """

    first: int
    out_step: int
    in_step: int
    count: int
    taps: list[Pair]

    def find_taps(self, m: int, n_source: int) -> Pair:
        """Return the range of the m-th position's taps that lie in a source of this length, or (0, 0)."""
        inside = [q for q, (_, tap) in enumerate(self.taps) if 0 <= m * self.in_step + tap < n_source]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def count_taps(self, n_source: int) -> list[int]:
        """Return how many taps of each position lie in a source of this length."""
        return [end - first for first, end in (self.find_taps(m, n_source) for m in range(self.count))]

    def find_positions(self, tap: int, n_source: int) -> Pair:
        """Return first and number of the positions whose tap lies in a source of this length."""
        inside = [m for m in range(self.count) if 0 <= m * self.in_step + tap < n_source]
        return (inside[0], len(inside)) if inside else (0, 0)


def forward_phases(n_out: int, kernel: int, stride: int, dilation: int, before: int) -> list[Phase]:
    """Return how the outputs of an axis read its inputs: one phase."""
    return [Phase(0, 1, stride, n_out, [(k, k * dilation - before) for k in range(kernel)])]


def backward_phases(n_in: int, kernel: int, stride: int, dilation: int, before: int) -> list[Phase]:
    """Return how the gradients of an axis' inputs read those of its outputs: a phase for each remainder.

    Output i reads with kernel index k the input ``i * stride + k * dilation - before``.
    """
    phases = []
    for first in range(min(stride, n_in)):
        taps = [
            (k, (first + before - k * dilation) // stride)
            for k in range(kernel)
            if (first + before - k * dilation) % stride == 0
        ]
        phases.append(Phase(first, stride, 1, len(range(first, n_in, stride)), taps))
    return phases


def cut_into_bands(phase: Phase, n_source: int) -> list[Phase]:
    """Cut a phase into bands of columns that need fewer taps than all, where that saves arithmetic.

    Columns near the border of the source have taps that read only zeros. A tile of w columns costs
    about max(w, 2) multiply-adds a tap (below 2, additions wait for each other), and takes every tap
    that any of its columns needs; dynamic programming finds the cheapest cut of n columns.
    """
    needed = [phase.find_taps(m, n_source) for m in range(phase.count)]
    best = [(0, 0, (0, 0))]  # for the first n columns: cost, start of the last tile, its taps
    for end in range(1, phase.count + 1):
        candidates = []
        low, high = needed[end - 1]
        for start in range(end - 1, max(end - WIDEST_TILE, 0) - 1, -1):
            if needed[start] != (0, 0):
                low = min(low, needed[start][0]) if high else needed[start][0]
                high = max(high, needed[start][1])
            cost = best[start][0] + (high - low) * max(end - start, 2) + 1
            candidates.append((cost, start, (low, high)))
        best.append(min(candidates))
    tiles, end = [], phase.count
    while end:
        _, start, taps = best[end]
        tiles.append((start, end, taps))
        end = start
    bands = []
    for start, end, taps in reversed(tiles):
        if bands and bands[-1][2] == taps:
            start = bands.pop()[0]
        bands.append((start, end, taps))
    return [
        Phase(
            phase.first + start * phase.out_step,
            phase.out_step,
            phase.in_step,
            end - start,
            [(k, tap + start * phase.in_step) for k, tap in phase.taps[low:high]],
        )
        for start, end, (low, high) in bands
    ]


def count_side_columns(phases: list[Phase], n_columns: int) -> Pair:
    """Return how many columns left and right of an image the taps of phases read."""
    left = right = 0
    for phase in phases:
        for _, tap in phase.taps:
            left = max(left, -tap)
            right = max(right, (phase.count - 1) * phase.in_step + tap - (n_columns - 1))
    return left, right


def output_tile_fields(
    tables: ProgramTables,
    rows: list[Phase],
    columns: list[Phase],
    source: Buffer,
    target: Buffer,
    strides: WeightStrides,
    connectivity: Array,
) -> Fields:
    """Return the fields of output_tiles_t.

    rows, columns: the phases of both axes; source, target: the buffers read and written;
    connectivity: bool array (outputs, inputs), which output channel reads which input channel.
    """
    lanes = tables.engine.lanes
    passes, row_table, x_taps, w_taps = [], [], [], []
    for column in columns:
        for row in rows:
            first_tap = len(x_taps)
            for u, down in row.taps:
                for v, right in column.taps:
                    x_taps.append((down * source.row + right) * lanes)
                    w_taps.append(u * strides.row + v * strides.column)
            # consecutive rows without a gap that read the same taps are one long row
            seamless = (
                source.row * row.in_step == column.count * column.in_step
                and target.row * row.out_step == column.count * column.out_step
            )
            taps = [row.find_taps(m, source.shape[1]) for m in range(row.count)]
            starts = [m for m in range(row.count) if m == 0 or not seamless or taps[m] != taps[m - 1]]
            ends = [*starts[1:], row.count]
            steps = column.first, column.out_step, column.in_step * lanes
            if seamless:
                for k, (m, end) in enumerate(zip(starts, ends)):
                    passes.append((len(row_table) + k, 1, (end - m) * column.count, *steps))
            else:
                passes.append((len(row_table), row.count, column.count, *steps))
            for m in starts:
                low, high = taps[m]
                row_table.append(
                    (
                        (row.first + m * row.out_step) * target.row,
                        m * row.in_step * source.row * lanes,
                        first_tap + low * len(column.taps),
                        (high - low) * len(column.taps),
                    )
                )
    one_column = all(columns_in_pass == 1 for _, _, columns_in_pass, *_ in passes)
    most = tables.engine.column_height if one_column else tables.engine.tile_height
    height = divide_evenly(len(connectivity), most)
    return {
        "w_in": strides.input,
        "w_out": strides.output,
        "rows": tables.add(row_table),
        "x_taps": tables.add(x_taps),
        "w_taps": tables.add(w_taps),
        **schedule_fields(tables, passes, connectivity, height),
    }


def schedule_fields(
    tables: ProgramTables,
    passes: Sequence[tuple[int, ...]],
    connectivity: Array,
    height: int,
    bias_steps: Pair = (1, 0),
) -> Fields:
    """Return the fields of output_tiles_t that its passes and channels determine.

    passes: (first row, rows, columns, ...) of each; height: rows of a tile; bias_steps: in the bias, from
    output to output channel and from row to row.
    """
    n_out = len(connectivity)
    n_columns = sum(rows * -(-columns // tables.engine.tile_width) for _, rows, columns, *_ in passes)
    return {
        "n_out": n_out,
        "height": height,
        "n_tiles": n_columns * -(-n_out // height),
        "bias_out": bias_steps[0],
        "bias_row": bias_steps[1],
        "n_passes": len(passes),
        "passes": tables.add(passes),
        **connectivity_fields(tables, connectivity, height),
    }


def divide_evenly(total: int, most: int) -> int:
    """Return the smallest part that cuts a total into as few parts of at most `most` as possible."""
    return -(-total // -(-total // most))


def connectivity_fields(tables: ProgramTables, connectivity: Array, height: int) -> Fields:
    """List, for each `height` outputs, the input channels that any of them reads."""
    sources, channels, known = [], [], {}
    for start in range(0, len(connectivity), height):
        seen = np.flatnonzero(connectivity[start : start + height].any(axis=0)).tolist()
        index = known.setdefault(tuple(seen), len(channels))
        if index == len(channels):
            channels.extend(seen)
        sources.append((index, len(seen)))
    return {"sources": tables.add(sources), "channels": tables.add(channels)}


def weight_tile_fields(
    tables: ProgramTables,
    rows: Phase,
    columns: Phase,
    kernel: Pair,
    x: Buffer,
    dy: Buffer,
    strides: WeightStrides,
    connectivity: Array,
) -> Fields:
    """Cut the gradient to a convolution's weight into tiles: return the fields of weight_tiles_t.

    rows, columns: the forward phases; kernel: pair; connectivity: bool array (filters, channels) of
    a group. Weights of one kernel column v read the same output columns j, the fewer the further v reads
    into the padding; so tiles of one v each save arithmetic. Tiles across v read neighbouring pixels of
    few channels, which suits the caches better (64 channels of 32x32, 3x3 kernel: 5.3 against 7.9 ms a
    block), so the saving has to be worth it.
    """
    engine = tables.engine
    tiles, weights, known = [], [], {}
    spans = [columns.find_positions(tap, x.shape[2]) for _, tap in columns.taps]
    for start in range(0, len(connectivity), engine.tile_height):
        seen = tuple(np.flatnonzero(connectivity[start : start + engine.tile_height].any(axis=0)).tolist())
        if seen not in known:
            apart = [([(c, v) for c in seen], span) for v, span in enumerate(spans)]
            across = [([(c, v) for c in seen for v in range(kernel[1])], (0, columns.count))]
            across, apart = (_cut_evenly(runs, engine.tile_width) for runs in (across, apart))
            cheapest = apart if _count_work(apart) < 0.9 * _count_work(across) else across
            known[seen] = []
            for members, span in cheapest:
                known[seen].append((len(weights), len(members), *span))
                weights.extend(
                    (c * x.plane + columns.taps[v][1], c * strides.input + v * strides.column, c)
                    for c, v in members
                )
        tiles += [(start, u, *tile) for tile in known[seen] for u in range(0, kernel[0], engine.kernel_rows)]
    kernel_rows = []
    for _, tap in rows.taps:
        first, count = rows.find_positions(tap, x.shape[1])
        kernel_rows.append((first, count, (first * rows.in_step + tap) * x.row))
    return {
        "x": x.fields(),
        "dy": dy.fields(),
        "ci": connectivity.shape[1],
        "co": connectivity.shape[0],
        "ho": dy.shape[1],
        "kh": kernel[0],
        "w_out": strides.output,
        "w_row": strides.row,
        "x_row_step": rows.in_step * x.row,
        "x_step": columns.in_step,
        "kernel_rows": tables.add(kernel_rows),
        "n_tiles": len(tiles),
        "tiles": tables.add(tiles),
        "weights": tables.add(weights),
        "band_rows": max((BAND_POSITIONS if kernel[1] > 1 else BAND_POSITIONS // 2) // dy.shape[2], 1),
        "connections": tables.add(connectivity),
    }


def _cut_evenly(runs: Runs, most: int) -> Runs:
    """Cut each run of members into equal parts of at most `most`, as few as possible."""
    parts = []
    for members, span in runs:
        n_parts = -(-len(members) // most)
        for part in range(n_parts):
            cut = members[part * len(members) // n_parts : (part + 1) * len(members) // n_parts]
            parts.append((cut, span))
    return parts


def _count_work(cut: Runs) -> int:
    """Return the multiply-adds of weight tiles, without the factors that all have in common."""
    return sum(max(len(members), 2) * n_columns for members, (_, n_columns) in cut)
