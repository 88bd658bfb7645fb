"""The gradient to a convolution's weight for images of few pixels: its lanes are input channels.

    dweight[o, c, u, v] = sum_{lanes, i, j} dy[o, i, j] * x[c, i * sh + u - top, j * sw + v - left]

A weight tile ends with sums over lanes; for few positions (i, j) these cost as much as the multiply-adds.  So
x is transposed, and a channel tile has no sums over the lanes of a vector.
"""

from skconvnet.kernels.block cimport (
    accumulate_at, block_t, buffer_t, count_parts, find_units, locate, locate_offset
)
from skconvnet.kernels.simd cimport (
    CHANNEL_TILE_HEIGHT, LANES, MAX_LANES, lanes_t, real_t, splat, transpose_lanes
)
from skconvnet.kernels.team cimport range_t
from skconvnet.kernels.tile cimport channel_tile_t, choose_height, compute

cdef enum:
    TAP_FIELDS = 5          # table entries for a tap


# The input channels come in groups of a few vectors.  In the tables:
#   a tap   (first i that it reads for, number of i, first j, number of j, position of x that the first reads)
ctypedef struct channel_weights_t:
    Py_ssize_t ci, co
    Py_ssize_t n_groups
    Py_ssize_t n_taps, taps
    Py_ssize_t x_row, x_step            # positions of x from i to i and from j to j
    Py_ssize_t left, n_positions        # of x: before its first pixel, and in all
    # offsets of memory for x (n_positions, LANES, width), and for the sums of a tile; < 0: not used
    Py_ssize_t x_lanes, sums


cdef inline range_t find_group(Py_ssize_t n_channels, Py_ssize_t n_groups, Py_ssize_t k) noexcept nogil:
    """Return the channels of group k: whole vectors, but for the last."""
    cdef range_t channels
    cdef Py_ssize_t n_vectors = count_parts(n_channels, LANES)
    channels.first = k * n_vectors // n_groups * LANES
    channels.end = min((k + 1) * n_vectors // n_groups * LANES, n_channels)
    return channels


cdef inline void store_transposed(lanes_t* values, lanes_t* out, Py_ssize_t width) noexcept nogil:
    """Transpose LANES vectors, which it overwrites, and write them `width` apart."""
    cdef Py_ssize_t lane
    transpose_lanes(values)
    for lane in range(LANES):
        out[lane * width] = values[lane]


cdef inline void transpose_channels(
    const channel_weights_t* g, const block_t* b, const buffer_t* x, range_t channels
) noexcept nogil:
    """Write the transposed x of a group."""
    cdef Py_ssize_t i, q, c, n_channels = channels.end - channels.first
    cdef Py_ssize_t width = count_parts(n_channels, LANES)
    cdef lanes_t* out = locate_offset(b, g.x_lanes)
    cdef const lanes_t* source
    cdef lanes_t[MAX_LANES] values
    for q in range(width):
        source = locate(b, x) + (channels.first + q * LANES) * x.plane - g.left
        for i in range(g.n_positions):
            for c in range(LANES):
                values[c] = source[c * x.plane + i] if q * LANES + c < n_channels else splat(0)
            store_transposed(values, out + i * LANES * width + q, width)


cdef inline void accumulate_tile(
    const channel_weights_t* g, const block_t* b, Py_ssize_t first, Py_ssize_t height, range_t channels,
    real_t* dweight
) noexcept nogil:
    """Add the sums of all taps to dweight, for `height` filters from the first one on."""
    cdef Py_ssize_t n_channels = channels.end - channels.first, width = count_parts(n_channels, LANES)
    cdef const real_t* sums = <const real_t*> locate_offset(b, g.sums)
    cdef Py_ssize_t o, c, tap, stride = CHANNEL_TILE_HEIGHT * width * LANES
    cdef real_t* at
    for o in range(height):
        at = dweight + ((first + o) * g.ci + channels.first) * g.n_taps
        for c in range(n_channels):
            for tap in range(g.n_taps):
                accumulate_at(b, at + tap, sums[tap * stride + o * width * LANES + c])
            at += g.n_taps


cdef inline void correlate_by_channels(
    const channel_weights_t* g,
    const block_t* b,
    const buffer_t* x,          # IN
    const buffer_t* dy,         # IN
    real_t* dweight,            # IN OUT, or OUT in the first block of a shard
) noexcept nogil:
    """Add the contribution of this block to the gradient of every weight; a thread has some filters."""
    cdef range_t channels, filters = find_units(b, g.co)
    cdef const Py_ssize_t* tap
    cdef Py_ssize_t k, n, first, height, width
    cdef channel_tile_t t
    t.x_row, t.x_step, t.dy_row, t.dy_plane, t.resume = g.x_row, g.x_step, dy.row, dy.plane, False
    if filters.first == filters.end:
        return
    for k in range(g.n_groups):
        channels = find_group(g.ci, g.n_groups, k)
        width = count_parts(channels.end - channels.first, LANES)
        transpose_channels(g, b, x, channels)
        first = filters.first
        while first < filters.end:
            height = choose_height(filters.end - first)
            for n in range(g.n_taps):
                tap = b.tables + g.taps + TAP_FIELDS * n
                t.n_rows, t.n_columns = tap[1], tap[3]
                t.x = locate_offset(b, g.x_lanes) + tap[4] * LANES * width
                t.dy = <const real_t*> (locate(b, dy) + first * dy.plane + tap[0] * dy.row + tap[2])
                t.sums = locate_offset(b, g.sums) + n * CHANNEL_TILE_HEIGHT * width
                compute(&t, <int> height, <int> width)
            accumulate_tile(g, b, first, height, channels, dweight)
            first += height
