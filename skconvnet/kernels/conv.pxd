"""Convolution (cross-correlation, as in every framework): LeCun et al. 1998, section II.

    y[o, i, j] = bias[o] + sum_{c, u, v} weight[o, c, u, v] * x[c, i * sh + u - top, j * sw + v - left]

With groups, c counts the channels of the filter's own group.  The forward pass and the gradient to the
input are made of output tiles; the gradient to the weight is made of weight tiles or channel tiles.  Each may
use Winograd's algorithm.
"""

from skconvnet.kernels.block cimport block_t, find_units, is_shared
from skconvnet.kernels.channel_weights cimport channel_weights_t, correlate_by_channels
from skconvnet.kernels.linear cimport (
    bind_epilogue, gradients_t, linear_activation_backward, linear_forward, linear_input_gradient, linear_t
)
from skconvnet.kernels.output_tiles cimport bind, operands_t
from skconvnet.kernels.pool cimport max_pool_backward_channels, pool_t
from skconvnet.kernels.simd cimport real_t
from skconvnet.kernels.team cimport cut, range_t
from skconvnet.kernels.tile cimport TILE_HEIGHT
from skconvnet.kernels.weight_tiles cimport TILE_FIELDS, correlate_weight_tile, weight_tiles_t
from skconvnet.kernels.winograd cimport (
    correlate_by_winograd, share_terms, weight_sums_t, winograd, winograd_t
)


ctypedef struct conv_t:
    linear_t linear
    gradients_t gradients
    # the gradient to the weight: one of these
    weight_tiles_t weight_tiles
    channel_weights_t channel_weights   # x_lanes < 0: not this one
    weight_sums_t winograd_weights      # terms < 0: not this one
    Py_ssize_t winograd_forward, winograd_backward  # indices of the plans; < 0: plain sums


# The transpose of a convolution, from y to x: its forward pass is made of the tiles of the gradient to the
# input, and the other way round.
ctypedef struct transposed_conv_t:
    linear_t linear
    gradients_t gradients
    weight_tiles_t weight_tiles         # x: the buffer of dy, dy: that of x


# In the program for a single image.
ctypedef struct plane_conv_t:
    linear_t linear
    Py_ssize_t winograd_forward


# With the maximum pooling after it: both backward passes run channel by channel, so that each is read once.
ctypedef struct pooled_conv_t:
    conv_t conv
    pool_t pool


cdef inline const winograd_t* find_plan(const block_t* b, Py_ssize_t index) noexcept nogil:
    """Point at a Winograd plan."""
    return <const winograd_t*> b.winograd_plans + index


cdef inline void convolve(const linear_t* linear, Py_ssize_t plan, const block_t* b) noexcept nogil:
    """Write y by the plan with this index, or by plain sums."""
    cdef operands_t p
    if plan < 0:
        linear_forward(linear, b)
        return
    p = bind_epilogue(linear, b)
    winograd(find_plan(b, plan), b, &linear.x, &linear.y, &p)


cdef inline void conv_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const conv_t* g = <const conv_t*> fields
    convolve(&g.linear, g.winograd_forward, b)


cdef inline void plane_conv_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const plane_conv_t* g = <const plane_conv_t*> fields
    convolve(&g.linear, g.winograd_forward, b)


