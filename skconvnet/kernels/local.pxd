"""Convolution whose weights are not shared: every position has its own (LeCun 1989).

    y[o, i, j] = bias[o, i, j]
                 + sum_{c, u, v} weight[o, i, j, c, u, v] * x[c, i * sh + u - top, j * sw + v - left]

Forward and the gradient to the input are walks, whose taps lie elsewhere in the weights for every
position.  The gradient to the weights is at each position that of a dense layer on its patch.
"""

from skconvnet.kernels.activation cimport activate_row, slope_row
from skconvnet.kernels.dense cimport add_products, transpose
from skconvnet.kernels.lanes cimport (
    LANES, MAX_LANES, block_t, buffer_t, deposit_sums, lanes_t, locate, locate_offset, real_t
)
from skconvnet.kernels.tile cimport count_parts
from skconvnet.kernels.walk cimport walk, walk_t


ctypedef struct local_t:
    buffer_t x, y, dx, dy
    Py_ssize_t weight, bias             # places in the parameter vector; bias < 0: none
    Py_ssize_t ci, hi, wi, co, ho, wo
    Py_ssize_t kh, kw, sh, sw, top, left
    walk_t forward, backward
    Py_ssize_t scratch                  # place in the arena for a patch, transposed
    int activation
    double slope


cdef inline void local_forward(const local_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef Py_ssize_t o, i, j
    cdef lanes_t* y
    cdef const real_t* bias
    walk(
        &g.forward, b, locate(b, &g.x), g.x.plane, b.params + g.weight, NULL, locate(b, &g.y),
        g.y.plane, False, NULL, 0,
    )
    for o in range(g.co):
        for i in range(g.ho):
            y = locate(b, &g.y) + o * g.y.plane + i * g.y.row
            if g.bias >= 0:
                bias = b.params + g.bias + (o * g.ho + i) * g.wo
                for j in range(g.wo):
                    y[j] = y[j] + bias[j]
            activate_row(y, y, g.wo, g.activation, g.slope)


cdef inline void settle_local_dy(const local_t* g, const block_t* b) noexcept nogil:
    """Bring dy before the activation and give dbias its share."""
    cdef Py_ssize_t o, i, j, k, n, start
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t[MAX_LANES] some
    for o in range(g.co):
        for i in range(g.ho):
            y = locate(b, &g.y) + o * g.y.plane + i * g.y.row
            dy = locate(b, &g.dy) + o * g.dy.plane + i * g.dy.row
            slope_row(y, y, dy, g.wo, g.activation, g.slope)
            if g.bias >= 0:
                for k in range(count_parts(g.wo, LANES)):
                    start = k * LANES
                    n = min(LANES, g.wo - start)
                    for j in range(n):
                        some[j] = dy[start + j]
                    deposit_sums(b, g.bias + (o * g.ho + i) * g.wo + start, some, n)


cdef inline void transpose_patch(
    const local_t* g, const block_t* b, Py_ssize_t i, Py_ssize_t j, real_t* x_lanes, Py_ssize_t stride
) noexcept nogil:
    """Write what position (i, j) reads, lane by lane: zeros beyond the image."""
    cdef Py_ssize_t c, u, v, r, s, k = 0, lane
    for c in range(g.ci):
        for u in range(g.kh):
            r = i * g.sh + u - g.top
            for v in range(g.kw):
                s = j * g.sw + v - g.left
                if 0 <= r < g.hi and 0 <= s < g.wi:
                    transpose(
                        <const real_t*> (locate(b, &g.x) + c * g.x.plane + r * g.x.row + s),
                        x_lanes + k, 1, stride,
                    )
                else:
                    for lane in range(LANES):
                        x_lanes[lane * stride + k] = 0
                k += 1


cdef inline void local_backward(const local_t* g, const block_t* b) noexcept nogil:
    """Give dweight and dbias their share; write dx, if anybody wants it; nothing if nobody wants dy."""
    cdef Py_ssize_t i, j, size = g.ci * g.kh * g.kw
    cdef real_t* x_lanes = <real_t*> locate_offset(b, g.scratch)
    if g.dy.offset < 0:
        return
    settle_local_dy(g, b)
    for i in range(g.ho):
        for j in range(g.wo):
            transpose_patch(g, b, i, j, x_lanes, count_parts(size, LANES) * LANES)
            add_products(
                b, x_lanes, size, <const real_t*> (locate(b, &g.dy) + i * g.dy.row + j),
                g.dy.plane * LANES, g.co, g.weight + (i * g.wo + j) * size, g.ho * g.wo * size,
            )
    if g.dx.offset < 0:
        return
    walk(
        &g.backward, b, locate(b, &g.dy), g.dy.plane, b.params + g.weight, NULL, locate(b, &g.dx),
        g.dx.plane, False, NULL, 0,
    )
