"""An affine map of every element, into an image that may be larger: y = scale * x + offset, dx = scale * dy.

The elements of a larger y around x keep the value that its memory was allocated with: zero.
"""

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units
from skconvnet.kernels.simd cimport lanes_t, real_t
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct rescale_t:
    buffer_t x, dx
    buffer_t y, dy                      # from the element that the first one of x becomes
    Py_ssize_t channels, ho, wo         # of x
    double scale, offset


cdef inline void rescale_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const rescale_t* g = <const rescale_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t* y
    cdef real_t scale = <real_t> g.scale, offset = <real_t> g.offset
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            y = find_row(b, &g.y, c, i)
            for j in range(g.wo):
                y[j] = x[j] * scale + offset


cdef inline void rescale_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write dx, if required."""
    cdef const rescale_t* g = <const rescale_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* dy
    cdef lanes_t* dx
    cdef real_t scale = <real_t> g.scale
    if g.dx.offset < 0:
        return
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            dy = find_row(b, &g.dy, c, i)
            dx = find_row(b, &g.dx, c, i)
            for j in range(g.wo):
                dx[j] = dy[j] * scale
