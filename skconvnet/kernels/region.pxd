"""One pass over a batch: its blocks in gradient shards, its calls in parallel regions between barriers.

A batch is cut into blocks of LANES samples, one sample a lane.  A thread takes a block through all
kernels, forward and backward, while its activations are in the cache.  Only batch normalisation
synchronizes the blocks: each of its layers cuts a training step into one more parallel region forward and
one more backward.  Every block belongs to a gradient shard; a shard sums the gradients of its blocks, and
the shards are added in order: the result is bitwise identical whichever thread runs a shard.
"""

from cython.parallel cimport prange
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from skconvnet.kernels.batch_norm cimport merge_gradient_sums, merge_moments
from skconvnet.kernels.block cimport block_t, buffer_t, count_parts
from skconvnet.kernels.loss cimport compute_loss, labels_t
from skconvnet.kernels.op cimport op_t
from skconvnet.kernels.optimizer_step cimport shards_t
from skconvnet.kernels.samples cimport gather_samples, samples_t, scatter_samples
from skconvnet.kernels.simd cimport LANES, MAX_LANES, lanes_t, omp_get_thread_num, real_t, splat
from skconvnet.kernels.single_image cimport gather_plane, plane_t
from skconvnet.kernels.winograd cimport transform_weights, winograd_t

cdef enum:
    MAX_PAIRS = 16          # pairs of shards in a batch; each shard has a gradient of its own


# A (channels, height, width) tensor in a block's memory, and its gradient.
ctypedef struct tensor_t:
    Py_ssize_t channels, height, width
    buffer_t value, gradient


# What one parallel region has to do, over a batch of n samples.
cdef struct job_t:
    int n_threads
    const op_t* ops
    Py_ssize_t n_ops
    const Py_ssize_t* tables
    const tensor_t* input
    const plane_t* input_plane      # if not NULL, a block is one sample and its lanes are pixels
    const tensor_t* output
    const samples_t* samples
    const Py_ssize_t* rows          # n: indices of the samples
    Py_ssize_t n, shard_blocks      # samples; blocks of a shard
    Py_ssize_t partner_offset       # of the batch's samples, to the one that each is mixed with
    double fraction                 # of the sample itself in the mixture; 1: not mixed
    const real_t* params
    const winograd_t* winograd_plans    # of the convolutions that use it in training
    Py_ssize_t n_winograd_plans
    real_t* transformed_weights     # for these
    lanes_t* persistent             # persistent_vectors a block, if there are barriers
    lanes_t* arenas                 # arena_vectors a thread
    Py_ssize_t persistent_vectors, arena_vectors
    const Py_ssize_t* barriers      # indices of the calls after which blocks synchronize in training
    Py_ssize_t n_barriers
    double* moments                 # (1 + blocks, n_moments): those of the batch, then of each block
    Py_ssize_t n_moments
    Py_ssize_t first, end           # calls that this region runs:
    bint forward, backward          # in which directions; in both, with the loss in between
    bint training
    uint64_t key                    # of this step's random numbers
    real_t* y                       # the output, if not NULL
    const labels_t* labels          # of the whole batch; or
    const samples_t* dy             # the gradient to the output
    real_t* dx                      # the gradient to the input, if not NULL
    shards_t shards                 # the gradient to the parameters
    double* seconds                 # if not NULL, gets the time of gather, n_ops, loss, n_ops


