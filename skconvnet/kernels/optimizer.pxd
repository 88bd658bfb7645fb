"""One pass over the flat parameter vector: add up the groups' gradients in order and take a step.

    SGD     v = momentum * v + g                    p = p - rate * v
            nesterov                                p = p - rate * (g + momentum * v)
    Adam    m = beta_1 * m + (1 - beta_1) * g       v = beta_2 * v + (1 - beta_2) * g^2
            p = p - rate / (1 - beta_1^t) * m / (sqrt(v / (1 - beta_2^t)) + epsilon)
"""

from libc.math cimport pow, sqrt

from skconvnet.kernels.lanes cimport real_t, square_root

cdef enum:
    CHUNK = 1024            # parameters that a thread updates at a time


cdef enum optimizer_kind:
    SGD
    ADAM


ctypedef struct optimizer_t:
    int kind
    double momentum
    bint nesterov
    double beta_1, beta_2, epsilon


cdef inline void sum_groups(
    const real_t* partial,      # IN   (n_groups, stride)
    Py_ssize_t n_groups,
    bint paired,                # the groups of a pair are added to each other first
    Py_ssize_t stride,
    real_t* gradient,           # OUT  (n,)
    Py_ssize_t n,
) noexcept nogil:
    """Add up the groups' gradients, in order."""
    cdef Py_ssize_t k, g
    cdef const real_t* one
    cdef const real_t* other
    for k in range(n):
        gradient[k] = 0
    for g in range(n_groups):
        one = partial + g * stride
        other = one + stride
        if not paired:
            for k in range(n):
                gradient[k] += one[k]
        elif g % 2 == 0 and g + 1 < n_groups:
            for k in range(n):
                gradient[k] += one[k] + other[k]
        elif g % 2 == 0:
            for k in range(n):
                gradient[k] += one[k]


cdef inline void update(
    const optimizer_t* o,
    const real_t* gradient,     # IN   (n,)
    real_t* params,             # IN OUT
    real_t* first,              # IN OUT velocity (SGD) or mean (Adam)
    real_t* second,             # IN OUT mean square (Adam)
    Py_ssize_t n,
    double rate,
    Py_ssize_t t,               # which step this is, from 1
) noexcept nogil:
    """Take one step of the optimizer on n parameters."""
    cdef Py_ssize_t k
    cdef real_t step = <real_t> rate, momentum = <real_t> o.momentum
    cdef real_t beta_1 = <real_t> o.beta_1, beta_2 = <real_t> o.beta_2, epsilon = <real_t> o.epsilon
    cdef real_t keep_1 = <real_t> (1 - o.beta_1), keep_2 = <real_t> (1 - o.beta_2)
    cdef real_t root_correction
    if o.kind == SGD:
        for k in range(n):
            first[k] = momentum * first[k] + gradient[k]
        if o.nesterov:
            for k in range(n):
                params[k] -= step * (gradient[k] + momentum * first[k])
        else:
            for k in range(n):
                params[k] -= step * first[k]
    else:
        step = <real_t> (rate / (1 - pow(o.beta_1, <double> t)))
        root_correction = <real_t> (1 / sqrt(1 - pow(o.beta_2, <double> t)))
        for k in range(n):
            first[k] = beta_1 * first[k] + keep_1 * gradient[k]
            second[k] = beta_2 * second[k] + keep_2 * gradient[k] * gradient[k]
            params[k] -= step * first[k] / (square_root(second[k]) * root_correction + epsilon)
