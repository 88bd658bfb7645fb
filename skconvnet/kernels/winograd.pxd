"""Convolution along the rows with fewer products: Winograd 1980; Lavin and Gray 2016, section 4.

Of m neighbouring outputs of a kernel row of r weights, six products make all if m + r = 7, instead
of m r: F(4, 3) needs half of them, F(2, 5) six tenths.

    y = A [(G w) * (B x)]           products k = 0 .. 5, summed over channels and kernel rows

For each k in turn, B x of the whole image goes to scratch; then the walk of a convolution with one
kernel column runs over it, and every sum enters m outputs.  The gradient to the weight is

    dw = G' [sum of (A' dy) * (B x)]        primes: transposed; summed over lanes and positions

whose sums are the patches of a convolution with one kernel column.  Used in training alone: rounding
errors are some times those of the plain sum, and a prediction must not depend on its company.
"""

from libc.string cimport memcpy

from skconvnet.kernels.lanes cimport (
    LANES, block_t, buffer_t, inlined_t, lanes_t, locate, locate_offset, real_t, splat
)
from skconvnet.kernels.patch cimport (
    PATCH_FIELDS, PATCH_SIZE, PATCH_VECTORS, count_vectors, deposit_patch, patches_t, sum_patch
)
from skconvnet.kernels.tile cimport count_parts
from skconvnet.kernels.walk cimport walk, walk_t


cdef extern from "winograd.h" nogil:
    enum: N_PRODUCTS
    ctypedef struct input_term_t "typeof(INPUT_TERMS[0])":
        int[4] place
        real_t[4] factor
    const input_term_t[6] INPUT_TERMS
    real_t weight_factor(int k, int v, int r)
    real_t output_factor(int k, int s, int m)


# How one convolution, or the gradient to its input, goes about it.
ctypedef struct winograd_t:
    Py_ssize_t n_outputs                # m: columns that a product enters
    Py_ssize_t before                   # columns of the source left of the first output's first tap
    Py_ssize_t channels, rows           # of the source
    Py_ssize_t tiles                    # of m columns in a row
    Py_ssize_t targets, kh, kw          # output channels, kernel rows and columns
    Py_ssize_t weight                   # place in the parameter vector
    Py_ssize_t w_in, w_out              # from input to input and from output to output channel there
    bint flip                           # kernel columns run backwards
    Py_ssize_t products                 # place of the transformed weights (6, targets, channels, kh)
    Py_ssize_t scratch                  # place in the arena for channels * rows * tiles vectors
    Py_ssize_t height, width            # of the target
    walk_t walk


cdef inline inlined_t transform_filter(
    const winograd_t* g, const real_t* w, const int r, real_t* out
) noexcept nogil:
    """Write G w of one output channel; r, the weights in a kernel row, is a literal at the call."""
    cdef Py_ssize_t q, i, n, size = g.channels * g.kh
    cdef lanes_t[5] taps
    cdef lanes_t total
    cdef real_t* number = <real_t*> &taps[0]
    cdef const real_t* row
    cdef int k, v
    for v in range(5):
        taps[v] = splat(0)
    for q in range(count_parts(size, LANES)):
        n = min(LANES, size - q * LANES)
        for i in range(n):
            row = w + (q * LANES + i) // g.kh * g.w_in + (q * LANES + i) % g.kh * r
            for v in range(r):
                number[(r - 1 - v if g.flip else v) * LANES + i] = row[v]
        for k in range(N_PRODUCTS):
            total = splat(0)
            for v in range(r):
                total = total + weight_factor(k, v, r) * taps[v]
            for i in range(n):
                out[k * g.targets * size + q * LANES + i] = (<real_t*> &total)[i]


cdef inline void transform_weights(
    const winograd_t* g, const real_t* params, Py_ssize_t o, real_t* products
) noexcept nogil:
    """Write G w of one output channel."""
    cdef const real_t* w = params + g.weight + o * g.w_out
    cdef real_t* out = products + g.products + o * g.channels * g.kh
    if g.kw == 3:
        transform_filter(g, w, 3, out)
    else:
        transform_filter(g, w, 5, out)


cdef inline void transform_rows(
    int k,
    const lanes_t* x,           # IN   where the first output's first tap reads
    const buffer_t* place,      # of x
    Py_ssize_t channels,
    Py_ssize_t rows,
    Py_ssize_t tiles,
    Py_ssize_t m,               # columns from tile to tile
    lanes_t* out,               # OUT  (channels, rows, tiles)
) noexcept nogil:
    """Write term k of B x for every row and tile."""
    cdef Py_ssize_t c, i, _t
    cdef const input_term_t* term = &INPUT_TERMS[k]
    cdef const lanes_t* row
    cdef Py_ssize_t p0 = term.place[0], p1 = term.place[1], p2 = term.place[2], p3 = term.place[3]
    cdef real_t f0 = term.factor[0], f1 = term.factor[1], f2 = term.factor[2], f3 = term.factor[3]
    for c in range(channels):
        for i in range(rows):
            row = x + c * place.plane + i * place.row
            for _t in range(tiles):
                out[0] = f0 * row[p0] + f1 * row[p1] + f2 * row[p2] + f3 * row[p3]
                out += 1
                row += m


