"""Losses, each with the activation that belongs to it and its gradient, in one.

A sample has outputs z and targets t, smoothed to low + span * t.  Its loss, and the gradient to z:

    cross_entropy           log(sum of e^z) - sum of t z            softmax(z) - t
    binary_cross_entropy    max(z, 0) - t z + log(1 + e^-|z|)       sigmoid(z) - t
    squared_error           (z - t)^2                               2 (z - t)
    absolute_error          |z - t|                                 sign(z - t) = c
    huber                   c (z - t - c / 2)                       z - t cut to [-1, 1] = c

The last four are summed over the outputs and multiplied by share, 1 over their number.  A gradient is
multiplied by the sample's weight over the batch's sum.
"""

from libc.math cimport log1p

from skconvnet.kernels.activation cimport log_of_lanes
from skconvnet.kernels.lanes cimport (
    LANES, block_t, buffer_t, exp_lanes, lanes_t, larger, locate, real_t, sigmoid_lanes, splat,
    where_positive
)
from skconvnet.kernels.samples cimport gather_samples, samples_t

cdef enum loss_kind:
    CROSS_ENTROPY
    BINARY_CROSS_ENTROPY
    SQUARED_ERROR
    ABSOLUTE_ERROR
    HUBER


# What the outputs of all samples are held against, and how.
ctypedef struct target_t:
    int kind
    double low, span, share
    const Py_ssize_t* classes           # each sample's class: its target is 1, the others' are 0; or NULL:
    const samples_t* values             # each sample's targets
    const double* precisions            # of each target, 1 over its variance; 0: it does not vary


ctypedef struct labels_t:
    const target_t* target
    const Py_ssize_t* rows              # IN   which of all samples are the block's n
    const double* weight                # IN   their weights, over the batch's sum
    double* loss                        # OUT  unweighted
    double* score                       # OUT  1 for a right prediction, else 0; of numbers, R^2
    Py_ssize_t n


cdef inline lanes_t log1p_of_lanes(lanes_t x) noexcept nogil:
    """The natural logarithm of 1 + x, a lane at a time."""
    cdef lanes_t y = x
    cdef real_t* lane = <real_t*> &y
    cdef Py_ssize_t i
    for i in range(LANES):
        lane[i] = <real_t> log1p(<double> lane[i])
    return y


cdef inline real_t pick(const lanes_t* x, Py_ssize_t lane) noexcept nogil:
    """One lane's number."""
    return (<const real_t*> x)[lane]


cdef inline void gather_targets(
    const labels_t* labels, Py_ssize_t channels, const buffer_t* place, const block_t* b
) noexcept nogil:
    """Write the samples' targets to a buffer's lanes, zero to the lanes beyond n."""
    cdef const target_t* target = labels.target
    cdef lanes_t* t = locate(b, place)
    cdef Py_ssize_t k, lane
    if target.classes == NULL:
        gather_samples(target.values, labels.rows, labels.n, place, b)
        return
    for k in range(channels):
        t[k * place.plane] = splat(0)
        for lane in range(labels.n):
            if target.classes[labels.rows[lane]] == k:
                (<real_t*> (t + k * place.plane))[lane] = 1


cdef inline double score_sample(
    const target_t* target, Py_ssize_t row, const lanes_t* z, Py_ssize_t z_plane, const lanes_t* t,
    Py_ssize_t t_plane, Py_ssize_t channels, Py_ssize_t lane
) noexcept nogil:
    """What a sample adds to the accuracy (of several labels: 1 if all are right), or to R^2."""
    cdef Py_ssize_t k, first = 0
    cdef double error, score = 0
    if target.classes != NULL:
        for k in range(1, channels):        # the first of the largest, as argmax does
            if pick(z + k * z_plane, lane) > pick(z + first * z_plane, lane):
                first = k
        return first == target.classes[row]
    for k in range(channels):
        if target.kind == BINARY_CROSS_ENTROPY:
            if (pick(z + k * z_plane, lane) > 0) != (pick(t + k * t_plane, lane) > 0):
                return 0
        elif target.precisions[k] > 0:
            error = <double> pick(z + k * z_plane, lane) - <double> pick(t + k * t_plane, lane)
            score += 1 - error * error * target.precisions[k]
    return 1 if target.kind == BINARY_CROSS_ENTROPY else score / channels


