"""Softmax with cross-entropy, in one: the loss of a sample is log(sum of e^z) - z[target].

Its gradient is weight * (softmax(z) - onehot(target)); weight is the sample's own over the batch's sum.
"""

from skconvnet.kernels.activation cimport log_of_lanes, shift_by_largest
from skconvnet.kernels.lanes cimport (
    LANES, block_t, buffer_t, exp_lanes, lanes_t, locate, real_t, splat
)


ctypedef struct labels_t:
    const Py_ssize_t* target            # IN   class of each of the block's n samples
    const double* weight                # IN   their weights, over the batch's sum
    double* loss                        # OUT  unweighted
    double* hit                         # OUT  1 where the largest logit is the target's
    Py_ssize_t n


cdef inline void cross_entropy(
    const buffer_t* logits, Py_ssize_t channels, const buffer_t* dlogits, const labels_t* labels,
    const block_t* b
) noexcept nogil:
    """Write loss, hit and dlogits; the logits are left shifted.  Lanes beyond n get no gradient."""
    cdef lanes_t* z = locate(b, logits)
    cdef lanes_t* dz = locate(b, dlogits)
    cdef lanes_t total = shift_by_largest(z, channels, logits.plane)
    cdef lanes_t log_total = log_of_lanes(total)
    cdef lanes_t scale = splat(0)
    cdef real_t* weight = <real_t*> &scale
    cdef Py_ssize_t k, lane
    cdef real_t target_logit
    for lane in range(labels.n):
        weight[lane] = <real_t> labels.weight[lane]
    for k in range(channels):
        dz[k * dlogits.plane] = exp_lanes(z[k * logits.plane]) / total * scale
    for lane in range(labels.n):
        k = labels.target[lane]
        (<real_t*> (dz + k * dlogits.plane))[lane] -= weight[lane]
        target_logit = (<const real_t*> (z + k * logits.plane))[lane]
        labels.loss[lane] = <double> (<real_t*> &log_total)[lane] - <double> target_logit
        # the first of the largest logits, now 0, decides: as argmax does
        labels.hit[lane] = 0
        for k in range(channels):
            if (<const real_t*> (z + k * logits.plane))[lane] == 0:
                labels.hit[lane] = k == labels.target[lane]
                break
