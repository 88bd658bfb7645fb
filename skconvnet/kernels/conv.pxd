"""Convolution (cross-correlation, as every framework has it): LeCun et al. 1998, section II.

    y[o, i, j] = bias[o] + sum_{c, u, v} weight[o, c, u, v] * x[c, i * sh + u - top, j * sw + v - left]

With groups, c counts the channels of the filter's own group.  Forward and the gradient to the input
are walks over tiles, the gradient to the weight is made of patches; each may go a way with fewer
products.
"""

from skconvnet.kernels.lanes cimport block_t, real_t
from skconvnet.kernels.linear cimport linear_forward, linear_t, settle_dy, write_dx
from skconvnet.kernels.patch cimport PATCH_FIELDS, correlate_patch, patches_t
from skconvnet.kernels.pool cimport max_pool_backward, pool_t
from skconvnet.kernels.tile cimport TILE_HEIGHT
from skconvnet.kernels.winograd cimport correlate_products, terms_t


ctypedef struct conv_t:
    linear_t linear
    patches_t patches
    terms_t terms                       # of which the patches are made; n_outputs 0: of x and dy themselves
    pool_t pool                         # what follows and leaves the way back to this; not deferred: nothing


cdef inline void conv_forward(const conv_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    linear_forward(&g.linear, b)


cdef inline void receive_dy(
    const conv_t* g, const block_t* b, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """Bring the gradient of some output maps back to before pooling and activation, a map at a time."""
    cdef Py_ssize_t o
    for o in range(first, end):
        if g.pool.deferred:
            max_pool_backward(&g.pool, b, o, o + 1)
        settle_dy(&g.linear, b, o, o + 1)


cdef inline void conv_backward(const conv_t* g, const block_t* b) noexcept nogil:
    """Give dweight and dbias their share; write dx; nothing if nobody wants dy."""
    cdef const linear_t* ends = &g.linear
    cdef real_t* dweight = b.dparams + ends.weight
    cdef patches_t patches = g.patches
    cdef Py_ssize_t k, p, first, received
    if ends.dy.offset < 0:
        return
    if g.terms.n_outputs > 0:
        receive_dy(g, b, 0, ends.co)
        correlate_products(&g.terms, &patches, b, &ends.x, &ends.dy, dweight)
    else:
        for k in range(ends.groups):
            # patches of a few maps at a time, while their gradients are in the cache
            received = k * ends.co
            for p in range(patches.n_patches):
                first = k * ends.co + b.tables[patches.patches + PATCH_FIELDS * p]
                if first >= received:
                    receive_dy(g, b, received, min(first + TILE_HEIGHT, (k + 1) * ends.co))
                    received = min(first + TILE_HEIGHT, (k + 1) * ends.co)
                correlate_patch(&patches, b, p, dweight)
            receive_dy(g, b, received, (k + 1) * ends.co)
            patches.x.offset += ends.ci * ends.x.plane
            patches.dy.offset += ends.co * ends.dy.plane
            dweight += ends.group_weights
    write_dx(&g.linear, b)
