"""Convolution (cross-correlation, as every framework has it): LeCun et al. 1998, section II.

    y[o, i, j] = bias[o] + sum_{c, u, v} weight[o, c, u, v] * x[c, i * sh + u - top, j * sw + v - left]

Forward and the gradient to the input are walks over tiles; this file adds the gradient to the weight,

    dweight[o, c, u, v] = sum_{lanes, i, j} dy[o, i, j] * x[c, i * sh + u - top, j * sw + v - left]
"""

from skconvnet.kernels.lanes cimport block_t, deposit, locate
from skconvnet.kernels.linear cimport linear_backward, linear_forward, linear_t
from skconvnet.kernels.tile cimport TILE_HEIGHT, compute, count_parts, patch_t


# How the gradient to the weight is cut into patches of TILE_HEIGHT filters by a few weights of one
# kernel row.  In the tables:
#   a kernel row  (first i that it reads for, number of i, place in x of the first i's row)
#   a group       for TILE_HEIGHT filters (first of their patches, number of patches)
#   a patch       (first of its weights, number of weights, first j, number of j)
#   a weight      (place in x for j = 0, place in one filter's weights, input channel)
ctypedef struct conv_t:
    linear_t linear
    Py_ssize_t ci, kh, kw
    Py_ssize_t x_row_step, x_step       # from output row to row and column to column in x
    Py_ssize_t kernel_rows, groups, patches, weights
    Py_ssize_t connections              # co x ci of 0 or 1


cdef inline void add_dweight(const conv_t* g, const block_t* b) noexcept nogil:
    """Give the gradient of every connected weight this block's share."""
    cdef const linear_t* ends = &g.linear
    cdef const Py_ssize_t* group
    cdef const Py_ssize_t* patch
    cdef const Py_ssize_t* weights
    cdef const Py_ssize_t* row
    cdef const Py_ssize_t* connected
    cdef Py_ssize_t f, o, u, p, q, height, place
    cdef patch_t t
    t.x_row_step = g.x_row_step
    t.x_step = g.x_step
    t.dy_row = ends.dy.row
    t.dy_plane = ends.dy.plane
    for f in range(count_parts(ends.co, TILE_HEIGHT)):
        height = min(<Py_ssize_t> TILE_HEIGHT, ends.co - f * TILE_HEIGHT)
        group = b.tables + g.groups + 2 * f
        for u in range(g.kh):
            row = b.tables + g.kernel_rows + 3 * u
            t.n_rows = row[1]
            for p in range(group[1]):
                patch = b.tables + g.patches + 4 * (group[0] + p)
                weights = b.tables + g.weights + 3 * patch[0]
                t.x = locate(b, &ends.x) + row[2] + patch[2] * g.x_step
                t.dy = locate(b, &ends.dy) + patch[2]
                t.dy += f * TILE_HEIGHT * ends.dy.plane + row[0] * ends.dy.row
                t.n_columns = patch[3]
                for q in range(patch[1]):
                    t.x_tap[q] = weights[3 * q]
                compute(&t, <int> height, <int> patch[1])
                for o in range(height):
                    place = ends.weight + ((f * TILE_HEIGHT + o) * g.ci * g.kh + u) * g.kw
                    connected = b.tables + g.connections + (f * TILE_HEIGHT + o) * g.ci
                    for q in range(patch[1]):
                        if connected[weights[3 * q + 2]]:
                            deposit(b, place + weights[3 * q + 1], t.sums[o * patch[1] + q])


cdef inline void conv_forward(const conv_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    linear_forward(&g.linear, b)


cdef inline void conv_backward(const conv_t* g, const block_t* b) noexcept nogil:
    """Give dweight and dbias their share; write dx."""
    add_dweight(g, b)
    linear_backward(&g.linear, b)
