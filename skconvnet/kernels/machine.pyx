"""The machine: runs a compiled network over blocks of samples, for one instruction set and precision.

The build compiles this file once for every instruction set and for float32 and float64, each time
with all kernels inside (they are inline functions of the .pxd files beside it).  A `Program` is a
list of kernel calls with every size and place settled; it knows no layer.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
)
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isfinite
from libc.stdint cimport uint64_t
from libc.string cimport memset

import numpy as np

from skconvnet.kernels.activation cimport (
    ARCTAN, ELU, GELU, IDENTITY, LEAKY_RELU, LOG_SOFTMAX, RELU, SIGMOID, SOFTMAX, SOFTPLUS, TANH
)
from skconvnet.kernels.batch_norm cimport follow_moments
from skconvnet.kernels.lanes cimport LANES, TILE_WIDTH, lanes_t, real_t
from skconvnet.kernels.loss cimport (
    ABSOLUTE_ERROR, BINARY_CROSS_ENTROPY, CROSS_ENTROPY, HUBER, SQUARED_ERROR, labels_t, target_t
)
from skconvnet.kernels.noise cimport derive_key
from skconvnet.kernels.op cimport describe_op, op_t
from skconvnet.kernels.optimizer cimport (
    ADADELTA, ADAM, CHUNK, LION, NESTEROV, SCALED, SGD, optimizer_t, step_t
)
from skconvnet.kernels.patch cimport KERNEL_ROWS
from skconvnet.kernels.pixels cimport plane_t
from skconvnet.kernels.region cimport (
    MAX_PAIRS, image_t, job_t, run_prediction, run_training, sum_gradients, take_step
)
from skconvnet.kernels.samples cimport samples_t
from skconvnet.kernels.tile cimport COLUMN_HEIGHT, TILE_HEIGHT, count_parts
from skconvnet.kernels.winograd cimport winograd_t

cdef enum:
    BLOCKS_AT_ONCE = 64     # blocks a thread predicts between two looks at the signals


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


cdef double sum_weights(const double[::1] weight, const Py_ssize_t* rows, Py_ssize_t n) noexcept:
    """Add up the weights of some samples, in order."""
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(n):
        total += weight[rows[i]]
    return total


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
    cdef double[:, ::1] batch       # loss, score
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
        self.batch = np.zeros((2, max(batch_size, 1)))
        self.moments = np.zeros((1 + n_blocks, max(program.n_moments, 1)))
        self.squares = np.zeros(count_parts(program.n_params, CHUNK))


cdef class Program:
    """A network compiled to kernel calls.

    Parameters
    ----------
    ops : list of (str, dict)
        Kernel calls in forward order: a name that `describe_op` knows and the fields of the kernel's struct.
    tables : ndarray of intp
        The index tables that the fields point into.
    input, output : dict
        The fields of image_t.
    n_params : int
        How many numbers of the flat parameter vector have a gradient: those that are trained, then
        those that are frozen; running moments follow them.
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
            describe_op(&self.ops[k], name, fields)

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
        job.share = 1
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
            if len(dparams):
                sum_gradients(&job, 0, &dparams[0], len(dparams))

    cdef double run_batch(
        self, job_t* job, const Py_ssize_t* rows, Targets targets, const double[::1] weight,
        double total, double[:, ::1] batch, int n_threads, bint training, double* totals,
    ):
        """Return a batch's mean loss, add loss, score and weight to totals; if training, get gradients.

        rows: of targets and weight; total: the batch's weight, of which the job may have a part; batch: room
        for 2 numbers a sample.
        """
        cdef Py_ssize_t i
        cdef double loss = 0, score = 0
        cdef labels_t labels
        labels.target = &targets.target
        labels.rows = rows
        labels.weight = &weight[0]
        labels.loss = &batch[0, 0]
        labels.score = &batch[1, 0]
        labels.n = job.n
        job.labels = &labels
        labels.total = total
        with nogil:
            if training:
                run_training(job, n_threads)
            else:
                run_prediction(job, n_threads)
        for i in range(job.n):
            loss += batch[0, i]
            score += weight[rows[i]] * batch[1, i]
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
        double total,                   # weight of the batch that these samples are of
        uint64_t key,                   # that random numbers are drawn with, an epoch's own
        Py_ssize_t step,                # how many steps were taken before
        const real_t[::1] params,       # IN
        real_t[:, ::1] dx,              # OUT  gradient of the loss to the inputs, or None
        real_t[::1] dparams,            # OUT  and to the parameters
        Workspace workspace,
    ):
        """Return what samples add to a batch's mean loss and to its weighted score; write the gradients."""
        cdef double[3] totals
        cdef job_t job = self.describe_job(X, &rows[0], len(rows), params, workspace)
        cdef double loss
        job.key = derive_key(key, <unsigned int> step)
        if dx is not None:
            job.dx = &dx[0, 0]
        memset(totals, 0, sizeof(totals))
        loss = self.run_batch(
            &job, job.rows, targets, weight, total, workspace.batch, workspace.n_threads, True, totals
        )
        if len(dparams):
            sum_gradients(&job, 0, &dparams[0], len(dparams))
        return loss, totals[1]

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
        cdef double[:, ::1] batch = np.empty((2, max(min(step, n), 1)))
        cdef job_t job
        memset(totals, 0, sizeof(totals))
        while start < n:
            job = self.describe_job(X, &rows[start], min(step, n - start), params, workspace)
            self.run_batch(
                &job, job.rows, targets, weight, sum_weights(weight, job.rows, job.n), batch,
                workspace.n_threads, False, totals,
            )
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
        self.run_batch(
            &job, job.rows, targets, weight, sum_weights(weight, job.rows, job.n), workspace.batch,
            workspace.n_threads, True, totals,
        )

    cdef void follow_batch(self, Workspace workspace, Py_ssize_t n, real_t* params) noexcept:
        """Move running moments towards those of the n samples that the workspace was last used for."""
        cdef Py_ssize_t k
        for k in range(self.meetings.shape[0]):
            follow_moments(
                &self.ops[self.meetings[k]].batch_norm, &workspace.moments[0, 0], n, params
            )

    def follow(self, Workspace workspace, Py_ssize_t n, real_t[::1] params):
        """Move running moments towards those of the n samples that `loss` was last called for."""
        self.follow_batch(workspace, n, &params[0])

    cdef void take_job_step(
        self, const job_t* job, optimizer_t* optimizer, const Py_ssize_t[:, ::1] decaying, double rate,
        real_t[::1] params, real_t[:, ::1] state, Py_ssize_t[::1] steps, Workspace workspace,
    ) noexcept:
        """Take the optimizer's step with the gradients of a job."""
        cdef step_t step
        steps[0] += 1
        step.optimizer = optimizer
        step.decaying = &decaying[0, 0]
        step.n_decaying = decaying.shape[0]
        step.params = &params[0]
        step.first = &state[0, 0]
        step.second = &state[1, 0]
        step.rate = rate
        step.t = steps[0]
        with nogil:
            take_step(job, &step, &workspace.squares[0], workspace.n_threads)

    def step(
        self,
        real_t[:, ::1] gradients,       # IN   which add up to the batch's
        optimizer_t optimizer,
        const Py_ssize_t[:, ::1] decaying,  # IN   from where to where numbers decay
        double rate,
        real_t[::1] params,             # IN OUT
        real_t[:, ::1] state,           # IN OUT two vectors of the optimizer
        Py_ssize_t[::1] steps,          # IN OUT how many steps were taken before
        Workspace workspace,
    ):
        """Take a step with gradients from elsewhere, which are added up in order."""
        cdef job_t job
        memset(&job, 0, sizeof(job_t))
        job.n_params = job.n_trained = gradients.shape[1]
        job.partial = &gradients[0, 0]
        job.n_groups = len(gradients)
        self.take_job_step(&job, &optimizer, decaying, rate, params, state, steps, workspace)

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
        const double[::1] shares,       # IN   what samples of every batch have of themselves; 1: not mixed
        const Py_ssize_t[::1] shifts,   # IN   how far behind a sample lies what it is mixed with
        augment,                        # None, or rows -> Samples: their images as this epoch has them
        uint64_t key,                   # that random numbers are drawn with, an epoch's own
        real_t[::1] params,             # IN OUT
        real_t[:, ::1] state,           # IN OUT two vectors of the optimizer, for the numbers that it moves
        Py_ssize_t[::1] steps,          # IN OUT how many steps were taken before
        Workspace workspace,
    ):
        """Train on one epoch; return its sums of weighted loss, weighted score and weight.

        A batch whose loss is not finite ends it, before the step: the loss sum then is not finite.
        Ctrl-C ends it after a whole step.
        """
        cdef double[3] totals
        cdef double loss
        cdef Py_ssize_t n = len(rows), start = 0, size, batch
        cdef const Py_ssize_t[::1] places = np.arange(batch_size if augment is not None else 0)
        cdef Samples images
        cdef job_t job
        memset(totals, 0, sizeof(totals))
        while start < n:
            size, batch = min(batch_size, n - start), start // batch_size
            if augment is None:
                job = self.describe_job(X, &rows[start], size, params, workspace)
            else:
                images = augment(np.asarray(rows[start:start + size]))
                job = self.describe_job(images, &places[0], size, params, workspace)
            job.share, job.shift = shares[batch], shifts[batch]
            job.n_trained = state.shape[1]
            job.key = derive_key(key, <unsigned int> steps[0])
            loss = self.run_batch(
                &job, &rows[start], targets, weight, sum_weights(weight, &rows[start], size),
                workspace.batch, workspace.n_threads, True, totals,
            )
            if not isfinite(loss):
                break
            self.take_job_step(
                &job, &optimizer, decaying, rates[batch], params, state, steps, workspace
            )
            self.follow_batch(workspace, size, &params[0])
            PyErr_CheckSignals()
            start += batch_size
        return totals[0], totals[1], totals[2]
