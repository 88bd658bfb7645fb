"""The walk of a convolution-like operation over its outputs, tile by tile.

    y[o, j] = bias[o] + sum over channels c and taps q of w[o, c, q] * x[c, place(q) + j * step]
"""

from skconvnet.kernels.lanes cimport LANES, TILE_WIDTH, block_t, lanes_t, real_t
from skconvnet.kernels.tile cimport compute, count_parts, tile_t


# How one convolution-like operation walks over its outputs.  It makes `n_passes` passes, each over
# every output channel and the rows and columns that it owns (several passes when a gradient flows
# through a stride).  In the tables:
#   a pass   (first of its rows, number of rows, columns, place in y, y_step, x_step)
#   a row    (place in y, place in x, first tap, number of taps)
#   a tap    its place in x: x_taps, and its place in w: w_taps
# Places and steps in x count numbers, not vectors: for a single image, whose lanes are neighbouring
# pixels, they need not be multiples of LANES.
#   reach    for each group of `height` outputs (first of its channels, number of channels)
ctypedef struct walk_t:
    Py_ssize_t n_out, height, w_in, w_out
    Py_ssize_t n_passes, passes, rows, x_taps, w_taps, reach, channels


cdef inline void walk(
    const walk_t* g,
    const block_t* b,
    const lanes_t* x_lanes,     # IN
    Py_ssize_t x_plane,         # in vectors
    const real_t* w,            # IN
    const real_t* bias,         # IN   or NULL
    lanes_t* y,                 # OUT
    Py_ssize_t y_plane,
    bint rectify,               # y = max(sum, 0)
    const real_t* blend,        # IN   (n_blend,): every sum times these is added to n_blend columns
    Py_ssize_t n_blend,
) noexcept nogil:
    """Write every output of an operation, tile by tile; or, with n_blend above 0, add to them."""
    cdef const Py_ssize_t* one_pass
    cdef const Py_ssize_t* row
    cdef const Py_ssize_t* reach
    cdef Py_ssize_t p, r, o, j, k, q, width, height, n_columns, n_tiles
    cdef Py_ssize_t n_reaches = count_parts(g.n_out, g.height)
    cdef const real_t* x = <const real_t*> x_lanes
    cdef tile_t t
    t.x_plane = x_plane * LANES
    t.y_plane = y_plane
    t.w_in = g.w_in
    t.w_out = g.w_out
    t.rectify = rectify
    t.blend = blend
    t.n_blend = n_blend
    for p in range(g.n_passes):
        one_pass = b.tables + g.passes + 6 * p
        n_columns = one_pass[2]
        t.y_step = one_pass[4]
        t.x_step = one_pass[5]
        n_tiles = count_parts(n_columns, TILE_WIDTH)
        for r in range(one_pass[1]):
            row = b.tables + g.rows + 4 * (one_pass[0] + r)
            t.x_tap = b.tables + g.x_taps + row[2]
            t.w_tap = b.tables + g.w_taps + row[2]
            t.n_taps = row[3]
            for k in range(n_reaches):
                o = k * g.height
                height = min(g.height, g.n_out - o)
                reach = b.tables + g.reach + 2 * k
                t.channels = b.tables + g.channels + reach[0]
                t.n_channels = reach[1]
                t.w = w + o * g.w_out
                t.bias = bias
                if bias != NULL:
                    t.bias = bias + o
                for q in range(n_tiles):
                    j = q * n_columns // n_tiles
                    width = (q + 1) * n_columns // n_tiles - j
                    t.x = x + row[1] + j * t.x_step
                    t.y = y + o * y_plane + one_pass[3] + row[0] + j * t.y_step
                    compute(&t, <int> height, <int> width)
