"""Activations: elementwise, or over the channels at every pixel.

They run as calls of their own, from x to y, with dx in the memory of dy; or row by row within the call
that computes the values, in place.  Those whose derivative needs x, or more than one element, cannot do so.

    relu        y = max(x, 0)                       dy/dx = 1 if y > 0 else 0
    leaky_relu  y = x if x > 0 else slope * x       dy/dx = 1 if y > 0 else slope      (slope >= 0)
    elu         y = x if x > 0 else slope (e^x - 1) dy/dx = 1 if y > 0 else y + slope  (slope >= 0)
    sigmoid     y = 1 / (1 + e^-x)                  dy/dx = y (1 - y)
    tanh        y = (e^2x - 1) / (e^2x + 1)         dy/dx = 1 - y^2
    softplus    y = log(1 + e^x)                    dy/dx = 1 - e^-y
    arctan      y = arctan x                        dy/dx = 1 / (1 + x^2)
    gelu        y = x N(x), the normal distribution dy/dx = N(x) + x N'(x)
    relu6       y = min(max(x, 0), 6)               dy/dx = 1 if 0 < y < 6 else 0
    selu        y = s (x if x > 0 else a (e^x - 1)) dy/dx = s if y > 0 else y + s a
    softsign    y = x / (1 + |x|)                   dy/dx = (1 - |y|)^2
    silu        y = x / (1 + e^-x) = x p            dy/dx = p (1 + x (1 - p))
    mish        y = x t, t = tanh(log(1 + e^x))     dy/dx = t + x p (1 - t^2)          (p as for silu)
    hardswish   y = x h, h = min(max(x + 3, 0), 6) / 6   dy/dx = h + x / 6 if 0 < h < 1 else h
    softmax     y = e^x / sum of e^x                dx = y (dy - sum of dy y)
    log_softmax y = x - log(sum of e^x)             dx = dy - e^y sum of dy
"""

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, find_units
from skconvnet.kernels.simd cimport lanes_t, larger, real_t, splat, where_positive
from skconvnet.kernels.team cimport cut, range_t
from skconvnet.kernels.vecmath cimport (
    arctan_lanes, exp_lanes, expm1_lanes, log_each_lane, normal_lanes, sigmoid_lanes, softplus_lanes,
    tanh_lanes
)

# The constants of selu, which keep the mean 0 and the variance 1 of normal inputs.
cdef extern from *:
    """
    #define SELU_SCALE ((real_t)1.0507009873554804934193349852946)
    #define SELU_ALPHA ((real_t)1.6732632423543772848170429916717)
    """
    const real_t SELU_SCALE, SELU_ALPHA

cdef enum activation_kind:
    IDENTITY
    RELU
    LEAKY_RELU
    ELU
    SIGMOID
    TANH
    SOFTPLUS
    ARCTAN
    GELU
    RELU6
    SELU
    SOFTSIGN
    SILU
    MISH
    HARDSWISH
    SOFTMAX
    LOG_SOFTMAX


ctypedef struct activation_t:
    buffer_t x, y, dx, dy               # dx and dy are the same buffer
    Py_ssize_t channels, ho, wo
    int kind
    double slope                        # of leaky_relu and elu, just left of 0


cdef inline lanes_t clip_to_six(lanes_t x) noexcept nogil:
    """Return min(max(x, 0), 6)."""
    return -larger(-larger(x, splat(0)), splat(-6))


