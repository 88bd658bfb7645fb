"""Dropout, inverted: Srivastava et al. 2014.

    y = mask * x / (1 - rate)           mask: 0 with probability rate, else 1

Prediction does not call it.  A mask is a hash of the step's key, the layer, the position of the sample in
the batch and the index of the element in the sample: it is the same for any number of threads, and the
backward pass draws it again.
"""

from libc.stdint cimport uint32_t, uint64_t

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units
from skconvnet.kernels.noise cimport derive_key, draw_mask
from skconvnet.kernels.simd cimport lanes_t, real_t
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct dropout_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, ho, wo
    uint32_t stream                     # of random numbers, one for each call that draws
    uint32_t threshold                  # rate * 2^32
    double scale                        # 1 / (1 - rate)


cdef inline void apply_mask(
    const dropout_t* g, const block_t* b, const buffer_t* source, const buffer_t* target
) noexcept nogil:
    """Write the mask times the source."""
    cdef uint64_t key = derive_key(b.key, g.stream)
    cdef uint32_t element
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t* y
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            x = find_row(b, source, c, i)
            y = find_row(b, target, c, i)
            element = <uint32_t> ((c * g.ho + i) * g.wo)
            for j in range(g.wo):
                y[j] = x[j] * draw_mask(
                    key, element, <uint32_t> b.start, g.threshold, <real_t> g.scale
                )
                element += 1


cdef inline void dropout_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const dropout_t* g = <const dropout_t*> fields
    apply_mask(g, b, &g.x, &g.y)


cdef inline void dropout_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write dx, if required."""
    cdef const dropout_t* g = <const dropout_t*> fields
    if g.dx.offset >= 0:
        apply_mask(g, b, &g.dy, &g.dx)
