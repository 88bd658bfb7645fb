"""Maximum and average over windows; a window that extends beyond the image is cut to the image.

Backward, the first of the pixels of a window that equals its maximum gets the gradient; an average
divides its gradient by the number of pixels that it averaged.  Windows may overlap: gradients add up.

Upsampling repeats a pixel in a window.  It is what an average does backward, and the other way round, with a
divisor of 1: `x` and `dx` are then the gradient and the value of the large image, `y` and `dy` those of the
small one.
"""

from skconvnet.kernels.block cimport block_t, buffer_t, find_units, locate
from skconvnet.kernels.simd cimport lanes_t, larger, real_t, select_first_equal, splat
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct pool_t:
    buffer_t x, y, dx, dy
    Py_ssize_t channels, hi, wi, ho, wo
    Py_ssize_t kh, kw, sh, sw, top, left
    Py_ssize_t divisor                  # of averages; 0: the number of pixels that are not cut off
    bint disjoint                       # no pixel is in two windows
    bint covering                       # every pixel is in a window


ctypedef struct window_t:
    Py_ssize_t first_row, end_row, first_column, end_column
    Py_ssize_t area                     # what an average divides by


cdef inline window_t cut_window(const pool_t* g, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Return the pixels that output (i, j) reads."""
    cdef window_t window
    cdef Py_ssize_t row = i * g.sh - g.top, column = j * g.sw - g.left
    window.first_row = max(row, 0)
    window.end_row = min(row + g.kh, g.hi)
    window.first_column = max(column, 0)
    window.end_column = min(column + g.kw, g.wi)
    window.area = g.divisor
    if g.divisor == 0:
        window.area = (
            (window.end_row - window.first_row) * (window.end_column - window.first_column)
        )
    return window


cdef inline void clear_image(const pool_t* g, lanes_t* dx) noexcept nogil:
    """Set one channel of dx to zero, unless each of its pixels gets exactly one gradient."""
    cdef Py_ssize_t i, j
    if g.disjoint and g.covering:
        return
    for i in range(g.hi):
        for j in range(g.wi):
            dx[i * g.dx.row + j] = splat(0)


cdef inline void max_pool_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const pool_t* g = <const pool_t*> fields
    cdef Py_ssize_t c, i, j, r, s
    cdef window_t w
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t best
    for c in range(g.channels):
        x = locate(b, &g.x) + c * g.x.plane
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            for j in range(g.wo):
                w = cut_window(g, i, j)
                best = x[w.first_row * g.x.row + w.first_column]
                for r in range(w.first_row, w.end_row):
                    for s in range(w.first_column, w.end_column):
                        best = larger(x[r * g.x.row + s], best)
                locate(b, &g.y)[c * g.y.plane + i * g.y.row + j] = best


cdef inline void max_pool_backward_channels(
    const pool_t* g, const block_t* b, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """Write dx of the channels from first to end, if required."""
    cdef Py_ssize_t c, i, j, r, s
    cdef window_t w
    cdef const lanes_t* x
    cdef lanes_t* dx
    cdef lanes_t best, gradient, part, still_open
    if g.dx.offset < 0:
        return
    for c in range(first, end):
        x = locate(b, &g.x) + c * g.x.plane
        dx = locate(b, &g.dx) + c * g.dx.plane
        clear_image(g, dx)
        for i in range(g.ho):
            for j in range(g.wo):
                w = cut_window(g, i, j)
                best = locate(b, &g.y)[c * g.y.plane + i * g.y.row + j]
                gradient = locate(b, &g.dy)[c * g.dy.plane + i * g.dy.row + j]
                still_open = splat(1)
                for r in range(w.first_row, w.end_row):
                    for s in range(w.first_column, w.end_column):
                        part = select_first_equal(x[r * g.x.row + s], best, gradient, &still_open)
                        if not g.disjoint:
                            part = part + dx[r * g.dx.row + s]
                        dx[r * g.dx.row + s] = part


cdef inline void max_pool_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write dx, if required."""
    cdef const pool_t* g = <const pool_t*> fields
    cdef range_t channels = find_units(b, g.channels)
    max_pool_backward_channels(g, b, channels.first, channels.end)


cdef inline void avg_pool_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const pool_t* g = <const pool_t*> fields
    cdef Py_ssize_t c, i, j, r, s
    cdef window_t w
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t total
    for c in range(g.channels):
        x = locate(b, &g.x) + c * g.x.plane
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            for j in range(g.wo):
                w = cut_window(g, i, j)
                total = splat(0)
                for r in range(w.first_row, w.end_row):
                    for s in range(w.first_column, w.end_column):
                        total = total + x[r * g.x.row + s]
                locate(b, &g.y)[c * g.y.plane + i * g.y.row + j] = total / splat(<real_t> w.area)


cdef inline void avg_pool_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write dx, if required."""
    cdef const pool_t* g = <const pool_t*> fields
    cdef Py_ssize_t c, i, j, r, s
    cdef window_t w
    cdef range_t channels = find_units(b, g.channels)
    cdef lanes_t* dx
    cdef lanes_t part
    if g.dx.offset < 0:
        return
    for c in range(channels.first, channels.end):
        dx = locate(b, &g.dx) + c * g.dx.plane
        clear_image(g, dx)
        for i in range(g.ho):
            for j in range(g.wo):
                w = cut_window(g, i, j)
                part = locate(b, &g.dy)[c * g.dy.plane + i * g.dy.row + j] / splat(<real_t> w.area)
                for r in range(w.first_row, w.end_row):
                    for s in range(w.first_column, w.end_column):
                        if g.disjoint:
                            dx[r * g.dx.row + s] = part
                        else:
                            dx[r * g.dx.row + s] = dx[r * g.dx.row + s] + part


cdef inline void upsample_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write the value of the large image."""
    avg_pool_backward(fields, b)


cdef inline void upsample_backward(const void* fields, const block_t* b) noexcept nogil:
    """Write the gradient to the small image, if required."""
    if (<const pool_t*> fields).y.offset >= 0:
        avg_pool_forward(fields, b)
