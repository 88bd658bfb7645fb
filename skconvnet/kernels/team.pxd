"""A team: the threads that run one pass over a batch, how they divide work, where they wait."""


cdef extern from "team.h" nogil:
    int omp_get_thread_num()
    int omp_get_num_threads()
    void synchronize()                  # returns when all threads of the team have called it


# Units of work from first to end.
ctypedef struct range_t:
    Py_ssize_t first, end


# One thread of a team.
ctypedef struct member_t:
    Py_ssize_t thread, n_threads


cdef inline member_t join_team() noexcept nogil:
    """Return which member of the team this thread is."""
    cdef member_t member
    member.thread, member.n_threads = omp_get_thread_num(), omp_get_num_threads()
    return member


cdef inline range_t divide(Py_ssize_t n, const member_t* member) noexcept nogil:
    """Return the part of n units that a member of the team takes: neighbours, 1 / n_threads of them."""
    cdef range_t part
    part.first = n * member.thread // member.n_threads
    part.end = n * (member.thread + 1) // member.n_threads
    return part


cdef inline range_t cut(range_t units, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """Return which of the n units from `start` on are in a range, counted from `start`."""
    cdef range_t part
    part.first = min(max(units.first - start, 0), n)
    part.end = min(max(units.end - start, 0), n)
    return part
