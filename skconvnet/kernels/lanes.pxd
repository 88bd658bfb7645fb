"""What every kernel shares: the lane type, a buffer's place, and the block that a kernel works on.

Letters, the same everywhere: `ci co` channels in and out, `hi wi ho wo` sizes, `i j` output
position, `u v` kernel offset, `d` before a name for its gradient.  Offsets and strides of
activations count lane vectors; those of parameters count numbers.
"""

from libc.stdint cimport uint64_t


cdef extern from "lanes.h" nogil:
    ctypedef float real_t               # float or double: the build says which
    ctypedef float lanes_t              # LANES real_t: Cython only passes it through
    ctypedef int inlined_t              # int; marks a function that must be inlined
    const Py_ssize_t LANES
    enum: TILE_WIDTH                    # output pixels in a tile
    enum: MAX_LANES                     # LANES at its largest
    real_t square_root(real_t x)
    lanes_t inverse_root(lanes_t x)
    lanes_t splat(real_t value)
    lanes_t load_lanes(const real_t* p)
    lanes_t larger(lanes_t a, lanes_t b)
    lanes_t magnitude(lanes_t x)
    lanes_t where_positive(lanes_t test, lanes_t yes, lanes_t no)
    lanes_t claim(lanes_t a, lanes_t b, lanes_t yes, lanes_t* open)
    real_t sum_lanes(lanes_t v)
    lanes_t sum_each(lanes_t* v)
    lanes_t exp_lanes(lanes_t x)
    lanes_t expm1_lanes(lanes_t x)
    lanes_t sigmoid_lanes(lanes_t x)
    lanes_t tanh_lanes(lanes_t x)
    lanes_t softplus_lanes(lanes_t x)
    lanes_t arctan_lanes(lanes_t x)
    lanes_t normal_lanes(lanes_t x, lanes_t* density)
    int omp_get_thread_num()


# Where a (channels, rows, columns) buffer lies in a block's arena: element (c, i, j) is at
# offset + c * plane + i * row + j.  A negative offset: there is no such buffer.
ctypedef struct buffer_t:
    Py_ssize_t offset
    Py_ssize_t plane
    Py_ssize_t row


# What a kernel sees of the block of LANES samples that it works on.
ctypedef struct block_t:
    lanes_t* kept                       # what the block keeps from one region to the next
    lanes_t* arena                      # of the thread: all other activations and gradients
    Py_ssize_t kept_lanes               # offsets below this are in kept, from here on in arena
    const real_t* params                # the flat parameter vector
    const void* ways                    # winograd_t of the convolutions that do with fewer products
    const real_t* products              # the weights that these multiply with
    real_t* dparams                     # its gradient, summed over the blocks of this group
    bint first                          # this block starts the group: assign, do not add
    Py_ssize_t start                    # place of the block's first sample in the batch
    Py_ssize_t n, n_batch               # samples in the block and in the batch
    lanes_t occupied                    # 1 in a lane that holds a sample, else 0
    bint training                       # normalise with the batch's moments, not the running ones
    uint64_t key                        # that random numbers of this step are drawn with
    double* moments                     # OUT  of this block, what must meet in batch_moments
    const double* batch_moments         # IN   of all blocks
    const Py_ssize_t* tables            # the plan's index tables


cdef inline lanes_t* locate_offset(const block_t* b, Py_ssize_t offset) noexcept nogil:
    """Point at a place in the block's memory."""
    if offset < b.kept_lanes:
        return b.kept + offset
    return b.arena + (offset - b.kept_lanes)


cdef inline lanes_t* locate(const block_t* b, const buffer_t* buffer) noexcept nogil:
    """Point at element (0, 0, 0) of a buffer."""
    return locate_offset(b, buffer.offset)


cdef inline void deposit(const block_t* b, Py_ssize_t at, real_t value) noexcept nogil:
    """Give a parameter's gradient this block's share."""
    b.dparams[at] = value if b.first else b.dparams[at] + value


cdef inline void deposit_sums(
    const block_t* b, Py_ssize_t at, lanes_t* v, Py_ssize_t n
) noexcept nogil:
    """Give n neighbouring parameters' gradients the sums over the lanes of v, which has room for LANES."""
    cdef lanes_t sums = sum_each(v)
    cdef Py_ssize_t k
    for k in range(n):
        deposit(b, at + k, (<real_t*> &sums)[k])
