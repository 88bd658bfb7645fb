"""One pass over a batch: its blocks in groups, its calls in parallel regions between meetings of the blocks.

A batch is cut into blocks of LANES samples, one sample a lane.  A thread takes a block through all
kernels, forward and backward, while its activations are in the cache.  Only batch normalisation
makes blocks wait for each other: it cuts a training step into one parallel region more forward and
one more backward.  Blocks belong to groups, each group sums its own gradient, and the groups'
gradients are added in order: which thread runs a group changes no bit of the result.
"""

from cython.parallel cimport prange
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from skconvnet.kernels.batch_norm cimport merge_moments, merge_slopes
from skconvnet.kernels.lanes cimport (
    LANES, MAX_LANES, block_t, buffer_t, lanes_t, omp_get_thread_num, real_t, splat
)
from skconvnet.kernels.loss cimport labels_t, take_loss
from skconvnet.kernels.op cimport op_t, run_backward, run_forward
from skconvnet.kernels.optimizer cimport CHUNK, step_t, sum_groups, sum_squares, update
from skconvnet.kernels.pixels cimport gather_plane, plane_t
from skconvnet.kernels.samples cimport gather_samples, samples_t, scatter_samples
from skconvnet.kernels.tile cimport count_parts
from skconvnet.kernels.winograd cimport transform_weights, winograd_t

cdef enum:
    MAX_PAIRS = 16          # pairs of groups of blocks in a batch: each group has a gradient of its own


# A (channels, height, width) image in the arena, and its gradient.
ctypedef struct image_t:
    Py_ssize_t channels, height, width
    buffer_t value, gradient


# What one parallel region has to do, over a batch of n samples.
cdef struct job_t:
    const op_t* ops
    Py_ssize_t n_ops
    const Py_ssize_t* tables
    const image_t* input
    const plane_t* input_plane      # if not NULL, a block is one sample and its lanes are pixels
    const image_t* output
    const samples_t* samples
    const Py_ssize_t* rows          # n: which of the samples
    Py_ssize_t n, n_groups, group_blocks
    Py_ssize_t shift                # of the batch's samples, to what each is mixed with
    double share                    # that a sample has of itself then; 1: not mixed
    bint paired                     # the gradients of two groups are added to each other first
    const real_t* params
    const winograd_t* ways          # convolutions with fewer products, in training
    Py_ssize_t n_ways
    real_t* products                # the weights that they multiply with
    Py_ssize_t n_params             # of which have a gradient:
    Py_ssize_t n_trained            # those that the optimizer moves come first
    lanes_t* kept                   # kept_lanes a block, if blocks meet
    lanes_t* arenas                 # arena_lanes a thread
    Py_ssize_t kept_lanes, arena_lanes
    const Py_ssize_t* meetings      # after which calls blocks meet in training
    Py_ssize_t n_meetings
    double* moments                 # (1 + blocks, n_moments): the batch's, then each block's
    Py_ssize_t n_moments
    Py_ssize_t first, end           # calls that this region runs:
    bint forward, backward          # in which directions; in both, the loss lies between
    bint training
    uint64_t key                    # that random numbers of this step are drawn with
    real_t* y                       # the output, if not NULL
    const labels_t* labels          # of the whole batch; or
    const samples_t* dy             # the gradient to the output
    real_t* dx                      # the gradient to the input, if not NULL
    real_t* partial                 # (n_groups, n_params)
    double* seconds                 # if not NULL, gets the time of gather, n_ops, loss, n_ops


