"""Operations linear in their input and in their weights, forward and backward.

The gradient to the input is another walk, with the roles of x and y and of input and output changed.
"""

from skconvnet.kernels.activation cimport IDENTITY, RELU, activate_row, slope_row
from skconvnet.kernels.lanes cimport block_t, buffer_t, deposit, lanes_t, locate, real_t, splat, sum_lanes
from skconvnet.kernels.walk cimport walk, walk_t
from skconvnet.kernels.winograd cimport winograd, winograd_t


# An operation linear in its input and in its weights, a convolution or a dense layer, and the
# activation that follows it in place.
ctypedef struct linear_t:
    buffer_t x, y, dx, dy
    Py_ssize_t weight, bias             # places in the parameter vector; bias < 0: none
    Py_ssize_t co, ho, wo
    walk_t forward, backward
    Py_ssize_t fast_forward, fast_backward      # numbers of the ways to go in training; < 0: none
    int activation
    double slope


cdef inline void linear_forward(const linear_t* g, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const real_t* bias = NULL
    cdef Py_ssize_t o, i
    cdef bint fast = b.training and g.fast_forward >= 0
    if g.bias >= 0:
        bias = b.params + g.bias
    if fast:
        winograd(<const winograd_t*> b.ways + g.fast_forward, b, &g.x, bias, &g.y)
    else:
        walk(
            &g.forward, b, locate(b, &g.x), g.x.plane, b.params + g.weight, bias, locate(b, &g.y),
            g.y.plane, g.activation == RELU, NULL, 0,
        )
    if fast or g.activation != RELU and g.activation != IDENTITY:
        for o in range(g.co):
            for i in range(g.ho):
                activate_row(
                    locate(b, &g.y) + o * g.y.plane + i * g.y.row, g.wo, g.activation, g.slope
                )


cdef inline void settle_dy(
    const linear_t* g, const block_t* b, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """Bring dy of some outputs before the activation and give dbias its share: the first thing backward."""
    cdef Py_ssize_t o, i, j
    cdef lanes_t* dy
    cdef lanes_t total
    for o in range(first, end):
        total = splat(0)
        for i in range(g.ho):
            dy = locate(b, &g.dy) + o * g.dy.plane + i * g.dy.row
            slope_row(
                locate(b, &g.y) + o * g.y.plane + i * g.y.row, dy, g.wo, g.activation, g.slope
            )
            if g.bias >= 0:
                for j in range(g.wo):
                    total = total + dy[j]
        if g.bias >= 0:
            deposit(b, g.bias + o, sum_lanes(total))


cdef inline void write_dx(const linear_t* g, const block_t* b) noexcept nogil:
    """Write dx, if anybody wants it."""
    if g.dx.offset < 0:
        return
    if g.fast_backward >= 0:
        winograd(<const winograd_t*> b.ways + g.fast_backward, b, &g.dy, NULL, &g.dx)
    else:
        walk(
            &g.backward, b, locate(b, &g.dy), g.dy.plane, b.params + g.weight,
            NULL, locate(b, &g.dx), g.dx.plane, False, NULL, 0,
        )
