"""The machine: runs a compiled network over blocks of samples, for one instruction set and precision.

The build compiles this file once for every instruction set and for float32 and float64, each time
with all kernels inside (they are inline functions of the .pxd files beside it).  A `Program` is a
list of kernel calls with every size and place settled; it knows no layer.

A batch is cut into blocks of LANES samples, one sample a lane.  A thread takes a block through all
kernels, forward and backward, while its activations are in the cache.  Only batch normalisation
makes blocks wait for each other: it cuts a training step into one parallel region more forward and
one more backward.  Blocks belong to groups, each group sums its own gradient, and the groups'
gradients are added in order: which thread runs a group changes no bit of the result.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
)
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange
from libc.math cimport INFINITY, isfinite, sqrt
from libc.stdint cimport uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import numpy as np

from skconvnet.kernels.activation cimport (
    ARCTAN, ELU, GELU, IDENTITY, LEAKY_RELU, LOG_SOFTMAX, RELU, SIGMOID, SOFTMAX, SOFTPLUS, TANH,
    activation_backward, activation_forward, activation_t
)
from skconvnet.kernels.batch_norm cimport (
    batch_norm_t, follow_moments, merge_moments, merge_slopes, moments_backward, moments_forward,
    normalize_backward, normalize_forward
)
from skconvnet.kernels.branch cimport (
    addition_backward, addition_forward, branch_t, fork_backward, fork_forward
)
from skconvnet.kernels.conv cimport conv_backward, conv_forward, conv_t
from skconvnet.kernels.dense cimport dense_backward, dense_forward, dense_t
from skconvnet.kernels.dropout cimport derive_key, dropout_backward, dropout_forward, dropout_t
from skconvnet.kernels.flatten cimport flatten_backward, flatten_t
from skconvnet.kernels.lanes cimport (
    LANES, TILE_WIDTH, block_t, buffer_t, lanes_t, omp_get_thread_num, real_t, splat
)
from skconvnet.kernels.layer_norm cimport layer_norm_backward, layer_norm_forward, layer_norm_t
from skconvnet.kernels.local cimport local_backward, local_forward, local_t
from skconvnet.kernels.loss cimport (
    ABSOLUTE_ERROR, BINARY_CROSS_ENTROPY, CROSS_ENTROPY, HUBER, SQUARED_ERROR, labels_t, take_loss, target_t
)
from skconvnet.kernels.optimizer cimport (
    ADADELTA, ADAM, CHUNK, LION, NESTEROV, SCALED, SGD, optimizer_t, step_t, sum_groups, sum_squares,
    update
)
from skconvnet.kernels.patch cimport KERNEL_ROWS
from skconvnet.kernels.pixels cimport (
    clear_gaps, gather_plane, plane_pool_t, plane_t, pool_plane, spread_plane, spread_t
)
from skconvnet.kernels.pool cimport (
    avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward, pool_t
)
from skconvnet.kernels.rescale cimport rescale_backward, rescale_forward, rescale_t
from skconvnet.kernels.samples cimport gather_samples, samples_t, scatter_samples
from skconvnet.kernels.winograd cimport transform_weights, winograd_t
from skconvnet.kernels.tile cimport COLUMN_HEIGHT, TILE_HEIGHT, count_parts

cdef enum:
    MAX_PAIRS = 16          # pairs of groups of blocks in a batch: each group has a gradient of its own
    BLOCKS_AT_ONCE = 64     # blocks a thread predicts between two looks at the signals

cdef enum op_kind:
    CONV
    DENSE
    MAX_POOL
    AVG_POOL
    FLATTEN
    ACTIVATION
    MOMENTS
    NORMALIZE
    FORK
    ADDITION
    DROPOUT
    LAYER_NORM
    RESCALE
    LOCAL
    CLEAR_GAPS
    PLANE_MAX_POOL
    PLANE_AVG_POOL
    SPREAD

OP_KINDS = {
    "conv": CONV, "dense": DENSE, "max_pool": MAX_POOL, "avg_pool": AVG_POOL,
    "flatten": FLATTEN, "activation": ACTIVATION,
    "moments": MOMENTS, "normalize": NORMALIZE, "layer_norm": LAYER_NORM, "rescale": RESCALE,
    "local": LOCAL, "fork": FORK, "addition": ADDITION, "dropout": DROPOUT,
    "clear_gaps": CLEAR_GAPS, "plane_max_pool": PLANE_MAX_POOL, "plane_avg_pool": PLANE_AVG_POOL,
    "spread": SPREAD,
}

# Samples in a block; columns and rows of a tile, at most; rows of a tile of one column; kernel rows of
# a patch, at most.
lanes = LANES
tile_width = TILE_WIDTH
tile_height = TILE_HEIGHT
column_height = COLUMN_HEIGHT
kernel_rows = KERNEL_ROWS

# The numbers of what kernels tell apart by number.
activation_kinds = {
    "identity": IDENTITY, "relu": RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "sigmoid": SIGMOID,
    "tanh": TANH, "softplus": SOFTPLUS, "arctan": ARCTAN, "gelu": GELU, "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
}
optimizer_kinds = {
    "sgd": SGD, "nesterov": NESTEROV, "scaled": SCALED, "adam": ADAM, "adadelta": ADADELTA, "lion": LION,
}
loss_kinds = {
    "cross_entropy": CROSS_ENTROPY, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
    "squared_error": SQUARED_ERROR, "absolute_error": ABSOLUTE_ERROR, "huber": HUBER,
}


# A kernel call; only the member that belongs to its kind is filled.
cdef struct op_t:
    int kind
    conv_t conv
    dense_t dense
    pool_t pool
    flatten_t flatten
    activation_t activation
    batch_norm_t batch_norm
    branch_t branch
    dropout_t dropout
    layer_norm_t layer_norm
    rescale_t rescale
    local_t local
    plane_t plane
    plane_pool_t plane_pool
    spread_t spread


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
    bint paired                     # the gradients of two groups are added to each other first
    const real_t* params
    const winograd_t* ways          # convolutions with fewer products, in training
    Py_ssize_t n_ways
    real_t* products                # the weights that they multiply with
    Py_ssize_t n_params             # of which have a gradient
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


cdef void run_forward(const op_t* op, const block_t* b) noexcept nogil:
    """Run one kernel on one block."""
    if op.kind == CONV:
        conv_forward(&op.conv, b)
    elif op.kind == DENSE:
        dense_forward(&op.dense, b)
    elif op.kind == MAX_POOL:
        max_pool_forward(&op.pool, b)
    elif op.kind == AVG_POOL:
        avg_pool_forward(&op.pool, b)
    elif op.kind == ACTIVATION:
        activation_forward(&op.activation, b)
    elif op.kind == MOMENTS:
        moments_forward(&op.batch_norm, b)
    elif op.kind == NORMALIZE:
        normalize_forward(&op.batch_norm, b)
    elif op.kind == FORK:
        fork_forward(&op.branch, b)
    elif op.kind == ADDITION:
        addition_forward(&op.branch, b)
    elif op.kind == DROPOUT:
        dropout_forward(&op.dropout, b)
    elif op.kind == LAYER_NORM:
        layer_norm_forward(&op.layer_norm, b)
    elif op.kind == RESCALE:
        rescale_forward(&op.rescale, b)
    elif op.kind == LOCAL:
        local_forward(&op.local, b)
    elif op.kind == CLEAR_GAPS:
        clear_gaps(&op.plane, b)
    elif op.kind == PLANE_MAX_POOL:
        pool_plane(&op.plane_pool, False, b)
    elif op.kind == PLANE_AVG_POOL:
        pool_plane(&op.plane_pool, True, b)
    elif op.kind == SPREAD:
        spread_plane(&op.spread, b)


cdef void run_backward(const op_t* op, const block_t* b) noexcept nogil:
    """Run one kernel's backward pass on one block."""
    if op.kind == CONV:
        conv_backward(&op.conv, b)
    elif op.kind == DENSE:
        dense_backward(&op.dense, b)
    elif op.kind == MAX_POOL:
        if not op.pool.deferred:
            max_pool_backward(&op.pool, b, 0, op.pool.channels)
    elif op.kind == AVG_POOL:
        avg_pool_backward(&op.pool, b)
    elif op.kind == FLATTEN:
        flatten_backward(&op.flatten, b)
    elif op.kind == ACTIVATION:
        activation_backward(&op.activation, b)
    elif op.kind == MOMENTS:
        moments_backward(&op.batch_norm, b)
    elif op.kind == NORMALIZE:
        normalize_backward(&op.batch_norm, b)
    elif op.kind == FORK:
        fork_backward(&op.branch, b)
    elif op.kind == ADDITION:
        addition_backward(&op.branch, b)
    elif op.kind == DROPOUT:
        dropout_backward(&op.dropout, b)
    elif op.kind == LAYER_NORM:
        layer_norm_backward(&op.layer_norm, b)
    elif op.kind == RESCALE:
        rescale_backward(&op.rescale, b)
    elif op.kind == LOCAL:
        local_backward(&op.local, b)


