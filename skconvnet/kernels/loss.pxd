"""Losses, each with the activation that belongs to it and its gradient, in one.

A sample has outputs z and targets t, smoothed to low + span * t.  Its loss and its gradient:

    cross_entropy           log(sum of e^z) - sum of t z            softmax(z) - t
    focal                   sum of t (1 - p)^v (-log p)             a - p sum of a, p = softmax(z),
                                                                    a = t (1 - p)^v (v p log p / (1 - p) - 1)
    cosine                  1 - c, c = z t / (|z| |t|)              (c z / |z| - t / |t|) / |z|
    binary_cross_entropy    max(z, 0) - t z + softplus(-|z|)        sigmoid(z) - t
    binary_focal            t q^v softplus(-z)                      (1 - t) p^v (v q softplus(z) + p)
                            + (1 - t) p^v softplus(z)               - t q^v (v p softplus(-z) + q),
                                                                    p = sigmoid(z), q = sigmoid(-z)
    squared_error           (z - t)^2                               2 (z - t)
    absolute_error          |z - t|                                 sign(z - t) = c
    huber                   c (z - t - c / 2)                       z - t clipped to [-1, 1] = c
    quantile                c (z - t)                               1 - v if z > t, -v if z < t, else 0 = c
    poisson                 e^(z + v) - t (z + v)                   e^(z + v) - t

v is the loss's value.  The first three are of all outputs at once, and have the output_weight 1.  The
others are summed over the outputs and multiplied by output_weight, 1 over their number.  Loss and gradient
are multiplied by the sample's weight over the batch's sum.  Targets that are missing (nan) have neither
loss nor gradient; the others of the sample count more then, so that their loss is a mean.  With Mixup a
sample has two targets, each with its own weight and its fraction of the loss; the second one adds to what
the first one wrote.
"""

from libc.math cimport exp, isnan, sqrt

from skconvnet.kernels.block cimport block_t, buffer_t, locate
from skconvnet.kernels.samples cimport read_value, samples_t
from skconvnet.kernels.simd cimport (
    MAX_LANES, inverse_root, lanes_t, larger, magnitude, real_t, splat, where_positive
)
from skconvnet.kernels.vecmath cimport (
    exp_lanes, expm1_lanes, log_each_lane, sigmoid_lanes, softplus_lanes
)

cdef enum loss_kind:
    CROSS_ENTROPY
    FOCAL
    COSINE
    BINARY_CROSS_ENTROPY
    BINARY_FOCAL
    SQUARED_ERROR
    ABSOLUTE_ERROR
    HUBER
    QUANTILE
    POISSON


# The targets of all samples, and the loss that compares outputs with them.
ctypedef struct target_t:
    int kind
    double low, span, output_weight, value
    const Py_ssize_t* classes           # the class of each sample: its target is 1, others are 0; or NULL
    const samples_t* values             # else the targets of each sample
    bint misses                         # whether some of these are nan
    const double* inverse_variances     # of each output, 1 over the variance of its targets; 0: no variance


ctypedef struct labels_t:
    const target_t* target              # NULL: only the rows are given
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


cdef inline lanes_t read_targets(
    const labels_t* labels, Py_ssize_t k, lanes_t* present
) noexcept nogil:
    """Return the smoothed targets for output k, those of 0 in the lanes from n on; present: 0 if missing."""
    cdef const target_t* g = labels.target
    cdef real_t low = <real_t> g.low, span = <real_t> g.span, value
    cdef lanes_t t = splat(0)
    cdef Py_ssize_t lane
    present[0] = splat(1)
    for lane in range(labels.n):
        if g.classes == NULL:
            value = <real_t> read_value(g.values, labels.rows[lane], k)
            if g.misses and isnan(value):
                (<real_t*> present)[lane] = 0
            else:
                (<real_t*> &t)[lane] = value
        elif g.classes[labels.rows[lane]] == k:
            (<real_t*> &t)[lane] = 1
    return low + span * t


cdef inline Py_ssize_t count_present(const target_t* g, Py_ssize_t row, Py_ssize_t channels) noexcept nogil:
    """Return how many targets of a sample are not missing, at least 1."""
    cdef Py_ssize_t k, n = 0
    for k in range(channels):
        n += not isnan(read_value(g.values, row, k))
    return max(n, <Py_ssize_t> 1)