cdef inline void winograd(
    const winograd_t* g,
    const block_t* b,
    const buffer_t* source,     # IN
    const real_t* bias,         # IN   or NULL
    const buffer_t* target,     # OUT
) noexcept nogil:
    """Write every output of a convolution."""
    cdef lanes_t* scratch = locate_offset(b, g.scratch)
    cdef lanes_t* y
    cdef Py_ssize_t o, i, j, size = g.targets * g.channels * g.kh
    cdef real_t[4] blend
    cdef int k, s
    for o in range(g.targets):
        for i in range(g.height):
            y = locate(b, target) + o * target.plane + i * target.row
            for j in range(g.width):
                y[j] = splat(bias[o] if bias != NULL else 0)
    for k in range(N_PRODUCTS):
        transform_rows(
            k, locate(b, source) - g.before, source, g.channels, g.rows, g.tiles, g.n_outputs, scratch
        )
        for s in range(<int> g.n_outputs):
            blend[s] = output_factor(k, s, <int> g.n_outputs)
        walk(
            &g.walk, b, scratch, g.rows * g.tiles, b.products + g.products + k * size, NULL,
            locate(b, target), target.plane, False, blend, g.n_outputs,
        )


# The terms that the gradient to a convolution's weight is made of.
ctypedef struct terms_t:
    Py_ssize_t n_outputs, before, rows, tiles, kw   # as in winograd_t, forward
    Py_ssize_t sums, stride             # place in the arena for (6, stride) vectors: patch by patch


cdef inline inlined_t mix_slopes(
    int k, const lanes_t* dy, const buffer_t* place, const patches_t* p, Py_ssize_t tiles,
    const int m, lanes_t* out
) noexcept nogil:
    """Write term k of A' dy for every row and tile; m is a literal at the call."""
    cdef Py_ssize_t o, i, _t
    cdef const lanes_t* row
    cdef real_t[4] factor
    cdef int s
    for s in range(m):
        factor[s] = output_factor(k, s, m)
    for o in range(p.co):
        for i in range(p.ho):
            row = dy + o * place.plane + i * place.row
            for _t in range(tiles):
                out[0] = factor[0] * row[0] + factor[1] * row[1]
                if m == 4:
                    out[0] = out[0] + (factor[2] * row[2] + factor[3] * row[3])
                out += 1
                row += m


cdef inline inlined_t deposit_products(
    const patches_t* p, const block_t* b, const lanes_t* sums, Py_ssize_t stride, const int r,
    real_t* dweight
) noexcept nogil:
    """Give dweight G' sums; r, the weights in a kernel row, is a literal at the call."""
    cdef lanes_t[5 * PATCH_VECTORS] shares
    cdef lanes_t total
    cdef const Py_ssize_t* patch
    cdef Py_ssize_t m, q, n_vectors
    cdef int k, v
    for m in range(p.n_patches):
        patch = b.tables + p.patches + PATCH_FIELDS * m
        n_vectors = count_vectors(p, patch)
        for q in range(n_vectors):
            for v in range(r):
                total = splat(0)
                for k in range(N_PRODUCTS):
                    total = total + weight_factor(k, v, r) * sums[k * stride + q]
                shares[v * PATCH_VECTORS + q] = total
        deposit_patch(
            p, b, patch, <const real_t*> &shares[0], PATCH_VECTORS * LANES, r, dweight
        )
        sums += n_vectors


cdef inline void correlate_products(
    const terms_t* g,
    const patches_t* p,         # of A' dy (co, ho, tiles) and B x (ci, rows, tiles)
    const block_t* b,
    const buffer_t* x,          # IN
    const buffer_t* dy,         # IN
    real_t* dweight,            # IN OUT, or OUT in a group's first block
) noexcept nogil:
    """Give the gradient of every weight this block's share."""
    cdef lanes_t[PATCH_SIZE] sums
    cdef lanes_t* place
    cdef Py_ssize_t m, n_vectors
    cdef int k
    for k in range(N_PRODUCTS):
        transform_rows(
            k, locate(b, x) - g.before, x, p.ci, g.rows, g.tiles, g.n_outputs, locate(b, &p.x)
        )
        if g.kw == 3:
            mix_slopes(k, locate(b, dy), dy, p, g.tiles, 4, locate(b, &p.dy))
        else:
            mix_slopes(k, locate(b, dy), dy, p, g.tiles, 2, locate(b, &p.dy))
        place = locate_offset(b, g.sums) + k * g.stride
        for m in range(p.n_patches):
            n_vectors = sum_patch(p, b, b.tables + p.patches + PATCH_FIELDS * m, sums)
            memcpy(place, sums, n_vectors * sizeof(lanes_t))
            place += n_vectors
    if g.kw == 3:
        deposit_products(p, b, locate_offset(b, g.sums), g.stride, 3, dweight)
    else:
        deposit_products(p, b, locate_offset(b, g.sums), g.stride, 5, dweight)