cdef void run_group(const job_t* job, Py_ssize_t group) noexcept nogil:
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


cdef void run_block(const job_t* job, const block_t* b) noexcept nogil:
    """Take one block through this region's calls."""
    cdef Py_ssize_t k, start = b.start
    cdef double since = 0
    cdef labels_t labels
    if job.seconds != NULL:
        since = read_clock()
    if job.forward:
        if job.first == 0:
            if job.input_plane == NULL:
                gather_samples(job.samples, job.rows + start, b.n, &job.input.value, b)
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
            labels.target = job.labels.target
            labels.rows = job.labels.rows + start
            labels.weight = job.labels.weight + start
            labels.loss = job.labels.loss + start
            labels.score = job.labels.score + start
            labels.n = b.n
            take_loss(&job.output.value, job.output.channels, &job.output.gradient, &labels, b)
        else:
            gather_samples(job.dy, job.rows + start, b.n, &job.output.gradient, b)
        note_time(job, 1 + job.n_ops, &since)
    if job.backward:
        for k in range(job.end - 1, job.first - 1, -1):
            run_backward(&job.ops[k], b)
            note_time(job, 2 + job.n_ops + k, &since)
        if job.first == 0 and job.dx != NULL:
            scatter(b, job.input, &job.input.gradient, start, b.n, job.dx)