cdef inline bint is_right(
    const target_t* g, Py_ssize_t row, const outputs_t* o, Py_ssize_t lane
) noexcept nogil:
    """Return whether the first of the largest outputs is that of the class, as for argmax."""
    cdef Py_ssize_t k, first = 0, expected = 0
    for k in range(1, o.channels):
        if pick(o.z + k * o.z_plane, lane) > pick(o.z + first * o.z_plane, lane):
            first = k
    if g.classes != NULL:
        return first == g.classes[row]
    for k in range(1, o.channels):
        if read_value(g.values, row, k) > read_value(g.values, row, expected):
            expected = k
    return first == expected


cdef inline double score_sample(
    const target_t* g, Py_ssize_t row, const outputs_t* o, Py_ssize_t lane
) noexcept nogil:
    """Return what a sample adds to the accuracy (of several labels: 1 if all are right), or to R^2."""
    cdef Py_ssize_t k, n = 0
    cdef double t, z, norm = 1, score = 0
    if g.classes != NULL or g.kind == CROSS_ENTROPY or g.kind == FOCAL:
        return is_right(g, row, o, lane)
    if g.kind == COSINE:                    # predictions have the length 1
        norm = 0
        for k in range(o.channels):
            norm += <double> pick(o.z + k * o.z_plane, lane) ** 2
        norm = sqrt(norm) if norm > 0 else 1
    for k in range(o.channels):
        t, z = read_value(g.values, row, k), pick(o.z + k * o.z_plane, lane)
        if isnan(t):
            continue
        n += 1
        if g.kind == BINARY_CROSS_ENTROPY or g.kind == BINARY_FOCAL:
            if (z > 0) != (t > 0):
                return 0
            score += 1
        elif g.inverse_variances[k] > 0:
            z = exp(z + g.value) if g.kind == POISSON else z / norm
            score += 1 - (z - t) * (z - t) * g.inverse_variances[k]
    return score / n if n > 0 else 0


cdef inline void write_gradient(const labels_t* labels, lanes_t* dz, lanes_t gradient) noexcept nogil:
    """Write a gradient, or add it to that of the first targets."""
    dz[0] = gradient if labels.first else dz[0] + gradient


cdef inline lanes_t find_top(const outputs_t* o, lanes_t* total) noexcept nogil:
    """Return the largest output, which is subtracted so that nothing overflows; total: sum of e^(z - top)."""
    cdef Py_ssize_t k
    cdef lanes_t top = o.z[0]
    total[0] = splat(0)
    for k in range(1, o.channels):
        top = larger(o.z[k * o.z_plane], top)
    for k in range(o.channels):
        total[0] = total[0] + exp_lanes(o.z[k * o.z_plane] - top)
    return top


