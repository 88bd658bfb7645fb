"""The engine: runs a compiled network over blocks of samples, for one instruction set and precision.

The build compiles this file once for every instruction set and for float32 and float64, each time
with all kernels inside (they are inline functions of the .pxd files beside it).  A `Program` is a
list of kernel calls with all sizes and offsets; it knows no layer.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, PyObject
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

import numpy as np

from skconvnet.kernels.activation cimport (
    ARCTAN, ELU, GELU, HARDSWISH, IDENTITY, LEAKY_RELU, LOG_SOFTMAX, MISH, RELU, RELU6, SELU, SIGMOID, SILU,
    SOFTMAX, SOFTPLUS, SOFTSIGN, TANH
)
from skconvnet.kernels.batch_norm cimport batch_norm_t, update_running_stats
from skconvnet.kernels.block cimport count_parts
from skconvnet.kernels.branches cimport MAXIMUM, PRODUCT, SUM
from skconvnet.kernels.loss cimport (
    ABSOLUTE_ERROR, BINARY_CROSS_ENTROPY, BINARY_FOCAL, COSINE, CROSS_ENTROPY, FOCAL, HUBER, POISSON,
    QUANTILE, SQUARED_ERROR, labels_t, sum_losses, target_t
)
from skconvnet.kernels.muon cimport lay_out, matrix_t
from skconvnet.kernels.noise cimport derive_key, draw_bits, draw_normal
from skconvnet.kernels.op cimport op_t, set_op
from skconvnet.kernels.optimizer cimport (
    ADADELTA, ADAM, CHUNK, LION, NESTEROV, SCALED, SGD, group_t, optimizer_t, step_t
)
from skconvnet.kernels.optimizer_step cimport shards_t, sum_shards, take_step_alone
from skconvnet.kernels.peak cimport PEAK_CHAINS, PEAK_STEPS, multiply_in_registers
from skconvnet.kernels.region cimport (
    MAX_PAIRS, MERGE_MOMENTS, count_whole_shards, cut_into_shards, divide_at_output, job_t, list_tasks,
    read_clock, run_prediction, run_training, task_t, tensor_t
)
from skconvnet.kernels.samples cimport samples_t
from skconvnet.kernels.simd cimport CHANNEL_TILE_HEIGHT, LANES, TILE_WIDTH, lanes_t, real_t
from skconvnet.kernels.single_image cimport plane_t
from skconvnet.kernels.tile cimport CHANNEL_TILE_WIDTH, COLUMN_HEIGHT, TILE_HEIGHT
from skconvnet.kernels.weight_tiles cimport KERNEL_ROWS
from skconvnet.kernels.winograd cimport winograd_t

cdef enum:
    BLOCKS_AT_ONCE = 64     # blocks that a thread predicts between two checks for signals


# Samples in a block; columns and rows of a tile, at most; rows of a tile of one column; kernel rows of
# a weight tile, at most.
lanes = LANES
tile_width = TILE_WIDTH
tile_height = TILE_HEIGHT
column_height = COLUMN_HEIGHT
channel_tile_height = CHANNEL_TILE_HEIGHT
channel_tile_width = CHANNEL_TILE_WIDTH
kernel_rows = KERNEL_ROWS

# The values of the kernels' enums.
activation_kinds = {
    "identity": IDENTITY, "relu": RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "sigmoid": SIGMOID,
    "tanh": TANH, "softplus": SOFTPLUS, "arctan": ARCTAN, "gelu": GELU, "relu6": RELU6, "selu": SELU,
    "softsign": SOFTSIGN, "silu": SILU, "mish": MISH, "hardswish": HARDSWISH, "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
}
optimizer_kinds = {
    "sgd": SGD, "nesterov": NESTEROV, "scaled": SCALED, "adam": ADAM, "adadelta": ADADELTA, "lion": LION,
}
loss_kinds = {
    "cross_entropy": CROSS_ENTROPY, "focal": FOCAL, "cosine": COSINE,
    "binary_cross_entropy": BINARY_CROSS_ENTROPY, "binary_focal": BINARY_FOCAL,
    "squared_error": SQUARED_ERROR, "absolute_error": ABSOLUTE_ERROR, "huber": HUBER,
    "quantile": QUANTILE, "poisson": POISSON,
}
merge_kinds = {"add": SUM, "multiply": PRODUCT, "max": MAXIMUM}


def measure_peak(int n_threads):
    """Return how many multiply-adds of single elements threads do in a second, at most, in registers."""
    cdef double[::1] sums = np.zeros(n_threads)
    cdef double start, fastest = INFINITY
    for _ in range(5):
        start = read_clock()
        with nogil:
            multiply_in_registers(&sums[0], n_threads)
        fastest = min(fastest, read_clock() - start)
    return n_threads * <double> PEAK_STEPS * PEAK_CHAINS * LANES / fastest


def draw_random(uint64_t key, Py_ssize_t n_elements, Py_ssize_t n_samples):
    """Return what kernels draw with a key, for tests of their streams.

    Parameters
    ----------
    key : int
    n_elements, n_samples : int
        How many elements each sample draws; n_samples must be a multiple of `lanes`.

    Returns
    -------
    bits : ndarray of uint32 of shape (n_elements, n_samples)
    normal : ndarray of real_t of shape (n_elements, n_samples)
    """
    bits_array = np.empty((n_elements, n_samples), np.uint32)
    normal_array = np.empty((n_elements, n_samples), np.dtype(f"f{sizeof(real_t)}"))
    cdef uint32_t[:, ::1] bits = bits_array
    cdef real_t[:, ::1] normal = normal_array
    cdef Py_ssize_t i, j
    cdef int lane
    cdef lanes_t drawn
    for i in range(n_elements):
        for j in range(0, n_samples // LANES * LANES, LANES):
            drawn = draw_normal(key, <uint32_t> i, <uint32_t> j)
            for lane in range(LANES):
                bits[i, j + lane] = draw_bits(key, <uint32_t> i, <uint32_t> (j + lane))
                normal[i, j + lane] = (<real_t*> &drawn)[lane]
    return bits_array, normal_array


cdef class Samples:
    """Images of a user's array, read without a copy.

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
    """The targets of a user's samples, and the loss that compares outputs with them.

    Parameters
    ----------
    fields : dict
        kind, low, span, output_weight, value and misses of target_t.
    classes : ndarray of intp of shape (n,) or None
        Class indices; None if there are values.
    values : Samples or None
        A value for every output; None if there are classes.
    inverse_variances : ndarray of float64 of shape (n_outputs,)
        1 over the variance of the values of every output.
    """

    cdef const Py_ssize_t[::1] classes
    cdef Samples values
    cdef const double[::1] inverse_variances
    cdef target_t target

    def __cinit__(
        self, dict fields, const Py_ssize_t[::1] classes, Samples values,
        const double[::1] inverse_variances
    ):
        self.classes, self.values, self.inverse_variances = classes, values, inverse_variances
        self.target.kind = fields["kind"]
        self.target.low, self.target.span = fields["low"], fields["span"]
        self.target.output_weight, self.target.value = fields["output_weight"], fields["value"]
        self.target.misses = fields["misses"]
        self.target.inverse_variances = &inverse_variances[0]
        if values is None:
            self.target.classes = &classes[0]
        else:
            self.target.values = &values.samples


