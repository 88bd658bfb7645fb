"""Convolution (cross-correlation, as every framework has it): LeCun et al. 1998, section II.

    y[o, i, j] = bias[o] + sum_{c, u, v} weight[o, c, u, v] * x[c, i * sh + u - top, j * sw + v - left]

Forward and the gradient to the input are walks over tiles; this file adds the gradient to the weight,

    dweight[o, c, u, v] = sum_{lanes, i, j} dy[o, i, j] * x[c, i * sh + u - top, j * sw + v - left]
"""

from skconvnet.kernels.lanes cimport (
    TILE_WIDTH, block_t, deposit, locate
)
from skconvnet.kernels.linear cimport linear_backward, linear_forward, linear_t
from skconvnet.kernels.tile cimport TILE_HEIGHT, compute, count_parts, even_share, patch_t


# In the tables, kernel_rows holds for each u what that row of the kernel has to do with:
# (first i, number of i, place in x that the first i reads for v = 0).
ctypedef struct conv_t:
    linear_t linear
    Py_ssize_t ci, kh, kw
    Py_ssize_t kernel_rows
    Py_ssize_t x_row_step, x_step       # from output row to row and column to column in x
    Py_ssize_t v_step                   # from kernel column to column in x
    Py_ssize_t connections              # co x ci of 0 or 1


cdef inline void add_dweight(const conv_t* g, const block_t* b) noexcept nogil:
    """Give the gradient of every connected weight this block's share."""
    cdef const linear_t* g_linear = &g.linear
    cdef const Py_ssize_t* reach
    cdef const Py_ssize_t* channels
    cdef const Py_ssize_t* connected = b.tables + g.connections
    cdef const Py_ssize_t* rows = b.tables + g.kernel_rows
    cdef Py_ssize_t r, o, u, k, p, q, c, n_taps, height, width, full_width, weight
    cdef patch_t t
    t.n_columns = g_linear.wo
    t.x_row_step = g.x_row_step
    t.x_step = g.x_step
    t.dy_row = g_linear.dy.row
    t.dy_plane = g_linear.dy.plane
    for r in range(count_parts(g_linear.co, TILE_HEIGHT)):
        o = r * TILE_HEIGHT
        height = min(<Py_ssize_t> TILE_HEIGHT, g_linear.co - o)
        reach = b.tables + g_linear.forward.reach + 2 * (o // g_linear.forward.height)
        channels = b.tables + g_linear.forward.channels + reach[0]
        n_taps = reach[1] * g.kw
        if n_taps == 0:
            continue
        full_width = even_share(n_taps, TILE_WIDTH)
        for u in range(g.kh):
            t.x = locate(b, &g_linear.x) + rows[3 * u + 2]
            t.dy = locate(b, &g_linear.dy) + o * g_linear.dy.plane + rows[3 * u] * g_linear.dy.row
            t.n_rows = rows[3 * u + 1]
            for k in range(count_parts(n_taps, full_width)):
                p = k * full_width
                width = min(full_width, n_taps - p)
                for q in range(width):
                    c = channels[(p + q) // g.kw]
                    t.x_tap[q] = c * g_linear.x.plane + (p + q) % g.kw * g.v_step
                compute(&t, <int> height, <int> width)
                for q in range(height * width):
                    c = channels[(p + q % width) // g.kw]
                    if connected[(o + q // width) * g.ci + c]:
                        weight = ((o + q // width) * g.ci + c) * g.kh + u
                        deposit(b, g_linear.weight + weight * g.kw + (p + q % width) % g.kw, t.sums[q])


cdef inline void conv_forward(const conv_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    linear_forward(&g.linear, b)


cdef inline void conv_backward(const conv_t* g, const block_t* b) noexcept nogil:
    """Give dweight and dbias their share; write dx."""
    add_dweight(g, b)
    linear_backward(&g.linear, b)
