"""The optimizer's step on all parameters: add up the gradient shards, clip, and update, in chunks."""

from cython.parallel cimport parallel
from libc.math cimport INFINITY, sqrt

from skconvnet.kernels.block cimport count_parts
from skconvnet.kernels.muon cimport collect_momentum, move_matrices
from skconvnet.kernels.optimizer cimport CHUNK, step_t, sum_squares, update
from skconvnet.kernels.simd cimport real_t
from skconvnet.kernels.team cimport divide, join_team, member_t, range_t, synchronize


# The gradients that add up to that of a batch.
ctypedef struct shards_t:
    real_t* gradients               # (n_shards, n_params)
    Py_ssize_t n_shards, n_params
    bint pairwise                   # each two neighbours are added to each other first


cdef inline void sum_shards(
    const shards_t* s,
    Py_ssize_t start,           # index of the first parameter
    real_t* gradient,           # OUT  (n,)
    Py_ssize_t n,
) noexcept nogil:
    """Add up the shards of n parameters, in order."""
    cdef Py_ssize_t k, i
    cdef const real_t* one
    cdef const real_t* other
    for k in range(n):
        gradient[k] = 0
    for i in range(s.n_shards):
        one = s.gradients + i * s.n_params + start
        other = one + s.n_params
        if not s.pairwise:
            for k in range(n):
                gradient[k] += one[k]
        elif i % 2 == 0 and i + 1 < s.n_shards:
            for k in range(n):
                gradient[k] += one[k] + other[k]
        elif i % 2 == 0:
            for k in range(n):
                gradient[k] += one[k]


cdef inline Py_ssize_t sum_chunk(
    const shards_t* shards, const step_t* step, Py_ssize_t chunk, real_t* gradient
) noexcept nogil:
    """Add up the shards of a chunk of the parameters; return how many parameters it has."""
    cdef Py_ssize_t start = chunk * CHUNK
    cdef Py_ssize_t n = min(<Py_ssize_t> CHUNK, step.n_trained - start)
    sum_shards(shards, start, gradient, n)
    return n


cdef inline double square_chunk(
    const shards_t* shards, const step_t* step, Py_ssize_t chunk
) noexcept nogil:
    """Return the sum of squares of the gradient of a chunk."""
    cdef real_t[CHUNK] gradient
    return sum_squares(gradient, sum_chunk(shards, step, chunk, gradient))


cdef inline void update_chunk(
    const shards_t* shards, const step_t* step, Py_ssize_t chunk
) noexcept nogil:
    """Take the step on a chunk of the parameters, group by group."""
    cdef real_t[CHUNK] gradient
    cdef Py_ssize_t start = chunk * CHUNK
    cdef Py_ssize_t stop = start + sum_chunk(shards, step, chunk, gradient)
    cdef Py_ssize_t k, first, end
    for k in range(step.n_groups):
        first, end = max(step.groups[k].start, start), min(step.groups[k].end, stop)
        if first < end and step.groups[k].rows > 0:
            collect_momentum(step, &step.groups[k], gradient + first - start, first, end - first)
        elif first < end:
            update(step, &step.groups[k], gradient + first - start, first, end - first)


cdef inline double measure_gradient(
    const shards_t* shards, const step_t* step, range_t chunks, double* squares
) noexcept nogil:
    """Return the Euclidean norm of the gradient, summed in the order of chunks; a thread squares its own."""
    cdef Py_ssize_t chunk
    cdef double total = 0
    for chunk in range(chunks.first, chunks.end):
        squares[chunk] = square_chunk(shards, step, chunk)
    synchronize()
    for chunk in range(count_parts(step.n_trained, CHUNK)):
        total += squares[chunk]
    return sqrt(total)


cdef inline void take_step(
    const shards_t* shards, const step_t* given, double* squares, const member_t* member
) noexcept nogil:
    """Take a thread's part of the step, the gradient being scaled down to the largest norm allowed."""
    cdef step_t step = given[0]
    cdef range_t chunks = divide(count_parts(step.n_trained, CHUNK), member)
    cdef Py_ssize_t chunk
    cdef double norm
    step.scale = 1
    if step.optimizer.clip_norm < INFINITY:
        norm = measure_gradient(shards, &step, chunks, squares)
        if norm > step.optimizer.clip_norm:
            step.scale = step.optimizer.clip_norm / norm
    for chunk in range(chunks.first, chunks.end):
        update_chunk(shards, &step, chunk)
    move_matrices(&step, member)


cdef inline void join_step(const shards_t* shards, const step_t* step, double* squares) noexcept nogil:
    """Take the step, as a thread of a team."""
    cdef member_t member = join_team()
    take_step(shards, step, squares, &member)


cdef inline void take_step_alone(
    const shards_t* shards, const step_t* step, double* squares, int n_threads
) noexcept nogil:
    """Take a step that no pass over a batch goes with."""
    with parallel(num_threads=n_threads):
        join_step(shards, step, squares)
