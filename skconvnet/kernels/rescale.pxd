"""A line through every number, into an image that may be larger: y = scale * x + offset, dx = scale * dy.

What a larger y has around x stays as it was when its memory was made: zero.
"""

from skconvnet.kernels.lanes cimport block_t, buffer_t, lanes_t, locate, real_t


ctypedef struct rescale_t:
    buffer_t x, dx
    buffer_t y, dy                      # from where x's first element comes to lie
    Py_ssize_t channels, ho, wo         # of x
    double scale, offset


cdef inline void rescale_forward(const rescale_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* x
    cdef lanes_t* y
    cdef real_t scale = <real_t> g.scale, offset = <real_t> g.offset
    for c in range(g.channels):
        for i in range(g.ho):
            x = locate(b, &g.x) + c * g.x.plane + i * g.x.row
            y = locate(b, &g.y) + c * g.y.plane + i * g.y.row
            for j in range(g.wo):
                y[j] = x[j] * scale + offset


cdef inline void rescale_backward(const rescale_t* g, const block_t* b) noexcept nogil:
    """Write dx, if anybody wants it."""
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* dy
    cdef lanes_t* dx
    cdef real_t scale = <real_t> g.scale
    if g.dx.offset < 0:
        return
    for c in range(g.channels):
        for i in range(g.ho):
            dy = locate(b, &g.dy) + c * g.dy.plane + i * g.dy.row
            dx = locate(b, &g.dx) + c * g.dx.plane + i * g.dx.row
            for j in range(g.wo):
                dx[j] = dy[j] * scale