cdef inline void activate_row(
    const lanes_t* x, lanes_t* y, Py_ssize_t n, int kind, double slope
) noexcept nogil:
    """Write n values y, which may overwrite x; an identity in place has nothing to do."""
    cdef Py_ssize_t j
    cdef lanes_t unused
    cdef real_t leak = <real_t> slope, one = 1, three = 3, sixth = <real_t> (1 / 6.)
    if kind == RELU:
        for j in range(n):
            y[j] = larger(x[j], splat(0))
    elif kind == LEAKY_RELU:
        for j in range(n):
            y[j] = where_positive(x[j], x[j], leak * x[j])
    elif kind == ELU:
        for j in range(n):
            y[j] = where_positive(x[j], x[j], leak * expm1_lanes(x[j]))
    elif kind == SIGMOID:
        for j in range(n):
            y[j] = sigmoid_lanes(x[j])
    elif kind == TANH:
        for j in range(n):
            y[j] = tanh_lanes(x[j])
    elif kind == SOFTPLUS:
        for j in range(n):
            y[j] = softplus_lanes(x[j])
    elif kind == ARCTAN:
        for j in range(n):
            y[j] = arctan_lanes(x[j])
    elif kind == GELU:
        for j in range(n):
            y[j] = x[j] * normal_lanes(x[j], &unused)
    elif kind == RELU6:
        for j in range(n):
            y[j] = clip_to_six(x[j])
    elif kind == SELU:
        for j in range(n):
            y[j] = SELU_SCALE * where_positive(x[j], x[j], SELU_ALPHA * expm1_lanes(x[j]))
    elif kind == SOFTSIGN:
        for j in range(n):
            y[j] = x[j] / (one + larger(x[j], -x[j]))
    elif kind == SILU:
        for j in range(n):
            y[j] = x[j] * sigmoid_lanes(x[j])
    elif kind == MISH:
        for j in range(n):
            y[j] = x[j] * tanh_lanes(softplus_lanes(x[j]))
    elif kind == HARDSWISH:
        for j in range(n):
            y[j] = x[j] * (clip_to_six(x[j] + three) * sixth)


cdef inline void activation_backward_row(
    const lanes_t* x, const lanes_t* y, lanes_t* dy, Py_ssize_t n, int kind, double slope
) noexcept nogil:
    """Overwrite n gradients dy with dx; only arctan, gelu, silu, mish and hardswish read x."""
    cdef Py_ssize_t j
    cdef lanes_t below, density
    cdef real_t leak = <real_t> slope, one = 1, three = 3, six = 6, sixth = <real_t> (1 / 6.)
    if kind == RELU:
        for j in range(n):
            dy[j] = where_positive(y[j], dy[j], splat(0))
    elif kind == LEAKY_RELU:
        for j in range(n):
            dy[j] = where_positive(y[j], dy[j], leak * dy[j])
    elif kind == ELU:
        for j in range(n):
            dy[j] = where_positive(y[j], dy[j], dy[j] * (y[j] + leak))
    elif kind == SIGMOID:
        for j in range(n):
            dy[j] = dy[j] * (y[j] * (one - y[j]))
    elif kind == TANH:
        for j in range(n):
            dy[j] = dy[j] * (one - y[j] * y[j])
    elif kind == SOFTPLUS:
        for j in range(n):
            dy[j] = -dy[j] * expm1_lanes(-y[j])
    elif kind == ARCTAN:
        for j in range(n):
            dy[j] = dy[j] / (one + x[j] * x[j])
    elif kind == GELU:
        for j in range(n):
            below = normal_lanes(x[j], &density)
            dy[j] = dy[j] * (below + x[j] * density)
    elif kind == RELU6:
        for j in range(n):
            dy[j] = where_positive(y[j], where_positive(six - y[j], dy[j], splat(0)), splat(0))
    elif kind == SELU:
        for j in range(n):
            dy[j] = dy[j] * where_positive(y[j], splat(SELU_SCALE), y[j] + SELU_SCALE * SELU_ALPHA)
    elif kind == SOFTSIGN:
        for j in range(n):
            below = one - larger(y[j], -y[j])
            dy[j] = dy[j] * (below * below)
    elif kind == SILU:
        for j in range(n):
            below = sigmoid_lanes(x[j])
            dy[j] = dy[j] * (below * (one + x[j] * sigmoid_lanes(-x[j])))
    elif kind == MISH:
        for j in range(n):
            below = tanh_lanes(softplus_lanes(x[j]))
            dy[j] = dy[j] * (below + x[j] * sigmoid_lanes(x[j]) * (one - below * below))
    elif kind == HARDSWISH:
        for j in range(n):
            below = clip_to_six(x[j] + three)
            density = where_positive(below, where_positive(six - below, x[j], splat(0)), splat(0))
            dy[j] = dy[j] * ((below + density) * sixth)


