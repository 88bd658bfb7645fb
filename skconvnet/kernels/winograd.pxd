"""Winograd's convolution along the rows: Winograd 1980; Lavin and Gray 2016, section 4.

For m neighbouring outputs of a kernel row of r weights, m + r = 7, six multiplications suffice instead of
m r: F(4, 3) needs half of them, F(2, 5) six tenths.

    y = A [(G w) * (B x)]           terms k = 0 .. 5, each summed over channels and kernel rows

For each k in turn, B x of the whole image goes to scratch; then the output tiles of a convolution with one
kernel column run over it, and every sum enters m outputs.  The gradient to the weight is

    dw = G' [sum of (A' dy) * (B x)]        primes: transposed; summed over lanes and positions

whose sums are the weight tiles of a convolution with one kernel column.  It is used in training alone: its
rounding errors are larger than those of plain sums, and predictions must be batch-invariant.
"""

from libc.string cimport memcpy

from skconvnet.kernels.activation cimport IDENTITY
from skconvnet.kernels.block cimport (
    block_t, buffer_t, count_parts, find_row, locate, locate_offset, share
)
from skconvnet.kernels.output_tiles cimport compute_output_tiles, operands_t, output_tiles_t
from skconvnet.kernels.simd cimport LANES, inlined_t, lanes_t, real_t, splat
from skconvnet.kernels.team cimport range_t
from skconvnet.kernels.weight_tiles cimport (
    SUMS_SIZE, SUMS_VECTORS, TILE_FIELDS, accumulate_weight_tile, count_vectors, sum_weight_tile,
    weight_tiles_t
)


cdef extern from "winograd.h" nogil:
    enum: N_POINTS
    ctypedef struct input_term_t "typeof(INPUT_TERMS[0])":
        int[4] offset
        real_t[4] factor
    const input_term_t[6] INPUT_TERMS
    real_t weight_factor(int k, int v, int r)
    real_t output_factor(int k, int s, int m)


# The plan of one convolution, or of the gradient to its input.
ctypedef struct winograd_t:
    Py_ssize_t n_outputs                # m: columns that a term enters
    Py_ssize_t before                   # columns of the source left of the first output's first tap
    Py_ssize_t channels, rows           # of the source
    Py_ssize_t tiles                    # of m columns in a row
    Py_ssize_t targets, kh, kw          # output channels, kernel rows and columns
    Py_ssize_t weight                   # offset in the parameter vector
    Py_ssize_t w_in, w_out              # from input to input and from output to output channel there
    bint flip                           # kernel columns run backwards
    Py_ssize_t transformed_weights      # offset of the transformed weights (6, targets, channels, kh)
    Py_ssize_t scratch                  # offset in the arena for channels * rows * tiles vectors
    Py_ssize_t height, width            # of the target
    output_tiles_t output_tiles


cdef inline inlined_t transform_filter(
    const winograd_t* g, const real_t* w, const int r, real_t* out
) noexcept nogil:
    """Write G w of one output channel; r, the weights in a kernel row, is a literal at the call."""
    cdef Py_ssize_t q, i, n, size = g.channels * g.kh
    cdef lanes_t[5] taps
    cdef lanes_t total
    cdef real_t* tap = <real_t*> &taps[0]
    cdef const real_t* row
    cdef int k, v
    for v in range(5):
        taps[v] = splat(0)
    for q in range(count_parts(size, LANES)):
        n = min(LANES, size - q * LANES)
        for i in range(n):
            row = w + (q * LANES + i) // g.kh * g.w_in + (q * LANES + i) % g.kh * r
            for v in range(r):
                tap[(r - 1 - v if g.flip else v) * LANES + i] = row[v]
        for k in range(N_POINTS):
            total = splat(0)
            for v in range(r):
                total = total + weight_factor(k, v, r) * taps[v]
            for i in range(n):
                out[k * g.targets * size + q * LANES + i] = (<real_t*> &total)[i]


cdef inline void transform_weights(
    const winograd_t* g, const real_t* params, Py_ssize_t o, real_t* transformed_weights
) noexcept nogil:
    """Write G w of one output channel."""
    cdef const real_t* w = params + g.weight + o * g.w_out
    cdef real_t* out = transformed_weights + g.transformed_weights + o * g.channels * g.kh
    if g.kw == 3:
        transform_filter(g, w, 3, out)
    else:
        transform_filter(g, w, 5, out)


cdef inline void transform_rows(
    const winograd_t* g, int k, const block_t* b, const buffer_t* source, lanes_t* out
) noexcept nogil:
    """Write term k of B x for every row and tile: out (channels, rows, tiles)."""
    cdef Py_ssize_t c, i, _t
    cdef const input_term_t* term = &INPUT_TERMS[k]
    cdef const lanes_t* row
    cdef Py_ssize_t p0 = term.offset[0], p1 = term.offset[1], p2 = term.offset[2], p3 = term.offset[3]
    cdef real_t f0 = term.factor[0], f1 = term.factor[1], f2 = term.factor[2], f3 = term.factor[3]
    for c in range(g.channels):
        for i in range(g.rows):
            row = find_row(b, source, c, i) - g.before
            for _t in range(g.tiles):
                out[0] = f0 * row[p0] + f1 * row[p1] + f2 * row[p2] + f3 * row[p3]
                out += 1
                row += g.n_outputs


