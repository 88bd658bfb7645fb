"""The two ends of layers side by side: a split lets them read one tensor, a merge joins two of their outputs.

    split       y is x                                  dx = dx + dy
    merge       y = activation(x + z)                   dx = dz = dy before the activation
                y = activation(x * z)                   dx = dy * z, dz = dy * x
                y = activation(max(x, z))               the larger one gets dy; x does if they are equal

The backward pass of a split comes after those of all other readers of its x; these have written dx.
A merge overwrites dy with dx.  The factor z may be one pixel, which multiplies its whole channel.
"""

from skconvnet.kernels.activation cimport activate_row, activation_backward_row
from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units
from skconvnet.kernels.simd cimport lanes_t, larger, splat, where_positive
from skconvnet.kernels.team cimport cut, range_t

cdef enum merge_kind:
    SUM
    PRODUCT
    MAXIMUM


ctypedef struct split_t:
    buffer_t dx, dy
    Py_ssize_t channels, ho, wo


ctypedef struct merge_t:
    buffer_t x, z, y, dz, dy
    Py_ssize_t channels, ho, wo
    int kind
    bint broadcast                      # z is one pixel
    int activation
    double slope


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


cdef inline void merge_row(
    const merge_t* g, const lanes_t* x, const lanes_t* z, lanes_t* y
) noexcept nogil:
    """Write a row of y before the activation."""
    cdef Py_ssize_t j
    if g.kind == SUM:
        for j in range(g.wo):
            y[j] = x[j] + z[j]
    elif g.kind == MAXIMUM:
        for j in range(g.wo):
            y[j] = larger(x[j], z[j])
    elif g.broadcast:
        for j in range(g.wo):
            y[j] = x[j] * z[0]
    else:
        for j in range(g.wo):
            y[j] = x[j] * z[j]


cdef inline void merge_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const merge_t* g = <const merge_t*> fields
    cdef Py_ssize_t c, i
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef lanes_t* y
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            y = find_row(b, &g.y, c, i)
            merge_row(g, find_row(b, &g.x, c, i), find_row(b, &g.z, c, 0 if g.broadcast else i), y)
            activate_row(y, y, g.wo, g.activation, g.slope)


cdef inline void merge_backward_row(
    const merge_t* g, const lanes_t* x, const lanes_t* z, lanes_t* dz, lanes_t* dy
) noexcept nogil:
    """Write dz of a row, if not NULL, or add to it if it is one pixel; overwrite dy with dx."""
    cdef Py_ssize_t j
    cdef lanes_t total = splat(0)
    if g.kind == PRODUCT and g.broadcast:
        for j in range(g.wo):
            total = total + dy[j] * x[j]
            dy[j] = dy[j] * z[0]
        if dz != NULL:
            dz[0] = dz[0] + total
    elif g.kind == PRODUCT:
        for j in range(g.wo):
            if dz != NULL:
                dz[j] = dy[j] * x[j]
            dy[j] = dy[j] * z[j]
    elif g.kind == MAXIMUM:
        for j in range(g.wo):
            if dz != NULL:
                dz[j] = where_positive(z[j] - x[j], dy[j], splat(0))
            dy[j] = where_positive(z[j] - x[j], splat(0), dy[j])
    elif dz != NULL:
        for j in range(g.wo):
            dz[j] = dy[j]


cdef inline void merge_backward(const void* fields, const block_t* b) noexcept nogil:
    """Backpropagate dy through the activation and to x in place; write dz, if required.

    Threads share rows, or whole channels if the rows of a channel add up to one pixel of dz.
    """
    cdef const merge_t* g = <const merge_t*> fields
    cdef Py_ssize_t c, i, parts = 1 if g.broadcast else g.ho
    cdef range_t rows, units = find_units(b, g.channels * parts)
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t* dz = NULL
    if g.dy.offset < 0:
        return
    for c in range(g.channels):
        rows = cut(units, c * parts, parts)
        if g.broadcast and rows.end > rows.first:
            rows.end = g.ho
            if g.dz.offset >= 0:
                find_row(b, &g.dz, c, 0)[0] = splat(0)
        for i in range(rows.first, rows.end):
            y = find_row(b, &g.y, c, i)
            dy = find_row(b, &g.dy, c, i)
            activation_backward_row(y, y, dy, g.wo, g.activation, g.slope)
            if g.dz.offset >= 0:
                dz = find_row(b, &g.dz, c, 0 if g.broadcast else i)
            merge_backward_row(
                g, find_row(b, &g.x, c, i), find_row(b, &g.z, c, 0 if g.broadcast else i), dz, dy
            )
