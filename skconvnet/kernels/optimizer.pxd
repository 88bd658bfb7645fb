"""The optimizers: one step on some elements of the flat parameter vector.

With a first state vector a, a second one b, and the factors keep_1, add_1, keep_2, add_2 of their old values
and of what is added to them:

    SGD         a = keep_1 * a + g                          p = p - rate * a
    NESTEROV    a = keep_1 * a + g                          p = p - rate * (g + keep_1 * a)
    SCALED      b = keep_2 * b + add_2 * g^2
                a = keep_1 * a + g / (sqrt(b) + epsilon)    p = p - rate * a
    ADAM        a = keep_1 * a + add_1 * g                  b = keep_2 * b + add_2 * g^2
                p = p - rate / (1 - keep_1^t) * a / (sqrt(b / (1 - keep_2^t)) + epsilon)
    ADADELTA    b = keep_2 * b + add_2 * g^2                d = sqrt((a + epsilon) / (b + epsilon)) * g
                a = keep_1 * a + add_1 * d^2                p = p - rate * d
    LION        p = p - rate * sign(keep_1 * a + add_1 * g)
                a = keep_2 * a + add_2 * g
"""

from libc.math cimport pow, sqrt

from skconvnet.kernels.simd cimport lanes_t, real_t, square_root

cdef enum:
    CHUNK = 1024            # parameters that a thread updates at a time
    N_SUMS = 8              # sums of squares in a chunk, independent of each other


cdef enum optimizer_kind:
    SGD
    NESTEROV
    SCALED
    ADAM
    ADADELTA
    LION


ctypedef struct optimizer_t:
    int kind
    double keep_1, add_1, keep_2, add_2, epsilon
    bint decoupled                  # weight decay is not part of the gradient
    double clip_norm                # the largest norm of the gradient; infinity: no limit
    int iterations                  # of Muon, which moves the matrices; 0: they move as all others do
    double momentum
    bint nesterov, normalize


# Neighbouring parameters that move alike.
ctypedef struct group_t:
    Py_ssize_t start, end
    double rate                     # factor of the learning rate
    double decay                    # weight decay
    Py_ssize_t rows                 # of a matrix, the weight of a layer, if Muon moves it; else 0


# One step on all trained parameters.
ctypedef struct step_t:
    const optimizer_t* optimizer
    const group_t* groups           # (n_groups,), which make up the parameters that move
    Py_ssize_t n_groups
    Py_ssize_t n_trained            # parameters that move
    real_t* params                  # IN OUT
    real_t* first                   # IN OUT
    real_t* second                  # IN OUT
    lanes_t* matrix_scratch         # of the largest matrix: see muon.pxd
    double* row_squares             # its rows
    double scale                    # of the gradient
    double rate
    Py_ssize_t t                    # which step this is, from 1


cdef inline double sum_squares(
    real_t* gradient,           # IN OUT (CHUNK,) of which n are used; the others become 0
    Py_ssize_t n,
) noexcept nogil:
    """Return the sum of the squares of a chunk, in one order."""
    cdef double[N_SUMS] sums
    cdef double total = 0
    cdef Py_ssize_t k, i
    for k in range(n, CHUNK):
        gradient[k] = 0
    for i in range(N_SUMS):
        sums[i] = 0
    for k in range(CHUNK // N_SUMS):
        for i in range(N_SUMS):
            sums[i] += <double> gradient[k * N_SUMS + i] * gradient[k * N_SUMS + i]
    for i in range(N_SUMS):
        total += sums[i]
    return total


cdef inline void update(
    const step_t* s,
    const group_t* group,
    real_t* gradient,           # IN   (n,), clobbered
    Py_ssize_t start,           # index of the first parameter
    Py_ssize_t n,
) noexcept nogil:
    """Take one step of the optimizer on n parameters of a group."""
    cdef const optimizer_t* o = s.optimizer
    cdef real_t* params = s.params + start
    cdef real_t* first = s.first + start
    cdef real_t* second = s.second + start
    cdef Py_ssize_t k
    cdef double exact_rate = s.rate * group.rate
    cdef real_t scale = <real_t> s.scale, rate = <real_t> exact_rate, epsilon = <real_t> o.epsilon
    cdef real_t decay = <real_t> (-exact_rate * group.decay if o.decoupled else group.decay)
    cdef real_t keep_1 = <real_t> o.keep_1, add_1 = <real_t> o.add_1
    cdef real_t keep_2 = <real_t> o.keep_2, add_2 = <real_t> o.add_2
    cdef real_t root_correction, move
    if s.scale != 1:
        for k in range(n):
            gradient[k] *= scale
    if group.decay != 0 and o.decoupled:
        for k in range(n):
            params[k] += decay * params[k]
    elif group.decay != 0:
        for k in range(n):
            gradient[k] += decay * params[k]
    if o.kind == SGD:
        for k in range(n):
            first[k] = keep_1 * first[k] + gradient[k]
            params[k] -= rate * first[k]
    elif o.kind == NESTEROV:
        for k in range(n):
            first[k] = keep_1 * first[k] + gradient[k]
            params[k] -= rate * (gradient[k] + keep_1 * first[k])
    elif o.kind == SCALED:
        for k in range(n):
            second[k] = keep_2 * second[k] + add_2 * gradient[k] * gradient[k]
            first[k] = keep_1 * first[k] + gradient[k] / (square_root(second[k]) + epsilon)
            params[k] -= rate * first[k]
    elif o.kind == ADAM:
        rate = <real_t> (exact_rate / (1 - pow(o.keep_1, <double> s.t)))
        root_correction = <real_t> (1 / sqrt(1 - pow(o.keep_2, <double> s.t)))
        for k in range(n):
            first[k] = keep_1 * first[k] + add_1 * gradient[k]
            second[k] = keep_2 * second[k] + add_2 * gradient[k] * gradient[k]
            params[k] -= rate * first[k] / (square_root(second[k]) * root_correction + epsilon)
    elif o.kind == ADADELTA:
        for k in range(n):
            second[k] = keep_2 * second[k] + add_2 * gradient[k] * gradient[k]
            move = square_root((first[k] + epsilon) / (second[k] + epsilon)) * gradient[k]
            first[k] = keep_1 * first[k] + add_1 * move * move
            params[k] -= rate * move
    else:
        for k in range(n):
            move = keep_1 * first[k] + add_1 * gradient[k]
            if move != 0:       # the sign; NaN stays NaN
                move = move / (move if move > 0 else -move)
            params[k] -= rate * move
            first[k] = keep_2 * first[k] + add_2 * gradient[k]
