"""From images to vectors: the values are one already; gradients may have to make room for padding."""

from skconvnet.kernels.lanes cimport block_t, buffer_t, lanes_t, locate


ctypedef struct flatten_t:
    buffer_t dx, dy                     # an image with zero columns at its sides; a vector
    Py_ssize_t channels, hi, wi


cdef inline void flatten_backward(const flatten_t* g, const block_t* b) noexcept nogil:
    """Write dx, if anybody wants it."""
    cdef const lanes_t* dy = locate(b, &g.dy)
    cdef lanes_t* dx
    cdef Py_ssize_t c, i, j
    if g.dx.offset < 0:
        return
    for c in range(g.channels):
        for i in range(g.hi):
            dx = locate(b, &g.dx) + c * g.dx.plane + i * g.dx.row
            for j in range(g.wi):
                dx[j] = dy[j]
            dy = dy + g.wi
