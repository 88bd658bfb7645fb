"""Dense layer, and a convolution whose kernel covers its whole input, which is the same thing.

    y[o] = bias[o] + sum_k weight[o, k] * x[k]

With one position an output, adding up the lanes of every dweight[o, k] = sum_lanes dy[o] * x[k] would
cost more than the products; so x is transposed once and lanes become inputs k.
"""

from skconvnet.kernels.lanes cimport LANES, TILE_WIDTH, block_t, locate, locate_offset, real_t
from skconvnet.kernels.linear cimport linear_forward, linear_t, settle_dy, write_dx
from skconvnet.kernels.tile cimport TILE_HEIGHT, compute, count_parts, even_share, outer_t


ctypedef struct dense_t:
    linear_t linear
    Py_ssize_t scratch                  # place in the arena for ceil(ci / LANES) * LANES vectors


cdef inline void transpose(const real_t* x, real_t* x_lanes, Py_ssize_t n, Py_ssize_t stride) noexcept nogil:
    """Turn x (n, LANES) into x_lanes (LANES, stride); columns from n on stay as they are."""
    cdef Py_ssize_t k, lane
    for k in range(n):
        for lane in range(LANES):
            x_lanes[lane * stride + k] = x[k * LANES + lane]


cdef inline void add_products(
    const block_t* b,
    const real_t* x_lanes,      # IN   (LANES, count_parts(n, LANES) * LANES)
    Py_ssize_t n,               # inputs
    const real_t* dy,           # IN   vectors, dy_stride numbers apart
    Py_ssize_t dy_stride,
    Py_ssize_t co,
    Py_ssize_t weight,          # place of the first output's n weights
    Py_ssize_t w_out,           # from output to output
) noexcept nogil:
    """Give the gradient of co x n weights their sums over the lanes of dy * x."""
    cdef Py_ssize_t n_vectors = count_parts(n, LANES)
    cdef Py_ssize_t full_width = even_share(n_vectors, TILE_WIDTH)
    cdef real_t* sums
    cdef real_t* dweight
    cdef Py_ssize_t s, o, p, q, r, k, height, width
    cdef outer_t t
    t.x_stride = n_vectors * LANES
    t.dy_stride = dy_stride
    for s in range(count_parts(co, TILE_HEIGHT)):
        o = s * TILE_HEIGHT
        height = min(<Py_ssize_t> TILE_HEIGHT, co - o)
        t.dy = dy + o * dy_stride
        for r in range(count_parts(n_vectors, full_width)):
            p = r * full_width
            width = min(full_width, n_vectors - p)
            t.x = x_lanes + p * LANES
            compute(&t, <int> height, <int> width)
            for q in range(height):
                dweight = b.dparams + weight + (o + q) * w_out + p * LANES
                sums = <real_t*> &t.sums[q * width]
                if b.first:
                    for k in range(min(width * LANES, n - p * LANES)):
                        dweight[k] = sums[k]
                else:
                    for k in range(min(width * LANES, n - p * LANES)):
                        dweight[k] += sums[k]


cdef inline void dense_forward(const dense_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    linear_forward(&g.linear, b)


cdef inline void dense_backward(const dense_t* g, const block_t* b) noexcept nogil:
    """Give dweight and dbias their share; write dx; nothing if nobody wants dy."""
    cdef const linear_t* ends = &g.linear
    cdef real_t* x_lanes = <real_t*> locate_offset(b, g.scratch)
    if ends.dy.offset < 0:
        return
    settle_dy(ends, b, 0, ends.co)
    transpose(
        <const real_t*> locate(b, &ends.x), x_lanes, ends.ci, count_parts(ends.ci, LANES) * LANES
    )
    add_products(
        b, x_lanes, ends.ci, <const real_t*> locate(b, &ends.dy), ends.dy.plane * LANES, ends.co,
        ends.weight, ends.ci,
    )
    write_dx(ends, b)