cdef inline void receive_dy(
    const conv_t* g, const pool_t* pool, const block_t* b, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """Backpropagate dy of some channels through pooling, if any, and activation; accumulate dbias."""
    cdef Py_ssize_t o
    for o in range(first, end):
        if pool != NULL:
            max_pool_backward_channels(pool, b, o, o + 1)
        linear_activation_backward(&g.linear, &g.gradients.dy, b, o, o + 1)


cdef inline void receive_shared_dy(const conv_t* g, const pool_t* pool, const block_t* b) noexcept nogil:
    """Do so for a thread's part of the channels of a shared block, before any thread reads dy of others.

    The threads also transform x together for the gradient to the weight, where they share it.
    """
    cdef range_t channels = find_units(b, g.linear.groups * g.linear.co)
    if g.gradients.dy.offset >= 0 and is_shared(b):
        receive_dy(g, pool, b, channels.first, channels.end)
        if g.winograd_weights.terms >= 0:
            share_terms(find_plan(b, g.winograd_weights.plan), &g.winograd_weights, b, &g.linear.x)


cdef inline void correlate_groups(
    const conv_t* g, const pool_t* pool, const block_t* b, real_t* dweight
) noexcept nogil:
    """Accumulate dweight by plain sums.

    In a block that is not shared, a few channels of dy at a time are received and used in the cache.
    """
    cdef const linear_t* linear = &g.linear
    cdef weight_tiles_t tiles = g.weight_tiles
    cdef range_t some, units = find_units(b, linear.groups * tiles.n_tiles)
    cdef bint received_all = is_shared(b)
    cdef Py_ssize_t k, n, first, received, end
    for k in range(linear.groups):
        received = k * linear.co
        end = received + linear.co
        some = cut(units, k * tiles.n_tiles, tiles.n_tiles)
        for n in range(some.first, some.end):
            first = k * linear.co + b.tables[tiles.tiles + TILE_FIELDS * n]
            if first >= received and not received_all:
                receive_dy(g, pool, b, received, min(first + TILE_HEIGHT, end))
                received = min(first + TILE_HEIGHT, end)
            correlate_weight_tile(&tiles, b, n, dweight)
        if not received_all:
            receive_dy(g, pool, b, received, end)
        tiles.x.offset += linear.ci * linear.x.plane
        tiles.dy.offset += linear.co * g.gradients.dy.plane
        dweight += linear.group_weights


cdef inline void propagate_back(const conv_t* g, const pool_t* pool, const block_t* b) noexcept nogil:
    """Accumulate dweight and dbias; write dx, if required; do nothing if dy is not required."""
    cdef const gradients_t* d = &g.gradients
    cdef real_t* dweight = b.dparams + g.linear.weight
    cdef operands_t p
    if d.dy.offset < 0:
        return
    if g.winograd_weights.terms < 0 and g.channel_weights.x_lanes < 0:
        correlate_groups(g, pool, b, dweight)
    else:
        if not is_shared(b):
            receive_dy(g, pool, b, 0, g.linear.co)
        if g.channel_weights.x_lanes >= 0:
            correlate_by_channels(&g.channel_weights, b, &g.linear.x, &d.dy, dweight)
        else:
            correlate_by_winograd(
                find_plan(b, g.winograd_weights.plan), &g.winograd_weights, b, &g.linear.x, &d.dy, dweight
            )
    if d.dx.offset < 0:
        return
    if g.winograd_backward >= 0:
        p = bind(NULL, 0, NULL, NULL, 0)
        winograd(find_plan(b, g.winograd_backward), b, &d.dy, &d.dx, &p)
    else:
        linear_input_gradient(&g.linear, d, b)


cdef inline void conv_receive(const void* fields, const block_t* b) noexcept nogil:
    """Backpropagate dy through the activation in place and accumulate dbias, if the block is shared."""
    receive_shared_dy(<const conv_t*> fields, NULL, b)


cdef inline void conv_backward(const void* fields, const block_t* b) noexcept nogil:
    """Accumulate dweight and dbias; write dx, if required."""
    propagate_back(<const conv_t*> fields, NULL, b)


cdef inline void pooled_conv_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y of the convolution; the pooling is a call of its own."""
    conv_forward(&(<const pooled_conv_t*> fields).conv, b)


cdef inline void pooled_conv_receive(const void* fields, const block_t* b) noexcept nogil:
    """Write dy of the convolution and accumulate dbias, if the block is shared."""
    cdef const pooled_conv_t* g = <const pooled_conv_t*> fields
    receive_shared_dy(&g.conv, &g.pool, b)


cdef inline void pooled_conv_backward(const void* fields, const block_t* b) noexcept nogil:
    """Take dy of the pooling; accumulate dweight and dbias; write dx of the convolution, if required."""
    cdef const pooled_conv_t* g = <const pooled_conv_t*> fields
    propagate_back(&g.conv, &g.pool, b)


cdef inline void transposed_conv_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    linear_forward(&(<const transposed_conv_t*> fields).linear, b)


cdef inline void transposed_conv_backward(const void* fields, const block_t* b) noexcept nogil:
    """Accumulate dweight and dbias; write dx, if required; do nothing if dy is not required."""
    cdef const transposed_conv_t* g = <const transposed_conv_t*> fields
    cdef const linear_t* linear = &g.linear
    cdef const gradients_t* d = &g.gradients
    cdef weight_tiles_t tiles = g.weight_tiles
    cdef range_t some, units = find_units(b, linear.groups * tiles.n_tiles)
    cdef range_t channels = find_units(b, linear.groups * linear.co)
    cdef real_t* dweight = b.dparams + linear.weight
    cdef Py_ssize_t k, n
    if d.dy.offset < 0:
        return
    linear_activation_backward(linear, &d.dy, b, channels.first, channels.end)
    for k in range(linear.groups):
        some = cut(units, k * tiles.n_tiles, tiles.n_tiles)
        for n in range(some.first, some.end):
            correlate_weight_tile(&tiles, b, n, dweight)
        tiles.x.offset += linear.co * d.dy.plane
        tiles.dy.offset += linear.ci * linear.x.plane
        dweight += linear.group_weights
    if d.dx.offset >= 0:
        linear_input_gradient(linear, d, b)
