"""The gradient to a convolution's weight, tile by tile.

    dweight[o, c, u, v] = sum_{lanes, i, j} dy[o, i, j] * x[c, i * sh + u - top, j * sw + v - left]
"""

from skconvnet.kernels.block cimport accumulate_at, block_t, buffer_t, count_parts, locate
from skconvnet.kernels.simd cimport LANES, MAX_LANES, inlined_t, lanes_t, real_t, splat, sum_each
from skconvnet.kernels.tile cimport TILE_HEIGHT, TILE_WIDTH, compute, weight_tile_t

cdef enum:
    TILE_FIELDS = 6         # table entries for a tile
    KERNEL_ROWS = 8         # of a tile, at most
    SUMS_SIZE = KERNEL_ROWS * TILE_HEIGHT * TILE_WIDTH + MAX_LANES      # weights of a tile, in whole vectors


# The gradient is cut into tiles of TILE_HEIGHT filters by KERNEL_ROWS kernel rows by a few weights of a
# row.  In the tables:
#   a kernel row  (first i that it reads for, number of i, offset in x of the row of the first i)
#   a tile        (first filter, first kernel row, first of its weights, their number, first j, number of j)
#   a weight      (offset in x for j = 0, offset in the weights of one filter and kernel row, input channel)
ctypedef struct weight_tiles_t:
    buffer_t x, dy
    Py_ssize_t ci, co, ho, kh
    Py_ssize_t w_out, w_row             # in the weights, from filter to filter and from row to row
    Py_ssize_t x_row_step, x_step       # from output row to row and column to column in x
    Py_ssize_t kernel_rows, n_tiles, tiles, weights
    Py_ssize_t band_rows                # output rows that the first cache holds
    Py_ssize_t connections              # co x ci of 0 or 1


cdef inline Py_ssize_t count_vectors(const weight_tiles_t* g, const Py_ssize_t* tile) noexcept nogil:
    """Return how many vectors the weights of a tile fill."""
    cdef Py_ssize_t height = min(<Py_ssize_t> TILE_HEIGHT, g.co - tile[0])
    cdef Py_ssize_t n_rows = min(<Py_ssize_t> KERNEL_ROWS, g.kh - tile[1])
    return count_parts(n_rows * height * tile[3], LANES)


cdef inline Py_ssize_t sum_weight_tile(
    const weight_tiles_t* g, const block_t* b, const Py_ssize_t* tile, lanes_t* sums
) noexcept nogil:
    """Write the contribution of this block to a tile, in the order (kernel row, filter, weight).

    Returns the number of vectors that it fills; sums has SUMS_SIZE.  Output rows come in bands that
    stay in the first cache while all kernel rows read them.
    """
    cdef const Py_ssize_t* weights = b.tables + g.weights + 3 * tile[2]
    cdef const Py_ssize_t* row
    cdef Py_ssize_t first_filter = tile[0], first_u = tile[1], width = tile[3]
    cdef Py_ssize_t height = min(<Py_ssize_t> TILE_HEIGHT, g.co - first_filter), size = height * width
    cdef Py_ssize_t n_rows = min(<Py_ssize_t> KERNEL_ROWS, g.kh - first_u)
    cdef Py_ssize_t n_vectors = count_vectors(g, tile)
    cdef Py_ssize_t i, u, q, start, end
    cdef const lanes_t* x = locate(b, &g.x) + tile[4] * g.x_step
    cdef const lanes_t* dy = locate(b, &g.dy) + tile[4] + first_filter * g.dy.plane
    cdef bint[KERNEL_ROWS] accumulate
    cdef weight_tile_t t
    t.x_row_step = g.x_row_step
    t.x_step = g.x_step
    t.dy_row = g.dy.row
    t.dy_plane = g.dy.plane
    t.n_columns = tile[5]
    for q in range(width):
        t.x_tap[q] = weights[3 * q]
    for u in range(n_rows):
        accumulate[u] = False
    for i in range(count_parts(g.ho, g.band_rows)):
        for u in range(n_rows):
            row = b.tables + g.kernel_rows + 3 * (first_u + u)
            start = max(i * g.band_rows, row[0])
            end = min((i + 1) * g.band_rows, row[0] + row[1])
            if start < end:
                t.x = x + row[2] + (start - row[0]) * g.x_row_step
                t.dy = dy + start * g.dy.row
                t.n_rows = end - start
                t.sums = &sums[u * size]
                t.accumulate = accumulate[u]
                accumulate[u] = True
                compute(&t, <int> height, <int> width)
    for u in range(n_rows):
        for q in range(u * size, (u + 1) * size if not accumulate[u] else 0):
            sums[q] = splat(0)
    for q in range(n_rows * size, n_vectors * LANES):
        sums[q] = splat(0)
    for q in range(n_vectors):
        sums[q] = sum_each(&sums[q * LANES])
    return n_vectors


cdef inline void accumulate_weight_tile(
    const weight_tiles_t* g,
    const block_t* b,
    const Py_ssize_t* tile,
    const real_t* sums,         # IN
    real_t* dweight,            # IN OUT, or OUT in the first block of a shard
) noexcept nogil:
    """Add sums to the gradient of every connected weight of a tile."""
    cdef const Py_ssize_t* weights = b.tables + g.weights + 3 * tile[2]
    cdef const Py_ssize_t* connected
    cdef Py_ssize_t height = min(<Py_ssize_t> TILE_HEIGHT, g.co - tile[0])
    cdef Py_ssize_t n_rows = min(<Py_ssize_t> KERNEL_ROWS, g.kh - tile[1])
    cdef Py_ssize_t o, u, q
    cdef real_t* out
    for u in range(n_rows):
        for o in range(height):
            out = dweight + (tile[0] + o) * g.w_out + (tile[1] + u) * g.w_row
            connected = b.tables + g.connections + (tile[0] + o) * g.ci
            for q in range(tile[3]):
                if connected[weights[3 * q + 2]]:
                    accumulate_at(b, out + weights[3 * q + 1], sums[0])
                sums += 1


cdef inline void correlate_weight_tile(
    const weight_tiles_t* g, const block_t* b, Py_ssize_t n, real_t* dweight
) noexcept nogil:
    """Add the contribution of this block to the gradient of every connected weight of tile n."""
    cdef lanes_t[SUMS_SIZE] sums
    cdef const Py_ssize_t* tile = b.tables + g.tiles + TILE_FIELDS * n
    sum_weight_tile(g, b, tile, sums)
    accumulate_weight_tile(g, b, tile, <const real_t*> &sums[0], dweight)
