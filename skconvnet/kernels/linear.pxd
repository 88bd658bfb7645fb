"""Operations linear in their input and in their weights: a walk over tiles, forward and backward.

    y[o, j] = bias[o] + sum over channels c and taps q of w[o, c, q] * x[c, place(q) + j * step]

The gradient to the input is another walk, with the roles of x and y and of input and output changed.
"""

from skconvnet.kernels.activation cimport IDENTITY, RELU, activate_row, slope_row
from skconvnet.kernels.lanes cimport (
    LANES, TILE_WIDTH, block_t, buffer_t, deposit, lanes_t, locate, real_t, splat, sum_lanes
)
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
) noexcept nogil:
    """Write every output of an operation, tile by tile."""
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


# An operation linear in its input and in its weights, a convolution or a dense layer, and the
# activation that follows it in place.
ctypedef struct linear_t:
    buffer_t x, y, dx, dy
    Py_ssize_t weight, bias             # places in the parameter vector; bias < 0: none
    Py_ssize_t co, ho, wo
    walk_t forward, backward
    int activation
    double slope


cdef inline void linear_forward(const linear_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const real_t* bias = NULL
    cdef Py_ssize_t o, i
    if g.bias >= 0:
        bias = b.params + g.bias
    walk(
        &g.forward, b, locate(b, &g.x), g.x.plane, b.params + g.weight, bias, locate(b, &g.y),
        g.y.plane, g.activation == RELU,
    )
    if g.activation != RELU and g.activation != IDENTITY:
        for o in range(g.co):
            for i in range(g.ho):
                activate_row(
                    locate(b, &g.y) + o * g.y.plane + i * g.y.row, g.wo, g.activation, g.slope
                )


cdef inline void settle_dy(const linear_t* g, const block_t* b) noexcept nogil:
    """Bring dy before the activation and give dbias its share: the first thing to do backward."""
    cdef Py_ssize_t o, i, j
    cdef lanes_t* dy
    cdef lanes_t total
    for o in range(g.co):
        total = splat(0)
        for i in range(g.ho):
            dy = locate(b, &g.dy) + o * g.dy.plane + i * g.dy.row
            slope_row(
                locate(b, &g.y) + o * g.y.plane + i * g.y.row, dy, g.wo, g.activation, g.slope
            )
            if g.bias >= 0:
                for j in range(g.wo):
                    total = total + dy[j]
        if g.bias >= 0:
            deposit(b, g.bias + o, sum_lanes(total))


cdef inline void write_dx(const linear_t* g, const block_t* b) noexcept nogil:
    """Write dx, if anybody wants it."""
    if g.dx.offset >= 0:
        walk(
            &g.backward, b, locate(b, &g.dy), g.dy.plane, b.params + g.weight,
            NULL, locate(b, &g.dx), g.dx.plane, False,
        )
