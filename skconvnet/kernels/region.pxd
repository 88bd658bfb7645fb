"""One pass over a batch by a team of threads: blocks in gradient shards, tasks in regions between merges.

A batch is cut into blocks of LANES samples, one sample a lane.  A pass is a list of tasks, kernel calls for
the most part.  A thread takes a block through all of them, forward and backward, while its activations
are in the cache; blocks that do not share out evenly go through them with all threads at work on every task
(see count_whole_shards).  Only batch normalisation needs all blocks at a time: its tasks that merge sums
of the blocks cut the list into regions.  Every block belongs to a gradient shard; a shard sums the gradients
of its blocks, and the shards are added in order: the result is bitwise identical whichever thread runs what.
"""

from cython.parallel cimport parallel
from libc.math cimport isfinite
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from skconvnet.kernels.batch_norm cimport (
    batch_norm_t, merge_gradient_sums, merge_moments, moments_forward
)
from skconvnet.kernels.block cimport block_t, buffer_t, count_parts, is_first_member
from skconvnet.kernels.loss cimport compute_loss, labels_t, sum_losses
from skconvnet.kernels.op cimport kernel_t, op_t
from skconvnet.kernels.optimizer cimport step_t
from skconvnet.kernels.optimizer_step cimport shards_t, take_step
from skconvnet.kernels.samples cimport gather_samples, samples_t, scatter_samples
from skconvnet.kernels.simd cimport LANES, MAX_LANES, lanes_t, real_t, splat
from skconvnet.kernels.single_image cimport gather_plane, plane_t
from skconvnet.kernels.team cimport divide, join_team, member_t, range_t, synchronize
from skconvnet.kernels.winograd cimport transform_weights, winograd_t

cdef enum:
    MAX_PAIRS = 16          # pairs of shards in a batch; each shard has a gradient of its own
    BARRIER_WORK = 4000     # vector multiply-adds in the time that threads take to wait for each other


# A (channels, height, width) tensor in a block's memory, and its gradient.
ctypedef struct tensor_t:
    Py_ssize_t channels, height, width
    buffer_t value, gradient


cdef enum task_kind:
    GATHER_INPUT
    CALL                            # of a kernel
    FINISH_OUTPUT                   # write y, compute the loss, or gather dy
    SCATTER_GRADIENT                # write dx
    MERGE_MOMENTS                   # from here on: not of a block, but of the batch
    MERGE_GRADIENT_SUMS


cdef struct task_t:
    int kind
    kernel_t run                    # of a call
    const void* fields              # of a call, or of the call whose sums are merged
    Py_ssize_t part                 # index of its time in job_t.seconds


# What a team has to do, over a batch of n samples.
cdef struct job_t:
    int n_threads
    const task_t* tasks
    Py_ssize_t n_tasks
    double work                     # vector multiply-adds that these are for a block, about
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
    const winograd_t* winograd_plans    # of the convolutions that use it
    Py_ssize_t n_winograd_plans
    real_t* transformed_weights     # for these
    lanes_t* persistent             # persistent_vectors a block, if there are merges
    lanes_t* arenas                 # arena_vectors a thread, or a block that threads share
    lanes_t* scratch                # scratch_vectors a thread
    Py_ssize_t persistent_vectors, arena_vectors, scratch_vectors
    Py_ssize_t scratch_offset       # of the scratch in a block's memory
    double* moments                 # (1 + blocks, n_moments): those of the batch, then of each block
    Py_ssize_t n_moments
    bint training
    uint64_t key, turn              # of this step's random numbers, of those that last
    real_t* y                       # the output, if not NULL
    const labels_t* labels          # of the whole batch; or
    const samples_t* dy             # the gradient to the output, in the order of the batch
    real_t* dx                      # the gradient to the input, if not NULL
    shards_t shards                 # the gradient to the parameters
    const step_t* step              # if not NULL, the optimizer's step, if the loss is finite
    double* squares                 # for this step
    double* seconds                 # if not NULL, gets the time of gather, n_ops, loss, n_ops
    void** error                    # the first exception of a function of the user's, or NULL