cdef inline void take_cross_entropy(
    const target_t* g, const lanes_t* z, Py_ssize_t z_plane, lanes_t* dz, Py_ssize_t dz_plane,
    Py_ssize_t channels, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Add up the loss and put the gradient in the place of t; less the largest z, nothing overflows."""
    cdef Py_ssize_t k
    cdef real_t low = <real_t> g.low, span = <real_t> g.span
    cdef lanes_t x, t, top = z[0], total = splat(0), explained = splat(0)
    for k in range(1, channels):
        top = larger(z[k * z_plane], top)
    for k in range(channels):
        total = total + exp_lanes(z[k * z_plane] - top)
    for k in range(channels):
        x = z[k * z_plane] - top
        t = low + span * dz[k * dz_plane]
        explained = explained + t * x
        dz[k * dz_plane] = (exp_lanes(x) / total - t) * scale
    loss[0] = log_of_lanes(total) - explained


cdef inline void take_output_losses(
    const target_t* g, const lanes_t* z, Py_ssize_t z_plane, lanes_t* dz, Py_ssize_t dz_plane,
    Py_ssize_t channels, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Add up the losses of the outputs and put the gradients in the place of t."""
    cdef Py_ssize_t k
    cdef real_t low = <real_t> g.low, span = <real_t> g.span, one = 1, half = 0.5
    cdef lanes_t x, t, d, slope
    loss[0] = splat(0)
    for k in range(channels):
        x = z[k * z_plane]
        t = low + span * dz[k * dz_plane]
        d = x - t
        if g.kind == BINARY_CROSS_ENTROPY:
            slope = sigmoid_lanes(x) - t
            loss[0] = loss[0] + (larger(x, splat(0)) - t * x)
            loss[0] = loss[0] + log1p_of_lanes(exp_lanes(-larger(x, -x)))
        elif g.kind == SQUARED_ERROR:
            slope = d + d
            loss[0] = loss[0] + d * d
        elif g.kind == ABSOLUTE_ERROR:
            slope = where_positive(d, splat(one), splat(0)) - where_positive(-d, splat(one), splat(0))
            loss[0] = loss[0] + slope * d
        else:
            slope = larger(-larger(-d, splat(-one)), splat(-one))
            loss[0] = loss[0] + slope * (d - half * slope)
        dz[k * dz_plane] = slope * scale


cdef inline void take_loss(
    const buffer_t* outputs, Py_ssize_t channels, const buffer_t* gradient, const labels_t* labels,
    const block_t* b
) noexcept nogil:
    """Write loss, score and gradient.  Lanes beyond n get no gradient."""
    cdef const target_t* g = labels.target
    cdef const lanes_t* z = locate(b, outputs)
    cdef lanes_t* dz = locate(b, gradient)
    cdef lanes_t scale = splat(0), loss
    cdef Py_ssize_t lane
    gather_targets(labels, channels, gradient, b)
    for lane in range(labels.n):
        (<real_t*> &scale)[lane] = <real_t> (labels.weight[lane] * g.share)
        labels.score[lane] = score_sample(
            g, labels.rows[lane], z, outputs.plane, dz, gradient.plane, channels, lane
        )
    if g.kind == CROSS_ENTROPY:
        take_cross_entropy(g, z, outputs.plane, dz, gradient.plane, channels, scale, &loss)
    else:
        take_output_losses(g, z, outputs.plane, dz, gradient.plane, channels, scale, &loss)
    for lane in range(labels.n):
        labels.loss[lane] = <double> pick(&loss, lane) * g.share
