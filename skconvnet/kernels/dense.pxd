"""Dense layer, and a convolution whose kernel covers its whole input, which is the same operation.

    y[o] = bias[o] + sum_k weight[o, k] * x[k]

There is one position per output, so the sums over the lanes of every dweight[o, k] = sum_lanes dy[o] * x[k]
would cost more than the multiplications; so x is transposed once, and lanes become inputs k.
"""

from skconvnet.kernels.block cimport (
    block_t, count_parts, divide_evenly, find_units, is_shared, locate, locate_offset
)
from skconvnet.kernels.linear cimport (
    gradients_t, linear_activation_backward, linear_forward, linear_input_gradient, linear_t
)
from skconvnet.kernels.simd cimport LANES, TILE_WIDTH, real_t
from skconvnet.kernels.team cimport range_t
from skconvnet.kernels.tile cimport TILE_HEIGHT, compute, dense_tile_t


ctypedef struct dense_t:
    linear_t linear
    gradients_t gradients
    Py_ssize_t scratch                  # offset of memory for ceil(ci / LANES) * LANES vectors


cdef inline void transpose(const real_t* x, real_t* x_lanes, Py_ssize_t n, Py_ssize_t stride) noexcept nogil:
    """Turn x (n, LANES) into x_lanes (LANES, stride); columns from n on stay as they are."""
    cdef Py_ssize_t k, lane
    for k in range(n):
        for lane in range(LANES):
            x_lanes[lane * stride + k] = x[k * LANES + lane]


cdef inline void accumulate_products(
    const block_t* b,
    const real_t* x_lanes,      # IN   (LANES, count_parts(n, LANES) * LANES)
    Py_ssize_t n,               # inputs
    const real_t* dy,           # IN   vectors, dy_stride elements apart
    Py_ssize_t dy_stride,
    Py_ssize_t co,
    Py_ssize_t weight,          # offset of the first output's n weights
    Py_ssize_t w_out,           # from output to output
) noexcept nogil:
    """Accumulate the gradient of co x n weights: sums over the lanes of dy * x."""
    cdef Py_ssize_t n_vectors = count_parts(n, LANES)
    cdef Py_ssize_t full_width = divide_evenly(n_vectors, TILE_WIDTH)
    cdef real_t* sums
    cdef real_t* dweight
    cdef Py_ssize_t s, o, p, q, r, k, height, width
    cdef dense_tile_t t
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


cdef inline void dense_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    linear_forward(&(<const dense_t*> fields).linear, b)


cdef inline void dense_receive(const void* fields, const block_t* b) noexcept nogil:
    """Backpropagate dy through the activation in place and accumulate dbias, if the block is shared."""
    cdef const dense_t* g = <const dense_t*> fields
    cdef range_t units = find_units(b, g.linear.co)
    if g.gradients.dy.offset >= 0 and is_shared(b):
        linear_activation_backward(&g.linear, &g.gradients.dy, b, units.first, units.end)


cdef inline void dense_backward(const void* fields, const block_t* b) noexcept nogil:
    """Accumulate dweight and dbias; write dx, if required; do nothing if dy is not required.

    A thread transposes only the inputs whose weights are its own.
    """
    cdef const dense_t* g = <const dense_t*> fields
    cdef const linear_t* linear = &g.linear
    cdef const gradients_t* d = &g.gradients
    cdef real_t* x_lanes = <real_t*> locate_offset(b, g.scratch)
    cdef range_t vectors = find_units(b, count_parts(linear.ci, LANES))
    cdef Py_ssize_t first = vectors.first * LANES, n = min(vectors.end * LANES, linear.ci) - first
    if d.dy.offset < 0:
        return
    if not is_shared(b):
        linear_activation_backward(linear, &d.dy, b, 0, linear.co)
    if n > 0:
        transpose(
            <const real_t*> (locate(b, &linear.x) + first), x_lanes, n, count_parts(n, LANES) * LANES
        )
        accumulate_products(
            b, x_lanes, n, <const real_t*> locate(b, &d.dy), d.dy.plane * LANES, linear.co,
            linear.weight + first, linear.ci,
        )
    if d.dx.offset >= 0:
        linear_input_gradient(linear, d, b)