cdef inline Py_ssize_t add_task(
    task_t* tasks, Py_ssize_t n, int kind, kernel_t run, const void* fields, Py_ssize_t part
) noexcept:
    """Append a task to a list of n, and return its length."""
    tasks[n].kind, tasks[n].run, tasks[n].fields, tasks[n].part = kind, run, fields, part
    return n + 1


cdef inline Py_ssize_t list_tasks(const op_t* ops, Py_ssize_t n_ops, bint training, task_t* tasks) noexcept:
    """Write the tasks of prediction or of training, at most 5 n_ops + 3, and return their number."""
    cdef Py_ssize_t k, n
    cdef const void* fields
    n = add_task(tasks, 0, GATHER_INPUT, NULL, NULL, 0)
    for k in range(n_ops):
        fields = &ops[k].fields
        if ops[k].forward != NULL:
            n = add_task(tasks, n, CALL, ops[k].forward, fields, 1 + k)
        if training and ops[k].forward == moments_forward:
            n = add_task(tasks, n, MERGE_MOMENTS, NULL, fields, 1 + k)
    n = add_task(tasks, n, FINISH_OUTPUT, NULL, NULL, 1 + n_ops)
    if not training:
        return n
    for k in range(n_ops - 1, -1, -1):
        fields = &ops[k].fields
        if ops[k].forward == moments_forward:
            n = add_task(tasks, n, MERGE_GRADIENT_SUMS, NULL, fields, 2 + n_ops + k)
        if ops[k].receive != NULL:
            n = add_task(tasks, n, CALL, ops[k].receive, fields, 2 + n_ops + k)
        if ops[k].backward != NULL:
            n = add_task(tasks, n, CALL, ops[k].backward, fields, 2 + n_ops + k)
    return add_task(tasks, n, SCATTER_GRADIENT, NULL, NULL, 2 + n_ops)


cdef inline double read_clock() noexcept nogil:
    """Return the seconds of a clock that never runs backwards."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec


cdef inline void record_time(
    const job_t* job, const member_t* member, Py_ssize_t part, double* since
) noexcept nogil:
    """Add the time since the last record to a part of the work, if required, on the first thread."""
    cdef double now
    if job.seconds != NULL and member.thread == 0:
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


cdef inline void finish_output(const job_t* job, const block_t* b) noexcept nogil:
    """Write the output of a block, if required, and the gradient to it."""
    if job.y != NULL:
        scatter(b, job.output, &job.output.value, job.y)
    if job.dy != NULL:
        gather_samples(job.dy, job.rows + b.start, b.n, 1, &job.output.gradient, b)
    elif job.labels != NULL and job.labels.target != NULL and is_first_member(b):
        compute_block_loss(job, b)


cdef inline void run_task(const job_t* job, const task_t* task, const block_t* b) noexcept nogil:
    """Do a thread's part of a task for a block."""
    if task.kind == CALL:
        task.run(task.fields, b)
    elif task.kind == GATHER_INPUT:
        gather_input(job, b)
    elif task.kind == FINISH_OUTPUT:
        finish_output(job, b)
    elif job.dx != NULL:
        scatter(b, job.input, &job.input.gradient, job.dx)