cdef class Dataset:
    """Samples with targets and weights.

    Parameters
    ----------
    samples : Samples
    targets : Targets or Comparison
        Those of every sample; or what compares outputs with them in Python.
    weight : ndarray of float64 of shape (n,)
        Of every sample.
    """

    cdef readonly Samples samples
    cdef readonly Targets targets
    cdef object compare
    cdef const double[::1] weight

    def __init__(self, Samples samples, targets, const double[::1] weight):
        self.samples, self.weight = samples, weight
        if isinstance(targets, Targets):
            self.targets = targets
        else:
            self.compare = targets

    cdef double sum_weights(self, const Py_ssize_t* rows, Py_ssize_t n) noexcept:
        """Return the sum of the weights of n samples, added in order."""
        cdef Py_ssize_t i
        cdef double total = 0
        for i in range(n):
            total += self.weight[rows[i]]
        return total


cdef class Epoch:
    """The mini-batches of an epoch.

    Parameters
    ----------
    rows : ndarray of intp of shape (n,)
        Indices of the epoch's samples, in the order of training.
    batch_size : int
    rates : ndarray of float64 of shape (n_batches,)
        Learning rate of every mini-batch.
    lambdas : ndarray of float64 of shape (n_batches,)
        Fraction of the samples themselves in their mixtures; 1: not mixed.
    partner_offsets : ndarray of intp of shape (n_batches,)
        From a sample of the mini-batch to the one that it is mixed with.
    key : int
        Key of the epoch's random numbers; every epoch has its own.
    turn : int, default=0
        Twice a key of random numbers that all epochs share, and 1 more in every second epoch.
    augment : callable (rows) -> Samples, or None
        Returns the images of some samples as this epoch has them.
    """

    cdef const Py_ssize_t[::1] rows
    cdef Py_ssize_t batch_size
    cdef const double[::1] rates, lambdas
    cdef const Py_ssize_t[::1] partner_offsets
    cdef uint64_t key, turn
    cdef object augment

    def __init__(
        self, const Py_ssize_t[::1] rows, Py_ssize_t batch_size, const double[::1] rates,
        const double[::1] lambdas, const Py_ssize_t[::1] partner_offsets, uint64_t key,
        uint64_t turn=0, augment=None,
    ):
        self.rows, self.batch_size, self.rates = rows, batch_size, rates
        self.lambdas, self.partner_offsets = lambdas, partner_offsets
        self.key, self.turn, self.augment = key, turn, augment