cdef inline double read_clock() noexcept nogil:
    """Return the seconds of a clock that never runs backwards."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec


cdef inline void record_time(const job_t* job, Py_ssize_t part, double* since) noexcept nogil:
    """Add the time since the last record to a part of the work, if required."""
    cdef double now
    if job.seconds != NULL:
        now = read_clock()
        job.seconds[part] += now - since[0]
        since[0] = now


cdef inline void list_partners(
    const job_t* job, const block_t* b, const Py_ssize_t* rows, Py_ssize_t* partners
) noexcept nogil:
    """Write the row indices of the partners that a block's samples are mixed with; rows: the batch's."""
    cdef Py_ssize_t lane
    for lane in range(b.n):
        partners[lane] = rows[(b.start + lane + job.partner_offset) % job.n]


cdef inline void gather_input(const job_t* job, const block_t* b) noexcept nogil:
    """Write a block's samples, mixed with their partners if they are mixed, to its input."""
    cdef Py_ssize_t[MAX_LANES] partners
    if job.input_plane != NULL:
        gather_plane(job.samples, job.rows[b.start], job.input_plane, b)
        return
    gather_samples(job.samples, job.rows + b.start, b.n, 1, &job.input.value, b)
    if job.fraction < 1:
        list_partners(job, b, job.rows, partners)
        gather_samples(job.samples, partners, b.n, 1 - job.fraction, &job.input.value, b)


cdef inline void compute_block_loss(const job_t* job, const block_t* b) noexcept nogil:
    """Write loss, score and the gradient to the outputs of a block."""
    cdef Py_ssize_t[MAX_LANES] partners
    cdef labels_t labels = job.labels[0]
    labels.rows += b.start
    labels.loss += b.start
    labels.score += b.start
    labels.n = b.n
    labels.fraction = job.fraction
    labels.first = True
    compute_loss(&job.output.value, job.output.channels, &job.output.gradient, &labels, b)
    if job.fraction < 1:
        list_partners(job, b, job.labels.rows, partners)
        labels.rows = partners
        labels.fraction = 1 - job.fraction
        labels.first = False
        compute_loss(&job.output.value, job.output.channels, &job.output.gradient, &labels, b)


cdef inline void scatter(
    const block_t* b, const tensor_t* tensor, const buffer_t* buffer, real_t* out
) noexcept nogil:
    """Write a block's samples to their rows of out."""
    scatter_samples(
        b, buffer, tensor.channels, tensor.height, tensor.width, b.n,
        out + b.start * tensor.channels * tensor.height * tensor.width,
    )


cdef inline void run_block(const job_t* job, const block_t* b) noexcept nogil:
    """Take one block through the calls of this region."""
    cdef Py_ssize_t k
    cdef double since = 0
    cdef bint to_output = job.forward and job.end == job.n_ops
    if job.seconds != NULL:
        since = read_clock()
    if job.forward:
        if job.first == 0:
            gather_input(job, b)
            record_time(job, 0, &since)
        for k in range(job.first, job.end):
            if job.ops[k].forward != NULL:
                job.ops[k].forward(&job.ops[k].fields, b)
            record_time(job, 1 + k, &since)
    if to_output and job.y != NULL:
        scatter(b, job.output, &job.output.value, job.y)
    if to_output and (job.labels != NULL or job.dy != NULL):
        if job.labels != NULL:
            compute_block_loss(job, b)
        else:
            gather_samples(job.dy, job.rows + b.start, b.n, 1, &job.output.gradient, b)
        record_time(job, 1 + job.n_ops, &since)
    if job.backward:
        for k in range(job.end - 1, job.first - 1, -1):
            if job.ops[k].backward != NULL:
                job.ops[k].backward(&job.ops[k].fields, b)
            record_time(job, 2 + job.n_ops + k, &since)
        if job.first == 0 and job.dx != NULL:
            scatter(b, job.input, &job.input.gradient, job.dx)


