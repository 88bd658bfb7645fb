"""Operations linear in their input and in their weights, convolutions and dense layers, and their activation.

The gradient to the input is an operation of the same kind, with the roles of x and y and of input and output
channels exchanged.
"""

from skconvnet.kernels.activation cimport activation_backward_row
from skconvnet.kernels.batch_norm cimport affine_t, find_running_affine, stats_t
from skconvnet.kernels.block cimport (
    accumulate, block_t, buffer_t, find_row, find_units, locate, locate_offset
)
from skconvnet.kernels.output_tiles cimport bind, compute_output_tiles, operands_t, output_tiles_t
from skconvnet.kernels.simd cimport lanes_t, real_t, splat, sum_lanes
from skconvnet.kernels.team cimport cut, range_t


# The forward pass.  A grouped convolution is several side by side: each of the groups has ci channels and
# co filters of its own.
ctypedef struct linear_t:
    buffer_t x, y
    Py_ssize_t weight, bias             # offsets in the parameter vector; bias < 0: none
    Py_ssize_t groups, group_weights    # weights of one group
    Py_ssize_t ci, co, ho, wo
    output_tiles_t tiles
    int activation                      # applied to y in place
    double slope
    stats_t norm                        # of the batch normalisation that comes next, in prediction
    Py_ssize_t affine                   # its memory: scale and shift of every channel


# The gradients that go with it.
ctypedef struct gradients_t:
    buffer_t dx, dy
    output_tiles_t tiles                # of dx


cdef inline operands_t bind_epilogue(const linear_t* g, const block_t* b) noexcept nogil:
    """Return operands with what is done to the sums: bias or normalisation, and activation."""
    cdef operands_t p = bind(NULL, 0, NULL, NULL, 0)
    cdef real_t* scale
    cdef affine_t a
    cdef Py_ssize_t c
    p.activation, p.slope = g.activation, g.slope
    if g.bias >= 0:
        p.bias = b.params + g.bias
    if g.norm.running >= 0:
        scale = <real_t*> locate_offset(b, g.affine)
        for c in range(g.norm.channels):
            a = find_running_affine(&g.norm, b, c)
            scale[c] = a.scale * a.gamma
            scale[g.norm.channels + c] = ((p.bias[c] if p.bias != NULL else 0) - a.mean) * scale[c] + a.beta
        p.scale, p.bias = scale, scale + g.norm.channels
    return p


cdef inline void linear_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const linear_t* g = <const linear_t*> fields
    cdef operands_t p, epilogue = bind_epilogue(g, b)
    cdef range_t tiles, units = find_units(b, g.groups * g.tiles.n_tiles)
    cdef Py_ssize_t k
    for k in range(g.groups):
        tiles = cut(units, k * g.tiles.n_tiles, g.tiles.n_tiles)
        if tiles.first == tiles.end:
            continue
        p = bind(
            locate(b, &g.x) + k * g.ci * g.x.plane, g.x.plane, b.params + g.weight + k * g.group_weights,
            locate(b, &g.y) + k * g.co * g.y.plane, g.y.plane,
        )
        if epilogue.bias != NULL:
            p.bias = epilogue.bias + k * g.co
        if epilogue.scale != NULL:
            p.scale = epilogue.scale + k * g.co
        p.activation, p.slope = g.activation, g.slope
        compute_output_tiles(&g.tiles, b, &p, tiles)


cdef inline void linear_activation_backward(
    const linear_t* g, const buffer_t* dy_buffer, const block_t* b, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """Backpropagate dy of some output channels through the activation in place; accumulate dbias."""
    cdef Py_ssize_t o, i, j
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t total
    for o in range(first, end):
        total = splat(0)
        for i in range(g.ho):
            y = find_row(b, &g.y, o, i)
            dy = find_row(b, dy_buffer, o, i)
            activation_backward_row(y, y, dy, g.wo, g.activation, g.slope)
            if g.bias >= 0:
                for j in range(g.wo):
                    total = total + dy[j]
        if g.bias >= 0:
            accumulate(b, g.bias + o, sum_lanes(total))


cdef inline void linear_input_gradient(
    const linear_t* g, const gradients_t* d, const block_t* b
) noexcept nogil:
    """Write dx."""
    cdef operands_t p
    cdef range_t tiles, units = find_units(b, g.groups * d.tiles.n_tiles)
    cdef Py_ssize_t k
    for k in range(g.groups):
        tiles = cut(units, k * d.tiles.n_tiles, d.tiles.n_tiles)
        if tiles.first == tiles.end:
            continue
        p = bind(
            locate(b, &d.dy) + k * g.co * d.dy.plane, d.dy.plane, b.params + g.weight + k * g.group_weights,
            locate(b, &d.dx) + k * g.ci * d.dx.plane, d.dx.plane,
        )
        compute_output_tiles(&d.tiles, b, &p, tiles)
