"""Losses, each with the activation that belongs to it and its gradient, in one.

A sample has outputs z and targets t, smoothed to low + span * t.  Its loss, and the gradient to z:

    cross_entropy           log(sum of e^z) - sum of t z            softmax(z) - t
    binary_cross_entropy    max(z, 0) - t z + softplus(-|z|)        sigmoid(z) - t
    squared_error           (z - t)^2                               2 (z - t)
    absolute_error          |z - t|                                 sign(z - t) = c
    huber                   c (z - t - c / 2)                       z - t clipped to [-1, 1] = c

The last four are summed over the outputs and multiplied by output_weight, 1 over their number.  Loss and
gradient are multiplied by the sample's weight over the batch's sum.  With Mixup a sample has two targets,
each with its own weight and its fraction of the loss; the second one adds to what the first one wrote.
"""

from skconvnet.kernels.block cimport block_t, buffer_t, locate
from skconvnet.kernels.samples cimport read_value, samples_t
from skconvnet.kernels.simd cimport MAX_LANES, lanes_t, larger, magnitude, real_t, splat, where_positive
from skconvnet.kernels.vecmath cimport exp_lanes, log_each_lane, sigmoid_lanes, softplus_lanes

cdef enum loss_kind:
    CROSS_ENTROPY
    BINARY_CROSS_ENTROPY
    SQUARED_ERROR
    ABSOLUTE_ERROR
    HUBER


# The targets of all samples, and the loss that compares outputs with them.
ctypedef struct target_t:
    int kind
    double low, span, output_weight
    const Py_ssize_t* classes           # the class of each sample: its target is 1, others are 0; or NULL
    const samples_t* values             # else the targets of each sample
    const double* inverse_variances     # of each output, 1 over the variance of its targets; 0: no variance


ctypedef struct labels_t:
    const target_t* target
    const Py_ssize_t* rows              # IN   indices of the block's n samples
    Py_ssize_t n
    const double* weight                # IN   of all samples
    double total                        # IN   of the batch's weights
    double fraction                     # IN   of these targets in the loss
    bint first                          # assign, do not add
    double* loss                        # OUT  weighted
    double* score                       # OUT  1 for a right prediction, else 0; in regression, R^2


# Outputs and their gradient in a block's memory: element k is at k * plane.
ctypedef struct outputs_t:
    const lanes_t* z                    # IN
    Py_ssize_t z_plane
    lanes_t* dz                         # OUT
    Py_ssize_t dz_plane
    Py_ssize_t channels


cdef inline real_t pick(const lanes_t* x, Py_ssize_t lane) noexcept nogil:
    """Return the element of one lane."""
    return (<const real_t*> x)[lane]


cdef inline lanes_t read_targets(const labels_t* labels, Py_ssize_t k) noexcept nogil:
    """Return the smoothed targets of the samples for output k, those of 0 in the lanes from n on."""
    cdef const target_t* g = labels.target
    cdef real_t low = <real_t> g.low, span = <real_t> g.span
    cdef lanes_t t = splat(0)
    cdef Py_ssize_t lane
    for lane in range(labels.n):
        if g.classes == NULL:
            (<real_t*> &t)[lane] = <real_t> read_value(g.values, labels.rows[lane], k)
        elif g.classes[labels.rows[lane]] == k:
            (<real_t*> &t)[lane] = 1
    return low + span * t


cdef inline double score_sample(
    const target_t* target, Py_ssize_t row, const outputs_t* o, Py_ssize_t lane
) noexcept nogil:
    """Return what a sample adds to the accuracy (of several labels: 1 if all are right), or to R^2."""
    cdef Py_ssize_t k, first = 0
    cdef double t, error, score = 0
    if target.classes != NULL:
        for k in range(1, o.channels):      # the first of the largest, as argmax does
            if pick(o.z + k * o.z_plane, lane) > pick(o.z + first * o.z_plane, lane):
                first = k
        return first == target.classes[row]
    for k in range(o.channels):
        t = read_value(target.values, row, k)
        if target.kind == BINARY_CROSS_ENTROPY:
            if (pick(o.z + k * o.z_plane, lane) > 0) != (t > 0):
                return 0
        elif target.inverse_variances[k] > 0:
            error = <double> pick(o.z + k * o.z_plane, lane) - t
            score += 1 - error * error * target.inverse_variances[k]
    return 1 if target.kind == BINARY_CROSS_ENTROPY else score / o.channels


