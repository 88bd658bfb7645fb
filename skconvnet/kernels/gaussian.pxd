"""Noise of the normal distribution: y = x + stddev * noise; dx is dy, in the same memory.

Prediction does not call it.
"""

from libc.stdint cimport uint32_t, uint64_t

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units
from skconvnet.kernels.noise cimport derive_key, draw_normal
from skconvnet.kernels.simd cimport lanes_t, real_t
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct gaussian_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, ho, wo
    uint32_t stream                     # of random numbers, one for each call that draws
    double stddev


cdef inline void gaussian_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const gaussian_t* g = <const gaussian_t*> fields
    cdef uint64_t key = derive_key(b.key, g.stream)
    cdef uint32_t element
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef real_t stddev = <real_t> g.stddev
    cdef const lanes_t* x
    cdef lanes_t* y
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            y = find_row(b, &g.y, c, i)
            element = <uint32_t> ((c * g.ho + i) * g.wo)
            for j in range(g.wo):
                y[j] = x[j] + draw_normal(key, element, <uint32_t> b.start) * stddev
                element += 1