cdef void scatter(
    const block_t* b, const image_t* image, const buffer_t* place, Py_ssize_t start, Py_ssize_t n,
    real_t* out
) noexcept nogil:
    """Write a block's n samples to their rows of out."""
    scatter_samples(
        b, place, image.channels, image.height, image.width, n,
        out + start * image.channels * image.height * image.width,
    )


cdef void run_region(const job_t* job, int n_threads) noexcept nogil:
    """Take all groups through this region's calls."""
    cdef Py_ssize_t group
    for group in prange(job.n_groups, schedule="static", num_threads=n_threads):
        run_group(job, group)


cdef void run_prediction(job_t* job, int n_threads) noexcept nogil:
    """Run a job forward, in one region."""
    job.n_groups = count_parts(job.n, LANES) if job.input_plane == NULL else job.n
    job.group_blocks = 1
    job.n_meetings = 0
    job.end = job.n_ops
    job.forward = True
    run_region(job, n_threads)


cdef void cut_into_groups(job_t* job, int n_threads) noexcept nogil:
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


cdef void transform_all_weights(const job_t* job, int n_threads) noexcept nogil:
    """Write the weights that the ways with fewer products multiply with."""
    cdef Py_ssize_t k, o
    for k in range(job.n_ways):
        for o in prange(job.ways[k].targets, schedule="static", num_threads=n_threads):
            transform_weights(&job.ways[k], job.params, o, job.products)


