"""Convolution (cross-correlation, as every framework has it): LeCun et al. 1998, section II.

    y[o, i, j] = bias[o] + sum_{c, u, v} weight[o, c, u, v] * x[c, i * sh + u - top, j * sw + v - left]

Forward and the gradient to the input are walks over tiles; this file adds the gradient to the weight,

    dweight[o, c, u, v] = sum_{lanes, i, j} dy[o, i, j] * x[c, i * sh + u - top, j * sw + v - left]
"""

from skconvnet.kernels.lanes cimport (
    LANES, MAX_LANES, block_t, deposit, lanes_t, locate, real_t, splat, sum_each
)
from skconvnet.kernels.linear cimport linear_forward, linear_t, settle_dy, write_dx
from skconvnet.kernels.tile cimport TILE_HEIGHT, TILE_WIDTH, compute, count_parts, patch_t

cdef enum:
    KERNEL_ROWS = 8         # whose gradients are summed up at a time


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
    Py_ssize_t strip                    # output rows that the first cache holds
    Py_ssize_t connections              # co x ci of 0 or 1


cdef inline void add_dweight(const conv_t* g, const block_t* b) noexcept nogil:
    """Give the gradient of every connected weight this block's share."""
    cdef const linear_t* ends = &g.linear
    cdef const Py_ssize_t* group
    cdef Py_ssize_t f, p, u
    for f in range(count_parts(ends.co, TILE_HEIGHT)):
        group = b.tables + g.groups + 2 * f
        for p in range(group[0], group[0] + group[1]):
            for u in range(count_parts(g.kh, KERNEL_ROWS)):
                add_patch(g, b, f * TILE_HEIGHT, b.tables + g.patches + 4 * p, u * KERNEL_ROWS)


cdef inline void add_patch(
    const conv_t* g, const block_t* b, Py_ssize_t first_filter, const Py_ssize_t* patch,
    Py_ssize_t first_u,
) noexcept nogil:
    """Do one patch's share, for KERNEL_ROWS kernel rows.

    Output rows come in strips that stay in the first cache while all kernel rows read them.
    """
    cdef const linear_t* ends = &g.linear
    cdef const Py_ssize_t* weights = b.tables + g.weights + 3 * patch[0]
    cdef const Py_ssize_t* row
    cdef const Py_ssize_t* connected
    cdef Py_ssize_t height = min(<Py_ssize_t> TILE_HEIGHT, ends.co - first_filter)
    cdef Py_ssize_t width = patch[1], size = height * width
    cdef Py_ssize_t n_rows = min(<Py_ssize_t> KERNEL_ROWS, g.kh - first_u)
    cdef Py_ssize_t i, o, u, q, first, end, place
    cdef const lanes_t* x = locate(b, &ends.x) + patch[2] * g.x_step
    cdef const lanes_t* dy = locate(b, &ends.dy) + patch[2] + first_filter * ends.dy.plane
    cdef lanes_t[KERNEL_ROWS * TILE_HEIGHT * TILE_WIDTH + MAX_LANES] sums
    cdef real_t* share
    cdef patch_t t
    t.x_row_step = g.x_row_step
    t.x_step = g.x_step
    t.dy_row = ends.dy.row
    t.dy_plane = ends.dy.plane
    t.n_columns = patch[3]
    for q in range(width):
        t.x_tap[q] = weights[3 * q]
    for q in range(n_rows * size):
        sums[q] = splat(0)
    for i in range(count_parts(ends.ho, g.strip)):
        for u in range(n_rows):
            row = b.tables + g.kernel_rows + 3 * (first_u + u)
            first = max(i * g.strip, row[0])
            end = min((i + 1) * g.strip, row[0] + row[1])
            if first < end:
                t.x = x + row[2] + (first - row[0]) * g.x_row_step
                t.dy = dy + first * ends.dy.row
                t.n_rows = end - first
                t.sums = &sums[u * size]
                compute(&t, <int> height, <int> width)
    for q in range(count_parts(n_rows * size, LANES)):
        sums[q] = sum_each(&sums[q * LANES])
    share = <real_t*> &sums[0]
    for u in range(n_rows):
        for o in range(height):
            place = ends.weight + ((first_filter + o) * g.ci * g.kh + first_u + u) * g.kw
            connected = b.tables + g.connections + (first_filter + o) * g.ci
            for q in range(width):
                if connected[weights[3 * q + 2]]:
                    deposit(b, place + weights[3 * q + 1], share[(u * height + o) * width + q])


cdef inline void conv_forward(const conv_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    linear_forward(&g.linear, b)


cdef inline void conv_backward(const conv_t* g, const block_t* b) noexcept nogil:
    """Give dweight and dbias their share; write dx."""
    settle_dy(&g.linear, b)
    add_dweight(g, b)
    write_dx(&g.linear, b)
