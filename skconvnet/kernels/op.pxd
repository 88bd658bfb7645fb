"""A kernel call as data: its kind and its fields, and what runs it on a block."""

from skconvnet.kernels.activation cimport activation_backward, activation_forward, activation_t
from skconvnet.kernels.batch_norm cimport (
    batch_norm_t, moments_backward, moments_forward, normalize_backward, normalize_forward
)
from skconvnet.kernels.branch cimport (
    addition_backward, addition_forward, branch_t, fork_backward, fork_forward
)
from skconvnet.kernels.conv cimport conv_backward, conv_forward, conv_t
from skconvnet.kernels.dense cimport dense_backward, dense_forward, dense_t
from skconvnet.kernels.dropout cimport dropout_backward, dropout_forward, dropout_t
from skconvnet.kernels.erasing cimport erasing_backward, erasing_forward, erasing_t
from skconvnet.kernels.flatten cimport flatten_backward, flatten_t
from skconvnet.kernels.gaussian cimport gaussian_forward, gaussian_t
from skconvnet.kernels.lanes cimport block_t
from skconvnet.kernels.layer_norm cimport layer_norm_backward, layer_norm_forward, layer_norm_t
from skconvnet.kernels.local cimport local_backward, local_forward, local_t
from skconvnet.kernels.pixels cimport (
    clear_gaps, plane_pool_t, plane_t, pool_plane, spread_plane, spread_t
)
from skconvnet.kernels.pool cimport (
    avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward, pool_t
)
from skconvnet.kernels.rescale cimport rescale_backward, rescale_forward, rescale_t
from skconvnet.kernels.warp cimport warp_backward, warp_forward, warp_t


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
    WARP
    ERASING
    GAUSSIAN
    CLEAR_GAPS
    PLANE_MAX_POOL
    PLANE_AVG_POOL
    SPREAD


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
    warp_t warp
    erasing_t erasing
    gaussian_t gaussian
    plane_t plane
    plane_pool_t plane_pool
    spread_t spread


cdef inline int describe_op(op_t* op, str name, dict fields) except -1:
    """Fill in a kernel call from its name and the fields of the kernel's struct."""
    if name == "conv":
        op.kind, op.conv = CONV, fields
    elif name == "dense":
        op.kind, op.dense = DENSE, fields
    elif name == "max_pool":
        op.kind, op.pool = MAX_POOL, fields
    elif name == "avg_pool":
        op.kind, op.pool = AVG_POOL, fields
    elif name == "flatten":
        op.kind, op.flatten = FLATTEN, fields
    elif name == "activation":
        op.kind, op.activation = ACTIVATION, fields
    elif name == "moments":
        op.kind, op.batch_norm = MOMENTS, fields
    elif name == "normalize":
        op.kind, op.batch_norm = NORMALIZE, fields
    elif name == "fork":
        op.kind, op.branch = FORK, fields
    elif name == "addition":
        op.kind, op.branch = ADDITION, fields
    elif name == "dropout":
        op.kind, op.dropout = DROPOUT, fields
    elif name == "layer_norm":
        op.kind, op.layer_norm = LAYER_NORM, fields
    elif name == "rescale":
        op.kind, op.rescale = RESCALE, fields
    elif name == "local":
        op.kind, op.local = LOCAL, fields
    elif name == "warp":
        op.kind, op.warp = WARP, fields
    elif name == "erasing":
        op.kind, op.erasing = ERASING, fields
    elif name == "gaussian":
        op.kind, op.gaussian = GAUSSIAN, fields
    elif name == "clear_gaps":
        op.kind, op.plane = CLEAR_GAPS, fields
    elif name == "plane_max_pool":
        op.kind, op.plane_pool = PLANE_MAX_POOL, fields
    elif name == "plane_avg_pool":
        op.kind, op.plane_pool = PLANE_AVG_POOL, fields
    elif name == "spread":
        op.kind, op.spread = SPREAD, fields
    else:
        raise ValueError(f"there is no kernel called {name!r}")
    return 0


cdef inline void run_forward(const op_t* op, const block_t* b) noexcept nogil:
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
    elif op.kind == WARP:
        warp_forward(&op.warp, b)
    elif op.kind == ERASING:
        erasing_forward(&op.erasing, b)
    elif op.kind == GAUSSIAN:
        gaussian_forward(&op.gaussian, b)
    elif op.kind == CLEAR_GAPS:
        clear_gaps(&op.plane, b)
    elif op.kind == PLANE_MAX_POOL:
        pool_plane(&op.plane_pool, False, b)
    elif op.kind == PLANE_AVG_POOL:
        pool_plane(&op.plane_pool, True, b)
    elif op.kind == SPREAD:
        spread_plane(&op.spread, b)


cdef inline void run_backward(const op_t* op, const block_t* b) noexcept nogil:
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
    elif op.kind == WARP:
        warp_backward(&op.warp, b)
    elif op.kind == ERASING:
        erasing_backward(&op.erasing, b)
