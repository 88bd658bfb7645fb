"""Elementwise activations, in place: each one's slope follows from its value.

They run as calls of their own, or row by row within the call that makes the values.

    relu        y = max(x, 0)                       dy/dx = 1 if y > 0 else 0
    leaky_relu  y = x if x > 0 else slope * x       dy/dx = 1 if y > 0 else slope      (slope >= 0)
    sigmoid     y = 1 / (1 + e^-x)                  dy/dx = y (1 - y)
    tanh        y = (e^2x - 1) / (e^2x + 1)         dy/dx = 1 - y^2

softmax and log_softmax run over the channels of a 1 x 1 image; they end a network that predicts.
"""

from libc.math cimport log

from skconvnet.kernels.lanes cimport (
    LANES, block_t, buffer_t, exp_lanes, lanes_t, larger, locate, real_t, sigmoid_lanes, splat,
    tanh_lanes, where_positive
)

cdef enum activation_kind:
    IDENTITY
    RELU
    LEAKY_RELU
    SIGMOID
    TANH


ctypedef struct activation_t:
    buffer_t y, dy                      # x and y, dx and dy are the same buffer
    Py_ssize_t channels, ho, wo
    int kind
    double slope


cdef inline void activate_row(lanes_t* y, Py_ssize_t n, int kind, double slope) noexcept nogil:
    """Put n values y in the place of x."""
    cdef Py_ssize_t j
    cdef real_t leak = <real_t> slope
    if kind == RELU:
        for j in range(n):
            y[j] = larger(y[j], splat(0))
    elif kind == LEAKY_RELU:
        for j in range(n):
            y[j] = where_positive(y[j], y[j], leak * y[j])
    elif kind == SIGMOID:
        for j in range(n):
            y[j] = sigmoid_lanes(y[j])
    elif kind == TANH:
        for j in range(n):
            y[j] = tanh_lanes(y[j])


cdef inline void slope_row(
    const lanes_t* y, lanes_t* dy, Py_ssize_t n, int kind, double slope
) noexcept nogil:
    """Put n gradients dx in the place of dy."""
    cdef Py_ssize_t j
    cdef real_t leak = <real_t> slope, one = 1
    if kind == RELU:
        for j in range(n):
            dy[j] = where_positive(y[j], dy[j], splat(0))
    elif kind == LEAKY_RELU:
        for j in range(n):
            dy[j] = where_positive(y[j], dy[j], leak * dy[j])
    elif kind == SIGMOID:
        for j in range(n):
            dy[j] = dy[j] * (y[j] * (one - y[j]))
    elif kind == TANH:
        for j in range(n):
            dy[j] = dy[j] * (one - y[j] * y[j])


cdef inline void activation_forward(const activation_t* g, const block_t* b) noexcept nogil:
    """Put y in the place of x."""
    cdef Py_ssize_t c, i
    for c in range(g.channels):
        for i in range(g.ho):
            activate_row(
                locate(b, &g.y) + c * g.y.plane + i * g.y.row, g.wo, g.kind, g.slope
            )


cdef inline void activation_backward(const activation_t* g, const block_t* b) noexcept nogil:
    """Put dx in the place of dy."""
    cdef Py_ssize_t c, i
    if g.dy.offset < 0:
        return
    for c in range(g.channels):
        for i in range(g.ho):
            slope_row(
                locate(b, &g.y) + c * g.y.plane + i * g.y.row,
                locate(b, &g.dy) + c * g.dy.plane + i * g.dy.row, g.wo, g.kind, g.slope,
            )


ctypedef struct softmax_t:
    buffer_t y
    Py_ssize_t channels


cdef inline lanes_t shift_by_largest(
    lanes_t* y, Py_ssize_t channels, Py_ssize_t plane
) noexcept nogil:
    """Subtract the largest logit, so that nothing overflows, and return the sum of the exponentials."""
    cdef Py_ssize_t k
    cdef lanes_t top = y[0], total = splat(0)
    for k in range(1, channels):
        top = larger(y[k * plane], top)
    for k in range(channels):
        y[k * plane] = y[k * plane] - top
        total = total + exp_lanes(y[k * plane])
    return total


cdef inline lanes_t log_of_lanes(lanes_t x) noexcept nogil:
    """The natural logarithm, a lane at a time."""
    cdef lanes_t y = x
    cdef real_t* lane = <real_t*> &y
    cdef Py_ssize_t i
    for i in range(LANES):
        lane[i] = <real_t> log(<double> lane[i])
    return y


cdef inline void softmax_forward(const softmax_t* g, const block_t* b) noexcept nogil:
    """Put e^x / sum of e^x in the place of x."""
    cdef lanes_t* y = locate(b, &g.y)
    cdef lanes_t total = shift_by_largest(y, g.channels, g.y.plane)
    cdef Py_ssize_t k
    for k in range(g.channels):
        y[k * g.y.plane] = exp_lanes(y[k * g.y.plane]) / total


cdef inline void log_softmax_forward(const softmax_t* g, const block_t* b) noexcept nogil:
    """Put x - log(sum of e^x) in the place of x."""
    cdef lanes_t* y = locate(b, &g.y)
    cdef lanes_t log_total = log_of_lanes(shift_by_largest(y, g.channels, g.y.plane))
    cdef Py_ssize_t k
    for k in range(g.channels):
        y[k * g.y.plane] = y[k * g.y.plane] - log_total
