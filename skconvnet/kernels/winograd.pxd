"""Convolution along the rows with fewer products: Winograd 1980; Lavin and Gray 2016, section 4.

Of m neighbouring outputs of a kernel row of r weights, six products make all if m + r = 7, instead
of m r: F(4, 3) needs half of them, F(2, 5) six tenths.

    y = A [(G w) * (B x)]           products k = 0 .. 5, summed over channels and kernel rows

For each k in turn, B x of the whole image goes to scratch; then the walk of a convolution with one
kernel column runs over it, and every sum enters m outputs.  Used in training alone: its rounding
errors are some times those of the plain sum, and a prediction must not depend on its company.
"""

from skconvnet.kernels.lanes cimport block_t, buffer_t, lanes_t, locate, locate_offset, real_t, splat
from skconvnet.kernels.walk cimport walk, walk_t


cdef extern from "winograd.h" nogil:
    enum: N_PRODUCTS
    ctypedef struct terms_t "typeof(INPUT_TERMS[0])":
        int[4] place
        real_t[4] factor
    const terms_t[6] INPUT_TERMS
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


cdef inline void transform_weights(
    const winograd_t* g, const real_t* params, Py_ssize_t o, real_t* products
) noexcept nogil:
    """Write G w of one output channel."""
    cdef Py_ssize_t c, u, v, k, r = g.kw
    cdef Py_ssize_t size = g.channels * g.kh
    cdef const real_t* w
    cdef real_t* out = products + g.products + o * size
    cdef real_t[N_PRODUCTS * 5] factors
    cdef real_t total
    for k in range(N_PRODUCTS):
        for v in range(r):
            factors[k * r + v] = weight_factor(<int> k, <int> (r - 1 - v if g.flip else v), <int> r)
    for c in range(g.channels):
        for u in range(g.kh):
            w = params + g.weight + o * g.w_out + c * g.w_in + u * r
            for k in range(N_PRODUCTS):
                total = 0
                for v in range(r):
                    total += factors[k * r + v] * w[v]
                out[k * g.targets * size + c * g.kh + u] = total


cdef inline void transform_rows(
    const winograd_t* g, int k, const lanes_t* x, const buffer_t* place, lanes_t* out
) noexcept nogil:
    """Write term k of B x for every row and tile."""
    cdef Py_ssize_t c, i, _t, m = g.n_outputs
    cdef const terms_t* terms = &INPUT_TERMS[k]
    cdef const lanes_t* row
    cdef Py_ssize_t p0 = terms.place[0], p1 = terms.place[1], p2 = terms.place[2], p3 = terms.place[3]
    cdef real_t f0 = terms.factor[0], f1 = terms.factor[1], f2 = terms.factor[2], f3 = terms.factor[3]
    for c in range(g.channels):
        for i in range(g.rows):
            row = x + c * place.plane + i * place.row - g.before
            for _t in range(g.tiles):
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
        transform_rows(g, k, locate(b, source), source, scratch)
        for s in range(<int> g.n_outputs):
            blend[s] = output_factor(k, s, <int> g.n_outputs)
        walk(
            &g.walk, b, scratch, g.rows * g.tiles, b.products + g.products + k * size, NULL,
            locate(b, target), target.plane, False, blend, g.n_outputs,
        )
