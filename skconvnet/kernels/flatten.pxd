"""From images to vectors: they share their values; a gradient with columns of padding needs a copy."""

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units, locate
from skconvnet.kernels.simd cimport lanes_t
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct flatten_t:
    buffer_t dx, dy                     # an image with zero columns at its sides; a vector
    Py_ssize_t channels, hi, wi


cdef inline void flatten_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write dx, if required."""
    cdef const flatten_t* g = <const flatten_t*> fields
    cdef const lanes_t* dy
    cdef lanes_t* dx
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.hi)
    if g.dx.offset < 0:
        return
    for c in range(g.channels):
        rows = cut(units, c * g.hi, g.hi)
        for i in range(rows.first, rows.end):
            dx = find_row(b, &g.dx, c, i)
            dy = locate(b, &g.dy) + (c * g.hi + i) * g.wi
            for j in range(g.wi):
                dx[j] = dy[j]
