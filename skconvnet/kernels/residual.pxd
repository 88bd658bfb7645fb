"""The two ends of a residual connection: a split copies its input, an addition adds two.

    split       y = x                                   dx = dx + dy
    addition    y = activation(x + z)                   dx = dz = dy before the activation

The backward pass of a split comes after those of all other readers of its x; these have written dx.
"""

from skconvnet.kernels.activation cimport activate_row, activation_backward_row
from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units
from skconvnet.kernels.simd cimport lanes_t
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct split_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, ho, wo


ctypedef struct addition_t:
    buffer_t x, z, y, dx, dz, dy        # dx and dy are the same buffer
    Py_ssize_t channels, ho, wo
    int activation
    double slope


cdef inline void split_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const split_t* g = <const split_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t* y
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            y = find_row(b, &g.y, c, i)
            for j in range(g.wo):
                y[j] = x[j]


cdef inline void split_backward(const void* fields, const block_t* b) noexcept nogil:
    """Add dy to dx, if required."""
    cdef const split_t* g = <const split_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* dy
    cdef lanes_t* dx
    if g.dx.offset < 0:
        return
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            dy = find_row(b, &g.dy, c, i)
            dx = find_row(b, &g.dx, c, i)
            for j in range(g.wo):
                dx[j] = dx[j] + dy[j]


cdef inline void addition_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const addition_t* g = <const addition_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef const lanes_t* z
    cdef lanes_t* y
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            z = find_row(b, &g.z, c, i)
            y = find_row(b, &g.y, c, i)
            for j in range(g.wo):
                y[j] = x[j] + z[j]
            activate_row(y, y, g.wo, g.activation, g.slope)


cdef inline void addition_backward(const void* fields, const block_t* b) noexcept nogil:
    """Backpropagate dy, which is dx, through the activation in place, and copy it to dz, if required."""
    cdef const addition_t* g = <const addition_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t* dz
    if g.dy.offset < 0:
        return
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            dy = find_row(b, &g.dy, c, i)
            y = find_row(b, &g.y, c, i)
            activation_backward_row(y, y, dy, g.wo, g.activation, g.slope)
            if g.dz.offset >= 0:
                dz = find_row(b, &g.dz, c, i)
                for j in range(g.wo):
                    dz[j] = dy[j]
