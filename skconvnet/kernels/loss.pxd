"""Losses, each with the activation that belongs to it and its gradient, in one.

A sample has outputs z and targets t, smoothed to low + span * t.  Its loss, and the gradient to z:

    cross_entropy           log(sum of e^z) - sum of t z            softmax(z) - t
    binary_cross_entropy    max(z, 0) - t z + log(1 + e^-|z|)       sigmoid(z) - t
    squared_error           (z - t)^2                               2 (z - t)
    absolute_error          |z - t|                                 sign(z - t) = c
    huber                   c (z - t - c / 2)                       z - t cut to [-1, 1] = c

The last four are summed over the outputs and multiplied by share, 1 over their number.  Loss and
gradient are multiplied by the sample's weight over the batch's sum.  A sample that was mixed of two has
two targets, each with its own weight and share; what the second one adds is added to what the first wrote.
"""

from libc.math cimport log1p

from skconvnet.kernels.activation cimport log_of_lanes
from skconvnet.kernels.lanes cimport (
    LANES, MAX_LANES, block_t, buffer_t, exp_lanes, lanes_t, larger, locate, real_t, sigmoid_lanes, splat,
    where_positive
)
from skconvnet.kernels.samples cimport read_number, samples_t

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
    Py_ssize_t n
    const double* weight                # IN   of all samples
    double total                        # IN   of the batch's weights
    double share                        # IN   of these targets in the loss
    bint first                          # assign, do not add
    double* loss                        # OUT  weighted
    double* score                       # OUT  1 for a right prediction, else 0; of numbers, R^2


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


cdef inline lanes_t read_targets(const labels_t* labels, Py_ssize_t k) noexcept nogil:
    """The samples' smoothed targets for output k, those of 0 in the lanes beyond n."""
    cdef const target_t* g = labels.target
    cdef real_t low = <real_t> g.low, span = <real_t> g.span
    cdef lanes_t t = splat(0)
    cdef Py_ssize_t lane
    for lane in range(labels.n):
        if g.classes == NULL:
            (<real_t*> &t)[lane] = <real_t> read_number(g.values, labels.rows[lane], k)
        elif g.classes[labels.rows[lane]] == k:
            (<real_t*> &t)[lane] = 1
    return low + span * t


cdef inline double score_sample(
    const target_t* target, Py_ssize_t row, const lanes_t* z, Py_ssize_t z_plane, Py_ssize_t channels,
    Py_ssize_t lane
) noexcept nogil:
    """What a sample adds to the accuracy (of several labels: 1 if all are right), or to R^2."""
    cdef Py_ssize_t k, first = 0
    cdef double t, error, score = 0
    if target.classes != NULL:
        for k in range(1, channels):        # the first of the largest, as argmax does
            if pick(z + k * z_plane, lane) > pick(z + first * z_plane, lane):
                first = k
        return first == target.classes[row]
    for k in range(channels):
        t = read_number(target.values, row, k)
        if target.kind == BINARY_CROSS_ENTROPY:
            if (pick(z + k * z_plane, lane) > 0) != (t > 0):
                return 0
        elif target.precisions[k] > 0:
            error = <double> pick(z + k * z_plane, lane) - t
            score += 1 - error * error * target.precisions[k]
    return 1 if target.kind == BINARY_CROSS_ENTROPY else score / channels


cdef inline void give(const labels_t* labels, lanes_t* dz, lanes_t gradient) noexcept nogil:
    """Write a gradient, or add it to that of the targets before these."""
    dz[0] = gradient if labels.first else dz[0] + gradient


cdef inline void take_cross_entropy(
    const labels_t* labels, const lanes_t* z, Py_ssize_t z_plane, lanes_t* dz, Py_ssize_t dz_plane,
    Py_ssize_t channels, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Add up the loss and give the gradient; less the largest z, nothing overflows."""
    cdef Py_ssize_t k
    cdef lanes_t x, t, top = z[0], total = splat(0), explained = splat(0)
    for k in range(1, channels):
        top = larger(z[k * z_plane], top)
    for k in range(channels):
        total = total + exp_lanes(z[k * z_plane] - top)
    for k in range(channels):
        x = z[k * z_plane] - top
        t = read_targets(labels, k)
        explained = explained + t * x
        give(labels, dz + k * dz_plane, (exp_lanes(x) / total - t) * scale)
    loss[0] = log_of_lanes(total) - explained


cdef inline void take_output_losses(
    const labels_t* labels, const lanes_t* z, Py_ssize_t z_plane, lanes_t* dz, Py_ssize_t dz_plane,
    Py_ssize_t channels, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Add up the losses of the outputs and give the gradients."""
    cdef const target_t* g = labels.target
    cdef Py_ssize_t k
    cdef real_t one = 1, half = 0.5
    cdef lanes_t x, t, d, slope
    loss[0] = splat(0)
    for k in range(channels):
        x = z[k * z_plane]
        t = read_targets(labels, k)
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
        give(labels, dz + k * dz_plane, slope * scale)


cdef inline void take_loss(
    const buffer_t* outputs, Py_ssize_t channels, const buffer_t* gradient, const labels_t* labels,
    const block_t* b
) noexcept nogil:
    """Write loss and gradient, or add to them; score the first targets.  Lanes beyond n get no gradient."""
    cdef const target_t* g = labels.target
    cdef const lanes_t* z = locate(b, outputs)
    cdef lanes_t* dz = locate(b, gradient)
    cdef lanes_t scale = splat(0), loss
    cdef double[MAX_LANES] weight
    cdef double part
    cdef Py_ssize_t lane, row
    for lane in range(labels.n):
        row = labels.rows[lane]
        weight[lane] = labels.weight[row] / labels.total * labels.share
        (<real_t*> &scale)[lane] = <real_t> (weight[lane] * g.share)
        if labels.first:
            labels.score[lane] = score_sample(g, row, z, outputs.plane, channels, lane)
    if g.kind == CROSS_ENTROPY:
        take_cross_entropy(labels, z, outputs.plane, dz, gradient.plane, channels, scale, &loss)
    else:
        take_output_losses(labels, z, outputs.plane, dz, gradient.plane, channels, scale, &loss)
    for lane in range(labels.n):
        part = <double> pick(&loss, lane) * g.share * weight[lane]
        labels.loss[lane] = part if labels.first else labels.loss[lane] + part
