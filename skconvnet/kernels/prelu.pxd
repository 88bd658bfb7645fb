"""ReLU with a slope for each channel that is learnt: He, Zhang, Ren and Sun, ICCV 2015, equations 1 and 8.

    y = x where x > 0, else weight * x          dweight = sum of x * dy where x <= 0
"""

from skconvnet.kernels.block cimport accumulate, block_t, buffer_t, find_row, find_units
from skconvnet.kernels.simd cimport lanes_t, real_t, splat, sum_lanes, where_positive
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct prelu_t:
    buffer_t x, y, dy                   # dx overwrites dy
    Py_ssize_t channels, ho, wo
    Py_ssize_t weight                   # offset in the parameter vector


cdef inline void prelu_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const prelu_t* g = <const prelu_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef real_t slope
    cdef const lanes_t* x
    cdef lanes_t* y
    for c in range(g.channels):
        slope = b.params[g.weight + c]
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            y = find_row(b, &g.y, c, i)
            for j in range(g.wo):
                y[j] = where_positive(x[j], x[j], x[j] * slope)


cdef inline void prelu_backward(const void* fields, const block_t* b) noexcept nogil:
    """Accumulate dweight, and overwrite dy with dx, if required."""
    cdef const prelu_t* g = <const prelu_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t channels = find_units(b, g.channels)
    cdef real_t slope
    cdef const lanes_t* x
    cdef lanes_t* dy
    cdef lanes_t total
    if g.dy.offset < 0:
        return
    for c in range(channels.first, channels.end):
        slope = b.params[g.weight + c]
        total = splat(0)
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            dy = find_row(b, &g.dy, c, i)
            for j in range(g.wo):
                total = total + where_positive(x[j], splat(0), x[j] * dy[j])
                dy[j] = where_positive(x[j], dy[j], dy[j] * slope)
        accumulate(b, g.weight + c, sum_lanes(total))