cdef void run_training(job_t* job, int n_threads) noexcept nogil:
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


cdef class Samples:
    """Images of a user's array, read where they lie.

    Parameters
    ----------
    X : ndarray
        Of uint8 or of native, aligned float32 or float64.
    shape : tuple of int
        Channels, height and width of a sample.
    strides : tuple of int
        Bytes from sample to sample, channel to channel, row to row, column to column.
    """

    cdef Py_buffer view
    cdef samples_t samples
    cdef readonly Py_ssize_t n

    def __cinit__(self, X, shape, strides):
        PyObject_GetBuffer(X, &self.view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.n = len(X)
        self.samples.data = <const char*> self.view.buf
        self.samples.format = self.view.format[0]
        self.samples.channels, self.samples.hi, self.samples.wi = shape
        (
            self.samples.n_strides, self.samples.c_strides,
            self.samples.h_strides, self.samples.w_strides,
        ) = strides
        if self.view.format not in (b"B", b"f", b"d"):
            raise TypeError(f"X must be of uint8, float32 or float64, got {X.dtype}.")

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef class Targets:
    """What the outputs of a user's samples are held against, and the loss that does it.

    Parameters
    ----------
    fields : dict
        The numbers in target_t.
    classes : ndarray of intp of shape (n,) or None
        Class indices; or
    values : Samples or None
        a number for every output.
    precisions : ndarray of float64 of shape (n_outputs,)
        1 over the variance of every output's values.
    """

    cdef const Py_ssize_t[::1] classes
    cdef Samples values
    cdef const double[::1] precisions
    cdef target_t target

    def __cinit__(
        self, dict fields, const Py_ssize_t[::1] classes, Samples values, const double[::1] precisions
    ):
        self.classes, self.values, self.precisions = classes, values, precisions
        self.target.kind = fields["kind"]
        self.target.low, self.target.span = fields["low"], fields["span"]
        self.target.share = fields["share"]
        self.target.precisions = &precisions[0]
        if values is None:
            self.target.classes = &classes[0]
        else:
            self.target.values = &values.samples


cdef class Workspace:
    """The memory that a program works in: an arena a thread, what blocks keep, and a gradient a group.

    Parameters
    ----------
    program : Program
    n_threads : int
    batch_size : int, default=0
        The largest batch to train on; 0 for a program that only predicts.
    """

    cdef object memory, gradients
    cdef lanes_t* arenas
    cdef lanes_t* kept
    cdef Py_ssize_t arena_lanes, kept_lanes
    cdef int n_threads
    cdef real_t[:, ::1] partial
    cdef double[:, ::1] batch       # weight, loss, score
    cdef double[:, ::1] moments
    cdef double[::1] squares        # of the gradient, a sum for each chunk
    cdef real_t[::1] products

    def __init__(self, Program program, int n_threads, Py_ssize_t batch_size=0):
        cdef unsigned char[::1] memory
        cdef Py_ssize_t n_blocks = count_parts(batch_size, LANES), n_lanes
        cdef Py_ssize_t n_groups = min(n_blocks, <Py_ssize_t> 2 * MAX_PAIRS)
        if batch_size:
            n_threads = <int> min(<Py_ssize_t> n_threads, n_groups)
        self.n_threads = n_threads
        self.kept_lanes = program.kept_lanes if batch_size else 0
        self.arena_lanes = program.training_lanes if batch_size else program.predicting_lanes
        self.arena_lanes -= self.kept_lanes
        n_lanes = n_threads * self.arena_lanes + n_blocks * self.kept_lanes
        self.memory = np.zeros((n_lanes + 1) * sizeof(lanes_t), np.uint8)
        memory = self.memory
        self.arenas = <lanes_t*> (
            <size_t> &memory[0] + sizeof(lanes_t) - <size_t> &memory[0] % sizeof(lanes_t)
        )
        self.kept = self.arenas + n_threads * self.arena_lanes
        dtype = np.dtype(f"f{sizeof(real_t)}")
        self.products = np.zeros(program.n_products if batch_size else 1, dtype)
        self.partial = np.zeros((max(n_groups, 1), max(program.n_params, 1)), dtype)
        self.batch = np.zeros((3, max(batch_size, 1)))
        self.moments = np.zeros((1 + n_blocks, max(program.n_moments, 1)))
        self.squares = np.zeros(count_parts(program.n_params, CHUNK))


cdef class Program:
    """A network compiled to kernel calls.

    Parameters
    ----------
    ops : list of (str, dict)
        Kernel calls in forward order: a name of OP_KINDS and the fields of the kernel's struct.
    tables : ndarray of intp
        The index tables that the fields point into.
    input, output : dict
        The fields of image_t.
    n_params : int
        How many numbers of the flat parameter vector have a gradient; running moments follow them.
    ways : list of dict
        The fields of winograd_t, of convolutions with fewer products.
    n_products : int
        How many transformed weights these want.
    n_moments : int
        How many moments batch normalisation keeps of a block.
    kept_lanes, predicting_lanes, training_lanes : int
        Size of a block's memory in lane vectors: what it keeps while blocks meet, which comes first,
        and all of it, for forward alone and with gradients.
    input_plane : dict, default=None
        The fields of plane_t, for a program that predicts single images, lanes being pixels.
    """

    cdef op_t* ops
    cdef winograd_t* ways
    cdef Py_ssize_t n_ops, n_ways
    cdef const Py_ssize_t[::1] tables
    cdef image_t input, output
    cdef plane_t input_plane
    cdef readonly bint pixels
    cdef Py_ssize_t[::1] meetings
    cdef readonly Py_ssize_t n_params, n_products, n_moments
    cdef readonly Py_ssize_t kept_lanes, predicting_lanes, training_lanes
    cdef object memory, ways_memory

    def __init__(
        self, list ops, tables, dict input, dict output, Py_ssize_t n_params,
        list ways, Py_ssize_t n_products, Py_ssize_t n_moments,
        Py_ssize_t kept_lanes, Py_ssize_t predicting_lanes, Py_ssize_t training_lanes,
        dict input_plane=None,
    ):
        cdef unsigned char[::1] memory
        cdef op_t* op
        self.n_ops = len(ops)
        self.memory = np.zeros(max(self.n_ops, 1) * sizeof(op_t), np.uint8)
        memory = self.memory
        self.ops = <op_t*> &memory[0]
        self.tables = tables
        self.input = input
        self.output = output
        self.n_params = n_params
        self.n_ways = len(ways)
        self.ways_memory = np.zeros(max(self.n_ways, 1) * sizeof(winograd_t), np.uint8)
        memory = self.ways_memory
        self.ways = <winograd_t*> &memory[0]
        for k, fields in enumerate(ways):
            self.ways[k] = fields
        self.n_products = n_products
        self.n_moments = n_moments
        self.meetings = np.array(
            [k for k, (name, _) in enumerate(ops) if name == "moments"], dtype=np.intp
        )
        self.pixels = input_plane is not None
        if self.pixels:
            self.input_plane = input_plane
        self.kept_lanes = kept_lanes
        self.predicting_lanes = predicting_lanes
        self.training_lanes = training_lanes
        for k, (name, fields) in enumerate(ops):
            op = &self.ops[k]
            op.kind = OP_KINDS[name]
            if name == "conv":
                op.conv = fields
            elif name == "dense":
                op.dense = fields
            elif name in ("max_pool", "avg_pool"):
                op.pool = fields
            elif name == "flatten":
                op.flatten = fields
            elif name == "activation":
                op.activation = fields
            elif name in ("moments", "normalize"):
                op.batch_norm = fields
            elif name in ("fork", "addition"):
                op.branch = fields
            elif name == "dropout":
                op.dropout = fields
            elif name == "layer_norm":
                op.layer_norm = fields
            elif name == "rescale":
                op.rescale = fields
            elif name == "local":
                op.local = fields
            elif name == "clear_gaps":
                op.plane = fields
            elif name == "spread":
                op.spread = fields
            else:
                op.plane_pool = fields

    cdef job_t describe_job(
        self, Samples X, const Py_ssize_t* rows, Py_ssize_t n, const real_t[::1] params,
        Workspace workspace,
    ):
        """A job for some samples that keeps nothing yet."""
        cdef job_t job
        memset(&job, 0, sizeof(job_t))
        job.ops = self.ops
        job.n_ops = self.n_ops
        job.tables = &self.tables[0]
        job.input = &self.input
        if self.pixels:
            job.input_plane = &self.input_plane
        job.output = &self.output
        job.samples = &X.samples
        job.rows = rows
        job.n = n
        job.params = &params[0]
        job.ways = self.ways
        job.n_ways = self.n_ways
        job.n_params = self.n_params
        job.arenas = workspace.arenas
        job.kept = workspace.kept
        job.kept_lanes = workspace.kept_lanes
        job.arena_lanes = workspace.arena_lanes
        if len(workspace.products):
            job.products = &workspace.products[0]
        job.partial = &workspace.partial[0, 0]
        job.moments = &workspace.moments[0, 0]
        job.n_moments = workspace.moments.shape[1]
        job.n_meetings = len(self.meetings)
        if job.n_meetings:
            job.meetings = &self.meetings[0]
        return job

    def forward(
        self,
        Samples X,
        const Py_ssize_t[::1] rows,     # IN   which samples
        const real_t[::1] params,       # IN
        real_t[:, ::1] y,               # OUT  (rows, outputs)
        Workspace workspace,
    ):
        """Compute the outputs of some samples; Ctrl-C gets through within a few blocks."""
        cdef Py_ssize_t n = len(rows), start = 0
        cdef Py_ssize_t step = BLOCKS_AT_ONCE * workspace.n_threads * LANES
        cdef job_t job
        while start < n:
            job = self.describe_job(X, &rows[start], min(step, n - start), params, workspace)
            job.y = &y[start, 0]
            with nogil:
                run_prediction(&job, workspace.n_threads)
            PyErr_CheckSignals()
            start += step

    def backward(
        self,
        Samples X,
        Samples dy,                     # IN   gradient to the outputs, in the order of X
        const Py_ssize_t[::1] rows,     # IN   0, 1, 2 ...
        const real_t[::1] params,       # IN
        real_t[:, ::1] dx,              # OUT  gradient to the inputs
        real_t[::1] dparams,            # OUT  gradient to the parameters, summed over samples
        Workspace workspace,
    ):
        """Run forward, then push a gradient to the outputs back to inputs and parameters."""
        cdef job_t job = self.describe_job(X, &rows[0], len(rows), params, workspace)
        job.dy = &dy.samples
        job.dx = &dx[0, 0]
        with nogil:
            run_training(&job, workspace.n_threads)
            if self.n_params:
                sum_gradients(&job, 0, &dparams[0], job.n_params)

    cdef double run_batch(
        self, job_t* job, Targets targets, const double[::1] weight, double[:, ::1] batch, int n_threads,
        bint training, double* totals,
    ):
        """Return a batch's mean loss, add loss, score and weight to totals; if training, get gradients.

        batch: room for 3 numbers a sample.
        """
        cdef Py_ssize_t i
        cdef double total = 0, loss = 0, score = 0
        cdef labels_t labels
        labels.target = &targets.target
        labels.rows = job.rows
        labels.weight = &batch[0, 0]
        labels.loss = &batch[1, 0]
        labels.score = &batch[2, 0]
        labels.n = job.n
        job.labels = &labels
        for i in range(job.n):
            total += weight[job.rows[i]]
        for i in range(job.n):
            batch[0, i] = weight[job.rows[i]] / total
        with nogil:
            if training:
                run_training(job, n_threads)
            else:
                run_prediction(job, n_threads)
        for i in range(job.n):
            loss += batch[0, i] * batch[1, i]
            score += weight[job.rows[i]] * batch[2, i]
        totals[0] += loss * total
        totals[1] += score
        totals[2] += total
        return loss

    def loss(
        self,
        Samples X,
        const Py_ssize_t[::1] rows,     # IN   which samples
        Targets targets,                # IN   of every sample of X
        const double[::1] weight,       # IN   weight of every sample of X
        const real_t[::1] params,       # IN
        real_t[:, ::1] dx,              # OUT  gradient of the mean loss to the inputs
        real_t[::1] dparams,            # OUT  and to the parameters
        Workspace workspace,
    ):
        """Return the weighted mean loss of one batch and write its gradients."""
        cdef double[3] totals
        cdef job_t job = self.describe_job(X, &rows[0], len(rows), params, workspace)
        job.dx = &dx[0, 0]
        cdef double loss
        memset(totals, 0, sizeof(totals))
        loss = self.run_batch(&job, targets, weight, workspace.batch, workspace.n_threads, True, totals)
        if self.n_params:
            sum_gradients(&job, 0, &dparams[0], job.n_params)
        return loss

    def evaluate(
        self,
        Samples X,
        const Py_ssize_t[::1] rows,     # IN   which samples, of a weight above 0
        Targets targets,                # IN   of every sample of X
        const double[::1] weight,       # IN   weight of every sample of X
        const real_t[::1] params,       # IN
        Workspace workspace,            # for prediction
    ):
        """Return the sums of weighted loss, weighted score and weight over some samples."""
        cdef double[3] totals
        cdef Py_ssize_t n = len(rows), start = 0
        cdef Py_ssize_t step = BLOCKS_AT_ONCE * workspace.n_threads * LANES
        cdef double[:, ::1] batch = np.empty((3, max(min(step, n), 1)))
        cdef job_t job
        memset(totals, 0, sizeof(totals))
        while start < n:
            job = self.describe_job(X, &rows[start], min(step, n - start), params, workspace)
            self.run_batch(&job, targets, weight, batch, workspace.n_threads, False, totals)
            PyErr_CheckSignals()
            start += step
        return totals[0], totals[1], totals[2]

    def profile(
        self,
        Samples X,
        const Py_ssize_t[::1] rows,     # IN   which samples, as one batch
        Targets targets,                # IN   of every sample of X
        const double[::1] weight,       # IN   weight of every sample of X
        const real_t[::1] params,       # IN
        double[::1] seconds,            # OUT  2 + 2 * calls: gather, forward, loss, backward
        Workspace workspace,            # of one thread
    ):
        """Add what each part of a batch's forward and backward pass took to seconds."""
        cdef double[3] totals
        cdef job_t job = self.describe_job(X, &rows[0], len(rows), params, workspace)
        job.seconds = &seconds[0]
        self.run_batch(&job, targets, weight, workspace.batch, workspace.n_threads, True, totals)

    def train(
        self,
        Samples X,
        const Py_ssize_t[::1] rows,     # IN   an epoch's samples, in the order of training
        Targets targets,                # IN   of every sample of X
        const double[::1] weight,       # IN   weight of every sample of X
        Py_ssize_t batch_size,
        optimizer_t optimizer,
        const Py_ssize_t[:, ::1] decaying,  # IN   from where to where numbers decay
        const double[::1] rates,        # IN   learning rate of every batch
        uint64_t key,                   # that random numbers are drawn with, an epoch's own
        real_t[::1] params,             # IN OUT
        real_t[:, ::1] state,           # IN OUT two vectors of the optimizer
        Py_ssize_t[::1] steps,          # IN OUT how many steps were taken before
        Workspace workspace,
    ):
        """Train on one epoch; return its sums of weighted loss, weighted score and weight.

        A batch whose loss is not finite ends it, before the step: the loss sum then is not finite.
        Ctrl-C ends it after a whole step.
        """
        cdef double[3] totals
        cdef double loss
        cdef Py_ssize_t n = len(rows), start = 0, k
        cdef job_t job
        cdef step_t step
        step.optimizer = &optimizer
        step.decaying = &decaying[0, 0]
        step.n_decaying = len(decaying)
        step.params = &params[0]
        step.first = &state[0, 0]
        step.second = &state[1, 0]
        memset(totals, 0, sizeof(totals))
        while start < n:
            job = self.describe_job(
                X, &rows[start], min(batch_size, n - start), params, workspace
            )
            job.key = derive_key(key, <unsigned int> steps[0])
            loss = self.run_batch(
                &job, targets, weight, workspace.batch, workspace.n_threads, True, totals
            )
            if not isfinite(loss):
                break
            steps[0] += 1
            step.t = steps[0]
            step.rate = rates[start // batch_size]
            with nogil:
                take_step(&job, &step, &workspace.squares[0], workspace.n_threads)
            for k in range(job.n_meetings):
                follow_moments(
                    &self.ops[job.meetings[k]].batch_norm, job.moments, job.n, &params[0]
                )
            PyErr_CheckSignals()
            start += batch_size
        return totals[0], totals[1], totals[2]


cdef void sum_gradients(
    const job_t* job, Py_ssize_t start, real_t* gradient, Py_ssize_t n
) noexcept nogil:
    """Add up the groups' gradients to n parameters from start."""
    sum_groups(job.partial + start, job.n_groups, job.paired, job.n_params, gradient, n)


cdef Py_ssize_t sum_chunk(const job_t* job, Py_ssize_t chunk, real_t* gradient) noexcept nogil:
    """Add up the groups' gradients to a chunk of the parameters; return how many these are."""
    cdef Py_ssize_t start = chunk * CHUNK
    cdef Py_ssize_t n = min(<Py_ssize_t> CHUNK, job.n_params - start)
    sum_gradients(job, start, gradient, n)
    return n


cdef double square_chunk(const job_t* job, Py_ssize_t chunk) noexcept nogil:
    """Add up the squares of a chunk's gradient."""
    cdef real_t[CHUNK] gradient
    return sum_squares(gradient, sum_chunk(job, chunk, gradient))


cdef void update_chunk(const job_t* job, const step_t* step, Py_ssize_t chunk) noexcept nogil:
    """Add up the groups' gradients of one chunk of the parameters and take the step there."""
    cdef real_t[CHUNK] gradient
    cdef Py_ssize_t n = sum_chunk(job, chunk, gradient)
    update(step, gradient, chunk * CHUNK, n)


cdef double measure_gradient(const job_t* job, double* squares, int n_threads) noexcept nogil:
    """The Euclidean norm of the batch's gradient, summed in the order of chunks."""
    cdef Py_ssize_t chunk, n_chunks = count_parts(job.n_params, CHUNK)
    cdef double total = 0
    for chunk in prange(n_chunks, schedule="static", num_threads=n_threads):
        squares[chunk] = square_chunk(job, chunk)
    for chunk in range(n_chunks):
        total = total + squares[chunk]
    return sqrt(total)


cdef void take_step(const job_t* job, step_t* step, double* squares, int n_threads) noexcept nogil:
    """Take the optimizer's step with the groups' gradients, cut to the largest norm."""
    cdef Py_ssize_t chunk
    cdef double norm, clip_norm = step.optimizer.clip_norm
    step.scale = 1
    if clip_norm < INFINITY:
        norm = measure_gradient(job, squares, n_threads)
        if norm > clip_norm:
            step.scale = clip_norm / norm
    for chunk in prange(
        count_parts(job.n_params, CHUNK), schedule="static", num_threads=n_threads
    ):
        update_chunk(job, step, chunk)