cdef inline void fill_block(
    const job_t* job, const member_t* member, Py_ssize_t arena, Py_ssize_t shard, Py_ssize_t i, block_t* b
) noexcept nogil:
    """Fill in block i of a shard, all of it for one thread."""
    cdef Py_ssize_t size = LANES if job.input_plane == NULL else 1      # samples in a block
    cdef Py_ssize_t lane, block = shard * job.shard_blocks + i
    b.persistent = job.persistent + block * job.persistent_vectors
    b.arena = job.arenas + arena * job.arena_vectors
    b.scratch = job.scratch + member.thread * job.scratch_vectors
    b.persistent_vectors, b.scratch_offset = job.persistent_vectors, job.scratch_offset
    b.first_part, b.end_part, b.n_parts = 0, 1, 1
    b.params = job.params
    b.winograd_plans = job.winograd_plans
    b.transformed_weights = job.transformed_weights
    b.dparams = job.shards.gradients + shard * job.shards.n_params
    b.first = i == 0
    b.start = block * size
    b.n, b.n_batch = min(size, job.n - b.start), job.n
    b.lane_mask = splat(0)
    for lane in range(b.n):
        (<real_t*> &b.lane_mask)[lane] = 1
    b.training = job.training
    b.key, b.turn = job.key, job.turn
    b.rows = (job.rows if job.labels == NULL else job.labels.rows) + b.start
    b.moments = job.moments + (1 + block) * job.n_moments
    b.batch_moments = job.moments
    b.tables = job.tables
    b.error = job.error


cdef inline Py_ssize_t count_blocks(const job_t* job, Py_ssize_t shard) noexcept nogil:
    """Return the number of blocks of a shard."""
    cdef Py_ssize_t n_blocks = count_parts(job.n, LANES) if job.input_plane == NULL else job.n
    return min(job.shard_blocks, n_blocks - shard * job.shard_blocks)


cdef inline void run_shard(
    const job_t* job, const member_t* member, Py_ssize_t shard, range_t tasks
) noexcept nogil:
    """Take the blocks of a shard through some tasks, one block after the other."""
    cdef Py_ssize_t i, k
    cdef double since = 0
    cdef block_t b
    for i in range(count_blocks(job, shard)):
        fill_block(job, member, member.thread, shard, i, &b)
        if job.seconds != NULL:
            since = read_clock()
        for k in range(tasks.first, tasks.end):
            run_task(job, &job.tasks[k], &b)
            record_time(job, member, job.tasks[k].part, &since)


cdef inline void share_shards(
    const job_t* job, const member_t* member, Py_ssize_t first_shard, range_t tasks
) noexcept nogil:
    """Take the shards from the first one on through some tasks, task by task, with all threads at work.

    There are n shards, fewer than the T threads.  Each shard is cut into T parts, and each thread takes n
    neighbouring parts: of one shard, or of two.
    """
    cdef Py_ssize_t n_shards = job.shards.n_shards - first_shard, n_threads = member.n_threads
    cdef Py_ssize_t first_part = member.thread * n_shards, end_part = first_part + n_shards
    cdef Py_ssize_t i, k, s, first = first_part // n_threads, n_mine = (end_part - 1) // n_threads + 1 - first
    cdef double since = read_clock() if job.seconds != NULL else 0
    cdef block_t[2] blocks
    cdef block_t* b
    for i in range(job.shard_blocks):
        for s in range(n_mine):
            if i >= count_blocks(job, first_shard + first + s):
                n_mine = s
                break
            b = &blocks[s]
            fill_block(job, member, first + s, first_shard + first + s, i, b)
            b.first_part = max(first_part - (first + s) * n_threads, <Py_ssize_t> 0)
            b.end_part = min(end_part - (first + s) * n_threads, n_threads)
            b.n_parts = n_threads
        for k in range(tasks.first, tasks.end):
            for s in range(n_mine):
                run_task(job, &job.tasks[k], &blocks[s])
            synchronize()
            record_time(job, member, job.tasks[k].part, &since)


cdef inline Py_ssize_t count_whole_shards(const job_t* job, Py_ssize_t n_threads) noexcept nogil:
    """Return how many shards threads take for themselves; they share the others, if any.

    Of n shards and T threads, r = n % T shards are left when every thread has had n // T.  Shared, they take
    r / T of the time of one shard, and a barrier after each task; otherwise all of that time.
    """
    cdef Py_ssize_t left = job.shards.n_shards % n_threads
    if left * job.work + n_threads * job.n_tasks * <double> BARRIER_WORK < n_threads * job.work:
        return job.shards.n_shards - left
    return job.shards.n_shards


