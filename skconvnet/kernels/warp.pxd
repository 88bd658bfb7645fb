"""Flip, shift, crop and rotation of each sample, drawn for it alone: one affine map, bilinear.

Output (i, j) is read from x at

    row     top  + middle_row    + up * cos a * (i - middle_row) - along * sin a * (j - middle_column)
    column  left + middle_column + up * sin a * (i - middle_row) + along * cos a * (j - middle_column)

with the middle of the output, up and along from {1, -1}, and the pixels at the border repeated, or the
image mirrored beyond them.  Where the largest angle is 0, all of this is exact in floating point, and
pixels are copied.  In prediction only RandomCrop calls it, with one choice for every parameter (the
middle), so nothing is random.
"""

from libc.math cimport cos, sin
from libc.stdint cimport uint32_t, uint64_t

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units, is_first_member, locate
from skconvnet.kernels.noise cimport derive_key, draw_below, draw_uniform
from skconvnet.kernels.simd cimport LANES, lanes_t, real_t, splat
from skconvnet.kernels.team cimport range_t


cdef extern from "warp.h" nogil:
    ctypedef struct source_t:
        pass
    void find_source(
        lanes_t row, lanes_t column, Py_ssize_t height, Py_ssize_t width, Py_ssize_t pitch, bint reflect,
        source_t* s
    )
    lanes_t mix_pixels(const lanes_t* x, const source_t* s)
    lanes_t copy_pixel(const lanes_t* x, const source_t* s)
    void add_fractions(lanes_t* x, const source_t* s, int n, lanes_t y)


ctypedef struct warp_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, hi, wi, ho, wo
    uint32_t stream                     # of random numbers, one for each call that draws
    uint32_t flips, mirrors             # choices of up and along: 1 or 2
    bint alternating                    # up and along are drawn once, and change from epoch to epoch
    Py_ssize_t top, left                # the least
    uint32_t tops, lefts                # how many there are
    bint reflect                        # mirror the image beyond its border
    double angle                        # the largest, in radians


# Every lane's map: (row, column) of output (0, 0), and steps from row to row and column to column.
ctypedef struct map_t:
    lanes_t row, row_i, row_j
    lanes_t column, column_i, column_j


cdef inline uint32_t draw_turn(
    const warp_t* g, const block_t* b, uint64_t key, uint32_t axis, Py_ssize_t lane
) noexcept nogil:
    """Draw whether the sample of a lane runs backwards along an axis."""
    cdef uint32_t turns = g.mirrors if axis else g.flips
    if not g.alternating:
        return draw_below(key, axis, <uint32_t> (b.start + lane), turns)
    if turns == 1 or lane >= b.n:
        return 0
    key = derive_key(b.turn // 2, g.stream)
    return draw_below(key, axis, <uint32_t> b.rows[lane], 2) ^ <uint32_t> (b.turn & 1)


cdef inline void draw_map(const warp_t* g, const block_t* b, map_t* m) noexcept nogil:
    """Draw the map of the sample of every lane."""
    cdef uint64_t key = derive_key(b.key, g.stream)
    cdef uint32_t sample
    cdef Py_ssize_t lane
    cdef double up, along, angle
    cdef double[2] middle, row, column
    middle[0], middle[1] = (g.ho - 1) * 0.5, (g.wo - 1) * 0.5
    for lane in range(LANES):
        sample = <uint32_t> (b.start + lane)
        up = 1 - 2 * <double> draw_turn(g, b, key, 0, lane)
        along = 1 - 2 * <double> draw_turn(g, b, key, 1, lane)
        angle = g.angle * (2 * draw_uniform(key, 4, sample) - 1)
        row[0], row[1] = up * cos(angle), -along * sin(angle)
        column[0], column[1] = up * sin(angle), along * cos(angle)
        (<real_t*> &m.row)[lane] = <real_t> (
            g.top + <Py_ssize_t> draw_below(key, 2, sample, g.tops)
            + (middle[0] - row[0] * middle[0] - row[1] * middle[1])
        )
        (<real_t*> &m.column)[lane] = <real_t> (
            g.left + <Py_ssize_t> draw_below(key, 3, sample, g.lefts)
            + (middle[1] - column[0] * middle[0] - column[1] * middle[1])
        )
        (<real_t*> &m.row_i)[lane] = <real_t> row[0]
        (<real_t*> &m.row_j)[lane] = <real_t> row[1]
        (<real_t*> &m.column_i)[lane] = <real_t> column[0]
        (<real_t*> &m.column_j)[lane] = <real_t> column[1]


cdef inline void find_pixels(
    const warp_t* g, const map_t* m, Py_ssize_t i, Py_ssize_t j, Py_ssize_t pitch, source_t* s
) noexcept nogil:
    """Find the pixels that output (i, j) is made of."""
    find_source(
        m.row + m.row_i * <real_t> i + m.row_j * <real_t> j,
        m.column + m.column_i * <real_t> i + m.column_j * <real_t> j,
        g.hi, g.wi, pitch, g.reflect, s,
    )


cdef inline void warp_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const warp_t* g = <const warp_t*> fields
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* x = locate(b, &g.x)
    cdef lanes_t* y
    cdef map_t m
    cdef source_t s
    cdef range_t rows = find_units(b, g.ho)
    draw_map(g, b, &m)
    for i in range(rows.first, rows.end):
        for j in range(g.wo):
            find_pixels(g, &m, i, j, g.x.row, &s)
            y = find_row(b, &g.y, 0, i) + j
            for c in range(g.channels):
                if g.angle > 0:
                    y[c * g.y.plane] = mix_pixels(x + c * g.x.plane, &s)
                else:
                    y[c * g.y.plane] = copy_pixel(x + c * g.x.plane, &s)


cdef inline void warp_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write dx, if required; one thread does it all, since pixels of dx get gradients from many of dy."""
    cdef const warp_t* g = <const warp_t*> fields
    cdef Py_ssize_t c, i, j
    cdef lanes_t* dx
    cdef const lanes_t* dy
    cdef map_t m
    cdef source_t s
    if g.dx.offset < 0 or not is_first_member(b):
        return
    dx = locate(b, &g.dx)
    for c in range(g.channels):
        for i in range(g.hi):
            for j in range(g.wi):
                dx[c * g.dx.plane + i * g.dx.row + j] = splat(0)
    draw_map(g, b, &m)
    for i in range(g.ho):
        for j in range(g.wo):
            find_pixels(g, &m, i, j, g.dx.row, &s)
            dy = find_row(b, &g.dy, 0, i) + j
            for c in range(g.channels):
                add_fractions(dx + c * g.dx.plane, &s, 4 if g.angle > 0 else 1, dy[c * g.dy.plane])