def allocate_vectors(Py_ssize_t n):
    """Return memory of n vectors, all zero, and of one more, for their alignment."""
    return np.zeros((n + 1) * sizeof(lanes_t), np.uint8)


cdef lanes_t* find_first_vector(const unsigned char[::1] memory) noexcept:
    """Point at the first whole vector of such memory."""
    return <lanes_t*> (
        <size_t> &memory[0] + sizeof(lanes_t) - <size_t> &memory[0] % sizeof(lanes_t)
    )


cdef raise_error(const job_t* job):
    """Raise the exception that a pass has left, if any."""
    if job.error[0] != NULL:
        exception = <object> <PyObject*> job.error[0]
        Py_DECREF(exception)
        job.error[0] = NULL
        raise exception


cdef class OptimizerState:
    """An optimizer with the parameters that it moves and its memory of earlier steps.

    Parameters
    ----------
    optimizer : dict
        The fields of optimizer_t.
    groups : ndarray of shape (k,)
        As `Network.group_parameters` returns them.
    params : ndarray of shape (n_params + n_statistics,)
        Changed by every step.
    vectors : ndarray of shape (2, n_trained)
        Two vectors of the optimizer, for the parameters that move; changed by every step.
    steps : ndarray of intp of shape (1,)
        Number of steps taken so far; changed by every step.
    """

    cdef optimizer_t optimizer
    cdef const group_t[::1] groups
    cdef real_t[::1] params
    cdef real_t[:, ::1] vectors
    cdef Py_ssize_t[::1] steps
    cdef object memory
    cdef lanes_t* matrix_scratch
    cdef double[::1] row_squares

    def __init__(
        self, dict optimizer, const group_t[::1] groups, real_t[::1] params,
        real_t[:, ::1] vectors, Py_ssize_t[::1] steps,
    ):
        self.optimizer = optimizer
        self.groups, self.params, self.vectors, self.steps = groups, params, vectors, steps
        cdef matrix_t matrix
        cdef Py_ssize_t k, columns, n = 0, n_rows = 0
        for k in range(groups.shape[0]):
            if groups[k].rows > 0:
                columns = (groups[k].end - groups[k].start) // groups[k].rows
                n = max(n, lay_out(groups[k].rows, columns, NULL, &matrix))
                n_rows = max(n_rows, groups[k].rows)
        self.memory, self.row_squares = allocate_vectors(n), np.empty(n_rows)
        self.matrix_scratch = find_first_vector(self.memory)

    cdef step_t describe_step(self, double rate) noexcept:
        """Return the next step."""
        cdef step_t step
        step.optimizer = &self.optimizer
        step.groups = &self.groups[0]
        step.n_groups = self.groups.shape[0]
        step.n_trained = self.vectors.shape[1]
        step.params = &self.params[0]
        step.first = &self.vectors[0, 0]
        step.second = &self.vectors[1, 0]
        step.matrix_scratch, step.row_squares = self.matrix_scratch, &self.row_squares[0]
        step.scale, step.rate = 1, rate
        step.t = self.steps[0] + 1
        return step


# Sizes of a program.
ctypedef struct sizes_t:
    Py_ssize_t n_params                 # parameters with a gradient: the trained ones, then the frozen ones
    Py_ssize_t n_transformed_weights    # of all Winograd plans
    Py_ssize_t n_moments                # that batch normalisation keeps of a block
    # a block's memory in vectors: what it keeps from region to region, which comes first; all of it, for
    # prediction and for training; a thread's scratch, whose offset comes after these
    Py_ssize_t persistent_vectors, prediction_vectors, training_vectors, scratch_vectors
    double work                         # vector multiply-adds of a block's forward pass, about