cdef inline void write_gradient(const labels_t* labels, lanes_t* dz, lanes_t gradient) noexcept nogil:
    """Write a gradient, or add it to that of the first targets."""
    dz[0] = gradient if labels.first else dz[0] + gradient


cdef inline void compute_cross_entropy(
    const labels_t* labels, const outputs_t* o, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Write the loss and its gradient; the largest z is subtracted, so that nothing overflows."""
    cdef Py_ssize_t k
    cdef lanes_t x, t, top = o.z[0], total = splat(0), explained = splat(0)
    for k in range(1, o.channels):
        top = larger(o.z[k * o.z_plane], top)
    for k in range(o.channels):
        total = total + exp_lanes(o.z[k * o.z_plane] - top)
    for k in range(o.channels):
        x = o.z[k * o.z_plane] - top
        t = read_targets(labels, k)
        explained = explained + t * x
        write_gradient(labels, o.dz + k * o.dz_plane, (exp_lanes(x) / total - t) * scale)
    loss[0] = log_each_lane(total) - explained


cdef inline void compute_output_losses(
    const labels_t* labels, const outputs_t* o, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Write the sum of the losses of the outputs and their gradients."""
    cdef const target_t* g = labels.target
    cdef Py_ssize_t k
    cdef real_t one = 1, half = 0.5
    cdef lanes_t x, t, d, gradient
    loss[0] = splat(0)
    for k in range(o.channels):
        x = o.z[k * o.z_plane]
        t = read_targets(labels, k)
        d = x - t
        if g.kind == BINARY_CROSS_ENTROPY:
            gradient = sigmoid_lanes(x) - t
            loss[0] = loss[0] + (larger(x, splat(0)) - t * x)
            loss[0] = loss[0] + softplus_lanes(-magnitude(x))
        elif g.kind == SQUARED_ERROR:
            gradient = d + d
            loss[0] = loss[0] + d * d
        elif g.kind == ABSOLUTE_ERROR:
            gradient = where_positive(d, splat(one), splat(0)) - where_positive(-d, splat(one), splat(0))
            loss[0] = loss[0] + gradient * d
        else:
            gradient = larger(-larger(-d, splat(-one)), splat(-one))
            loss[0] = loss[0] + gradient * (d - half * gradient)
        write_gradient(labels, o.dz + k * o.dz_plane, gradient * scale)


cdef inline double sum_losses(const labels_t* labels) noexcept nogil:
    """Return the sum of the losses of all samples, added in order."""
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(labels.n):
        total += labels.loss[i]
    return total


cdef inline void compute_loss(
    const buffer_t* outputs, Py_ssize_t channels, const buffer_t* gradient, const labels_t* labels,
    const block_t* b
) noexcept nogil:
    """Write loss and gradient, or add to them; score the first targets.  Lanes from n on get no gradient."""
    cdef const target_t* g = labels.target
    cdef lanes_t scale = splat(0), loss
    cdef double[MAX_LANES] weight
    cdef double part
    cdef Py_ssize_t lane, row
    cdef outputs_t o
    o.z, o.z_plane = locate(b, outputs), outputs.plane
    o.dz, o.dz_plane = locate(b, gradient), gradient.plane
    o.channels = channels
    for lane in range(labels.n):
        row = labels.rows[lane]
        weight[lane] = labels.weight[row] / labels.total * labels.fraction
        (<real_t*> &scale)[lane] = <real_t> (weight[lane] * g.output_weight)
        if labels.first:
            labels.score[lane] = score_sample(g, row, &o, lane)
    if g.kind == CROSS_ENTROPY:
        compute_cross_entropy(labels, &o, scale, &loss)
    else:
        compute_output_losses(labels, &o, scale, &loss)
    for lane in range(labels.n):
        part = <double> pick(&loss, lane) * g.output_weight * weight[lane]
        labels.loss[lane] = part if labels.first else labels.loss[lane] + part
