"""The highest rate of multiply-adds: a loop that reads and writes nothing but registers."""

from cython.parallel cimport parallel

from skconvnet.kernels.simd cimport lanes_t, real_t, splat, sum_lanes
from skconvnet.kernels.team cimport join_team, member_t

cdef enum:
    PEAK_CHAINS = 12        # independent sums: more than the latency times the multiply-adds in a cycle
    PEAK_STEPS = 1000000


cdef inline void multiply_as_member(double* sums) noexcept nogil:
    """Add PEAK_STEPS products to each of the chains, and write their sum, so that none is left out."""
    cdef member_t member = join_team()
    cdef lanes_t[PEAK_CHAINS] chain
    cdef lanes_t factor = splat(<real_t> 0.999), term = splat(<real_t> 0.001)
    cdef Py_ssize_t _i
    cdef int k
    for k in range(PEAK_CHAINS):
        chain[k] = term * <real_t> k
    for _i in range(PEAK_STEPS):
        for k in range(PEAK_CHAINS):
            chain[k] = chain[k] * factor + term
    for k in range(PEAK_CHAINS):
        sums[member.thread] += sum_lanes(chain[k])


cdef inline void multiply_in_registers(double* sums, int n_threads) noexcept nogil:
    """Let every thread of a team do so; sums: one for each."""
    with parallel(num_threads=n_threads):
        multiply_as_member(sums)
