"""Dropout, inverted: Srivastava et al. 2014.

    y = mask * x / (1 - rate)           mask: 0 with probability rate, else 1

In prediction it is not called.  A mask is a hash of the step's key, the layer, the sample's place in
the batch and the number's place in the sample: the same for any number of threads, and drawn again
backward.
"""

from libc.stdint cimport uint32_t, uint64_t

from skconvnet.kernels.lanes cimport block_t, buffer_t, lanes_t, locate, real_t
from skconvnet.kernels.noise cimport derive_key, draw_mask


ctypedef struct dropout_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, ho, wo
    uint32_t number                     # of this layer among those that draw
    uint32_t threshold                  # rate * 2^32
    double scale                        # 1 / (1 - rate)


cdef inline void apply_mask(
    const dropout_t* g, const block_t* b, const buffer_t* source, const buffer_t* target
) noexcept nogil:
    """Write the mask times the source."""
    cdef uint64_t key = derive_key(b.key, g.number)
    cdef uint32_t element = 0
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* x
    cdef lanes_t* y
    for c in range(g.channels):
        for i in range(g.ho):
            x = locate(b, source) + c * source.plane + i * source.row
            y = locate(b, target) + c * target.plane + i * target.row
            for j in range(g.wo):
                y[j] = x[j] * draw_mask(
                    key, element, <uint32_t> b.start, g.threshold, <real_t> g.scale
                )
                element += 1


cdef inline void dropout_forward(const dropout_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    apply_mask(g, b, &g.x, &g.y)


cdef inline void dropout_backward(const dropout_t* g, const block_t* b) noexcept nogil:
    """Write dx, if anybody wants it."""
    if g.dx.offset >= 0:
        apply_mask(g, b, &g.dy, &g.dx)