cdef inline double read_clock() noexcept nogil:
    """Seconds of a clock that only goes forward."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec


cdef inline void note_time(const job_t* job, Py_ssize_t part, double* since) noexcept nogil:
    """Add the time since the last note to a part of the work, if anybody asked."""
    cdef double now
    if job.seconds != NULL:
        now = read_clock()
        job.seconds[part] += now - since[0]
        since[0] = now


cdef inline void list_partners(
    const job_t* job, const block_t* b, const Py_ssize_t* rows, Py_ssize_t* partners
) noexcept nogil:
    """Give the rows of what a block's samples are mixed with; rows: the batch's."""
    cdef Py_ssize_t lane
    for lane in range(b.n):
        partners[lane] = rows[(b.start + lane + job.shift) % job.n]


cdef inline void run_block(const job_t* job, const block_t* b) noexcept nogil:
    """Take one block through this region's calls."""
    cdef Py_ssize_t k, start = b.start
    cdef double since = 0
    cdef Py_ssize_t[MAX_LANES] partners
    cdef labels_t labels
    if job.seconds != NULL:
        since = read_clock()
    if job.forward:
        if job.first == 0:
            if job.input_plane == NULL:
                gather_samples(job.samples, job.rows + start, b.n, 1, &job.input.value, b)
                if job.share < 1:
                    list_partners(job, b, job.rows, partners)
                    gather_samples(job.samples, partners, b.n, 1 - job.share, &job.input.value, b)
            else:
                gather_plane(job.samples, job.rows[start], job.input_plane, b)
            note_time(job, 0, &since)
        for k in range(job.first, job.end):
            run_forward(&job.ops[k], b)
            note_time(job, 1 + k, &since)
        if job.end == job.n_ops and job.y != NULL:
            scatter(b, job.output, &job.output.value, start, b.n, job.y)
    if job.forward and job.end == job.n_ops and (job.labels != NULL or job.dy != NULL):
        if job.labels != NULL:
            labels = job.labels[0]
            labels.rows += start
            labels.loss += start
            labels.score += start
            labels.n = b.n
            labels.share = job.share
            labels.first = True
            take_loss(&job.output.value, job.output.channels, &job.output.gradient, &labels, b)
            if job.share < 1:
                list_partners(job, b, job.labels.rows, partners)
                labels.rows = partners
                labels.share = 1 - job.share
                labels.first = False
                take_loss(&job.output.value, job.output.channels, &job.output.gradient, &labels, b)
        else:
            gather_samples(job.dy, job.rows + start, b.n, 1, &job.output.gradient, b)
        note_time(job, 1 + job.n_ops, &since)
    if job.backward:
        for k in range(job.end - 1, job.first - 1, -1):
            run_backward(&job.ops[k], b)
            note_time(job, 2 + job.n_ops + k, &since)
        if job.first == 0 and job.dx != NULL:
            scatter(b, job.input, &job.input.gradient, start, b.n, job.dx)


cdef inline void scatter(
    const block_t* b, const image_t* image, const buffer_t* place, Py_ssize_t start, Py_ssize_t n,
    real_t* out
) noexcept nogil:
    """Write a block's n samples to their rows of out."""
    scatter_samples(
        b, place, image.channels, image.height, image.width, n,
        out + start * image.channels * image.height * image.width,
    )

cdef inline void run_group(const job_t* job, Py_ssize_t group) noexcept nogil:
    """Take a group's blocks through this region's calls, one after the other."""
    cdef Py_ssize_t first = group * job.group_blocks
    cdef Py_ssize_t size = LANES if job.input_plane == NULL else 1      # samples in a block
    cdef Py_ssize_t end = min(first + job.group_blocks, count_parts(job.n, size))
    cdef Py_ssize_t i, lane
    cdef block_t b
    b.arena = job.arenas + omp_get_thread_num() * job.arena_lanes
    b.kept_lanes = job.kept_lanes
    b.params = job.params
    b.ways = job.ways
    b.products = job.products
    b.dparams = job.partial + group * job.n_params
    b.tables = job.tables
    b.n_batch = job.n
    b.training = job.training
    b.key = job.key
    b.batch_moments = job.moments
    for i in range(first, end):
        b.kept = job.kept + i * job.kept_lanes
        b.moments = job.moments + (1 + i) * job.n_moments
        b.first = i == first
        b.start = i * size
        b.n = min(size, job.n - i * size)
        b.occupied = splat(0)
        for lane in range(b.n):
            (<real_t*> &b.occupied)[lane] = 1
        run_block(job, &b)

cdef inline void run_region(const job_t* job, int n_threads) noexcept nogil:
    """Take all groups through this region's calls."""
    cdef Py_ssize_t group
    for group in prange(job.n_groups, schedule="static", num_threads=n_threads):
        run_group(job, group)


cdef inline void run_prediction(job_t* job, int n_threads) noexcept nogil:
    """Run a job forward, in one region."""
    job.n_groups = count_parts(job.n, LANES) if job.input_plane == NULL else job.n
    job.group_blocks = 1
    job.n_meetings = 0
    job.end = job.n_ops
    job.forward = True
    run_region(job, n_threads)


cdef inline void cut_into_groups(job_t* job, int n_threads) noexcept nogil:
    """Cut a batch's blocks into groups, so that the gradient's bits depend on its size alone.

    The gradient is the sum, in order, of those of groups of blocks.  A group of two blocks may be two
    groups of one, added to each other first: the same bits, more gradients to add up, and more
    threads at work.
    """
    cdef Py_ssize_t n_blocks = count_parts(job.n, LANES)
    cdef Py_ssize_t n_pairs
    job.group_blocks = max(count_parts(n_blocks, MAX_PAIRS), <Py_ssize_t> 2)
    n_pairs = count_parts(n_blocks, job.group_blocks)
    job.paired = (
        job.group_blocks == 2
        and 2 * count_parts(n_pairs, n_threads) > count_parts(n_blocks, n_threads)
    )
    if job.paired:
        job.group_blocks = 1
    job.n_groups = count_parts(n_blocks, job.group_blocks)