cdef inline lanes_t shift_by_largest(
    const lanes_t* x, Py_ssize_t x_plane, lanes_t* y, Py_ssize_t y_plane, Py_ssize_t channels
) noexcept nogil:
    """Write y = x - max(x), so that nothing overflows, and return the sum of e^y."""
    cdef Py_ssize_t k
    cdef lanes_t top = x[0], total = splat(0)
    for k in range(1, channels):
        top = larger(x[k * x_plane], top)
    for k in range(channels):
        y[k * y_plane] = x[k * x_plane] - top
        total = total + exp_lanes(y[k * y_plane])
    return total


cdef inline void softmax_pixel(
    const activation_t* g, const lanes_t* x, lanes_t* y
) noexcept nogil:
    """Write y of all channels of a pixel."""
    cdef Py_ssize_t k
    cdef lanes_t total = shift_by_largest(x, g.x.plane, y, g.y.plane, g.channels)
    if g.kind == SOFTMAX:
        for k in range(g.channels):
            y[k * g.y.plane] = exp_lanes(y[k * g.y.plane]) / total
    else:
        total = log_each_lane(total)
        for k in range(g.channels):
            y[k * g.y.plane] = y[k * g.y.plane] - total


cdef inline void softmax_backward_pixel(const activation_t* g, const lanes_t* y, lanes_t* dy) noexcept nogil:
    """Overwrite dy of all channels of a pixel with dx."""
    cdef Py_ssize_t k
    cdef lanes_t total = splat(0), value
    for k in range(g.channels):
        if g.kind == SOFTMAX:
            total = total + dy[k * g.dy.plane] * y[k * g.y.plane]
        else:
            total = total + dy[k * g.dy.plane]
    for k in range(g.channels):
        value = y[k * g.y.plane]
        if g.kind == SOFTMAX:
            dy[k * g.dy.plane] = value * (dy[k * g.dy.plane] - total)
        else:
            dy[k * g.dy.plane] = dy[k * g.dy.plane] - exp_lanes(value) * total


cdef inline void activation_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const activation_t* g = <const activation_t*> fields
    cdef Py_ssize_t c, i, j
    cdef bint over_channels = g.kind == SOFTMAX or g.kind == LOG_SOFTMAX
    cdef range_t rows, units = find_units(b, g.ho if over_channels else g.channels * g.ho)
    if over_channels:
        for i in range(units.first, units.end):
            for j in range(g.wo):
                softmax_pixel(g, find_row(b, &g.x, 0, i) + j, find_row(b, &g.y, 0, i) + j)
        return
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            activate_row(find_row(b, &g.x, c, i), find_row(b, &g.y, c, i), g.wo, g.kind, g.slope)


cdef inline void activation_backward(const void* fields, const block_t* b) noexcept nogil:
    """Overwrite dy with dx, if required."""
    cdef const activation_t* g = <const activation_t*> fields
    cdef Py_ssize_t c, i, j
    cdef bint over_channels = g.kind == SOFTMAX or g.kind == LOG_SOFTMAX
    cdef range_t rows, units = find_units(b, g.ho if over_channels else g.channels * g.ho)
    if g.dx.offset < 0:
        return
    if over_channels:
        for i in range(units.first, units.end):
            for j in range(g.wo):
                softmax_backward_pixel(g, find_row(b, &g.y, 0, i) + j, find_row(b, &g.dy, 0, i) + j)
        return
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        for i in range(rows.first, rows.end):
            activation_backward_row(
                find_row(b, &g.x, c, i), find_row(b, &g.y, c, i), find_row(b, &g.dy, c, i), g.wo,
                g.kind, g.slope,
            )
