"""Where a network branches and joins again: a fork copies an image, an addition adds two.

    fork        y = x                                   dx = dx + dy
    addition    y = activation(x + z)                   dx = dz = dy before the activation

A fork goes backward after all who read its x; those have written dx already.
"""

from skconvnet.kernels.activation cimport activate_row, slope_row
from skconvnet.kernels.lanes cimport block_t, buffer_t, lanes_t, locate


ctypedef struct branch_t:
    buffer_t x, z, y, dx, dz, dy        # z: of an addition, whose dx and dy are the same buffer
    Py_ssize_t channels, ho, wo
    int activation
    double slope


cdef inline lanes_t* find_row(
    const block_t* b, const buffer_t* place, Py_ssize_t c, Py_ssize_t i
) noexcept nogil:
    """Point at the first pixel of a row."""
    return locate(b, place) + c * place.plane + i * place.row


cdef inline void fork_forward(const branch_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* x
    cdef lanes_t* y
    for c in range(g.channels):
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            y = find_row(b, &g.y, c, i)
            for j in range(g.wo):
                y[j] = x[j]


cdef inline void fork_backward(const branch_t* g, const block_t* b) noexcept nogil:
    """Add to dx, if anybody wants it."""
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* dy
    cdef lanes_t* dx
    if g.dx.offset < 0:
        return
    for c in range(g.channels):
        for i in range(g.ho):
            dy = find_row(b, &g.dy, c, i)
            dx = find_row(b, &g.dx, c, i)
            for j in range(g.wo):
                dx[j] = dx[j] + dy[j]


cdef inline void addition_forward(const branch_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* x
    cdef const lanes_t* z
    cdef lanes_t* y
    for c in range(g.channels):
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            z = find_row(b, &g.z, c, i)
            y = find_row(b, &g.y, c, i)
            for j in range(g.wo):
                y[j] = x[j] + z[j]
            activate_row(y, y, g.wo, g.activation, g.slope)


cdef inline void addition_backward(const branch_t* g, const block_t* b) noexcept nogil:
    """Bring dy, which is dx, before the activation, and write dz, if anybody wants it."""
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t* dz
    if g.dy.offset < 0:
        return
    for c in range(g.channels):
        for i in range(g.ho):
            dy = find_row(b, &g.dy, c, i)
            y = find_row(b, &g.y, c, i)
            slope_row(y, y, dy, g.wo, g.activation, g.slope)
            if g.dz.offset >= 0:
                dz = find_row(b, &g.dz, c, i)
                for j in range(g.wo):
                    dz[j] = dy[j]
