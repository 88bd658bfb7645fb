"""Noise of the normal distribution: y = x + stddev * noise; dx is dy, in the same place.

In prediction it is not called.
"""

from libc.stdint cimport uint32_t, uint64_t

from skconvnet.kernels.lanes cimport block_t, buffer_t, lanes_t, locate, real_t
from skconvnet.kernels.noise cimport derive_key, draw_normal


ctypedef struct gaussian_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, ho, wo
    uint32_t number                     # of this layer among those that draw
    double stddev


cdef inline void gaussian_forward(const gaussian_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef uint64_t key = derive_key(b.key, g.number)
    cdef uint32_t element = 0
    cdef Py_ssize_t c, i, j
    cdef real_t stddev = <real_t> g.stddev
    cdef const lanes_t* x
    cdef lanes_t* y
    for c in range(g.channels):
        for i in range(g.ho):
            x = locate(b, &g.x) + c * g.x.plane + i * g.x.row
            y = locate(b, &g.y) + c * g.y.plane + i * g.y.row
            for j in range(g.wo):
                y[j] = x[j] + draw_normal(key, element, <uint32_t> b.start) * stddev
                element += 1
