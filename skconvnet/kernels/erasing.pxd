"""Random erasing: Zhong et al. 2020.  A rectangle of some samples is set to zero, the same in all channels.

    area a = fraction of the image's, aspect r: height sqrt(a r), width sqrt(a / r), cut to the image's

Prediction does not call it.
"""

from libc.math cimport exp, log, sqrt
from libc.stdint cimport uint32_t, uint64_t

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units
from skconvnet.kernels.noise cimport derive_key, draw_below, draw_uniform
from skconvnet.kernels.simd cimport LANES, lanes_t, larger, magnitude, real_t, splat, where_positive
from skconvnet.kernels.team cimport range_t


ctypedef struct erasing_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, ho, wo
    uint32_t stream                     # of random numbers, one for each call that draws
    double probability
    double smallest, largest            # fraction of the image's area
    double aspect                       # the least; 1 over it is the most


# A rectangle in every lane: pixels that are nearer to the centre than half the size.  A height of 0 has
# its centre between two rows, and no pixel.
ctypedef struct rectangle_t:
    lanes_t row, column                 # of the centre
    lanes_t height, width               # half of them


cdef inline Py_ssize_t cut_side(double side, Py_ssize_t longest) noexcept nogil:
    """Round a side to pixels of the image, at least one."""
    return min(max(<Py_ssize_t> (side + 0.5), <Py_ssize_t> 1), longest)


cdef inline void draw_rectangle(const erasing_t* g, const block_t* b, rectangle_t* r) noexcept nogil:
    """Draw the rectangle that the sample of every lane loses."""
    cdef uint64_t key = derive_key(b.key, g.stream)
    cdef uint32_t sample
    cdef Py_ssize_t lane, height, width
    cdef double area, aspect
    for lane in range(LANES):
        sample = <uint32_t> (b.start + lane)
        area = g.smallest + (g.largest - g.smallest) * draw_uniform(key, 1, sample)
        area = area * (g.ho * g.wo)
        aspect = exp(log(g.aspect) * (2 * draw_uniform(key, 2, sample) - 1))
        height, width = cut_side(sqrt(area * aspect), g.ho), cut_side(sqrt(area / aspect), g.wo)
        if draw_uniform(key, 0, sample) >= g.probability:
            height = 0
        (<real_t*> &r.row)[lane] = (
            draw_below(key, 3, sample, <uint32_t> (g.ho - height + 1)) + <real_t> (height - 1) / 2
        )
        (<real_t*> &r.column)[lane] = (
            draw_below(key, 4, sample, <uint32_t> (g.wo - width + 1)) + <real_t> (width - 1) / 2
        )
        (<real_t*> &r.height)[lane] = <real_t> height / 2
        (<real_t*> &r.width)[lane] = <real_t> width / 2


cdef inline void erase(
    const erasing_t* g, const block_t* b, const buffer_t* source, const buffer_t* target
) noexcept nogil:
    """Write the source, but zero in the rectangles."""
    cdef Py_ssize_t c, i, j
    cdef lanes_t below, outside
    cdef const lanes_t* x
    cdef lanes_t* y
    cdef rectangle_t r
    cdef range_t rows = find_units(b, g.ho)
    draw_rectangle(g, b, &r)
    for i in range(rows.first, rows.end):
        x = find_row(b, source, 0, i)
        y = find_row(b, target, 0, i)
        below = magnitude(splat(<real_t> i) - r.row) - r.height
        for j in range(g.wo):
            outside = larger(below, magnitude(splat(<real_t> j) - r.column) - r.width)
            for c in range(g.channels):
                y[c * target.plane + j] = where_positive(outside, x[c * source.plane + j], splat(0))


cdef inline void erasing_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const erasing_t* g = <const erasing_t*> fields
    erase(g, b, &g.x, &g.y)


cdef inline void erasing_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write dx, if required."""
    cdef const erasing_t* g = <const erasing_t*> fields
    if g.dx.offset >= 0:
        erase(g, b, &g.dy, &g.dx)