cdef inline void winograd(
    const winograd_t* g,
    const block_t* b,
    const buffer_t* source,     # IN
    const buffer_t* target,     # OUT
    operands_t p,               # with bias and activation
) noexcept nogil:
    """Write every output of a convolution; every thread transforms the source for itself."""
    cdef Py_ssize_t size = g.targets * g.channels * g.kh
    cdef range_t tiles = share(b, g.output_tiles.n_tiles)
    cdef int k, s, activation = p.activation
    cdef real_t[4] coefficients
    cdef lanes_t* scratch = locate_offset(b, g.scratch)
    p.x, p.x_plane = scratch, g.rows * g.tiles
    p.y, p.y_plane = locate(b, target), target.plane
    p.coefficients, p.n_coefficients = coefficients, g.n_outputs
    for k in range(N_POINTS):
        transform_rows(g, k, b, source, scratch)
        for s in range(<int> g.n_outputs):
            coefficients[s] = output_factor(k, s, <int> g.n_outputs)
        p.w = b.transformed_weights + g.transformed_weights + k * size
        p.assign = k == 0
        p.activation = activation if k == N_POINTS - 1 else IDENTITY
        compute_output_tiles(&g.output_tiles, b, &p, tiles)


cdef inline inlined_t transform_gradients(
    int k, const block_t* b, const buffer_t* dy, const weight_tiles_t* t, Py_ssize_t tiles,
    const int m, lanes_t* out
) noexcept nogil:
    """Write term k of A' dy for every row and tile; m is a literal at the call."""
    cdef Py_ssize_t o, i, _t
    cdef const lanes_t* row
    cdef real_t[4] factor
    cdef int s
    for s in range(m):
        factor[s] = output_factor(k, s, m)
    for o in range(t.co):
        for i in range(t.ho):
            row = find_row(b, dy, o, i)
            for _t in range(tiles):
                out[0] = factor[0] * row[0] + factor[1] * row[1]
                if m == 4:
                    out[0] = out[0] + (factor[2] * row[2] + factor[3] * row[3])
                out += 1
                row += m


cdef inline inlined_t accumulate_transforms(
    const weight_tiles_t* t, const block_t* b, range_t tiles, const lanes_t* sums, Py_ssize_t stride,
    const int r, real_t* dweight
) noexcept nogil:
    """Add G' sums of some tiles to dweight; r, the weights in a kernel row, is a literal at the call."""
    cdef lanes_t[5 * SUMS_VECTORS] parts
    cdef lanes_t total
    cdef const Py_ssize_t* tile
    cdef Py_ssize_t n, q, n_vectors
    cdef int k, v
    for n in range(tiles.first, tiles.end):
        tile = b.tables + t.tiles + TILE_FIELDS * n
        n_vectors = count_vectors(t, tile)
        for q in range(n_vectors):
            for v in range(r):
                total = splat(0)
                for k in range(N_POINTS):
                    total = total + weight_factor(k, v, r) * sums[k * stride + q]
                parts[v * SUMS_VECTORS + q] = total
        accumulate_weight_tile(
            t, b, tile, <const real_t*> &parts[0], SUMS_VECTORS * LANES, r, dweight
        )
        sums += n_vectors


cdef inline void correlate_transforms(
    const winograd_t* g,        # the plan of the forward pass
    const weight_tiles_t* t,    # of A' dy (co, ho, tiles) and B x (ci, rows, tiles)
    const block_t* b,
    const buffer_t* x,          # IN
    const buffer_t* dy,         # IN
    Py_ssize_t sums_offset,     # in the arena, for (6, stride) vectors: tile by tile
    Py_ssize_t stride,
    real_t* dweight,            # IN OUT, or OUT in the first block of a shard
) noexcept nogil:
    """Add the contribution of this block to the gradient of every weight.

    A thread transforms x and dy for itself, and keeps the sums of its own tiles.
    """
    cdef lanes_t[SUMS_SIZE] some
    cdef range_t tiles = share(b, t.n_tiles)
    cdef lanes_t* sums
    cdef Py_ssize_t n, n_vectors
    cdef int k
    for k in range(N_POINTS):
        transform_rows(g, k, b, x, locate(b, &t.x))
        if g.kw == 3:
            transform_gradients(k, b, dy, t, g.tiles, 4, locate(b, &t.dy))
        else:
            transform_gradients(k, b, dy, t, g.tiles, 2, locate(b, &t.dy))
        sums = locate_offset(b, sums_offset) + k * stride
        for n in range(tiles.first, tiles.end):
            n_vectors = sum_weight_tile(t, b, b.tables + t.tiles + TILE_FIELDS * n, some)
            memcpy(sums, some, n_vectors * sizeof(lanes_t))
            sums += n_vectors
    if g.kw == 3:
        accumulate_transforms(t, b, tiles, locate_offset(b, sums_offset), stride, 3, dweight)
    else:
        accumulate_transforms(t, b, tiles, locate_offset(b, sums_offset), stride, 5, dweight)
