"""Convolution whose weights are not shared: every position has its own (LeCun 1989).

    y[o, i, j] = bias[o, i, j]
                 + sum_{c, u, v} weight[o, i, j, c, u, v] * x[c, i * sh + u - top, j * sw + v - left]

The forward pass and the gradient to the input are output tiles whose taps have other offsets in the weights
at every position.  The gradient to the weights at a position is that of a dense layer on its im2col patch.
"""

from skconvnet.kernels.activation cimport activation_backward_row
from skconvnet.kernels.block cimport (
    accumulate_sums, block_t, buffer_t, count_parts, find_row, find_units, is_shared, locate, locate_offset
)
from skconvnet.kernels.dense cimport accumulate_products, transpose
from skconvnet.kernels.output_tiles cimport bind, compute_output_tiles, operands_t, output_tiles_t
from skconvnet.kernels.simd cimport LANES, MAX_LANES, lanes_t, real_t
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct local_t:
    buffer_t x, y, dx, dy
    Py_ssize_t weight, bias             # offsets in the parameter vector; bias < 0: none
    Py_ssize_t ci, hi, wi, co, ho, wo
    Py_ssize_t kh, kw, sh, sw, top, left
    output_tiles_t forward, backward
    Py_ssize_t scratch                  # offset of memory for a patch, transposed
    int activation
    double slope


cdef inline void local_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const local_t* g = <const local_t*> fields
    cdef operands_t p = bind(
        locate(b, &g.x), g.x.plane, b.params + g.weight, locate(b, &g.y), g.y.plane
    )
    if g.bias >= 0:
        p.bias = b.params + g.bias
    p.activation, p.slope = g.activation, g.slope
    compute_output_tiles(&g.forward, b, &p, find_units(b, g.forward.n_tiles))


cdef inline void local_activation_backward(const local_t* g, const block_t* b) noexcept nogil:
    """Backpropagate dy through the activation in place; accumulate dbias."""
    cdef Py_ssize_t o, i, j, k, n, start
    cdef range_t rows, units = find_units(b, g.co * g.ho)
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t[MAX_LANES] some
    for o in range(g.co):
        rows = cut(units, o * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            y = find_row(b, &g.y, o, i)
            dy = find_row(b, &g.dy, o, i)
            activation_backward_row(y, y, dy, g.wo, g.activation, g.slope)
            if g.bias >= 0:
                for k in range(count_parts(g.wo, LANES)):
                    start = k * LANES
                    n = min(LANES, g.wo - start)
                    for j in range(n):
                        some[j] = dy[start + j]
                    accumulate_sums(b, g.bias + (o * g.ho + i) * g.wo + start, some, n)


cdef inline void transpose_patch(
    const local_t* g, const block_t* b, Py_ssize_t i, Py_ssize_t j, real_t* x_lanes, Py_ssize_t stride
) noexcept nogil:
    """Write the patch that position (i, j) reads, lane by lane: zeros beyond the image."""
    cdef Py_ssize_t c, u, v, r, s, k = 0, lane
    for c in range(g.ci):
        for u in range(g.kh):
            r = i * g.sh + u - g.top
            for v in range(g.kw):
                s = j * g.sw + v - g.left
                if 0 <= r < g.hi and 0 <= s < g.wi:
                    transpose(<const real_t*> (find_row(b, &g.x, c, r) + s), x_lanes + k, 1, stride)
                else:
                    for lane in range(LANES):
                        x_lanes[lane * stride + k] = 0
                k += 1


cdef inline void local_receive(const void* fields, const block_t* b) noexcept nogil:
    """Backpropagate dy through the activation in place and accumulate dbias, if the block is shared."""
    cdef const local_t* g = <const local_t*> fields
    if g.dy.offset >= 0 and is_shared(b):
        local_activation_backward(g, b)


cdef inline void local_backward(const void* fields, const block_t* b) noexcept nogil:
    """Accumulate dweight and dbias; write dx, if required; do nothing if dy is not required."""
    cdef const local_t* g = <const local_t*> fields
    cdef operands_t p
    cdef Py_ssize_t i, j, size = g.ci * g.kh * g.kw
    cdef range_t columns, units = find_units(b, g.ho * g.wo)
    cdef real_t* x_lanes = <real_t*> locate_offset(b, g.scratch)
    if g.dy.offset < 0:
        return
    if not is_shared(b):
        local_activation_backward(g, b)
    for i in range(g.ho):
        columns = cut(units, i * g.wo, g.wo)
        for j in range(columns.first, columns.end):
            transpose_patch(g, b, i, j, x_lanes, count_parts(size, LANES) * LANES)
            accumulate_products(
                b, x_lanes, size, <const real_t*> (find_row(b, &g.dy, 0, i) + j),
                g.dy.plane * LANES, g.co, g.weight + (i * g.wo + j) * size, g.ho * g.wo * size,
            )
    if g.dx.offset < 0:
        return
    p = bind(locate(b, &g.dy), g.dy.plane, b.params + g.weight, locate(b, &g.dx), g.dx.plane)
    compute_output_tiles(&g.backward, b, &p, find_units(b, g.backward.n_tiles))
