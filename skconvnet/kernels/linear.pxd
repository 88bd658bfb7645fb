"""Operations linear in their input and in their weights, forward and backward.

The gradient to the input is another walk, with the roles of x and y and of input and output changed.
"""

from skconvnet.kernels.activation cimport IDENTITY, RELU, activate_row, slope_row
from skconvnet.kernels.lanes cimport block_t, buffer_t, deposit, lanes_t, locate, real_t, splat, sum_lanes
from skconvnet.kernels.walk cimport walk, walk_t
from skconvnet.kernels.winograd cimport winograd, winograd_t


# An operation linear in its input and in its weights, a convolution or a dense layer, and the
# activation that follows it in place.  A grouped convolution is several side by side: each of the
# groups walks over its own ci channels and co filters.
ctypedef struct linear_t:
    buffer_t x, y, dx, dy
    Py_ssize_t weight, bias             # places in the parameter vector; bias < 0: none
    Py_ssize_t groups, group_weights    # weights of one group
    Py_ssize_t ci, co, ho, wo
    walk_t forward, backward
    Py_ssize_t fast_forward, fast_backward      # numbers of the ways to go in training; < 0: none
    int activation
    double slope


cdef inline void linear_forward(const linear_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const real_t* bias = NULL
    cdef Py_ssize_t k, o, i
    cdef lanes_t* y = locate(b, &g.y)
    cdef bint fast = b.training and g.fast_forward >= 0
    if g.bias >= 0:
        bias = b.params + g.bias
    if fast:
        winograd(<const winograd_t*> b.ways + g.fast_forward, b, &g.x, bias, &g.y)
    else:
        for k in range(g.groups):
            walk(
                &g.forward, b, locate(b, &g.x) + k * g.ci * g.x.plane, g.x.plane,
                b.params + g.weight + k * g.group_weights,
                bias + k * g.co if bias != NULL else NULL,
                y + k * g.co * g.y.plane, g.y.plane, g.activation == RELU, NULL, 0,
            )
    if not fast and (g.activation == RELU or g.activation == IDENTITY):
        return
    y = locate(b, &g.y)
    if g.y.row == g.wo and g.y.plane == g.ho * g.wo:        # as one row
        activate_row(y, y, g.groups * g.co * g.y.plane, g.activation, g.slope)
        return
    for o in range(g.groups * g.co):
        for i in range(g.ho):
            y = locate(b, &g.y) + o * g.y.plane + i * g.y.row
            activate_row(y, y, g.wo, g.activation, g.slope)


cdef inline void settle_dy(
    const linear_t* g, const block_t* b, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """Bring dy of some outputs before the activation and give dbias its share: the first thing backward."""
    cdef Py_ssize_t o, i, j
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t total
    for o in range(first, end):
        total = splat(0)
        for i in range(g.ho):
            y = locate(b, &g.y) + o * g.y.plane + i * g.y.row
            dy = locate(b, &g.dy) + o * g.dy.plane + i * g.dy.row
            slope_row(y, y, dy, g.wo, g.activation, g.slope)
            if g.bias >= 0:
                for j in range(g.wo):
                    total = total + dy[j]
        if g.bias >= 0:
            deposit(b, g.bias + o, sum_lanes(total))


cdef inline void write_dx(const linear_t* g, const block_t* b) noexcept nogil:
    """Write dx, if anybody wants it."""
    cdef Py_ssize_t k
    if g.dx.offset < 0:
        return
    if g.fast_backward >= 0:
        winograd(<const winograd_t*> b.ways + g.fast_backward, b, &g.dy, NULL, &g.dx)
    else:
        for k in range(g.groups):
            walk(
                &g.backward, b, locate(b, &g.dy) + k * g.co * g.dy.plane, g.dy.plane,
                b.params + g.weight + k * g.group_weights, NULL,
                locate(b, &g.dx) + k * g.ci * g.dx.plane, g.dx.plane, False, NULL, 0,
            )
