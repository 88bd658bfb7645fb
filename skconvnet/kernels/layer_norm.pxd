"""Layer normalisation: Ba, Kiros and Hinton 2016.

    mean, var = moments of all elements of a sample  z = (x - mean) / sqrt(var + epsilon)
    y = gamma * z + beta                             gamma and beta have an element for each of x
    g = gamma * dy, dx = (g - mean of g - z * mean of g * z) / sqrt(var + epsilon)

All of it happens within a lane; only dgamma and dbeta are sums over lanes.
"""

from skconvnet.kernels.block cimport (
    accumulate_sums, block_t, buffer_t, find_row, find_units, is_first_member
)
from skconvnet.kernels.simd cimport LANES, MAX_LANES, inverse_root, lanes_t, real_t, splat
from skconvnet.kernels.team cimport cut, range_t


ctypedef struct layer_norm_t:
    buffer_t x, y, dx, dy               # dx and dy are the same buffer
    Py_ssize_t channels, ho, wo
    Py_ssize_t gamma, beta              # offsets in the parameter vector; < 0: none
    double epsilon


ctypedef struct lane_moments_t:
    lanes_t mean, scale                 # z = (x - mean) * scale


cdef inline lane_moments_t find_moments(const layer_norm_t* g, const block_t* b) noexcept nogil:
    """Return mean and scale of every sample; partial sums run along rows."""
    cdef Py_ssize_t c, i, j
    cdef const lanes_t* x
    cdef lanes_t row, total = splat(0)
    cdef lanes_t n = splat(<real_t> (g.channels * g.ho * g.wo))
    cdef lane_moments_t m
    for c in range(g.channels):
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            row = splat(0)
            for j in range(g.wo):
                row = row + x[j]
            total = total + row
    m.mean = total / n
    total = splat(0)
    for c in range(g.channels):
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            row = splat(0)
            for j in range(g.wo):
                row = row + (x[j] - m.mean) * (x[j] - m.mean)
            total = total + row
    m.scale = inverse_root(total / n + <real_t> g.epsilon)
    return m


cdef inline void layer_norm_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y; every thread computes the moments for itself."""
    cdef const layer_norm_t* g = <const layer_norm_t*> fields
    cdef Py_ssize_t c, i, j, k
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t* y
    cdef lanes_t value
    cdef lane_moments_t m = find_moments(g, b)
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            y = find_row(b, &g.y, c, i)
            k = (c * g.ho + i) * g.wo
            for j in range(g.wo):
                value = (x[j] - m.mean) * m.scale
                if g.gamma >= 0:
                    value = value * b.params[g.gamma + k]
                if g.beta >= 0:
                    value = value + b.params[g.beta + k]
                y[j] = value
                k += 1


cdef inline void accumulate_affine(
    const block_t* b, const layer_norm_t* g, Py_ssize_t end, lanes_t* dgamma, lanes_t* dbeta,
    Py_ssize_t n
) noexcept nogil:
    """Accumulate the gradients of the n elements of gamma and beta before `end`."""
    if g.gamma >= 0:
        accumulate_sums(b, g.gamma + end - n, dgamma, n)
    if g.beta >= 0:
        accumulate_sums(b, g.beta + end - n, dbeta, n)


cdef inline void layer_norm_backward(const void* fields, const block_t* b) noexcept nogil:
    """Accumulate dgamma and dbeta; overwrite dy with dx, if required; one thread does it all."""
    cdef const layer_norm_t* g = <const layer_norm_t*> fields
    cdef Py_ssize_t c, i, j, k = 0, n = 0
    cdef const lanes_t* x
    cdef lanes_t* dy
    cdef lanes_t[MAX_LANES] dgamma
    cdef lanes_t[MAX_LANES] dbeta
    cdef lanes_t z, row, row_product, total = splat(0), product = splat(0)
    cdef lanes_t size = splat(<real_t> (g.channels * g.ho * g.wo))
    cdef lane_moments_t m
    if g.dy.offset < 0 or not is_first_member(b):
        return
    m = find_moments(g, b)
    for c in range(g.channels):
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            dy = find_row(b, &g.dy, c, i)
            row = row_product = splat(0)
            for j in range(g.wo):
                z = (x[j] - m.mean) * m.scale
                dbeta[n] = dy[j]
                dgamma[n] = dy[j] * z
                if g.gamma >= 0:
                    dy[j] = dy[j] * b.params[g.gamma + k]
                row = row + dy[j]
                row_product = row_product + dy[j] * z
                k += 1
                n += 1
                if n == LANES:
                    accumulate_affine(b, g, k, dgamma, dbeta, n)
                    n = 0
            total = total + row
            product = product + row_product
    if n > 0:
        accumulate_affine(b, g, k, dgamma, dbeta, n)
    if g.dx.offset < 0:
        return
    total = total / size
    product = product / size
    for c in range(g.channels):
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            dy = find_row(b, &g.dy, c, i)
            for j in range(g.wo):
                z = (x[j] - m.mean) * m.scale
                dy[j] = m.scale * (dy[j] - total - z * product)