cdef inline void transform_all_weights(const job_t* job, int n_threads) noexcept nogil:
    """Write the weights that the ways with fewer products multiply with."""
    cdef Py_ssize_t k, o
    for k in range(job.n_ways):
        for o in prange(job.ways[k].targets, schedule="static", num_threads=n_threads):
            transform_weights(&job.ways[k], job.params, o, job.products)


cdef inline void run_training(job_t* job, int n_threads) noexcept nogil:
    """Run a job forward and backward, in a region between any two meetings of the blocks."""
    cdef Py_ssize_t r, k, n_blocks = count_parts(job.n, LANES)
    cdef const double* blocks = job.moments + job.n_moments
    cut_into_groups(job, n_threads)
    transform_all_weights(job, n_threads)
    job.training = True
    for r in range(2 * job.n_meetings + 1):
        k = min(r, 2 * job.n_meetings - r)          # how many meetings lie before these calls
        job.forward = r <= job.n_meetings
        job.backward = r >= job.n_meetings
        job.first = job.meetings[k - 1] + 1 if k > 0 else 0
        job.end = job.meetings[k] + 1 if k < job.n_meetings else job.n_ops
        run_region(job, n_threads)
        if r < job.n_meetings:
            merge_moments(
                &job.ops[job.meetings[k]].batch_norm, blocks, n_blocks, job.n_moments, job.n,
                job.moments,
            )
        elif k > 0:
            merge_slopes(
                &job.ops[job.meetings[k - 1]].batch_norm, blocks, n_blocks, job.n_moments,
                job.moments,
            )

cdef inline void sum_gradients(
    const job_t* job, Py_ssize_t start, real_t* gradient, Py_ssize_t n
) noexcept nogil:
    """Add up the groups' gradients to n parameters from start."""
    sum_groups(job.partial + start, job.n_groups, job.paired, job.n_params, gradient, n)


cdef inline Py_ssize_t sum_chunk(const job_t* job, Py_ssize_t chunk, real_t* gradient) noexcept nogil:
    """Add up the groups' gradients to a chunk of the parameters; return how many these are."""
    cdef Py_ssize_t start = chunk * CHUNK
    cdef Py_ssize_t n = min(<Py_ssize_t> CHUNK, job.n_trained - start)
    sum_gradients(job, start, gradient, n)
    return n


cdef inline double square_chunk(const job_t* job, Py_ssize_t chunk) noexcept nogil:
    """Add up the squares of a chunk's gradient."""
    cdef real_t[CHUNK] gradient
    return sum_squares(gradient, sum_chunk(job, chunk, gradient))


cdef inline void update_chunk(const job_t* job, const step_t* step, Py_ssize_t chunk) noexcept nogil:
    """Add up the groups' gradients of one chunk of the parameters and take the step there."""
    cdef real_t[CHUNK] gradient
    cdef Py_ssize_t n = sum_chunk(job, chunk, gradient)
    update(step, gradient, chunk * CHUNK, n)


cdef inline double measure_gradient(const job_t* job, double* squares, int n_threads) noexcept nogil:
    """The Euclidean norm of the batch's gradient, summed in the order of chunks."""
    cdef Py_ssize_t chunk, n_chunks = count_parts(job.n_trained, CHUNK)
    cdef double total = 0
    for chunk in prange(n_chunks, schedule="static", num_threads=n_threads):
        squares[chunk] = square_chunk(job, chunk)
    for chunk in range(n_chunks):
        total = total + squares[chunk]
    return sqrt(total)


cdef inline void take_step(const job_t* job, step_t* step, double* squares, int n_threads) noexcept nogil:
    """Take the optimizer's step with the groups' gradients, cut to the largest norm."""
    cdef Py_ssize_t chunk
    cdef double norm, clip_norm = step.optimizer.clip_norm
    step.scale = 1
    if clip_norm < INFINITY:
        norm = measure_gradient(job, squares, n_threads)
        if norm > clip_norm:
            step.scale = clip_norm / norm
    for chunk in prange(
        count_parts(job.n_trained, CHUNK), schedule="static", num_threads=n_threads
    ):
        update_chunk(job, step, chunk)