cdef inline void run_shard(const job_t* job, Py_ssize_t shard) noexcept nogil:
    """Take the blocks of a shard through the calls of this region, one after the other."""
    cdef Py_ssize_t first = shard * job.shard_blocks
    cdef Py_ssize_t size = LANES if job.input_plane == NULL else 1      # samples in a block
    cdef Py_ssize_t end = min(first + job.shard_blocks, count_parts(job.n, size))
    cdef Py_ssize_t i, lane
    cdef block_t b
    b.arena = job.arenas + omp_get_thread_num() * job.arena_vectors
    b.persistent_vectors = job.persistent_vectors
    b.params = job.params
    b.winograd_plans = job.winograd_plans
    b.transformed_weights = job.transformed_weights
    b.dparams = job.shards.gradients + shard * job.shards.n_params
    b.tables = job.tables
    b.n_batch = job.n
    b.training = job.training
    b.key = job.key
    b.batch_moments = job.moments
    for i in range(first, end):
        b.persistent = job.persistent + i * job.persistent_vectors
        b.moments = job.moments + (1 + i) * job.n_moments
        b.first = i == first
        b.start = i * size
        b.n = min(size, job.n - i * size)
        b.lane_mask = splat(0)
        for lane in range(b.n):
            (<real_t*> &b.lane_mask)[lane] = 1
        run_block(job, &b)


cdef inline void run_region(const job_t* job) noexcept nogil:
    """Take all shards through the calls of this region."""
    cdef Py_ssize_t shard
    for shard in prange(job.shards.n_shards, schedule="static", num_threads=job.n_threads):
        run_shard(job, shard)


cdef inline void run_prediction(job_t* job) noexcept nogil:
    """Run a job forward, in one region."""
    job.shards.n_shards = count_parts(job.n, LANES) if job.input_plane == NULL else job.n
    job.shard_blocks = 1
    job.n_barriers = 0
    job.end = job.n_ops
    job.forward = True
    run_region(job)


cdef inline void cut_into_shards(job_t* job) noexcept nogil:
    """Cut the blocks of a batch into shards, so that the bits of the gradient depend on the batch alone.

    The gradient is the sum of its shards, in order.  A shard of two blocks may be cut into two shards of one
    that are added to each other first: the sums are bitwise identical, with more shards to add up and more
    threads at work.
    """
    cdef Py_ssize_t n_blocks = count_parts(job.n, LANES)
    cdef Py_ssize_t n_pairs
    job.shard_blocks = max(count_parts(n_blocks, MAX_PAIRS), <Py_ssize_t> 2)
    n_pairs = count_parts(n_blocks, job.shard_blocks)
    job.shards.pairwise = (
        job.shard_blocks == 2
        and 2 * count_parts(n_pairs, job.n_threads) > count_parts(n_blocks, job.n_threads)
    )
    if job.shards.pairwise:
        job.shard_blocks = 1
    job.shards.n_shards = count_parts(n_blocks, job.shard_blocks)


cdef inline void transform_all_weights(const job_t* job) noexcept nogil:
    """Write the transformed weights of all Winograd plans."""
    cdef Py_ssize_t k, o
    for k in range(job.n_winograd_plans):
        for o in prange(
            job.winograd_plans[k].targets, schedule="static", num_threads=job.n_threads
        ):
            transform_weights(&job.winograd_plans[k], job.params, o, job.transformed_weights)


cdef inline void run_training(job_t* job) noexcept nogil:
    """Run a job forward and backward, with a region between any two barriers."""
    cdef Py_ssize_t r, k, n_blocks = count_parts(job.n, LANES)
    cdef const double* blocks = job.moments + job.n_moments
    cut_into_shards(job)
    transform_all_weights(job)
    job.training = True
    for r in range(2 * job.n_barriers + 1):
        k = min(r, 2 * job.n_barriers - r)          # number of barriers before these calls
        job.forward = r <= job.n_barriers
        job.backward = r >= job.n_barriers
        job.first = job.barriers[k - 1] + 1 if k > 0 else 0
        job.end = job.barriers[k] + 1 if k < job.n_barriers else job.n_ops
        run_region(job)
        if r < job.n_barriers:
            merge_moments(
                &job.ops[job.barriers[k]].fields.batch_norm, blocks, n_blocks, job.n_moments, job.n,
                job.moments,
            )
        elif k > 0:
            merge_gradient_sums(
                &job.ops[job.barriers[k - 1]].fields.batch_norm, blocks, n_blocks, job.n_moments,
                job.moments,
            )
