"""A single image, whose lanes are neighbouring pixels instead of samples.

The image is a plane of values for each channel, row after row, with zeros between and around the rows
as far as convolutions read.  Convolutions of stride 1, normalisation and activations run over such planes,
from the first row to the last, with the same kernels and the same sums as over samples; what they
write into the gaps is cleared where it would be read.  This file has the kernels that differ.
"""

from skconvnet.kernels.block cimport block_t, buffer_t, count_parts, find_units, locate
from skconvnet.kernels.samples cimport pixel_t, samples_t
from skconvnet.kernels.simd cimport (
    LANES, inlined_t, lanes_t, larger, load_even, load_lanes, load_strided, real_t, store_some
)
from skconvnet.kernels.team cimport range_t


# Element (c, i, j) is the real_t at ((offset + c * plane) * LANES + start + i * row + j).
ctypedef struct plane_t:
    buffer_t buffer                     # offset and plane in vectors, row in elements
    Py_ssize_t start
    Py_ssize_t channels, height, width


ctypedef struct plane_pool_t:
    plane_t x, y
    Py_ssize_t kh, kw, sh, sw, top, left
    Py_ssize_t divisor                  # of averages; 0: the number of pixels that are not cut off


# From a plane to a vector of one sample: its elements in the first lane.
ctypedef struct scatter_t:
    plane_t x
    buffer_t y


cdef inline real_t* find_plane_row(
    const block_t* b, const plane_t* g, Py_ssize_t c, Py_ssize_t i
) noexcept nogil:
    """Point at element (c, i, 0) of a plane."""
    return <real_t*> (locate(b, &g.buffer) + c * g.buffer.plane) + g.start + i * g.buffer.row


cdef inline void gather_values(
    const samples_t* s, pixel_t* unused, Py_ssize_t row, const plane_t* g, const block_t* b
) noexcept nogil:
    """Write one sample to a plane."""
    cdef const char* sample
    cdef real_t* x
    cdef Py_ssize_t c, i, j
    cdef range_t channels = find_units(b, g.channels)
    for c in range(channels.first, channels.end):
        for i in range(g.height):
            x = find_plane_row(b, g, c, i)
            sample = s.data + row * s.n_strides + c * s.c_strides + i * s.h_strides
            for j in range(g.width):
                x[j] = <real_t> (<pixel_t*> (sample + j * s.w_strides))[0]


cdef inline void gather_plane(
    const samples_t* s, Py_ssize_t row, const plane_t* g, const block_t* b
) noexcept nogil:
    """Write the sample with this row index to a plane."""
    if s.format == b"B":
        gather_values(s, <const unsigned char*> s.data, row, g, b)
    elif s.format == b"f":
        gather_values(s, <const float*> s.data, row, g, b)
    else:
        gather_values(s, <const double*> s.data, row, g, b)


cdef inline void clear_gaps(const void* fields, const block_t* b) noexcept nogil:
    """Set to zero what lies between and after the rows."""
    cdef const plane_t* g = <const plane_t*> fields
    cdef Py_ssize_t c, i, j, gap
    cdef real_t* x
    cdef range_t channels = find_units(b, g.channels)
    for c in range(channels.first, channels.end):
        for i in range(g.height):
            x = find_plane_row(b, g, c, i)
            gap = g.buffer.row if i + 1 < g.height else g.width + LANES
            for j in range(g.width, gap):
                x[j] = 0


cdef inline Py_ssize_t find_first(Py_ssize_t tap, Py_ssize_t stride) noexcept nogil:
    """Return the first output whose tap lies in the image, for a tap that output 0 has at `tap`."""
    return 0 if tap >= 0 else (stride - 1 - tap) // stride


cdef inline Py_ssize_t find_end(
    Py_ssize_t tap, Py_ssize_t stride, Py_ssize_t n_in, Py_ssize_t n_out
) noexcept nogil:
    """Return one more than the last such output."""
    return min(n_out, (n_in - tap + stride - 1) // stride) if tap < n_in else 0


cdef inline inlined_t pool_pixels(
    const real_t* x, real_t* y, Py_ssize_t first, Py_ssize_t end, Py_ssize_t stride, const bint average
) noexcept nogil:
    """y[j] += x[j * stride], or the larger of both, NaN if either is; average is a literal at the call."""
    cdef Py_ssize_t j, k
    cdef lanes_t pixels, pooled
    for k in range(count_parts(end - first, LANES)):
        j = first + k * LANES
        if stride == 2:
            pixels = load_even(x + 2 * j)       # this reads beyond the row, but not beyond the plane
        else:
            pixels = load_strided(x + j * stride, stride, end - j)
        pooled = load_lanes(y + j)
        pooled = pooled + pixels if average else larger(pixels, pooled)
        store_some(y + j, pooled, end - j)


cdef inline inlined_t pool_plane(
    const plane_pool_t* g, const bint average, const block_t* b
) noexcept nogil:
    """Write y: maxima or averages over windows, a row of outputs at a time; average is a literal."""
    cdef Py_ssize_t c, i, j, r, s, tap, first, end, rows, columns
    cdef const real_t* x
    cdef real_t* y
    cdef range_t channels = find_units(b, g.y.channels)
    cdef real_t least = 0 if average else <real_t> -1e400
    for c in range(channels.first, channels.end):
        for i in range(g.y.height):
            y = find_plane_row(b, &g.y, c, i)
            for j in range(g.y.width):
                y[j] = least
            rows = 0
            for r in range(g.kh):
                tap = i * g.sh - g.top + r
                if tap < 0 or tap >= g.x.height:
                    continue
                rows += 1
                for s in range(g.kw):
                    first = find_first(s - g.left, g.sw)
                    end = find_end(s - g.left, g.sw, g.x.width, g.y.width)
                    x = find_plane_row(b, &g.x, c, tap) + s - g.left
                    pool_pixels(x, y, first, end, g.sw, average)
            if average:
                for j in range(g.y.width):
                    tap = j * g.sw - g.left
                    columns = min(tap + g.kw, g.x.width) - max(tap, 0)
                    y[j] = y[j] / <real_t> (g.divisor if g.divisor else rows * columns)


cdef inline void max_pool_plane(const void* fields, const block_t* b) noexcept nogil:
    """Write y: maxima over windows."""
    pool_plane(<const plane_pool_t*> fields, False, b)


cdef inline void avg_pool_plane(const void* fields, const block_t* b) noexcept nogil:
    """Write y: averages over windows."""
    pool_plane(<const plane_pool_t*> fields, True, b)


cdef inline void scatter_plane(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const scatter_t* g = <const scatter_t*> fields
    cdef real_t* y
    cdef const real_t* x
    cdef Py_ssize_t c, i, j
    cdef range_t channels = find_units(b, g.x.channels)
    y = <real_t*> locate(b, &g.y) + channels.first * g.x.height * g.x.width * LANES
    for c in range(channels.first, channels.end):
        for i in range(g.x.height):
            x = find_plane_row(b, &g.x, c, i)
            for j in range(g.x.width):
                y[0] = x[j]
                y += LANES
