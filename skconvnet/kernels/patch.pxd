"""The gradient to a convolution's weight, patch by patch.

    dweight[o, c, u, v] = sum_{lanes, i, j} dy[o, i, j] * x[c, i * sh + u - top, j * sw + v - left]
"""

from skconvnet.kernels.lanes cimport (
    LANES, MAX_LANES, block_t, buffer_t, inlined_t, lanes_t, locate, real_t, splat, sum_each
)
from skconvnet.kernels.tile cimport TILE_HEIGHT, TILE_WIDTH, compute, count_parts, patch_t

cdef enum:
    PATCH_FIELDS = 6        # numbers in the table for a patch
    KERNEL_ROWS = 8         # of a patch, at most
    PATCH_SIZE = KERNEL_ROWS * TILE_HEIGHT * TILE_WIDTH + MAX_LANES     # its weights, in whole vectors
    PATCH_VECTORS = KERNEL_ROWS * TILE_HEIGHT * TILE_WIDTH // 2         # those vectors, of 2 at least


# How the gradient is cut into patches of TILE_HEIGHT filters by KERNEL_ROWS kernel rows by a few
# weights of a row.  In the tables:
#   a kernel row  (first i that it reads for, number of i, place in x of the first i's row)
#   a patch       (first filter, first kernel row, first of its weights, their number, first j, number of j)
#   a weight      (place in x for j = 0, place in one filter's weights, input channel)
ctypedef struct patches_t:
    buffer_t x, dy
    Py_ssize_t ci, co, ho, kh, kw
    Py_ssize_t x_row_step, x_step       # from output row to row and column to column in x
    Py_ssize_t kernel_rows, n_patches, patches, weights
    Py_ssize_t strip                    # output rows that the first cache holds
    Py_ssize_t connections              # co x ci of 0 or 1


cdef inline Py_ssize_t count_vectors(const patches_t* g, const Py_ssize_t* patch) noexcept nogil:
    """How many vectors a patch's weights fill."""
    cdef Py_ssize_t height = min(<Py_ssize_t> TILE_HEIGHT, g.co - patch[0])
    cdef Py_ssize_t n_rows = min(<Py_ssize_t> KERNEL_ROWS, g.kh - patch[1])
    return count_parts(n_rows * height * patch[3], LANES)


cdef inline Py_ssize_t sum_patch(
    const patches_t* g, const block_t* b, const Py_ssize_t* patch, lanes_t* sums
) noexcept nogil:
    """Write this block's share of a patch, in the order (kernel row, filter, weight).

    Gives the number of vectors that it fills; sums has PATCH_SIZE.  Output rows come in strips that
    stay in the first cache while all kernel rows read them.
    """
    cdef const Py_ssize_t* weights = b.tables + g.weights + 3 * patch[2]
    cdef const Py_ssize_t* row
    cdef Py_ssize_t first_filter = patch[0], first_u = patch[1], width = patch[3]
    cdef Py_ssize_t height = min(<Py_ssize_t> TILE_HEIGHT, g.co - first_filter), size = height * width
    cdef Py_ssize_t n_rows = min(<Py_ssize_t> KERNEL_ROWS, g.kh - first_u)
    cdef Py_ssize_t n_vectors = count_vectors(g, patch)
    cdef Py_ssize_t i, u, q, start, end
    cdef const lanes_t* x = locate(b, &g.x) + patch[4] * g.x_step
    cdef const lanes_t* dy = locate(b, &g.dy) + patch[4] + first_filter * g.dy.plane
    cdef bint[KERNEL_ROWS] begun
    cdef patch_t t
    t.x_row_step = g.x_row_step
    t.x_step = g.x_step
    t.dy_row = g.dy.row
    t.dy_plane = g.dy.plane
    t.n_columns = patch[5]
    for q in range(width):
        t.x_tap[q] = weights[3 * q]
    for u in range(n_rows):
        begun[u] = False
    for i in range(count_parts(g.ho, g.strip)):
        for u in range(n_rows):
            row = b.tables + g.kernel_rows + 3 * (first_u + u)
            start = max(i * g.strip, row[0])
            end = min((i + 1) * g.strip, row[0] + row[1])
            if start < end:
                t.x = x + row[2] + (start - row[0]) * g.x_row_step
                t.dy = dy + start * g.dy.row
                t.n_rows = end - start
                t.sums = &sums[u * size]
                t.begun = begun[u]
                begun[u] = True
                compute(&t, <int> height, <int> width)
    for u in range(n_rows):
        for q in range(u * size, (u + 1) * size if not begun[u] else 0):
            sums[q] = splat(0)
    for q in range(n_rows * size, n_vectors * LANES):
        sums[q] = splat(0)
    for q in range(n_vectors):
        sums[q] = sum_each(&sums[q * LANES])
    return n_vectors


cdef inline inlined_t deposit_patch(
    const patches_t* g,
    const block_t* b,
    const Py_ssize_t* patch,
    const real_t* shares,       # IN   (n, stride): the n gradients that stand for each weight
    Py_ssize_t stride,
    const int n,                # a literal at the call
    real_t* dweight,            # IN OUT, or OUT in a group's first block
) noexcept nogil:
    """Give the gradient of every connected weight of a patch this block's share."""
    cdef const Py_ssize_t* weights = b.tables + g.weights + 3 * patch[2]
    cdef const Py_ssize_t* connected
    cdef Py_ssize_t height = min(<Py_ssize_t> TILE_HEIGHT, g.co - patch[0])
    cdef Py_ssize_t n_rows = min(<Py_ssize_t> KERNEL_ROWS, g.kh - patch[1])
    cdef Py_ssize_t o, u, q
    cdef real_t* out
    cdef real_t* at
    cdef int v
    for u in range(n_rows):
        for o in range(height):
            out = dweight + ((patch[0] + o) * g.ci * g.kh + patch[1] + u) * g.kw * n
            connected = b.tables + g.connections + (patch[0] + o) * g.ci
            for q in range(patch[3]):
                if connected[weights[3 * q + 2]]:
                    at = out + weights[3 * q + 1] * n
                    for v in range(n):
                        at[v] = shares[v * stride] if b.first else at[v] + shares[v * stride]
                shares += 1


cdef inline void correlate_patch(
    const patches_t* g, const block_t* b, Py_ssize_t p, real_t* dweight
) noexcept nogil:
    """Give the gradient of every connected weight of a patch this block's share."""
    cdef lanes_t[PATCH_SIZE] sums
    cdef const Py_ssize_t* patch = b.tables + g.patches + PATCH_FIELDS * p
    sum_patch(g, b, patch, sums)
    deposit_patch(g, b, patch, <const real_t*> &sums[0], 0, 1, dweight)