cdef inline void run_region(const job_t* job, const member_t* member, range_t tasks) noexcept nogil:
    """Take all shards through some tasks; a thread takes its part."""
    cdef Py_ssize_t shard, n_whole = count_whole_shards(job, member.n_threads)
    cdef range_t whole = divide(n_whole, member)
    for shard in range(whole.first, whole.end):
        run_shard(job, member, shard, tasks)
    if n_whole < job.shards.n_shards:
        synchronize()       # the arenas are free
        share_shards(job, member, n_whole, tasks)


cdef inline void merge_blocks(const job_t* job, const member_t* member, const task_t* task) noexcept nogil:
    """Merge sums of the blocks; a thread merges its part of the channels."""
    cdef const batch_norm_t* g = <const batch_norm_t*> task.fields
    cdef const double* blocks = job.moments + job.n_moments
    cdef Py_ssize_t n_blocks = count_parts(job.n, LANES)
    cdef range_t channels = divide(g.channels, member)
    synchronize()
    if task.kind == MERGE_MOMENTS:
        merge_moments(g, blocks, n_blocks, job.n_moments, job.n, channels, job.moments)
    else:
        merge_gradient_sums(g, blocks, n_blocks, job.n_moments, channels, job.moments)
    synchronize()


cdef inline void transform_all_weights(const job_t* job, const member_t* member) noexcept nogil:
    """Write the transformed weights of all Winograd plans; a thread writes its part."""
    cdef Py_ssize_t k, o
    cdef range_t targets
    for k in range(job.n_winograd_plans):
        targets = divide(job.winograd_plans[k].targets, member)
        for o in range(targets.first, targets.end):
            transform_weights(&job.winograd_plans[k], job.params, o, job.transformed_weights)
    if job.n_winograd_plans:
        synchronize()


cdef inline void run_member(const job_t* job) noexcept nogil:
    """Do what one thread of the team has to do."""
    cdef member_t member = join_team()
    cdef range_t tasks
    transform_all_weights(job, &member)
    tasks.first = 0
    while tasks.first < job.n_tasks:
        tasks.end = tasks.first
        while tasks.end < job.n_tasks and job.tasks[tasks.end].kind < MERGE_MOMENTS:
            tasks.end += 1
        run_region(job, &member, tasks)
        if tasks.end < job.n_tasks:
            merge_blocks(job, &member, &job.tasks[tasks.end])
        tasks.first = tasks.end + 1
    if job.step != NULL:
        synchronize()
        if isfinite(sum_losses(job.labels)) and job.error[0] == NULL:
            take_step(&job.shards, job.step, job.squares, &member)


cdef inline void divide_at_output(job_t* job, bint after) noexcept nogil:
    """Leave a job the tasks up to the output, or those from there on; values must be persistent."""
    cdef Py_ssize_t k = 0
    while job.tasks[k].kind != FINISH_OUTPUT:
        k += 1
    if after:
        job.tasks += k
        job.n_tasks -= k
        job.n_winograd_plans = 0        # the weights are transformed already
    else:
        job.n_tasks = k + 1


cdef inline void run_job(const job_t* job) noexcept nogil:
    """Do a job, with a team of threads."""
    with parallel(num_threads=job.n_threads):
        run_member(job)


cdef inline void run_prediction(job_t* job) noexcept nogil:
    """Run a job forward."""
    job.shards.n_shards = count_parts(job.n, LANES) if job.input_plane == NULL else job.n
    job.shard_blocks = 1
    run_job(job)


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
        job.shard_blocks == 2 and job.n_threads > 1 and (n_pairs % job.n_threads or n_blocks % 2)
    )
    if job.shards.pairwise:
        job.shard_blocks = 1
    job.shards.n_shards = count_parts(n_blocks, job.shard_blocks)


cdef inline void run_training(job_t* job) noexcept nogil:
    """Run a job forward and backward, and take the optimizer's step, if there is one."""
    cut_into_shards(job)
    job.training = True
    run_job(job)