cdef class Workspace:
    """The memory that a program works in.

    It has an arena and scratch memory for each thread, persistent memory for each block, and a gradient
    for each shard.

    Parameters
    ----------
    program : Program
    n_threads : int
    batch_size : int, default=0
        The largest batch to train on; 0 for a program that only predicts.
    """

    cdef object memory
    cdef lanes_t* arenas
    cdef lanes_t* scratch
    cdef lanes_t* persistent
    cdef Py_ssize_t arena_vectors, scratch_vectors, persistent_vectors
    cdef int n_threads
    cdef real_t[:, ::1] gradients
    cdef double[:, ::1] batch       # loss, score
    cdef double[:, ::1] moments
    cdef double[::1] squares        # of the gradient, a sum for each chunk
    cdef real_t[::1] transformed_weights
    cdef void* error

    def __init__(self, Program program, int n_threads, Py_ssize_t batch_size=0):
        cdef sizes_t sizes = program.sizes
        cdef Py_ssize_t n_blocks = count_parts(batch_size, LANES), n_vectors
        cdef Py_ssize_t n_shards = min(n_blocks, <Py_ssize_t> 2 * MAX_PAIRS)
        self.n_threads = n_threads
        self.persistent_vectors = sizes.persistent_vectors if batch_size else 0
        self.arena_vectors = sizes.training_vectors if batch_size else sizes.prediction_vectors
        self.arena_vectors -= self.persistent_vectors
        self.scratch_vectors = sizes.scratch_vectors
        n_vectors = n_threads * (self.arena_vectors + self.scratch_vectors)
        n_vectors += n_blocks * self.persistent_vectors
        self.memory = allocate_vectors(n_vectors)
        self.arenas = find_first_vector(self.memory)
        self.scratch = self.arenas + n_threads * self.arena_vectors
        self.persistent = self.scratch + n_threads * self.scratch_vectors
        dtype = np.dtype(f"f{sizeof(real_t)}")
        self.transformed_weights = np.zeros(max(sizes.n_transformed_weights, 1), dtype)
        self.gradients = np.zeros((max(n_shards, 1), max(sizes.n_params, 1)), dtype)
        self.batch = np.zeros((2, max(batch_size, 1)))
        self.moments = np.zeros((1 + n_blocks, max(sizes.n_moments, 1)))
        self.squares = np.zeros(count_parts(sizes.n_params, CHUNK))


