"""The block of LANES samples that a kernel works on, and where its buffers lie."""

from libc.stdint cimport uint64_t

from skconvnet.kernels.simd cimport lanes_t, real_t, sum_each
from skconvnet.kernels.team cimport range_t


# Where a (channels, rows, columns) buffer lies in a block's memory: element (c, i, j) is at
# offset + c * plane + i * row + j.  A negative offset: there is no such buffer.  In the program for a single
# image, convolutions get buffers whose rows are elements, not vectors, apart (find_lines in winograd.pxd).
ctypedef struct buffer_t:
    Py_ssize_t offset
    Py_ssize_t plane
    Py_ssize_t row


# What a kernel sees of a block.
ctypedef struct block_t:
    lanes_t* persistent                 # of the block: what it keeps from one region to the next
    lanes_t* arena                      # of the block: all other activations and gradients
    lanes_t* scratch                    # of the thread: what only one call uses
    Py_ssize_t persistent_vectors       # offsets below this are in persistent, from here on in arena,
    Py_ssize_t scratch_offset           # and from here on in scratch
    # The threads that share the block divide every call among themselves.  This thread has the parts from
    # first_part to end_part of n_parts: all of one part, if it has the block for itself.
    Py_ssize_t first_part, end_part, n_parts
    const real_t* params                # the flat parameter vector
    const void* winograd_plans          # winograd_t of the convolutions that use Winograd's algorithm
    const real_t* transformed_weights   # for these
    real_t* dparams                     # gradient to the parameters, summed over the blocks of this shard
    bint first                          # this block starts the shard: assign, do not add
    Py_ssize_t start                    # position of the block's first sample in the batch
    Py_ssize_t n, n_batch               # samples in the block and in the batch
    lanes_t lane_mask                   # 1 in a lane that holds a sample, else 0
    bint training                       # normalise with the moments of the batch, not the running ones
    uint64_t key                        # of this step's random numbers
    uint64_t turn                       # twice a key that all epochs share; 1 more in every second epoch
    const Py_ssize_t* rows              # (n,): indices of the block's samples in the data
    double* moments                     # OUT  of this block, to be merged in batch_moments
    const double* batch_moments         # IN   of all blocks
    const Py_ssize_t* tables            # the plan's index tables
    void** error                        # OUT  the first exception of a pass, a new reference; NULL: none


cdef inline lanes_t* locate_offset(const block_t* b, Py_ssize_t offset) noexcept nogil:
    """Point at an offset of the block's memory, or of the thread's scratch."""
    if offset < b.persistent_vectors:
        return b.persistent + offset
    if offset < b.scratch_offset:
        return b.arena + (offset - b.persistent_vectors)
    return b.scratch + (offset - b.scratch_offset)


cdef inline lanes_t* locate(const block_t* b, const buffer_t* buffer) noexcept nogil:
    """Point at element (0, 0, 0) of a buffer."""
    return locate_offset(b, buffer.offset)


cdef inline lanes_t* find_row(
    const block_t* b, const buffer_t* buffer, Py_ssize_t c, Py_ssize_t i
) noexcept nogil:
    """Point at element (c, i, 0) of a buffer."""
    return locate(b, buffer) + c * buffer.plane + i * buffer.row


cdef inline bint is_shared(const block_t* b) noexcept nogil:
    """Return whether other threads work on the same block."""
    return b.end_part - b.first_part < b.n_parts


cdef inline bint is_first_member(const block_t* b) noexcept nogil:
    """Return whether this thread does the work on the block that is not shared."""
    return b.first_part == 0


cdef inline range_t find_units(const block_t* b, Py_ssize_t n) noexcept nogil:
    """Return which of the n units of a call this thread computes."""
    cdef range_t units
    units.first = n * b.first_part // b.n_parts
    units.end = n * b.end_part // b.n_parts
    return units


cdef inline void accumulate_at(const block_t* b, real_t* gradient, real_t value) noexcept nogil:
    """Add the contribution of this block to a gradient."""
    gradient[0] = value if b.first else gradient[0] + value


cdef inline void accumulate(const block_t* b, Py_ssize_t index, real_t value) noexcept nogil:
    """Add the contribution of this block to the gradient of a parameter."""
    accumulate_at(b, b.dparams + index, value)


cdef inline void accumulate_sums(
    const block_t* b, Py_ssize_t index, lanes_t* v, Py_ssize_t n
) noexcept nogil:
    """Add the sums over the lanes of v, which holds LANES vectors, to the gradients of n parameters."""
    cdef lanes_t sums = sum_each(v)
    cdef Py_ssize_t k
    for k in range(n):
        accumulate(b, index + k, (<real_t*> &sums)[k])


cdef inline Py_ssize_t count_parts(Py_ssize_t total, Py_ssize_t size) noexcept nogil:
    """Return how many parts of at most this size make up the total."""
    return (total + size - 1) // size


cdef inline Py_ssize_t divide_evenly(Py_ssize_t total, Py_ssize_t most) noexcept nogil:
    """Return the smallest part that cuts total into as few parts of at most `most` as possible."""
    return count_parts(total, count_parts(total, most))
