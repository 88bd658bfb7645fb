"""A kernel call as data: its forward and backward function and the fields that these read.

A kernel is registered here, and only here: a member of `fields_t`, and an entry of `set_op`.
"""

from skconvnet.kernels.activation cimport activation_backward, activation_forward, activation_t
from skconvnet.kernels.batch_norm cimport (
    batch_norm_t, moments_backward, moments_forward, normalize_backward, normalize_forward
)
from skconvnet.kernels.block cimport block_t
from skconvnet.kernels.branches cimport (
    merge_backward, merge_forward, merge_t, split_backward, split_t
)
from skconvnet.kernels.conv cimport (
    conv_backward, conv_forward, conv_receive, conv_t, plane_conv_forward, plane_conv_t,
    pooled_conv_backward, pooled_conv_forward, pooled_conv_receive, pooled_conv_t,
    transposed_conv_backward, transposed_conv_forward, transposed_conv_t
)
from skconvnet.kernels.dense cimport dense_backward, dense_forward, dense_receive, dense_t
from skconvnet.kernels.dropout cimport dropout_backward, dropout_forward, dropout_t
from skconvnet.kernels.erasing cimport erasing_backward, erasing_forward, erasing_t
from skconvnet.kernels.flatten cimport flatten_backward, flatten_t
from skconvnet.kernels.function cimport function_backward, function_forward, function_t
from skconvnet.kernels.gaussian cimport gaussian_forward, gaussian_t
from skconvnet.kernels.layer_norm cimport layer_norm_backward, layer_norm_forward, layer_norm_t
from skconvnet.kernels.local cimport local_backward, local_forward, local_receive, local_t
from skconvnet.kernels.pool cimport (
    avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward, pool_t, upsample_backward,
    upsample_forward
)
from skconvnet.kernels.prelu cimport prelu_backward, prelu_forward, prelu_t
from skconvnet.kernels.rescale cimport rescale_backward, rescale_forward, rescale_t
from skconvnet.kernels.single_image cimport (
    avg_pool_plane, clear_gaps, max_pool_plane, plane_pool_t, plane_t, scatter_plane, scatter_t
)
from skconvnet.kernels.warp cimport warp_backward, warp_forward, warp_t


# Runs on one block; fields: the struct of the kernel.
ctypedef void (*kernel_t)(const void* fields, const block_t* b) noexcept nogil


ctypedef union fields_t:
    activation_t activation
    batch_norm_t batch_norm
    conv_t conv
    dense_t dense
    dropout_t dropout
    erasing_t erasing
    flatten_t flatten
    function_t function
    gaussian_t gaussian
    layer_norm_t layer_norm
    local_t local
    merge_t merge
    plane_t plane
    plane_conv_t plane_conv
    plane_pool_t plane_pool
    pool_t pool
    pooled_conv_t pooled_conv
    prelu_t prelu
    rescale_t rescale
    scatter_t scatter
    split_t split
    transposed_conv_t transposed_conv
    warp_t warp


cdef struct op_t:
    kernel_t forward, backward          # NULL: there is nothing to do
    # NULL, or what all threads that share a block finish before any of them begins the backward pass
    kernel_t receive
    fields_t fields


cdef inline int set_op(op_t* op, str name, dict fields) except -1:
    """Fill in a kernel call from its name and the fields of the kernel's struct."""
    op.receive = NULL
    if name == "activation":
        op.fields.activation, op.forward, op.backward = fields, activation_forward, activation_backward
    elif name == "avg_pool":
        op.fields.pool, op.forward, op.backward = fields, avg_pool_forward, avg_pool_backward
    elif name == "clear_gaps":
        op.fields.plane, op.forward, op.backward = fields, clear_gaps, NULL
    elif name == "conv":
        op.fields.conv, op.forward, op.backward = fields, conv_forward, conv_backward
        op.receive = conv_receive
    elif name == "dense":
        op.fields.dense, op.forward, op.backward = fields, dense_forward, dense_backward
        op.receive = dense_receive
    elif name == "dropout":
        op.fields.dropout, op.forward, op.backward = fields, dropout_forward, dropout_backward
    elif name == "erasing":
        op.fields.erasing, op.forward, op.backward = fields, erasing_forward, erasing_backward
    elif name == "flatten":
        op.fields.flatten, op.forward, op.backward = fields, NULL, flatten_backward
    elif name == "function":
        op.fields.function, op.forward, op.backward = fields, function_forward, function_backward
    elif name == "gaussian":
        op.fields.gaussian, op.forward, op.backward = fields, gaussian_forward, NULL
    elif name == "layer_norm":
        op.fields.layer_norm, op.forward, op.backward = fields, layer_norm_forward, layer_norm_backward
    elif name == "local":
        op.fields.local, op.forward, op.backward = fields, local_forward, local_backward
        op.receive = local_receive
    elif name == "max_pool":
        op.fields.pool, op.forward, op.backward = fields, max_pool_forward, max_pool_backward
    elif name == "max_pool_of_conv":    # pooled_conv has its backward pass
        op.fields.pool, op.forward, op.backward = fields, max_pool_forward, NULL
    elif name == "merge":
        op.fields.merge, op.forward, op.backward = fields, merge_forward, merge_backward
    elif name == "moments":
        op.fields.batch_norm, op.forward, op.backward = fields, moments_forward, moments_backward
    elif name == "normalize":
        op.fields.batch_norm, op.forward, op.backward = fields, normalize_forward, normalize_backward
    elif name == "plane_avg_pool":
        op.fields.plane_pool, op.forward, op.backward = fields, avg_pool_plane, NULL
    elif name == "plane_conv":
        op.fields.plane_conv, op.forward, op.backward = fields, plane_conv_forward, NULL
    elif name == "plane_max_pool":
        op.fields.plane_pool, op.forward, op.backward = fields, max_pool_plane, NULL
    elif name == "pooled_conv":
        op.fields.pooled_conv, op.forward, op.backward = fields, pooled_conv_forward, pooled_conv_backward
        op.receive = pooled_conv_receive
    elif name == "prelu":
        op.fields.prelu, op.forward, op.backward = fields, prelu_forward, prelu_backward
    elif name == "rescale":
        op.fields.rescale, op.forward, op.backward = fields, rescale_forward, rescale_backward
    elif name == "scatter_plane":
        op.fields.scatter, op.forward, op.backward = fields, scatter_plane, NULL
    elif name == "split":
        op.fields.split, op.forward, op.backward = fields, NULL, split_backward
    elif name == "transposed_conv":
        op.fields.transposed_conv = fields
        op.forward, op.backward = transposed_conv_forward, transposed_conv_backward
    elif name == "upsample":
        op.fields.pool, op.forward, op.backward = fields, upsample_forward, upsample_backward
    elif name == "warp":
        op.fields.warp, op.forward, op.backward = fields, warp_forward, warp_backward
    else:
        raise ValueError(f"there is no kernel called {name!r}")
    return 0
