"""The gradient to a convolution's weight with input channels as lanes (channel_weights.pxd)."""

from typing import TYPE_CHECKING

from skconvnet._lowering.memory import Buffer, ProgramTables
from skconvnet._lowering.tiling import Phase
from skconvnet._types import Fields, Pair, Shape

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine

# It pays for at most this many positions of an output plane, more channels than lanes, and at most this many
# empty lanes for each channel.
MOST_POSITIONS, MOST_EMPTY = 256, 0.4

# Multiply-adds in the time that the transposition of a vector takes, about.
TRANSPOSE_WORK = 6


def fill_lanes(channels: int, engine: "Engine") -> bool:
    """Whether lanes that are channels are full enough."""
    return -channels % engine.lanes <= MOST_EMPTY * channels


def group_channels(channels: int, engine: "Engine") -> Pair:
    """Return the number of groups of channels, and the vectors of a group, at most."""
    n_vectors = -(-channels // engine.lanes)
    n_groups = -(-n_vectors // engine.channel_tile_width)
    return n_groups, -(-n_vectors // n_groups)


def pays(channels: int, output_size: Pair, engine: "Engine") -> bool:
    """Whether it is faster than weight tiles."""
    few = output_size[0] * output_size[1] <= MOST_POSITIONS
    return few and channels > engine.lanes and fill_lanes(channels, engine)


def count_scratch(x: Buffer, n_taps: int, engine: "Engine") -> int:
    """Return the number of scratch vectors."""
    _, width = group_channels(x.shape[0], engine)
    return (x.plane * engine.lanes + n_taps * engine.channel_tile_height) * width


def channel_weight_fields(
    tables: ProgramTables, rows: Phase, columns: Phase, x: Buffer, dy_shape: Shape
) -> Fields:
    """Return the fields of channel_weights_t; rows, columns: the forward phases."""
    n_groups, width = group_channels(x.shape[0], tables.engine)
    taps = []
    for _, down in rows.taps:
        i, n_rows = rows.find_positions(down, x.shape[1])
        for _, right in columns.taps:
            j, n_columns = columns.find_positions(right, x.shape[2])
            source = (i * rows.in_step + down) * x.row + j * columns.in_step + right + x.left
            taps.append((i, n_rows, j, n_columns, source))
    return {
        "ci": x.shape[0],
        "co": dy_shape[0],
        "n_groups": n_groups,
        "n_taps": len(taps),
        "taps": tables.add(taps),
        "x_row": rows.in_step * x.row,
        "x_step": columns.in_step,
        "left": x.left,
        "n_positions": x.plane,
        "x_lanes": tables.scratch,
        "sums": tables.scratch + x.plane * tables.engine.lanes * width,
    }