cdef class Program:
    """A network compiled to kernel calls.

    Parameters
    ----------
    ops : list of (str, dict)
        Kernel calls in forward order: a name that `set_op` knows and the fields of the kernel's struct.
    winograd_plans : list of dict
        The fields of winograd_t, for the convolutions that use Winograd's algorithm.
    tables : ndarray of intp
        The index tables that the fields refer to.
    input, output : dict
        The fields of tensor_t.
    sizes : dict
        The fields of sizes_t.
    input_plane : dict, default=None
        The fields of plane_t, for a program that predicts single images, lanes being pixels.
    """

    cdef op_t* ops
    cdef task_t* training_tasks
    cdef task_t* prediction_tasks
    cdef winograd_t* winograd_plans
    cdef Py_ssize_t n_ops, n_training_tasks, n_prediction_tasks, n_winograd_plans
    cdef const Py_ssize_t[::1] tables
    cdef tensor_t input, output
    cdef plane_t input_plane
    cdef readonly bint single_image
    cdef readonly sizes_t sizes
    cdef object memory, task_memory, winograd_memory
    cdef list calls                 # which keep functions of the user's alive

    def __init__(
        self, list ops, list winograd_plans, tables, dict input, dict output, dict sizes,
        dict input_plane=None,
    ):
        cdef unsigned char[::1] memory
        self.n_ops, self.calls = len(ops), ops
        self.memory = np.zeros(max(self.n_ops, 1) * sizeof(op_t), np.uint8)
        memory = self.memory
        self.ops = <op_t*> &memory[0]
        for k, (name, fields) in enumerate(ops):
            set_op(&self.ops[k], name, fields)
        self.task_memory = np.zeros(2 * (5 * self.n_ops + 3) * sizeof(task_t), np.uint8)
        memory = self.task_memory
        self.training_tasks = <task_t*> &memory[0]
        self.n_training_tasks = list_tasks(self.ops, self.n_ops, True, self.training_tasks)
        self.prediction_tasks = self.training_tasks + 5 * self.n_ops + 3
        self.n_prediction_tasks = list_tasks(self.ops, self.n_ops, False, self.prediction_tasks)
        self.n_winograd_plans = len(winograd_plans)
        self.winograd_memory = np.zeros(max(self.n_winograd_plans, 1) * sizeof(winograd_t), np.uint8)
        memory = self.winograd_memory
        self.winograd_plans = <winograd_t*> &memory[0]
        for k, fields in enumerate(winograd_plans):
            self.winograd_plans[k] = fields
        self.tables, self.sizes = tables, sizes
        self.input, self.output = input, output
        self.single_image = input_plane is not None
        if self.single_image:
            self.input_plane = input_plane

    cdef job_t describe_tasks(self, Py_ssize_t n, int n_threads, bint training) noexcept:
        """Return a job that has no data yet."""
        cdef job_t job
        memset(&job, 0, sizeof(job_t))
        job.n, job.n_threads = n, n_threads
        job.tasks = self.training_tasks if training else self.prediction_tasks
        job.n_tasks = self.n_training_tasks if training else self.n_prediction_tasks
        job.work = self.sizes.work * (3 if training else 1)
        return job

    def count_shards(self, Py_ssize_t n, int n_threads):
        """Return the numbers of gradient shards of n samples that have one thread each, and all threads."""
        cdef job_t job = self.describe_tasks(n, n_threads, True)
        cdef Py_ssize_t n_whole
        cut_into_shards(&job)
        n_whole = count_whole_shards(&job, n_threads)
        return n_whole, job.shards.n_shards - n_whole

    cdef job_t describe_job(
        self, Samples X, const Py_ssize_t* rows, Py_ssize_t n, const real_t[::1] params,
        Workspace workspace, bint training,
    ):
        """Return a job for some samples that computes nothing yet."""
        cdef job_t job = self.describe_tasks(n, workspace.n_threads, training)
        job.tables = &self.tables[0]
        job.input = &self.input
        if self.single_image:
            job.input_plane = &self.input_plane
        job.output = &self.output
        job.samples = &X.samples
        job.rows = rows
        job.fraction = 1
        job.params = &params[0]
        job.winograd_plans = self.winograd_plans
        job.n_winograd_plans = self.n_winograd_plans
        job.arenas = workspace.arenas
        job.persistent = workspace.persistent
        job.persistent_vectors = workspace.persistent_vectors
        job.arena_vectors = workspace.arena_vectors
        job.scratch = workspace.scratch
        job.scratch_vectors, job.scratch_offset = workspace.scratch_vectors, self.sizes.training_vectors
        job.transformed_weights = &workspace.transformed_weights[0]
        job.shards.gradients = &workspace.gradients[0, 0]
        job.shards.n_params = self.sizes.n_params
        job.moments = &workspace.moments[0, 0]
        job.n_moments = workspace.moments.shape[1]
        job.squares = &workspace.squares[0]
        job.error = &workspace.error
        return job

    def forward(
        self,
        Samples X,
        const Py_ssize_t[::1] rows,     # IN   indices of the samples
        const real_t[::1] params,       # IN
        real_t[:, ::1] y,               # OUT  (rows, outputs)
        Workspace workspace,
    ):
        """Compute the outputs of some samples; Ctrl-C is noticed within a few blocks."""
        cdef Py_ssize_t n = len(rows), start = 0
        cdef Py_ssize_t step = BLOCKS_AT_ONCE * workspace.n_threads * LANES
        cdef job_t job
        while start < n:
            job = self.describe_job(X, &rows[start], min(step, n - start), params, workspace, False)
            job.y = &y[start, 0]
            with nogil:
                run_prediction(&job)
            raise_error(&job)
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
        """Run the forward pass, then backpropagate a gradient to the outputs to inputs and parameters."""
        cdef job_t job = self.describe_job(X, &rows[0], len(rows), params, workspace, True)
        job.dy = &dy.samples
        job.dx = &dx[0, 0]
        with nogil:
            run_training(&job)
            if len(dparams):
                sum_shards(&job.shards, 0, &dparams[0], len(dparams))
        raise_error(&job)

    cdef run_comparing(self, job_t* job, Dataset data, labels_t* labels, bint training):
        """Run a pass whose loss Python computes, between the forward and the backward pass."""
        cdef Py_ssize_t i, n = job.n
        cdef job_t forward = job[0]
        cdef real_t[:, ::1] outputs = np.empty((n, self.output.channels), f"f{sizeof(real_t)}")
        cdef const Py_ssize_t[::1] positions = np.arange(n)
        cdef const double[::1] losses, scores
        cdef Samples dy
        forward.y, forward.step = &outputs[0, 0], NULL
        with nogil:
            if training:
                divide_at_output(&forward, False)
                run_training(&forward)
            else:
                run_prediction(&forward)
        raise_error(job)
        losses, scores, gradient = data.compare(
            np.asarray(outputs), np.array(<const Py_ssize_t[:n]> labels.rows), labels.total, job.fraction,
            job.partner_offset,
        )
        for i in range(n):
            labels.loss[i], labels.score[i] = losses[i], scores[i]
        if training and isfinite(sum_losses(labels)):
            dy = Samples(gradient, (gradient.shape[1], 1, 1), (*gradient.strides, 0, 0))
            job.dy, job.rows = &dy.samples, &positions[0]
            divide_at_output(job, True)
            with nogil:
                run_training(job)

    cdef double run_batch(
        self, job_t* job, const Py_ssize_t* rows, Dataset data, double total, double[:, ::1] batch,
        bint training, double* totals,
    ) except? -1e300:
        """Return the mean loss of a batch; add loss, score and weight to totals; if training, get gradients.

        rows: of targets and weights; total: the weight of the batch, of which the job may have a part; batch:
        memory for 2 values per sample.
        """
        cdef Py_ssize_t i
        cdef double loss, score = 0
        cdef labels_t labels
        labels.target = NULL if data.targets is None else &data.targets.target
        labels.rows = rows
        labels.weight = &data.weight[0]
        labels.loss = &batch[0, 0]
        labels.score = &batch[1, 0]
        labels.n = job.n
        job.labels = &labels
        labels.total = total
        if data.targets is None:
            self.run_comparing(job, data, &labels, training)
        else:
            with nogil:
                if training:
                    run_training(job)
                else:
                    run_prediction(job)
        raise_error(job)
        loss = sum_losses(&labels)
        for i in range(job.n):
            score += data.weight[rows[i]] * batch[1, i]
        totals[0] += loss * total
        totals[1] += score
        totals[2] += total
        return loss

    def loss(
        self,
        Dataset data,
        const Py_ssize_t[::1] rows,     # IN   indices of the samples
        const real_t[::1] params,       # IN
        real_t[:, ::1] dx,              # OUT  gradient of the loss to the inputs, or None
        real_t[::1] dparams,            # OUT  and to the parameters
        Workspace workspace,
        *,
        double total,                   # weight of the batch that these samples belong to
        uint64_t key=0,                 # of the epoch's random numbers
        uint64_t turn=0,                # of those that last
        Py_ssize_t step=0,              # number of steps taken before
    ):
        """Return the contribution of samples to a batch's mean loss and score; write the gradients."""
        cdef double[3] totals
        cdef job_t job = self.describe_job(data.samples, &rows[0], len(rows), params, workspace, True)
        cdef double loss
        job.key, job.turn = derive_key(key, <unsigned int> step), turn
        if dx is not None:
            job.dx = &dx[0, 0]
        memset(totals, 0, sizeof(totals))
        loss = self.run_batch(&job, job.rows, data, total, workspace.batch, True, totals)
        if len(dparams):
            sum_shards(&job.shards, 0, &dparams[0], len(dparams))
        return loss, totals[1]

    def evaluate(
        self,
        Dataset data,
        const Py_ssize_t[::1] rows,     # IN   indices of samples of a weight above 0
        const real_t[::1] params,       # IN
        Workspace workspace,            # for prediction
    ):
        """Return the sums of weighted loss, weighted score and weight over some samples."""
        cdef double[3] totals
        cdef Py_ssize_t n = len(rows), start = 0
        # functions of the user's get batches that do not depend on the number of threads
        cdef Py_ssize_t n_threads = 1 if data.targets is None else workspace.n_threads
        cdef Py_ssize_t step = BLOCKS_AT_ONCE * n_threads * LANES
        cdef double[:, ::1] batch = np.empty((2, max(min(step, n), 1)))
        cdef job_t job
        memset(totals, 0, sizeof(totals))
        while start < n:
            job = self.describe_job(
                data.samples, &rows[start], min(step, n - start), params, workspace, False
            )
            self.run_batch(
                &job, job.rows, data, data.sum_weights(job.rows, job.n), batch, False, totals
            )
            PyErr_CheckSignals()
            start += step
        return totals[0], totals[1], totals[2]

    def profile(
        self,
        Dataset data,
        const Py_ssize_t[::1] rows,     # IN   indices of the samples of one batch
        const real_t[::1] params,       # IN
        double[::1] seconds,            # OUT  2 + 2 * calls: gather, forward, loss, backward
        Workspace workspace,
    ):
        """Add the first thread's time of each part of a batch's forward and backward pass to seconds."""
        cdef double[3] totals
        cdef job_t job = self.describe_job(data.samples, &rows[0], len(rows), params, workspace, True)
        job.seconds = &seconds[0]
        self.run_batch(
            &job, job.rows, data, data.sum_weights(job.rows, job.n), workspace.batch, True, totals
        )

    cdef void update_batch_stats(self, Workspace workspace, Py_ssize_t n, real_t* params) noexcept:
        """Move running moments towards those of the n samples that the workspace was last used for."""
        cdef Py_ssize_t k
        for k in range(self.n_training_tasks):
            if self.training_tasks[k].kind == MERGE_MOMENTS:
                update_running_stats(
                    <const batch_norm_t*> self.training_tasks[k].fields, &workspace.moments[0, 0], n, params
                )

    def update_running_stats(self, Workspace workspace, Py_ssize_t n, real_t[::1] params):
        """Move running moments towards those of the n samples that `loss` was last called for."""
        self.update_batch_stats(workspace, n, &params[0])

    def step(
        self,
        real_t[:, ::1] gradients,       # IN   which add up to that of a batch, in order
        double rate,
        OptimizerState state,           # IN OUT
        Workspace workspace,
    ):
        """Take a step with gradients that were computed elsewhere."""
        cdef shards_t shards
        shards.gradients = &gradients[0, 0]
        shards.n_shards, shards.n_params, shards.pairwise = len(gradients), gradients.shape[1], False
        cdef step_t step = state.describe_step(rate)
        with nogil:
            take_step_alone(&shards, &step, &workspace.squares[0], workspace.n_threads)
        state.steps[0] += 1

    def train(
        self,
        Dataset data,
        Epoch epoch,
        Py_ssize_t first,               # mini-batches of the epoch from first to end
        Py_ssize_t end,
        OptimizerState state,           # IN OUT
        Workspace workspace,
    ):
        """Train on some mini-batches; return the sums of weighted loss, weighted score and weight.

        A batch whose loss is not finite ends it, before the step: the sum of losses then is not finite.
        Ctrl-C ends it after a whole step.
        """
        cdef double[3] totals
        cdef double loss
        cdef Py_ssize_t size, batch
        cdef const Py_ssize_t* rows
        cdef const Py_ssize_t[::1] positions = np.arange(0 if epoch.augment is None else epoch.batch_size)
        cdef Samples images
        cdef step_t step
        cdef job_t job
        memset(totals, 0, sizeof(totals))
        for batch in range(first, min(end, len(epoch.rates))):
            size = min(epoch.batch_size, len(epoch.rows) - batch * epoch.batch_size)
            rows = &epoch.rows[batch * epoch.batch_size]
            if epoch.augment is None:
                job = self.describe_job(data.samples, rows, size, state.params, workspace, True)
            else:
                start = batch * epoch.batch_size
                images = epoch.augment(np.asarray(epoch.rows[start:start + size]))
                job = self.describe_job(images, &positions[0], size, state.params, workspace, True)
            job.fraction, job.partner_offset = epoch.lambdas[batch], epoch.partner_offsets[batch]
            job.key, job.turn = derive_key(epoch.key, <unsigned int> state.steps[0]), epoch.turn
            step = state.describe_step(epoch.rates[batch])
            job.step = &step
            loss = self.run_batch(
                &job, rows, data, data.sum_weights(rows, size), workspace.batch, True, totals
            )
            if not isfinite(loss):
                break
            state.steps[0] += 1
            self.update_batch_stats(workspace, size, &state.params[0])
            PyErr_CheckSignals()
        return totals[0], totals[1], totals[2]
