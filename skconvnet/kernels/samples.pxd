"""Between the user's rows and the lanes of a block: one gather in, one scatter out."""

from skconvnet.kernels.block cimport block_t, buffer_t, find_units, locate
from skconvnet.kernels.simd cimport LANES, real_t
from skconvnet.kernels.team cimport cut, range_t


# The user's X: any strides, one of three element types, elements (sample, channel, row, column).
ctypedef struct samples_t:
    const char* data
    char format                         # 'B' uint8, 'f' float32, 'd' float64
    Py_ssize_t n_strides, c_strides, h_strides, w_strides   # bytes
    Py_ssize_t channels, hi, wi


ctypedef fused pixel_t:
    const unsigned char
    const float
    const double


cdef inline void gather_pixels(
    const samples_t* s, pixel_t* unused, const Py_ssize_t* rows, Py_ssize_t n, real_t* x,
    const buffer_t* buffer, real_t fraction, range_t units,
) noexcept nogil:
    """Write some rows of n samples to the lanes of x, or mix them in (fraction below 1); zero other lanes."""
    cdef const char* sample
    cdef real_t* x_row
    cdef Py_ssize_t lane, c, i, j
    cdef range_t image_rows
    # row by row, so that the cache lines which all lanes write to stay in the cache
    for c in range(s.channels):
        image_rows = cut(units, c * s.hi, s.hi)
        for i in range(image_rows.first, image_rows.end):
            x_row = x + (c * buffer.plane + i * buffer.row) * LANES
            for lane in range(n):
                sample = s.data + rows[lane] * s.n_strides + c * s.c_strides + i * s.h_strides
                if fraction == 1:
                    for j in range(s.wi):
                        x_row[j * LANES + lane] = <real_t> (<pixel_t*> (sample + j * s.w_strides))[0]
                else:
                    for j in range(s.wi):
                        x_row[j * LANES + lane] = (
                            (1 - fraction) * x_row[j * LANES + lane]
                            + fraction * <real_t> (<pixel_t*> (sample + j * s.w_strides))[0]
                        )
            for lane in range(n, LANES):
                for j in range(s.wi):
                    x_row[j * LANES + lane] = 0


cdef inline void gather_samples(
    const samples_t* s, const Py_ssize_t* rows, Py_ssize_t n, double fraction, const buffer_t* buffer,
    const block_t* b
) noexcept nogil:
    """Write the samples with these row indices to the lanes of a buffer; zero the lanes from n on.

    With a fraction below 1, x becomes (1 - fraction) * x + fraction * sample.
    """
    cdef real_t* x = <real_t*> locate(b, buffer)
    cdef range_t units = find_units(b, s.channels * s.hi)
    if s.format == b"B":
        gather_pixels(s, <const unsigned char*> s.data, rows, n, x, buffer, <real_t> fraction, units)
    elif s.format == b"f":
        gather_pixels(s, <const float*> s.data, rows, n, x, buffer, <real_t> fraction, units)
    else:
        gather_pixels(s, <const double*> s.data, rows, n, x, buffer, <real_t> fraction, units)


cdef inline double read_value(const samples_t* s, Py_ssize_t row, Py_ssize_t channel) noexcept nogil:
    """Return the value of a sample of one pixel in a channel."""
    cdef const char* value = s.data + row * s.n_strides + channel * s.c_strides
    if s.format == b"B":
        return (<const unsigned char*> value)[0]
    if s.format == b"f":
        return (<const float*> value)[0]
    return (<const double*> value)[0]


cdef inline void scatter_samples(
    const block_t* b, const buffer_t* buffer, Py_ssize_t channels, Py_ssize_t height,
    Py_ssize_t width, Py_ssize_t n, real_t* out
) noexcept nogil:
    """Write the first n lanes of a buffer to out (n, channels * height * width)."""
    cdef const real_t* x = <const real_t*> locate(b, buffer)
    cdef Py_ssize_t lane, c, i, j
    cdef range_t samples = find_units(b, n)
    out += samples.first * channels * height * width
    for lane in range(samples.first, samples.end):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    out[0] = x[(c * buffer.plane + i * buffer.row + j) * LANES + lane]
                    out += 1
