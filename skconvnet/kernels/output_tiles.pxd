"""The outputs of a convolution-like operation, tile by tile.

    y[o, j] = bias[o] + sum over channels c and taps q of w[o, c, q] * x[c, offset(q) + j * step]

In prediction the sum may be multiplied by scale[o] before, for the batch normalisation that comes next.
"""

from skconvnet.kernels.activation cimport IDENTITY, RELU, activate_row
from skconvnet.kernels.block cimport block_t, count_parts
from skconvnet.kernels.simd cimport LANES, TILE_WIDTH, lanes_t, real_t
from skconvnet.kernels.team cimport cut, range_t
from skconvnet.kernels.tile cimport compute, output_tile_t


# The schedule of an operation.  It makes `n_passes` passes; each goes over every output channel and over the
# rows and columns of its own (there are several passes if a gradient flows through a stride).  In the tables:
#   a pass    (index of its first row, number of rows, columns, offset in y, y_step, x_step)
#   a row     (offset in y, offset in x, first tap, number of taps)
#   a tap     its offset in x: x_taps, and its offset in w: w_taps
# Offsets and steps in x count elements, not vectors: in the program for a single image, where lanes are
# neighbouring pixels, they need not be multiples of LANES.
#   sources   for each `height` outputs (index of the first of their input channels, number of these)
ctypedef struct output_tiles_t:
    Py_ssize_t n_out, height, w_in, w_out
    Py_ssize_t bias_out, bias_row       # in the bias, from output to output channel and from row to row
    Py_ssize_t n_tiles                  # of all passes: the units that threads share
    Py_ssize_t n_passes, passes, rows, x_taps, w_taps, sources, channels


# What the operation reads and writes.
ctypedef struct operands_t:
    const lanes_t* x            # IN
    Py_ssize_t x_plane          # in vectors
    const real_t* w             # IN
    const real_t* bias          # IN   or NULL
    const real_t* scale         # IN   or NULL
    lanes_t* y                  # OUT
    Py_ssize_t y_plane
    bint resume                 # begin with the sums that y holds, instead of the bias
    int activation              # applied to y, for a y_step of 1
    double slope


cdef inline operands_t bind(
    const lanes_t* x, Py_ssize_t x_plane, const real_t* w, lanes_t* y, Py_ssize_t y_plane
) noexcept nogil:
    """Return operands for plain sums, without a bias."""
    cdef operands_t p
    p.x, p.x_plane, p.w, p.y, p.y_plane = x, x_plane, w, y, y_plane
    p.bias = p.scale = NULL
    p.resume, p.activation, p.slope = False, IDENTITY, 0
    return p


cdef inline void activate_tile(
    const output_tile_t* t, Py_ssize_t height, Py_ssize_t n_columns, const operands_t* p
) noexcept nogil:
    """Apply the activation to the outputs of a tile, which are neighbouring columns."""
    cdef Py_ssize_t o
    for o in range(height):
        activate_row(t.y + o * t.y_plane, t.y + o * t.y_plane, n_columns, p.activation, p.slope)


cdef inline void compute_output_tiles(
    const output_tiles_t* g, const block_t* b, const operands_t* p, range_t units
) noexcept nogil:
    """Write the outputs of some tiles."""
    cdef const Py_ssize_t* one_pass
    cdef const Py_ssize_t* row
    cdef const Py_ssize_t* sources
    cdef Py_ssize_t n, r, o, j, k, q, width, height, n_columns, n_tiles, start = 0
    cdef range_t tiles
    cdef Py_ssize_t n_heights = count_parts(g.n_out, g.height)
    cdef const real_t* x = <const real_t*> p.x
    cdef output_tile_t t
    t.x_plane = p.x_plane * LANES
    t.y_plane = p.y_plane
    t.w_in = g.w_in
    t.w_out = g.w_out
    t.resume = p.resume
    t.rectify = p.activation == RELU
    t.bias_out = g.bias_out
    for n in range(g.n_passes):
        one_pass = b.tables + g.passes + 6 * n
        n_columns = one_pass[2]
        t.y_step = one_pass[4]
        t.x_step = one_pass[5]
        n_tiles = count_parts(n_columns, TILE_WIDTH)
        for r in range(one_pass[1]):
            row = b.tables + g.rows + 4 * (one_pass[0] + r)
            t.x_tap = b.tables + g.x_taps + row[2]
            t.w_tap = b.tables + g.w_taps + row[2]
            t.n_taps = row[3]
            for k in range(n_heights):
                tiles = cut(units, start, n_tiles)
                start += n_tiles
                if tiles.first == tiles.end:
                    continue
                o = k * g.height
                height = min(g.height, g.n_out - o)
                sources = b.tables + g.sources + 2 * k
                t.channels = b.tables + g.channels + sources[0]
                t.n_channels = sources[1]
                t.w = p.w + o * g.w_out
                t.bias, t.scale = p.bias, p.scale
                if p.bias != NULL:
                    t.bias = p.bias + o * g.bias_out + r * g.bias_row
                if p.scale != NULL:
                    t.scale = p.scale + o * g.bias_out + r * g.bias_row
                for q in range(tiles.first, tiles.end):
                    j = q * n_columns // n_tiles
                    width = (q + 1) * n_columns // n_tiles - j
                    t.x = x + row[1] + j * t.x_step
                    t.y = p.y + o * p.y_plane + one_pass[3] + row[0] + j * t.y_step
                    compute(&t, <int> height, <int> width)
                    if p.activation != IDENTITY and not t.rectify:
                        activate_tile(&t, height, width, p)