cdef inline void compute_cross_entropy(
    const labels_t* labels, const outputs_t* o, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Write the loss and its gradient."""
    cdef Py_ssize_t k
    cdef lanes_t x, t, unused, total, explained = splat(0)
    cdef lanes_t top = find_top(o, &total)
    for k in range(o.channels):
        x = o.z[k * o.z_plane] - top
        t = read_targets(labels, k, &unused)
        explained = explained + t * x
        write_gradient(labels, o.dz + k * o.dz_plane, (exp_lanes(x) / total - t) * scale)
    loss[0] = log_each_lane(total) - explained


cdef inline lanes_t differentiate_focal(
    lanes_t t, lanes_t log_p, real_t gamma, lanes_t* power
) noexcept nogil:
    """Return a of the focal loss; power: (1 - p)^gamma."""
    cdef real_t one = 1, least = <real_t> 1e-30
    cdef lanes_t rest = larger(-expm1_lanes(log_p), splat(least))       # 1 - p
    power[0] = exp_lanes(gamma * log_each_lane(rest))
    return t * power[0] * (gamma * exp_lanes(log_p) * (log_p / rest) - one)


cdef inline void compute_focal(
    const labels_t* labels, const outputs_t* o, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Write the loss and its gradient."""
    cdef Py_ssize_t k
    cdef real_t gamma = <real_t> labels.target.value
    cdef lanes_t log_p, t, a, power, unused, total, sum_a = splat(0)
    cdef lanes_t top = find_top(o, &total)
    top = top + log_each_lane(total)
    loss[0] = splat(0)
    for k in range(o.channels):
        log_p = o.z[k * o.z_plane] - top
        t = read_targets(labels, k, &unused)
        sum_a = sum_a + differentiate_focal(t, log_p, gamma, &power)
        loss[0] = loss[0] - t * power * log_p
    for k in range(o.channels):
        log_p = o.z[k * o.z_plane] - top
        a = differentiate_focal(read_targets(labels, k, &unused), log_p, gamma, &power)
        write_gradient(labels, o.dz + k * o.dz_plane, (a - exp_lanes(log_p) * sum_a) * scale)


cdef inline void compute_cosine(
    const labels_t* labels, const outputs_t* o, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Write the loss and its gradient; a vector of length 0 is divided by 1 instead."""
    cdef Py_ssize_t k
    cdef real_t one = 1
    cdef lanes_t z, t, unused, zz = splat(0), tt = splat(0), zt = splat(0)
    for k in range(o.channels):
        z, t = o.z[k * o.z_plane], read_targets(labels, k, &unused)
        zz, tt, zt = zz + z * z, tt + t * t, zt + z * t
    zz = where_positive(zz, inverse_root(zz), splat(one))       # 1 / |z|
    tt = where_positive(tt, inverse_root(tt), splat(one))
    zt = zt * zz * tt
    for k in range(o.channels):
        z, t = o.z[k * o.z_plane], read_targets(labels, k, &unused)
        write_gradient(labels, o.dz + k * o.dz_plane, (zt * (z * zz) - t * tt) * zz * scale)
    loss[0] = one - zt


cdef inline lanes_t compute_output_loss(
    const target_t* g, lanes_t x, lanes_t t, lanes_t* loss
) noexcept nogil:
    """Return the gradient to an output x, and write its loss."""
    cdef real_t one = 1, half = 0.5, value = <real_t> g.value
    cdef lanes_t p, q, above, below, gradient, d = x - t
    if g.kind == BINARY_CROSS_ENTROPY:
        loss[0] = (larger(x, splat(0)) - t * x) + softplus_lanes(-magnitude(x))
        return sigmoid_lanes(x) - t
    if g.kind == BINARY_FOCAL:
        p, q, above, below = sigmoid_lanes(x), sigmoid_lanes(-x), softplus_lanes(x), softplus_lanes(-x)
        gradient = (one - t) * exp_lanes(-value * below)        # p^gamma
        d = t * exp_lanes(-value * above)                       # q^gamma
        loss[0] = d * below + gradient * above
        return gradient * (value * q * above + p) - d * (value * p * below + q)
    if g.kind == SQUARED_ERROR:
        loss[0] = d * d
        return d + d
    if g.kind == POISSON:
        x = x + value
        p = exp_lanes(x)
        loss[0] = p - t * x
        return p - t
    if g.kind == HUBER:
        gradient = larger(-larger(-d, splat(-one)), splat(-one))
        loss[0] = gradient * (d - half * gradient)
        return gradient
    if g.kind == QUANTILE:
        above, below = splat(one - value), splat(value)
    else:                                   # absolute_error
        above = below = splat(one)
    gradient = where_positive(d, above, splat(0)) - where_positive(-d, below, splat(0))
    loss[0] = gradient * d
    return gradient


cdef inline void compute_output_losses(
    const labels_t* labels, const outputs_t* o, lanes_t scale, lanes_t* loss
) noexcept nogil:
    """Write the sum of the losses of the outputs and their gradients; what is missing has none."""
    cdef Py_ssize_t k
    cdef lanes_t t, one_loss, gradient, present
    loss[0] = splat(0)
    for k in range(o.channels):
        t = read_targets(labels, k, &present)
        gradient = compute_output_loss(labels.target, o.z[k * o.z_plane], t, &one_loss)
        loss[0] = loss[0] + present * one_loss
        write_gradient(labels, o.dz + k * o.dz_plane, present * gradient * scale)


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
        weight[lane] = labels.weight[row] / labels.total * labels.fraction * g.output_weight
        if g.misses:
            weight[lane] *= <double> channels / count_present(g, row, channels)
        (<real_t*> &scale)[lane] = <real_t> weight[lane]
        if labels.first:
            labels.score[lane] = score_sample(g, row, &o, lane)
    if g.kind == CROSS_ENTROPY:
        compute_cross_entropy(labels, &o, scale, &loss)
    elif g.kind == FOCAL:
        compute_focal(labels, &o, scale, &loss)
    elif g.kind == COSINE:
        compute_cosine(labels, &o, scale, &loss)
    else:
        compute_output_losses(labels, &o, scale, &loss)
    for lane in range(labels.n):
        part = <double> pick(&loss, lane) * weight[lane]
        labels.loss[lane] = part if labels.first else labels.loss[lane] + part
